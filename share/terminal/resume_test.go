//go:build linux || darwin

package terminal

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"tandem/session"
	"tandem/session/sessiontest"
)

func TestTerminalSurvivesItsViewers(t *testing.T) {
	s, guest := share(t, Config{})
	w := attach(t, guest, Request{Params: Params{Size: size80}})
	w.types("x=remem''bered\n")
	w.sees("\r\n$ ")
	_ = w.Close()
	eventually(t, "the viewer is gone", func() bool { return len(s.Terminals()[0].Viewers) == 0 })
	w = attach(t, guest, Request{Name: DefaultName, Params: Params{Size: size80}})
	w.types("echo $x\n")
	w.sees("remembered\r\n")
	if err := s.End(""); err != nil {
		t.Fatal(err)
	}
	if got := w.exits(); got.Code != 129 || got.Signal != "SIGHUP" || got.Reason == "" {
		t.Errorf("ended by the host: %+v", got)
	}
	if err := s.End(""); session.KindOf(err) != session.NotFound {
		t.Errorf("ended twice: %v", err)
	}
	// The name is free again.
	w = attach(t, guest, Request{Params: Params{Size: size80}})
	w.types("echo new=$x.\n")
	w.sees("new=.\r\n")
}

// TestLostViewerIsNotRevoked: a session that merely ends leaves its terminals.
func TestLostViewerIsNotRevoked(t *testing.T) {
	s, guest := share(t, Config{})
	w := attach(t, guest, Request{Params: Params{Size: size80}})
	w.sees("$ ")
	guest.(*sessiontest.Session).Cut()
	eventually(t, "the viewer is gone", func() bool { return len(s.Terminals()[0].Viewers) == 0 })
	if info := s.Terminals()[0]; info.Exit != nil {
		t.Errorf("it ended: %+v", info.Exit)
	}
}

// TestResume cuts the stream again and again, at every kind of place: what a
// viewer has seen in the end is exact.
func TestResume(t *testing.T) {
	_, guest := share(t, Config{Argv: []string{"/bin/sh", "-c", "i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done; exit 6"}})
	var want bytes.Buffer
	for i := range 20000 {
		fmt.Fprintf(&want, "%d\r\n", i)
	}
	var got []byte
	r := Request{}
	var exit *Exit
	cuts := 0
	for n := 1; exit == nil; n = n*7%30011 + 1 {
		w := attach(t, guest, r)
		w.until("some output or the exit", func() bool { return len(w.output) >= n || w.exit != nil })
		_ = w.Close()
		<-w.done
		got = append(got, w.output...)
		exit = w.exit
		r.Resume = &Resume{Terminal: w.welcome.Terminal, Offset: w.welcome.Offset + uint64(len(w.output))}
		cuts++
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("after %d cuts: %d bytes, want %d", cuts, len(got), want.Len())
	}
	if exit.Code != 6 || cuts < 3 {
		t.Errorf("exit %+v after %d cuts", exit, cuts)
	}
	// Even afterwards, the status can be had.
	w := attach(t, guest, r)
	if got := w.exits(); got.Code != 6 {
		t.Errorf("%+v", got)
	}

	for name, c := range map[string]struct {
		resource string
		resume   Resume
		want     session.Kind
	}{
		"beyond the end":   {"", Resume{r.Resume.Terminal, uint64(want.Len()) + 1}, session.Invalid},
		"huge":             {"", Resume{r.Resume.Terminal, 1<<64 - 1}, session.Invalid},
		"another resource": {"other", *r.Resume, session.NotFound},
		"no such terminal": {"", Resume{strings.Repeat("0", 32), 0}, session.NotFound},
		"nothing":          {"", Resume{}, session.NotFound},
	} {
		w := attach(t, guest, Request{Name: c.resource, Params: Params{Resume: &c.resume}})
		if err := w.fails(); session.KindOf(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	// A new terminal of the name takes its place.
	attach(t, guest, Request{}).exits()
	w = attach(t, guest, r)
	if err := w.fails(); session.KindOf(err) != session.NotFound {
		t.Errorf("resumed another terminal: %v", err)
	}
}

func TestResumePastTheRing(t *testing.T) {
	_, guest := share(t, Config{RingSize: minRing, Argv: []string{"/bin/sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x; echo; echo end; read x"}})
	w := attach(t, guest, Request{})
	w.sees("end")
	_ = w.Close()
	<-w.done
	w = attach(t, guest, Request{Params: Params{Resume: &Resume{w.welcome.Terminal, 10}}})
	w.sees("end")
	for _, e := range w.events {
		if g, ok := e.(Gap); ok && g.From == 10 && g.To == w.Offset()-uint64(len(w.seen())) {
			return
		}
	}
	t.Errorf("no gap among %+v", w.events)
}

func TestRedrawForALateViewer(t *testing.T) {
	_, guest := share(t, Config{Argv: []string{"/bin/bash", "--norc", "-c", "trap 'echo redraw $(stty size)' WINCH; echo ready; while :; do read -t 1000 x; done"}})
	first := attach(t, guest, Request{Params: Params{Size: size80}})
	first.sees("ready")
	_ = attach(t, guest, Request{Right: View})
	first.sees("redraw 2") // bash may notice the change, the change back, or both
}
