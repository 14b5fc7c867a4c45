package tui

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/creack/pty"
	"github.com/muesli/termenv"

	"tandem/session"
	"tandem/share/node"
	"tandem/tui/theme"
	"tandem/tui/tuitest"
)

// TestBenchKeyToFrame measures how long a key takes to be on the screen, with
// 10,000 peers and 10,000 events a second, and what the window holds.
func TestBenchKeyToFrame(t *testing.T) {
	if os.Getenv("TANDEM_BENCH") == "" {
		t.Skip("a benchmark: set TANDEM_BENCH=1")
	}
	b := tuitest.New()
	b.Has.Peers = tuitest.Peers(10000, 10000)
	typed, seat, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer typed.Close()
	if err := pty.Setsize(typed, &pty.Winsize{Cols: 160, Rows: 48}); err != nil {
		t.Fatal(err)
	}
	screen := &watched{}
	var copying sync.WaitGroup
	copying.Go(func() { _, _ = io.Copy(screen, typed) }) // until the other end is closed
	ended := make(chan error, 1)
	begun := time.Now()
	go func() {
		ended <- Run(t.Context(), Config{
			Backend: b, Theme: theme.Options{Profile: termenv.TrueColor}, Keys: theme.DefaultKeys(), In: seat, Out: seat,
		})
	}()
	screen.await(t, "peer-00001")
	t.Logf("start to first frame: %v", time.Since(begun).Round(100*time.Microsecond))

	for _, storm := range []bool{false, true} {
		stop := make(chan struct{})
		var storming sync.WaitGroup
		if storm {
			storming.Go(func() { rain(b, stop) })
		}
		var took []time.Duration
		for i := range 600 {
			screen.forget()
			pressed := time.Now()
			key := "\x1b[B"
			if i%20 >= 10 {
				key = "\x1b[A"
			}
			if _, err := io.WriteString(typed, key); err != nil {
				t.Fatal(err)
			}
			at := i%20 + 1
			if at >= 10 {
				at = 20 - at
			}
			took = append(took, screen.await(t, fmt.Sprintf("▌  peer-%05d", at+1)).Sub(pressed))
			time.Sleep(time.Duration(7+i%11) * time.Millisecond) // not in step with the frames
		}
		close(stop)
		storming.Wait()
		slices.Sort(took)
		t.Logf("key to frame, 10,000 peers, storm %v: p50 %v, p99 %v, most %v", storm,
			took[len(took)/2].Round(100*time.Microsecond), took[len(took)*99/100].Round(100*time.Microsecond), took[len(took)-1].Round(100*time.Microsecond))
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	t.Logf("heap with 10,000 peers: %.1f MB", float64(m.HeapAlloc)/1e6)
	if _, err := io.WriteString(typed, "\x03"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := seat.Close(); err != nil {
		t.Error(err)
	}
	copying.Wait()
}

// rain emits 10,000 events a second.
func rain(b *tuitest.Backend, stop <-chan struct{}) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	peer := tuitest.ID(77)
	path := session.Path{Kind: session.Relayed}
	for {
		select {
		case <-tick.C:
			for range 10 {
				b.Emit(node.Event{Event: node.EventPath, Peer: &session.Peer{ID: peer, Name: "noisy"}, Path: &path})
			}
		case <-stop:
			return
		}
	}
}

// watched is a terminal that knows when something has come up.
type watched struct {
	mu   sync.Mutex
	text bytes.Buffer
	at   time.Time
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.WriteString(ansi.Strip(string(p)))
	w.at = time.Now()
	return len(p), nil
}

func (w *watched) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Reset()
}

// await waits until text has come up and says when.
func (w *watched) await(t *testing.T, text string) time.Time {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Microsecond) {
		w.mu.Lock()
		found, at, shown := bytes.Contains(w.text.Bytes(), []byte(text)), w.at, w.text.String()
		w.mu.Unlock()
		if found {
			return at
		}
		if time.Until(deadline) < 20*time.Millisecond {
			t.Fatalf("%q did not come up in %q", text, shown)
		}
	}
	return time.Time{}
}
