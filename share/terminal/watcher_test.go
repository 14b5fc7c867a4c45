//go:build linux || darwin

package terminal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"tandem/session"
	"tandem/session/sessiontest"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

var size80 = Size{Cols: 80, Rows: 24}

// share starts a service and returns it with the session of a guest, bob.
func share(t *testing.T, config Config, opts ...sessiontest.Option) (*Service, session.Session) {
	t.Helper()
	if config.Argv == nil {
		config.Argv = []string{"/bin/sh"}
	}
	config.Env = append(config.Env, "PS1=$ ", "HISTFILE=/dev/null")
	if config.Dir == "" {
		config.Dir = t.TempDir()
	}
	s := New(config)
	_, guest := sessiontest.Pair(t, sessiontest.Serve(s), nil, opts...)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, guest
}

// watcher is a viewer that keeps what it is told.
type watcher struct {
	*Client
	t  *testing.T
	st session.Stream

	mu      sync.Mutex
	changed *sync.Cond
	welcome Welcome
	output  []byte // what came, gaps left out
	events  []Event
	exit    *Exit
	err     error
	hold    bool // do not read on
	done    chan struct{}
}

func attach(t *testing.T, guest session.Session, r Request) *watcher {
	t.Helper()
	header, err := r.Header()
	if err != nil {
		t.Fatal(err)
	}
	stream, err := guest.Open(t.Context(), header)
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{Client: NewClient(stream), t: t, st: stream, done: make(chan struct{})}
	w.changed = sync.NewCond(&w.mu)
	go w.run()
	t.Cleanup(func() {
		w.freeze(false)
		_ = w.Close()
		<-w.done
	})
	return w
}

func (w *watcher) run() {
	defer close(w.done)
	for {
		w.mu.Lock()
		for w.hold {
			w.changed.Wait()
		}
		w.mu.Unlock()
		event, err := w.Next()
		w.mu.Lock()
		switch e := event.(type) {
		case Welcome:
			w.welcome = e
		case Output:
			w.output = append(w.output, e.Data...)
		case Exit:
			w.exit = &e
		}
		if _, ok := event.(Output); !ok && event != nil {
			w.events = append(w.events, event)
		}
		w.err = err
		w.mu.Unlock()
		w.changed.Broadcast()
		if err != nil {
			return
		}
		_ = w.Ack(w.Offset())
	}
}

func (w *watcher) freeze(on bool) {
	w.mu.Lock()
	w.hold = on
	w.mu.Unlock()
	w.changed.Broadcast()
}

// until waits for a condition on what was seen; mu is held.
func (w *watcher) until(what string, ok func() bool) {
	w.t.Helper()
	expired := false
	timer := time.AfterFunc(patience, func() {
		w.mu.Lock()
		expired = true
		w.mu.Unlock()
		w.changed.Broadcast()
	})
	defer timer.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for !ok() {
		if expired || w.err != nil {
			w.t.Fatalf("never saw %s; output %.2000q, error %v", what, w.output, w.err)
		}
		w.changed.Wait()
	}
}

func (w *watcher) sees(text string) {
	w.t.Helper()
	w.until(fmt.Sprintf("%q", text), func() bool { return bytes.Contains(w.output, []byte(text)) })
}

func (w *watcher) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.output = nil
}

func (w *watcher) types(text string) {
	w.t.Helper()
	if err := w.Input([]byte(text)); err != nil {
		w.t.Fatal(err)
	}
}

// exits waits for the exit status and the stream's end in good order.
func (w *watcher) exits() Exit {
	w.t.Helper()
	w.until("the exit", func() bool { return w.exit != nil })
	return *w.exit
}

// fails waits for the stream's failure.
func (w *watcher) fails() error {
	w.t.Helper()
	select {
	case <-w.done:
	case <-time.After(patience):
		w.t.Fatal("the stream goes on")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *watcher) seen() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.output)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func has(events []Event, want Event) bool {
	for _, e := range events {
		if size, ok := e.(Size); ok && size == want {
			return true
		}
	}
	return false
}

// attachRaw sends params that Header would leave out.
func attachRaw(t *testing.T, guest session.Session, r Request) *watcher {
	t.Helper()
	if r.Argv == nil || len(r.Argv) > 0 {
		return attach(t, guest, r)
	}
	stream, err := guest.Open(t.Context(), session.Header{Service: ServiceName, Action: "control", Params: json.RawMessage(`{"argv":[]}`)})
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{Client: NewClient(stream), t: t, st: stream, done: make(chan struct{})}
	w.changed = sync.NewCond(&w.mu)
	go w.run()
	t.Cleanup(func() { _ = w.Close(); <-w.done })
	return w
}

func rosterOf(events []Event) (r Roster) {
	for _, e := range events {
		if roster, ok := e.(Roster); ok {
			r = roster
		}
	}
	return r
}

// alive reports whether a process runs; zombies do not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !bytes.Contains(stat[bytes.LastIndexByte(stat, ')'):], []byte(" Z "))
}
