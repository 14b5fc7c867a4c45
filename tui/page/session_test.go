package page_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"tandem/session"
	"tandem/share/node"
	"tandem/tui/page"
	"tandem/tui/theme"
	"tandem/tui/tuitest"
)

func TestStartGolden(t *testing.T) {
	b := tuitest.New()
	tuitest.Page(t, "start", func(look theme.Theme) page.Page { return page.NewStart(tuitest.Env(t, b, look)) })
}

func TestInviteGolden(t *testing.T) {
	b := tuitest.Busy()
	for name, change := range map[string]func(*node.ShareStatus){
		"invite":       func(s *node.ShareStatus) {},
		"invite-empty": func(s *node.ShareStatus) { s.Guests, s.Server = nil, "" },
		"invite-spent": func(s *node.ShareStatus) { s.Spent = "its guest has come" },
	} {
		s := tuitest.Share("s1", "project", tuitest.Guest(1, "anna"), tuitest.Guest(2, "evil\x1b[31m\u202e"))
		change(&s)
		tuitest.Page(t, name, func(look theme.Theme) page.Page { return page.NewInvite(tuitest.Env(t, b, look), s) })
	}
}

func TestJoinGolden(t *testing.T) {
	b := tuitest.New()
	tuitest.Page(t, "join", func(look theme.Theme) page.Page { return page.NewJoin(tuitest.Env(t, b, look)) })
}

func TestPeerGolden(t *testing.T) {
	b := tuitest.Busy()
	tuitest.Page(t, "peer", func(look theme.Theme) page.Page {
		env := tuitest.Env(t, b, look)
		env.Entries = entries
		return page.NewPeer(env, page.Subject{Peer: b.Has.Peers[1], Offers: tuitest.Rights()})
	})
}

// entries stand for the pages that the root knows.
var entries = []page.Entry{
	{Title: "Terminal", About: "type there", Key: theme.Bind("terminal", "t"), Service: "terminal/1", Peer: true, New: stand("the terminal")},
	{Title: "Files", About: "copy both ways", Key: theme.Bind("files", "f"), Service: "folder/1", Peer: true, New: stand("the files")},
	{Title: "Machine", About: "how it does", Key: theme.Bind("machine", "m"), Service: "facts/1", Peer: true, New: stand("the machine")},
	{Title: "Activity", About: "what was done", Key: theme.Bind("activity", "v"), New: stand("the activity")},
}

func stand(name string) func(page.Env, page.Subject) page.Page {
	return func(env page.Env, of page.Subject) page.Page {
		return page.NewHelp(env, named{name + " of " + of.Alias()})
	}
}

// named is a page with a name.
type named struct{ name string }

func (named) Init() tea.Cmd                         { return nil }
func (n named) Update(tea.Msg) (page.Page, tea.Cmd) { return n, nil }
func (named) View() string                          { return "" }
func (named) SetSize(int, int)                      {}
func (n named) Title() string                       { return n.name }
func (named) Keys() []key.Binding                   { return nil }

func run(t *testing.T, b *tuitest.Backend, make func(page.Env) page.Page) (*tuitest.Flow, *tuitest.Window) {
	t.Helper()
	env := tuitest.Env(t, b, tuitest.Dark())
	env.Entries = entries
	w := tuitest.NewWindow(make(env))
	return tuitest.Start(t, w, 80, 21), w
}

func TestStartASession(t *testing.T) {
	b := tuitest.New()
	b.Has.Invite = tuitest.Share("s1", "project")
	var form *page.Start
	f, _ := run(t, b, func(env page.Env) page.Page {
		form = page.NewStart(env)
		return form
	})
	// The terminal to be watched only, a folder that guests may change, three guests.
	f.Wait("What do you share?").Keys("tab", " ", "tab").Wait("[only watch]")
	f.Keys("tab", " ", " ", "tab", "/srv/data", "tab", " ", "tab").Wait("[read and change]")
	f.Keys("tab", "localhost:80", "tab", "backspace", "0", "enter").Wait("a number from 1 to 1000")
	f.Keys("backspace", "3", "tab", " ", "tab").Wait("[1 h]").Keys("enter").Wait("4821 - wolf - paper - lunar", "9:00")
	want := `start folders=["/srv/data write=true executables=false"] terminal=true view=true command=[] forward=["localhost:80"] record="required" uses=3 expires=1h0m0s`
	if calls := b.Calls(); !slices.Contains(calls, want) {
		t.Errorf("asked for %q, want %q", calls, want)
	}
	want = "tandem share /srv/data --write --terminal --view-only --record=required --forward localhost:80 --uses 3 --expires 1h"
	if verb := form.Verb(); verb != want {
		t.Errorf("the verb is %q, want %q", verb, want)
	}
}

func TestStartSaysWhyNot(t *testing.T) {
	b := tuitest.New()
	b.Has.Fail = map[string]error{"StartShare": session.Errorf("share", session.NotFound, "there is no such folder")}
	f, w := run(t, b, func(env page.Env) page.Page { return page.NewStart(env) })
	f.Wait("What do you share?").Keys(" ", "enter").Wait("nothing is shared yet").Keys(" ", "enter")
	f.Until("the error is told", func() bool {
		return slices.ContainsFunc(w.Said(), func(m tea.Msg) bool { _, failed := m.(page.Fail); return failed })
	})
	f.Wait("What do you share?")
}

func TestEndASession(t *testing.T) {
	b := tuitest.Busy()
	share := b.Has.Shares[0]
	f, _ := run(t, b, func(env page.Env) page.Page { return page.NewInvite(env, share) })
	f.Wait("anna").Keys("K", "x", "K") // another key between them is a change of mind
	if slices.ContainsFunc(b.Calls(), func(c string) bool { return strings.HasPrefix(c, "dismiss") }) {
		t.Error("a guest is sent away by one key")
	}
	f.Keys("K").Until("the guest is sent away", func() bool {
		return slices.Contains(b.Calls(), "dismiss "+tuitest.ID(1).String())
	})
	f.Keys("E", "x", "E") // another key between them is a change of mind
	f.Keys("E").Until("the session has ended", func() bool { return slices.Contains(b.Calls(), "end s1") })
	state := tuitest.State(t, b)
	f.Send(state).Wait("This session has ended.")
}

func TestJoin(t *testing.T) {
	b := tuitest.New()
	b.Has.Wait = make(chan struct{})
	anna := tuitest.Peer(1, "anna", true)
	b.Has.Joined = node.Joined{Peer: anna.Peer, Alias: "anna", Words: anna.Words, Offers: tuitest.Rights(), Path: anna.Path, Recorded: node.RecordedMaybe}
	f, _ := run(t, b, func(env page.Env) page.Page { return page.NewJoin(env) })
	f.Wait("Join a session").Keys("enter").Wait("the code is missing").Keys("wolf", "enter").Wait("a code")
	f.Keys("ctrl+u", "4821 wolf paper lunar", "enter").Wait("Looking for the host")
	f.Send(page.Happened{Events: []node.Event{{Event: node.EventMet, Words: anna.Words, Own: b.Has.Self.Words}}})
	f.Wait("their words", anna.Words[0], "your words", b.Has.Self.Words[0])
	close(b.Has.Wait)
	f.Wait("terminal (watch and type)", "by them: the terminal", "Terminal: type there", "Files: copy both ways").Gone("Machine")
	if calls := b.Calls(); !slices.Contains(calls, "join 4821-wolf-paper-lunar []") {
		t.Errorf("asked for %q", calls)
	}
	f.Keys("t").Wait("the terminal of anna")
}

func TestJoinCanBeGivenUp(t *testing.T) {
	b := tuitest.New()
	b.Has.Wait = make(chan struct{})
	f, _ := run(t, b, func(env page.Env) page.Page { return page.NewJoin(env) })
	f.Wait("Join a session").Keys("4821-wolf-paper-lunar", "enter").Wait("Looking for the host").Keys("esc").Gone("Looking")
	f.Keys("x").Wait("lunarx")
}

func TestPeerActions(t *testing.T) {
	b := tuitest.Busy()
	f, _ := run(t, b, func(env page.Env) page.Page {
		return page.NewPeer(env, page.Subject{Peer: b.Has.Peers[0]})
	})
	// The scripted peer refuses to say what it offers.
	f.Wait("nothing at the moment", "Terminal", "Machine")
	f.Keys("a", "ctrl+u", "boss", "enter").Until("it is renamed", func() bool {
		return slices.Contains(b.Calls(), "rename "+tuitest.ID(1).String()+" boss")
	})
	f.Keys("X", "x", "X").Keys("X").Until("it is forgotten", func() bool {
		return slices.Contains(b.Calls(), "forget "+tuitest.ID(1).String())
	})
	if n := strings.Count(strings.Join(b.Calls(), "\n"), "forget"); n != 1 {
		t.Errorf("forgotten %d times", n)
	}
}

// The QR code alone takes the whole window, for a link with as many servers as fit, and
// says how much it needs where there is no room at all.
func TestQRTakesTheWindow(t *testing.T) {
	share := tuitest.Share("s1", "project")
	share.Link += "&s=" + strings.Repeat("http%3A%2F%2F192.0.2.1%3A35819", 4)
	invite := page.NewInvite(tuitest.Env(t, tuitest.Busy(), tuitest.None()), share)
	invite.SetSize(80, 21)
	if _, ok := invite.Whole(80, 24); ok {
		t.Error("it takes the window before anybody asked for it")
	}
	press(invite, runes("c"))
	for _, c := range []struct {
		width, height int
		want          string
	}{{80, 24, share.Code}, {80, 23, "▀"}, {160, 48, share.Code}, {60, 15, "a window of 39 by 20"}, {41, 40, "▀"}} {
		view, ok := invite.Whole(c.width, c.height)
		if text := ansi.Strip(view); !ok || !strings.Contains(text, c.want) || !strings.Contains(text, "c back") {
			t.Errorf("%dx%d shows\n%s", c.width, c.height, text)
		}
		tuitest.Fits(t, view, c.width, c.height)
	}
	press(invite, tea.KeyMsg{Type: tea.KeyEsc})
	if _, ok := invite.Whole(80, 24); ok {
		t.Error("esc doesn't give the window back")
	}
}

// Who is clicked is who is sent away.
func TestClickOnAGuest(t *testing.T) {
	b := tuitest.Busy()
	share := tuitest.Share("s1", "project", tuitest.Guest(1, "anna"), tuitest.Guest(2, "bert"), tuitest.Guest(3, "carl"))
	f, _ := run(t, b, func(env page.Env) page.Page { return page.NewInvite(env, share) })
	f.Wait("carl")
	for y, line := range strings.Split(f.View(), "\n") {
		if strings.Contains(line, "bert") {
			f.Send(tea.MouseMsg{X: 5, Y: y, Button: tea.MouseButtonLeft, Action: tea.MouseActionPress})
		}
	}
	f.Keys("K", "K").Until("bert is sent away", func() bool { return slices.Contains(b.Calls(), "dismiss "+tuitest.ID(2).String()) })
}

// The recording of a session is played from its page, also when it has ended.
func TestPlayRecordingOfSession(t *testing.T) {
	b := tuitest.Busy()
	b.Has.Shares[0].Recording, b.Has.Shares[0].Recorded = "/rec/one.cast", node.RecordedOrNothing
	share := b.Has.Shares[0]
	f, w := run(t, b, func(env page.Env) page.Page { return page.NewInvite(env, share) })
	f.Wait("/rec/one.cast", "the terminal ends with it").Keys("E", "E").Until("it has ended", func() bool { return slices.Contains(b.Calls(), "end s1") })
	f.Send(tuitest.State(t, b)).Wait("This session has ended.", "/rec/one.cast").Keys("p")
	f.Until("it is played", func() bool {
		return slices.ContainsFunc(w.Said(), func(m tea.Msg) bool { _, exec := m.(page.Exec); return exec })
	})
	says(f, w, page.Verb{Text: "tandem replay --idle-limit 2s /rec/one.cast"})
}

// A share of another window is told from those that end with this node.
func TestShareInAnotherWindow(t *testing.T) {
	b := tuitest.Busy()
	b.Has.Shares[0].Beside = true
	b.Has.Shares[0].Spent = ""
	f, _ := run(t, b, func(env page.Env) page.Page { return page.NewHome(env) })
	f.Wait("1 guest, in another window").Keys("enter").Wait("Shared in another window.")
	for beside, want := range map[bool]bool{true: false, false: true} {
		share := b.Has.Shares[0]
		share.Beside = beside
		env := tuitest.Env(t, b, tuitest.None())
		env.Entries = entries
		keys := page.NewInvite(env, share).Keys()
		if got := slices.ContainsFunc(keys, func(k key.Binding) bool { return k.Help().Desc == "your window on it" }); got != want {
			t.Errorf("beside %v: a window on its terminal is offered: %v", beside, got)
		}
	}
}
