//go:build linux || darwin

package terminal

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"tandem/session"
	"tandem/session/sessiontest"
)

func TestResize(t *testing.T) {
	s, guest := share(t, Config{})
	big := attach(t, guest, Request{Params: Params{Size: Size{100, 40}}})
	size := func(w *watcher, want string) {
		t.Helper()
		// A redraw changes the size for a moment.
		eventually(t, want, func() bool {
			w.forget()
			w.types("stty size; echo to''ld\n")
			w.sees("told")
			return bytes.Contains(w.seen(), []byte(want+"\r\n"))
		})
	}
	size(big, "40 100")
	small := attach(t, guest, Request{Params: Params{Size: Size{120, 20}}})
	small.until("the welcome", func() bool { return small.welcome.Size == Size{100, 20} })
	big.until("the size", func() bool { return has(big.events, Size{100, 20}) })
	size(big, "20 100")

	// Who only watches, or has no size, doesn't count.
	view := attach(t, guest, Request{Right: View, Params: Params{Size: Size{10, 10}}})
	view.until("the welcome", func() bool { return view.welcome.Cols > 0 })
	pipe := attach(t, guest, Request{})
	pipe.until("the welcome", func() bool { return pipe.welcome.Cols > 0 })
	size(big, "20 100")

	if err := big.Resize(Size{90, 50}); err != nil {
		t.Fatal(err)
	}
	big.until("the size", func() bool { return has(big.events, Size{90, 20}) })
	// It grows back when the small one leaves.
	_ = small.Close()
	big.until("the size", func() bool { return has(big.events, Size{90, 50}) })
	size(big, "50 90")
	if got := s.Terminals()[0].Size; got != (Size{90, 50}) {
		t.Errorf("the host says %v", got)
	}
}

// TestHostileViewer: what one viewer does wrong costs it its stream, and costs
// nobody else anything.
func TestHostileViewer(t *testing.T) {
	_, guest := share(t, Config{})
	host := attach(t, guest, Request{Params: Params{Size: size80}})
	host.sees("$ ")
	raw := func(hex ...byte) []byte { return hex }
	for name, frames := range map[string][]byte{
		"huge resize":   raw(typeResize, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff),
		"empty resize":  raw(typeResize, 0, 0, 0, 4, 0, 0, 0, 0),
		"ack beyond":    appendFrame(nil, ack(1<<40)),
		"huge frame":    raw(typeInput, 0xff, 0xff, 0xff, 0xff),
		"empty input":   raw(typeInput, 0, 0, 0, 0),
		"after the end": append(appendFrame(nil, end{}), appendFrame(nil, input("x"))...),
	} {
		bad := attach(t, guest, Request{Name: strings.ReplaceAll(name, " ", "-")})
		if _, err := bad.st.Write(frames); err != nil {
			t.Fatal(err)
		}
		if kind := session.KindOf(bad.fails()); kind != session.Invalid && kind != session.TooLarge {
			t.Errorf("%s: %v", name, bad.fails())
		}
	}
	for name, r := range map[string]Request{
		"huge size":      {Params: Params{Size: Size{65535, 65535}}},
		"half a size":    {Params: Params{Size: Size{80, 0}}},
		"no such right":  {Right: "own"},
		"name of a path": {Name: "../x"},
		"name with ESC":  {Name: "\x1b[2J"},
		"long name":      {Name: strings.Repeat("x", 65)},
		"no arguments":   {Params: Params{Argv: []string{}}},
		"NUL":            {Params: Params{Argv: []string{"a\x00b"}}},
		"arguments":      {Params: Params{Argv: []string{"a", strings.Repeat("x", maxArgBytes)}}},
	} {
		w := attachRaw(t, guest, r)
		if kind := session.KindOf(w.fails()); kind != session.Invalid {
			t.Errorf("%s: %v", name, w.fails())
		}
	}
	host.types("echo sti''ll here\n")
	host.sees("still here")
}

func TestSeveralViewers(t *testing.T) {
	_, guest := share(t, Config{})
	a := attach(t, guest, Request{Params: Params{Size: size80}})
	a.types("echo fir''st\n")
	a.sees("first")
	b := attach(t, guest, Request{Params: Params{Size: size80}})
	b.sees("first") // some context
	c := attach(t, guest, Request{Right: View})
	b.types("echo fro''m-b\n")
	for _, w := range []*watcher{a, b, c} {
		w.sees("from-b")
		w.until("the roster", func() bool {
			r := rosterOf(w.events)
			return len(r.Viewers) == 3 && r.Answers == a.welcome.Viewer
		})
	}
	r := rosterOf(c.events)
	if v := r.Viewers[2]; v.Right != View || v.Name != "bob" || v.Peer != sessiontest.Peer("bob").ID || v.Viewer != c.welcome.Viewer {
		t.Errorf("the roster has %+v", v)
	}
	// When the one that answers queries leaves, another does.
	_ = a.Close()
	b.until("the roster", func() bool {
		r := rosterOf(b.events)
		return len(r.Viewers) == 2 && r.Answers == b.welcome.Viewer
	})
	if !a.welcome.Made || b.welcome.Made || a.welcome.Live != 0 || b.welcome.Live == 0 {
		t.Errorf("welcomed as %+v and %+v", a.welcome, b.welcome)
	}
}

func TestLimits(t *testing.T) {
	_, guest := share(t, Config{Argv: []string{"/bin/cat"}})
	var last error
	for i := range maxOwned + 1 {
		w := attach(t, guest, Request{Name: strconv.Itoa(i)})
		if i < maxOwned {
			w.until("the welcome", func() bool { return w.welcome.Made })
		} else {
			last = w.fails()
		}
	}
	if session.KindOf(last) != session.Busy {
		t.Errorf("terminals without end: %v", last)
	}
	for i := range maxOfOnePeer {
		w := attach(t, guest, Request{Name: "0", Right: View})
		if i < maxOfOnePeer-1 {
			w.until("the welcome", func() bool { return w.welcome.Viewer > 0 })
		} else {
			last = w.fails()
		}
	}
	if session.KindOf(last) != session.Busy {
		t.Errorf("viewers without end: %v", last)
	}
}

func TestClosedService(t *testing.T) {
	s, guest := share(t, Config{})
	w := attach(t, guest, Request{Params: Params{Size: size80}})
	w.sees("$ ")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := w.exits(); got.Reason == "" {
		t.Errorf("%+v", got)
	}
	late := attach(t, guest, Request{})
	if err := late.fails(); session.KindOf(err) != session.Unavailable {
		t.Errorf("%v", err)
	}
}
