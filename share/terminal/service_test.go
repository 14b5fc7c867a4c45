//go:build linux || darwin

package terminal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
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

func TestExitStatus(t *testing.T) {
	s, guest := share(t, Config{})
	for i, c := range []struct {
		input string
		want  Exit
	}{
		{"exit 0\n", Exit{}},
		{"exit 7\n", Exit{Code: 7}},
		{"exit 255\n", Exit{Code: 255}},
		{"kill -KILL $$\n", Exit{Code: 137, Signal: "SIGKILL"}},
		{"kill -TERM $$; kill -9 $$\n", Exit{Code: 137, Signal: "SIGKILL"}}, // an interactive shell ignores SIGTERM
	} {
		w := attach(t, guest, Request{Name: strconv.Itoa(i), Params: Params{Size: size80}})
		w.types(c.input)
		if got := w.exits(); got != c.want {
			t.Errorf("%q: %+v, want %+v", c.input, got, c.want)
		}
		if err := w.fails(); !errors.Is(err, io.EOF) {
			t.Errorf("after the exit: %v, want EOF", err)
		}
	}
	if n := len(s.Terminals()); n != 5 {
		t.Errorf("%d terminals can be resumed, want 5", n)
	}
}

func TestOutputOfAnEndingProgramIsWhole(t *testing.T) {
	_, guest := share(t, Config{Argv: []string{"/bin/sh", "-c", "sleep 1000 & i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; exit 3"}})
	w := attach(t, guest, Request{})
	if got := w.exits(); got.Code != 3 {
		t.Errorf("exit %+v", got)
	}
	var want bytes.Buffer
	for i := range 3000 {
		fmt.Fprintf(&want, "line %d\r\n", i)
	}
	if !bytes.Equal(w.seen(), want.Bytes()) {
		t.Errorf("saw %d bytes, want %d", len(w.seen()), want.Len())
	}
}

func TestCommands(t *testing.T) {
	s := New(Config{Dir: t.TempDir()})
	t.Cleanup(func() { _ = s.Close() })
	_, guest := sessiontest.Pair(t, sessiontest.Serve(s), nil)
	for _, c := range []struct {
		argv   []string
		code   int
		output string
	}{
		{[]string{"/bin/echo", "a b", "$HOME;"}, 0, "a b $HOME;\r\n"}, // no shell reads it
		{[]string{"tandem-no-such-command"}, 127, "tandem: tandem-no-such-command: command not found\r\n"},
		{[]string{t.TempDir()}, 126, "can't be executed"},
		{[]string{"/bin/sh", "-c", "test -t 0 && test -t 1 && test -t 2 && exit 9"}, 9, ""},
	} {
		w := attach(t, guest, Request{Params: Params{Argv: c.argv}})
		if got := w.exits(); got.Code != c.code || !strings.Contains(string(w.seen()), c.output) {
			t.Errorf("%q: %+v with output %q; want %d with %q", c.argv, got, w.seen(), c.code, c.output)
		}
	}
}

func TestLoginShell(t *testing.T) {
	s := New(Config{Dir: t.TempDir()})
	t.Cleanup(func() { _ = s.Close() })
	_, guest := sessiontest.Pair(t, sessiontest.Serve(s), nil)
	w := attach(t, guest, Request{Params: Params{Size: size80, Term: "vt220"}})
	w.types("echo shell=$0 term=$TERM in=$TANDEM_TERMINAL; exit 5\n")
	w.sees("term=vt220 in=main")
	w.sees("shell=-")
	if got := w.exits(); got.Code != 5 {
		t.Errorf("%+v", got)
	}
}

func TestPinnedProgram(t *testing.T) {
	_, guest := share(t, Config{Argv: []string{"/bin/cat"}})
	w := attach(t, guest, Request{Params: Params{Argv: []string{"/bin/sh"}}})
	if err := w.fails(); session.KindOf(err) != session.Denied {
		t.Errorf("a viewer chose the program: %v", err)
	}
	w = attach(t, guest, Request{})
	w.types("echo $((6*7))\n")
	w.sees("$((6*7))\r\necho $((6*7))\r\n")
}

func TestEndOfInput(t *testing.T) {
	_, guest := share(t, Config{})
	w := attach(t, guest, Request{})
	w.types("cat >f\nwithout line feed")
	if err := w.End(); err != nil {
		t.Fatal(err)
	}
	if got := w.exits(); got.Code != 0 {
		t.Errorf("%+v", got)
	}
	w = attach(t, guest, Request{Params: Params{Size: size80}})
	w.types("wc -c <f\n")
	w.sees("17\r\n")
}

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

func has(events []Event, want Event) bool {
	for _, e := range events {
		if size, ok := e.(Size); ok && size == want {
			return true
		}
	}
	return false
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
		bad := attach(t, guest, Request{Name: "other"})
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

func rosterOf(events []Event) (r Roster) {
	for _, e := range events {
		if roster, ok := e.(Roster); ok {
			r = roster
		}
	}
	return r
}

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

func TestTerminalHangsUp(t *testing.T) {
	s, guest := share(t, Config{})
	first := attach(t, guest, Request{Name: "ssh", Params: Params{Size: size80, Hangup: true}})
	first.sees("$ ")
	second := attach(t, guest, Request{Name: "ssh", Params: Params{Size: size80, Hangup: true}})
	second.sees("$ ")
	_ = second.Close() // it was not made for this one
	eventually(t, "the second viewer is gone", func() bool { return len(s.Terminals()[0].Viewers) == 1 })
	first.types("echo still=$((40+2))\n")
	first.sees("still=42")
	_ = first.Close()
	eventually(t, "the terminal has ended", func() bool { return s.Terminals()[0].Exit != nil })
}

func TestStart(t *testing.T) {
	s, guest := share(t, Config{})
	if err := s.Start("", Params{Size: Size{132, 50}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(DefaultName, Params{}); session.KindOf(err) != session.Exists {
		t.Errorf("started twice: %v", err)
	}
	if info := s.Terminals()[0]; !info.Owner.IsZero() || info.Size != (Size{132, 50}) {
		t.Errorf("%+v", info)
	}
	w := attach(t, guest, Request{Right: View})
	w.sees("$ ")
	w = attach(t, guest, Request{Name: "main", Params: Params{Argv: []string{"/bin/true"}}})
	if err := w.fails(); session.KindOf(err) != session.Exists {
		t.Errorf("a program for a living terminal: %v", err)
	}
}

// alive reports whether a process runs; zombies do not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !bytes.Contains(stat[bytes.LastIndexByte(stat, ')'):], []byte(" Z "))
}

// TestKill is trust rule 4: nothing of a terminal's session survives its end,
// not jobs in groups of their own, nor those that ignore hangups or are
// stopped.
func TestKill(t *testing.T) {
	for name, end := range map[string]func(*Service, context.CancelCauseFunc){
		"close": func(s *Service, _ context.CancelCauseFunc) { _ = s.Close() },
		"revoked": func(_ *Service, cancel context.CancelCauseFunc) {
			cancel(session.Errorf("test", session.Revoked, "no more"))
		},
		"owner": func(s *Service, _ context.CancelCauseFunc) { s.EndOwned(sessiontest.Peer("bob").ID) },
	} {
		t.Run(name, func(t *testing.T) {
			s := New(Config{Argv: []string{"/bin/bash", "--norc", "-i"}, Dir: t.TempDir(), Env: []string{"PS1=$ "}})
			defer func() { _ = s.Close() }()
			served := make(chan error, 1)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			_, guest := sessiontest.Pair(t, func(_ context.Context, o session.Offer) { served <- s.Serve(ctx, o) }, nil)
			w := attach(t, guest, Request{Params: Params{Size: size80}})
			// One in the background that ignores hangups, one stopped, one with
			// children, each in a process group of its own.
			w.types("sleep 1000 & (trap '' HUP TERM INT; sleep 1001; sleep 1001) & sleep 1002 & kill -STOP $!; echo pids=$(jobs -p | tr '\\n' ,)$$.\n")
			var pids []int
			w.until("the processes", func() bool {
				_, after, _ := bytes.Cut(w.output, []byte("\npids="))
				list, _, ok := strings.Cut(string(after), ".")
				if !ok {
					return false
				}
				for _, field := range strings.Split(list, ",") {
					pid, err := strconv.Atoi(field)
					if err != nil {
						t.Errorf("pids %q", list)
					}
					pids = append(pids, pid)
				}
				return true
			})
			if len(pids) != 4 {
				t.Fatalf("pids %v", pids)
			}
			for _, pid := range pids {
				if !alive(pid) {
					t.Fatalf("process %d is not there", pid)
				}
			}
			end(s, cancel)
			for _, pid := range pids {
				eventually(t, fmt.Sprintf("process %d is gone", pid), func() bool { return !alive(pid) })
			}
			_ = w.Close()
			<-served
		})
	}
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

// TestShellThatExitsAtOnce: each viewer gets its output and status, and the next
// one a new terminal.
func TestShellThatExitsAtOnce(t *testing.T) {
	s, guest := share(t, Config{Argv: []string{"/bin/sh", "-c", "echo gone; exit 3"}})
	for range 20 {
		w := attach(t, guest, Request{})
		if got := w.exits(); got.Code != 3 || !w.welcome.Made || !bytes.Contains(w.seen(), []byte("gone\r\n")) {
			t.Errorf("%+v with %q, made: %v", got, w.seen(), w.welcome.Made)
		}
	}
	if n := len(s.Terminals()); n != 1 {
		t.Errorf("%d terminals are left", n)
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

func TestMissingFolder(t *testing.T) {
	s, guest := share(t, Config{Dir: "/nonexistent/folder"})
	w := attach(t, guest, Request{})
	if err := w.fails(); session.KindOf(err) != session.Unavailable {
		t.Errorf("%v", err)
	}
	if len(s.Terminals()) != 0 {
		t.Error("a terminal is left")
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
