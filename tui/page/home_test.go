package page_test

import (
	"slices"
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"

	"go.uber.org/goleak"

	"tandem/share/node"
	"tandem/tui/page"
	"tandem/tui/theme"
	"tandem/tui/tuitest"
	"tandem/tui/widget"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestHomeGolden(t *testing.T) {
	for name, b := range map[string]*tuitest.Backend{"home": tuitest.Busy(), "home-empty": tuitest.New()} {
		if name == "home" {
			b.Has.Requests = []node.Request{tuitest.Request("r1", 9, "Eve\x1b[2J\u202e", "s1")}
		}
		tuitest.Page(t, name, func(look theme.Theme) page.Page { return page.NewHome(tuitest.Env(t, b, look)) })
	}
}

func TestApprovalGolden(t *testing.T) {
	b := tuitest.Busy()
	request := tuitest.Request("r1", 9, "Eve", "s1")
	request.Recorded = node.RecordedOrNothing
	tuitest.Page(t, "approval", func(look theme.Theme) page.Page {
		return page.NewApproval(tuitest.Env(t, b, look), request, "project", nil, nil)
	})
}

func TestHomeFilter(t *testing.T) {
	b := tuitest.New()
	b.Has.Peers = tuitest.Peers(10000, 3)
	f := tuitest.Start(t, tuitest.NewWindow(page.NewHome(tuitest.Env(t, b, tuitest.Dark()))), 80, 21)
	f.Wait("Connected (3)", "Known peers (9997)")
	f.Keys("/", "07777").Wait("peer-07777", "Known peers (1)").Gone("peer-00001")
	f.Keys("esc").Wait("Connected (3)")
}

// An answer that was typed for something else opens the door to a stranger.
func TestApprovalIsDeliberate(t *testing.T) {
	b := tuitest.Busy()
	settled := 0
	var p page.Page = page.NewApproval(tuitest.Env(t, b, tuitest.Dark()), tuitest.Request("r1", 9, "Eve", "s1"), "project",
		func(string, tea.Cmd) tea.Msg { settled++; return nil }, func(string) tea.Msg { settled++; return nil })
	p.SetSize(80, 21)
	press := func(name string) tea.Cmd {
		k, ok := widget.ParseKey(name)
		if !ok {
			t.Fatal(name)
		}
		var cmd tea.Cmd
		p, cmd = p.Update(k)
		return cmd
	}
	silence := p.Init()
	for _, k := range []string{"A", "O", "R", "esc", "enter", "y"} {
		if press(k); settled > 0 {
			t.Fatalf("%q counted without half a second of silence", k)
		}
	}
	p, _ = p.Update(silence()) // of before those keys
	if press("A"); settled > 0 {
		t.Fatal("a silence that was broken counted")
	}
	last := press("x")
	p, _ = p.Update(last())
	if !strings.Contains(p.View(), "allow once") {
		t.Fatalf("silence isn't noticed:\n%s", p.View())
	}
	paste, _ := widget.ParseKey("A")
	paste.Paste = true
	if p.Update(paste); settled > 0 {
		t.Fatal("pasted text counted")
	}
	p, _ = p.Update(press("x")())
	then := press("A")
	if p.Update(then()); settled != 1 {
		t.Fatal("a deliberate answer did not count")
	}
}

// anna is a peer that is connected.
func anna() page.Subject {
	return page.Subject{Peer: tuitest.Peer(1, "anna", true)}
}

func press(p page.Page, keys ...tea.KeyMsg) page.Page {
	for _, k := range keys {
		p, _ = p.Update(k)
	}
	return p
}

func runes(s string) tea.KeyMsg { return tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(s)} }

// ticking sends ticks until the window shows texts.
func ticking(f *tuitest.Flow, texts ...string) {
	f.Until("shows "+strings.Join(texts, ", "), func() bool {
		f.Send(page.Tick{Now: tuitest.Now()})
		view := f.View()
		return !slices.ContainsFunc(texts, func(s string) bool { return !strings.Contains(view, s) })
	})
}

// In the smallest window that there is room for, all answers are in sight.
func TestAnswersInASmallWindow(t *testing.T) {
	b := tuitest.Busy()
	f, _ := run(t, b, func(env page.Env) page.Page {
		return page.NewApproval(env, tuitest.Request("r1", 9, "Eve", "s1"), "project", nil, nil)
	})
	f.Send(tea.WindowSizeMsg{Width: 60, Height: 12}).Wait("A allow for this session", "O allow once", "R refuse", "esc later")
}
