package tui

import (
	"context"
	"slices"
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"
	"github.com/muesli/termenv"

	"tandem/session"
	"tandem/share/node"
	"tandem/tui/page"
	"tandem/tui/theme"
	"tandem/tui/tuitest"
	"tandem/tui/widget"
)

// FuzzTUI gives the root random keys, sizes, clicks and news of the node: there is
// no panic, and nothing is drawn outside the window.
func FuzzTUI(f *testing.F) {
	f.Add([]byte("n\t\t/srv\r"), "name")
	f.Add([]byte{0x80, 20, 5, 'n', 0x80, 60, 15, 0x81, 3, 4, 'j'}, "\x1b]0;evil\a\u202e")
	f.Add([]byte{0x82, 0x83, 'A', 0x84, 'q', 'Y', ':', 'x', '\r'}, "宽宽e\u0301")
	f.Add([]byte("/zz\x1b?\x1b:\r"), "")
	f.Fuzz(func(t *testing.T, input []byte, text string) {
		d := newDriven(t, len(text)%2 == 0)
		for i := 0; i < min(len(input), 200); i++ {
			d.act(input[i], append(input[i+1:min(i+3, len(input)):min(i+3, len(input))], 0, 0), text)
			d.check()
		}
	})
}

// driven is a root whose Cmds run here, one after the other, but for those that
// wait for time.
type driven struct {
	t    *testing.T
	root *root
	b    *tuitest.Backend
	w, h int
}

func newDriven(t *testing.T, ascii bool) *driven {
	d := &driven{t: t, b: tuitest.Busy(), w: 80, h: 24}
	d.b.Has.Invite = tuitest.Share("s9", "new")
	ended, end := context.WithCancel(t.Context())
	end() // whatever would wait returns at once
	run := func(work func(context.Context) tea.Msg) tea.Cmd {
		return func() tea.Msg { return work(ended) }
	}
	d.root = newRoot(Config{Backend: d.b, Theme: theme.Options{Profile: termenv.ANSI256, ASCII: ascii}, Keys: theme.DefaultKeys(), Ends: func() bool { return true }}, run, tuitest.Now())
	d.run(d.root.Init(), 0)
	d.send(answered{state: tuitest.State(t, d.b)})
	return d
}

func (d *driven) send(msg tea.Msg) {
	_, cmd := d.root.Update(msg)
	d.run(cmd, 0)
}

// run runs a Cmd and those that follow from it.
func (d *driven) run(cmd tea.Cmd, depth int) {
	if cmd == nil || depth > 20 {
		return
	}
	switch msg := cmd().(type) {
	case nil, tea.QuitMsg, drained, subscribed, answered:
	case tea.BatchMsg:
		for _, c := range msg {
			d.run(c, depth+1)
		}
	default:
		_, next := d.root.Update(msg)
		d.run(next, depth+1)
	}
}

func (d *driven) act(b byte, arguments []byte, text string) {
	x, y := int(arguments[0]), int(arguments[1])
	switch b {
	case 0x80:
		d.w, d.h = x, y
		d.send(tea.WindowSizeMsg{Width: x, Height: y})
	case 0x81:
		d.send(tea.MouseMsg{X: x, Y: y, Button: tea.MouseButton(x % 8), Action: tea.MouseActionPress})
	case 0x82:
		d.b.Script(func(a *tuitest.Answers) {
			a.Self.Peer.Name, a.Peers[0].Alias, a.Peers[0].Peer.Name = text, text, text
			a.Requests = []node.Request{tuitest.Request(text, 7, text, "s1")}
			a.Shares = append(slices.Clone(a.Shares[:1]), tuitest.Share("s2", text, tuitest.Guest(5, text)))
			a.Shares[0].Spent = text
		})
		d.send(answered{state: tuitest.State(d.t, d.b)})
	case 0x83:
		peer := session.Peer{ID: tuitest.ID(3), Name: text}
		path := session.Path{Kind: session.Direct}
		for _, e := range []string{node.EventJoined, node.EventMet, node.EventDenied, node.EventSpent, node.EventPath} {
			d.send(drained{Happened: page.Happened{At: tuitest.Now(), Events: []node.Event{{Event: e, Peer: &peer, Path: &path, Reason: text, What: text, Words: []string{text}}}}})
		}
	case 0x84:
		d.b.Script(func(a *tuitest.Answers) { a.Requests, a.Shares = nil, a.Shares[:0] })
		d.send(answered{state: tuitest.State(d.t, d.b)})
	case 0x85:
		s := tuitest.State(d.t, d.b)
		s.Err = session.Errorf("", session.Timeout, "%s", text)
		d.send(answered{state: s})
	case 0x86:
		d.send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(text), Paste: true})
	case 0x87:
		d.send(page.Tick{Now: tuitest.Now().Add(1e9 * 60 * 11)})
	case 0x88:
		d.send(page.Fail{Err: session.Errorf(text, session.Denied, "%s", text)})
	default:
		k := tea.KeyMsg{Type: tea.KeyType(b)}
		if b >= ' ' && b < 0x7f {
			k, _ = widget.ParseKey(string(rune(b)))
		}
		if b > 0x90 {
			k.Type = -tea.KeyType(b - 0x90)
		}
		d.send(k)
	}
}

// check fails if the view isn't exactly the window, or has what a terminal would
// act on besides styles.
func (d *driven) check() {
	d.t.Helper()
	view := d.root.View()
	if d.w <= 0 || d.h <= 0 {
		return
	}
	tuitest.Fits(d.t, view, d.w, d.h)
	if d.t.Failed() {
		d.t.Fatalf("%dx%d, %s", d.w, d.h, d.root.top().page.Title())
	}
	if i := strings.IndexFunc(strings.ReplaceAll(ansi.Strip(view), "\n", ""), func(r rune) bool { return session.Printable(string(r)) != string(r) && r != '\ufffd' }); i >= 0 {
		d.t.Fatalf("something unprintable is shown: %q", view)
	}
}
