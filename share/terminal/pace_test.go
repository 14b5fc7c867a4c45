//go:build linux || darwin

package terminal

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"tandem/session"
	"tandem/session/sessiontest"
)

func TestInputFloodIsBounded(t *testing.T) {
	_, guest := share(t, Config{Argv: []string{"/bin/sh", "-c", "stty raw -echo; echo ready; sleep 1000"}})
	attach(t, guest, Request{}).sees("ready")
	stream, err := guest.Open(t.Context(), session.Header{Service: ServiceName, Action: "control"})
	if err != nil {
		t.Fatal(err)
	}
	chunk := appendFrame(nil, input(bytes.Repeat([]byte("x"), 32<<10)))
	for range 100 { // nobody reads it, and credit is not kept to
		if _, err := stream.Write(chunk); err != nil {
			break
		}
	}
	if _, err := io.Copy(io.Discard, stream); session.KindOf(err) != session.TooLarge {
		t.Errorf("a flood of input ended with %v", err)
	}
}

func TestBigPaste(t *testing.T) {
	_, guest := share(t, Config{Argv: []string{"/bin/sh", "-c", "stty raw -echo; echo ready; head -c 1000000 | cksum"}})
	w := attach(t, guest, Request{})
	w.sees("ready")
	if err := w.Input(bytes.Repeat([]byte("0123456789"), 100000)); err != nil {
		t.Fatal(err)
	}
	w.sees(" 1000000")
	w.exits()
}

func TestSlowViewerStallsNobody(t *testing.T) {
	s, guest := share(t, Config{RingSize: minRing})
	fast := attach(t, guest, Request{Params: Params{Size: size80}})
	slow := attach(t, guest, Request{Params: Params{Size: size80}})
	slow.sees("$ ")
	slow.freeze(true)
	fast.types("yes\n")
	before := uint64(0)
	eventually(t, "the fast one sees far more than anything buffers", func() bool {
		fast.forget() // a test's memory is bounded too
		before = s.Terminals()[0].Output
		return before > 20<<20
	})
	fast.types("\x03")
	fast.types("echo la''st words\n")
	fast.sees("last words")
	slow.freeze(false)
	slow.sees("last words")
	gaps, widest := 0, uint64(0)
	for _, e := range slow.events {
		if g, ok := e.(Gap); ok {
			gaps++
			widest = max(widest, g.To-g.From)
		}
	}
	// One for the time it was frozen, and perhaps others while it falls behind
	// or catches up.
	if gaps > 50 || widest < 10<<20 {
		t.Errorf("the slow one was told of %d gaps, the widest of %d bytes", gaps, widest)
	}
}

// TestBackPressure: when every typing viewer is behind, the program waits, so
// that nothing is lost; when it leaves, the program goes on.
func TestBackPressure(t *testing.T) {
	s, guest := share(t, Config{RingSize: 2 * Window})
	w := attach(t, guest, Request{Params: Params{Size: size80}})
	w.sees("$ ")
	w.freeze(true)
	w.types("i=0; while [ $i -lt 200000 ]; do echo $i; i=$((i+1)); done; echo do''ne\n")
	var at uint64
	eventually(t, "the program waits", func() bool {
		last := at
		at = s.Terminals()[0].Output
		time.Sleep(50 * time.Millisecond)
		return at > Window && last == at
	})
	if at > 2*Window {
		t.Fatalf("the program printed %d bytes to a frozen viewer", at)
	}
	w.freeze(false)
	w.sees("\ndone\r\n")
	var want bytes.Buffer
	for i := range 200000 {
		fmt.Fprintf(&want, "%d\r\n", i)
	}
	if !bytes.Contains(w.seen(), want.Bytes()) {
		t.Error("not every line came")
	}

	w.freeze(true)
	w.types("yes\n")
	eventually(t, "the program waits again", func() bool { return s.Terminals()[0].Output > at+Window })
	_ = w.Close()
	w.freeze(false)
	eventually(t, "it goes on without viewers", func() bool { return s.Terminals()[0].Output > at+8*Window })
}

// TestUnacknowledgedOutputIsBounded: a viewer that reads and never says so
// gets a window of output.
func TestUnacknowledgedOutputIsBounded(t *testing.T) {
	_, guest := share(t, Config{RingSize: 4 * Window})
	typist := attach(t, guest, Request{Params: Params{Size: size80}})
	typist.sees("$ ")
	stream, err := guest.Open(t.Context(), session.Header{Service: ServiceName, Action: "view"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	silent := NewClient(stream)
	if _, err := silent.Next(); err != nil {
		t.Fatal(err)
	}
	first := silent.Offset()
	typist.types("yes | head -c 600000; echo do''ne\n")
	typist.sees("done")
	// Everything is in the ring: what bounds it is the window. The roster comes
	// after it, because this viewer has been sent all it may be sent.
	for silent.Offset() < first+Window {
		if _, err := silent.Next(); err != nil {
			t.Fatal(err)
		}
	}
	rosterOf := func(viewers int) (gaps int) {
		t.Helper()
		for {
			event, err := silent.Next()
			if err != nil {
				t.Fatal(err)
			}
			switch e := event.(type) {
			case Gap:
				gaps++
			case Roster:
				if len(e.Viewers) == viewers {
					return gaps
				}
			}
		}
	}
	_ = attach(t, guest, Request{Right: View})
	rosterOf(3)
	if got := silent.Offset() - first; got >= Window+outputChunk {
		t.Errorf("%d bytes came unacknowledged", got)
	}
	// Once its place in the ring is gone, it hears of that when it is back, and
	// not at every turn of the ring.
	typist.forget()
	typist.types("yes | head -c 3000000; echo do''ne\n")
	typist.sees("done")
	_ = attach(t, guest, Request{Right: View})
	if gaps := rosterOf(4); gaps != 0 {
		t.Errorf("%d gaps before an acknowledgement", gaps)
	}
	if err := silent.Ack(silent.Offset()); err != nil {
		t.Fatal(err)
	}
	event, err := silent.Next()
	for _, ok := event.(Roster); ok; _, ok = event.(Roster) {
		event, err = silent.Next() // round trips have become known
	}
	if gap, ok := event.(Gap); !ok || gap.To-gap.From < 1<<20 {
		t.Errorf("after the acknowledgement: %+v, %v", event, err)
	}
}

// TestInterruptDuringFlood counts round trips in windows of output, of which one
// can have at most one: whatever comes between the interrupt and the prompt was
// there within two. After it nothing of the flood comes.
func TestInterruptDuringFlood(t *testing.T) {
	_, guest := share(t, Config{}, sessiontest.Delay(25*time.Millisecond))
	w := attach(t, guest, Request{Params: Params{Size: size80}})
	w.types("yes\n")
	w.until("much output", func() bool { return len(w.output) > 1<<20 })
	w.mu.Lock() // nothing is acknowledged meanwhile
	w.output = nil
	err := w.Input([]byte("\x03"))
	w.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	came := 0
	w.until("the prompt", func() bool {
		came = len(w.output)
		_, after, ok := bytes.Cut(w.output, []byte("^C"))
		return ok && bytes.Contains(after, []byte("$ "))
	})
	if came > 2*Window {
		t.Errorf("%d bytes came after the interrupt, more than in two round trips", came)
	}
	w.forget()
	w.types("echo la''st\n")
	w.sees("last")
	if seen := w.seen(); bytes.Contains(seen, []byte("y\r\ny\r\n")) {
		t.Errorf("the flood goes on: %.100q", seen)
	}
}
