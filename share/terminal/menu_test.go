//go:build linux || darwin

package terminal

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"tandem/session"
	"tandem/session/sessiontest"
)

// run attaches the desk as a program does that opens its own streams.
func (d *desk) run(t *testing.T, s session.Session, r Request) <-chan outcome {
	t.Helper()
	return background(func() (Result, error) {
		return Run(t.Context(), s.Open, r, d.tty, Options{Words: func(session.PeerID) []string { return []string{"wolf", "paper", "lunar", "moon"} }})
	})
}

func (d *desk) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.screen = nil
}

// TestListOfPeople: the host sees who is there, without harm to what its
// program shows, and gives and takes rights in it.
func TestListOfPeople(t *testing.T) {
	m := meet(t, Config{})
	d := newDesk(t, Size{100, 30})
	ended := d.run(t, m.host, Request{})
	d.sees("$ ")
	bob := attach(t, m.bob, Request{Right: View, Params: Params{Size: Size{60, 20}}})
	bob.becomes(View)
	d.types("~W")
	d.sees("\x1b[?1049h")
	d.sees("Who is at main")
	d.sees("alice (wolf paper lunar), the host, you")
	d.sees("bob (wolf paper lunar)")
	d.sees("k makes leave")
	bob.until("that it is listed", func() bool { return len(rosterOf(bob.events).Viewers) == 2 })
	d.types("t")
	d.sees("number first")
	d.types("2t")
	d.sees("Done.")
	bob.becomes(Control)
	bob.types("echo beh''ind\n") // waits until the list is closed
	bob.sees("behind")
	if strings.Contains(d.seen(), "behind") {
		t.Error("the program's output is shown within the list")
	}
	d.types("77k")
	d.sees("Not done: there is no viewer 77")
	d.types("2vp\r")
	bob.becomes(View)
	d.sees("behind")
	if list, output := strings.LastIndex(d.seen(), "\x1b[?1049l"), strings.Index(d.seen(), "behind"); list > output {
		t.Error("the program's output is shown within the list")
	}
	if i := m.Terminals()[0]; !i.Pinned || i.Size != (Size{100, 30}) {
		t.Errorf("pinned: %+v", i)
	}

	// Who asks is answered by a key.
	for _, answer := range []struct {
		key   string
		right Right
	}{{"N", View}, {"Y", Control}} {
		d.forget()
		if err := bob.Ask(); err != nil {
			t.Fatal(err)
		}
		d.sees("[tandem: bob (wolf paper lunar) asks to type: Enter ~Y allows it, Enter ~N does not]")
		bob.awaits("it asks", func(r Roster) bool { return viewerOf(r.Viewers, bob.welcome.Viewer).Asks != 0 })
		d.types("~" + answer.key)
		bob.awaits("it is answered", func(r Roster) bool {
			v := viewerOf(r.Viewers, bob.welcome.Viewer)
			return v.Asks == 0 && v.Right == answer.right
		})
	}
	d.types("~Y")
	d.sees("nobody asks to type")

	// Leaving works from within the list as well.
	d.forget()
	d.types("~W")
	d.sees("Who is at main")
	d.types("~.")
	if o := await(t, ended); o.err != nil || !o.Detached {
		t.Errorf("%+v", o)
	}
	d.restored()
	d.sees("\x1b[?1049l")
}

// TestGuestAsks is the other side of it.
func TestGuestAsks(t *testing.T) {
	m := meet(t, Config{})
	host := attach(t, m.host, Request{Params: Params{Size: size80}})
	host.sees("$ ")
	d := newDesk(t, Size{70, 20})
	ended := d.run(t, m.bob, Request{Right: View})
	d.sees("$ ")
	d.types("~T")
	d.sees("the host is asked")
	var bob uint64
	host.awaits("bob asks", func(r Roster) bool {
		bob = r.Viewers[len(r.Viewers)-1].Viewer
		return viewerOf(r.Viewers, bob).Asks != 0
	})
	m.change(t, Do{What: DoRight, Viewer: bob, Right: View})
	d.sees("the host does not let you type")
	d.types("~W")
	d.sees("t asks the host to let you type")
	d.types("t")
	d.sees("The host is asked.")
	host.awaits("bob asks", func(r Roster) bool { return viewerOf(r.Viewers, bob).Asks != 0 })
	d.types("2k\r") // keys of the host's only
	m.change(t, Do{What: DoRight, Viewer: bob, Right: Control})
	d.sees("the host lets you type")
	// Its window counts from now on, whatever size it had when it came.
	host.until("the size", func() bool { return has(host.events, Size{70, 20}) })
	d.types("echo typed-b''y-bob\r")
	host.sees("typed-by-bob")
	d.types("~Y")
	d.sees("only the host decides")
	m.change(t, Do{What: DoRight, Viewer: bob, Right: View})
	d.sees("the host lets you watch only")
	d.types("echo ow''ned\r")
	m.change(t, Do{What: DoKick, Viewer: bob})
	if o := await(t, ended); session.KindOf(o.err) != session.Denied {
		t.Errorf("%+v", o)
	}
	d.restored()
	host.types("echo sti''ll here\n")
	host.sees("still here")
	if bytes.Contains(host.seen(), []byte("owned")) {
		t.Error("bob typed without the right to")
	}
}

// TestNoticeOverAFullScreenProgram: it does not move what the program shows,
// and is painted over after a while.
func TestNoticeOverAFullScreenProgram(t *testing.T) {
	m := meet(t, Config{Argv: []string{"/bin/bash", "--norc", "-c", "trap 'echo redrawn' WINCH; printf '\\e[?1049hfull'; while :; do read -t 1000 x; done"}})
	d := newDesk(t, size80)
	ended := d.run(t, m.host, Request{})
	d.sees("full")
	bob := attach(t, m.bob, Request{Right: View})
	bob.becomes(View)
	d.sees("redrawn") // for the newcomer
	d.forget()
	if err := bob.Ask(); err != nil {
		t.Fatal(err)
	}
	d.sees("\x1b7\x1b[24;1H\x1b[0;7m\x1b[2K[tandem: bob")
	d.sees("\x1b[0m\x1b8")
	d.sees("full") // the host's picture of it, after a while
	d.forget()
	d.types("~W")
	d.sees("Who is at main")
	d.forget()
	d.types("\r")
	d.sees("full")
	m.change(t, Do{What: DoEnd})
	await(t, ended)
	d.restored()
}

func TestDescribe(t *testing.T) {
	v := Viewer{Viewer: 1, Peer: sessiontest.Peer("bob").ID, Name: "\x1b[2Jbob", Right: View, Size: size80, RTT: 31400 * time.Microsecond, Typed: 90 * time.Second}
	got := strings.Join(Describe(v, 1, nil), "|")
	if want := "\ufffd[2Jbob|watches|80x24|31 ms|typed last, 1 min ago"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	v.Asks, v.Name, v.RTT, v.Host, v.Right = 1, "", 420*time.Microsecond, true, Control
	got = strings.Join(Describe(v, 2, func(session.PeerID) []string { return []string{"a"} }), "|")
	if want := v.Peer.Short() + " (a), the host|types|80x24|0.4 ms|asks to type"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
