//go:build linux || darwin

package terminal

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"tandem/session"
)

// journal is a logger's output.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

// refusals are the lines about one viewer being refused something.
func (j *journal) refusals(viewer uint64) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for line := range strings.Lines(j.text.String()) {
		if strings.Contains(line, "msg=\"refused: ") && strings.Contains(line, fmt.Sprintf(" viewer=%d ", viewer)) {
			n++
		}
	}
	return n
}

// TestViewOnly is trust rule 5: who may only watch has no effect, whatever it
// sends. What it must not send costs it its stream, and the host's log says so.
func TestViewOnly(t *testing.T) {
	var log journal
	// The program tells of every change of its size, a redraw's too.
	s, guest := share(t, Config{
		Argv:   []string{"/bin/sh", "-c", `trap 'echo resi""zed' WINCH; echo ready; while :; do read -r line && eval "$line"; done`},
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	w := attach(t, guest, Request{Right: View})
	if err := w.fails(); session.KindOf(err) != session.NotFound {
		t.Errorf("a viewer made a terminal: %v", err)
	}
	host := attach(t, guest, Request{Params: Params{Size: size80}})
	host.sees("ready")
	watch := func() *watcher {
		view := attach(t, guest, Request{Right: View, Params: Params{Size: Size{20, 5}, Screen: true}})
		view.until("the welcome", func() bool { return view.welcome.Right == View })
		return view
	}
	send := func(w *watcher, frames ...byte) {
		if _, err := w.st.Write(frames); err != nil {
			t.Fatal(err)
		}
	}

	// Every message there is, whoever may send it.
	harmless := []byte{typeAck, typePage, typeAsk, typeRedraw}
	for _, g := range golden {
		kind := g.message.frameType()
		if slices.Contains(harmless, kind) {
			continue
		}
		view := watch()
		frame := appendFrame(nil, g.message)
		if kind == typeInput {
			frame = appendFrame(nil, input("echo ow''ned\n"))
		}
		send(view, frame...)
		want := session.Invalid // that PONG answers nothing
		if kind == typeInput || kind == typeResize || kind == typeEnd {
			want = session.Denied
		}
		if err := view.fails(); session.KindOf(err) != want {
			t.Errorf("frame %#02x: %v, want %s", kind, err, want)
		}
		number := view.welcome.Viewer
		eventually(t, fmt.Sprintf("the log tells of frame %#02x", kind), func() bool { return log.refusals(number) > 0 })
	}
	malformed := watch()
	send(malformed, typeResize, 0, 0, 0, 1, 0)
	if err := malformed.fails(); session.KindOf(err) != session.Invalid {
		t.Errorf("half a resize: %v", err)
	}

	// What anybody may send, and what nobody knows, changes nothing either.
	view := watch()
	for kind := range 256 {
		if m, err := decode(byte(kind), nil); m == nil && err == nil {
			send(view, byte(kind), 0, 0, 0, 4, 0, 0, 0, 0)
		}
	}
	for range 3 * redrawBurst {
		send(view, appendFrame(appendFrame(appendFrame(nil, ask{}), redraw{}), page{before: 1, lines: 5000})...)
	}
	view.until("its round trip, by PONG", func() bool {
		for _, v := range rosterOf(view.events).Viewers {
			if v.Viewer == view.welcome.Viewer && v.RTT > 0 && v.Asks > 0 {
				return true
			}
		}
		return false
	})
	host.types("echo sti''ll here\n")
	host.sees("still here")
	view.sees("still here") // it does see
	for _, no := range []string{"owned", "resized"} {
		if bytes.Contains(host.seen(), []byte(no)) {
			t.Errorf("a viewer had an effect: %q", host.seen())
		}
	}
	info := s.Terminals()[0]
	if info.Size != size80 || info.Typist != host.welcome.Viewer || info.Exit != nil {
		t.Errorf("a viewer had an effect: %+v", info)
	}
}
