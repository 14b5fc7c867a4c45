//go:build linux || darwin

package terminal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"tandem/session"
	"tandem/session/sessiontest"
)

// desk is a person's terminal: a pseudo-terminal whose far end the test holds.
type desk struct {
	t      *testing.T
	tty    TTY
	master *os.File
	before *term.State

	mu      sync.Mutex
	changed *sync.Cond
	screen  []byte
}

func newDesk(t *testing.T, size Size) *desk {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	// Raw at the start would hide a missing restoration; so would echo.
	if err := setSize(master, size); err != nil {
		t.Fatal(err)
	}
	if master, err = pollable(master); err != nil {
		t.Fatal(err)
	}
	before, err := term.GetState(int(slave.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, tty: TTY{In: slave, Out: slave}, master: master, before: before}
	d.changed = sync.NewCond(&d.mu)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 32<<10)
		for {
			n, err := master.Read(buf)
			d.mu.Lock()
			d.screen = append(d.screen, buf[:n]...)
			d.mu.Unlock()
			d.changed.Broadcast()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = slave.Close()
		_ = master.Close()
		<-done
	})
	return d
}

func (d *desk) types(s string) {
	d.t.Helper()
	if _, err := d.master.WriteString(s); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) sees(text string) {
	d.t.Helper()
	expired := false
	timer := time.AfterFunc(patience, func() {
		d.mu.Lock()
		expired = true
		d.mu.Unlock()
		d.changed.Broadcast()
	})
	defer timer.Stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	for !bytes.Contains(d.screen, []byte(text)) {
		if expired {
			d.t.Fatalf("never saw %q on %q", text, d.screen)
		}
		d.changed.Wait()
	}
}

func (d *desk) seen() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return string(d.screen)
}

// restored checks that the terminal is as it was.
func (d *desk) restored() {
	d.t.Helper()
	after, err := term.GetState(int(d.tty.In.Fd()))
	if err != nil {
		d.t.Fatal(err)
	}
	if !reflect.DeepEqual(d.before, after) {
		d.t.Errorf("the terminal is left as %+v, was %+v", after, d.before)
	}
	d.sees("\x1b[?25h") // the modes are undone as well
}

type outcome struct {
	Result
	err error
}

// sit attaches the desk in the background.
func (d *desk) sit(ctx context.Context, guest session.Session, r Request, o Options) <-chan outcome {
	d.t.Helper()
	if r.IsZero() {
		r.Size = d.tty.Size()
	}
	header, err := r.Header()
	if err != nil {
		d.t.Fatal(err)
	}
	stream, err := guest.Open(d.t.Context(), header)
	if err != nil {
		d.t.Fatal(err)
	}
	return background(func() (Result, error) { return Attach(ctx, stream, d.tty, o) })
}

func background(f func() (Result, error)) <-chan outcome {
	ended := make(chan outcome, 1)
	go func() {
		r, err := f()
		ended <- outcome{r, err}
	}()
	return ended
}

func await(t *testing.T, ended <-chan outcome) outcome {
	t.Helper()
	select {
	case o := <-ended:
		return o
	case <-time.After(patience):
		t.Fatal("still attached")
		panic("unreachable")
	}
}

func TestAttachToExit(t *testing.T) {
	_, guest := share(t, Config{})
	d := newDesk(t, size80)
	ended := d.sit(t.Context(), guest, Request{}, Options{})
	d.sees("$ ")
	d.types("stty size; printf '\\033[?1049h\\033[?1000h\\033[?25l\\033[31m'; exit 42\r")
	o := await(t, ended)
	if o.err != nil || o.Code != 42 || o.Detached || o.Lost != nil {
		t.Errorf("%+v", o)
	}
	d.sees("24 80")
	d.restored()
	d.sees("\x1b[?1049l")
	d.sees("\x1b[0m")
}

func TestDetach(t *testing.T) {
	s, guest := share(t, Config{})
	d := newDesk(t, size80)
	ended := d.sit(t.Context(), guest, Request{}, Options{})
	d.sees("$ ")
	d.types("echo a''b\r~?")
	d.sees("ab")
	d.sees("~. leaves")
	d.types("\r~.")
	o := await(t, ended)
	if o.err != nil || !o.Detached || o.Terminal == "" || o.Offset == 0 {
		t.Errorf("%+v", o)
	}
	d.restored()
	if s.Terminals()[0].Exit != nil {
		t.Error("the terminal has ended")
	}
	// Nothing of ours reads the terminal any more.
	d.types("mine\r")
	buf := make([]byte, 16)
	if n, err := d.tty.In.Read(buf); err != nil || string(buf[:n]) != "mine\n" {
		t.Errorf("read %q, %v", buf[:n], err)
	}
	// Another escape character.
	ended = d.sit(t.Context(), guest, Request{}, Options{Escape: '%'})
	d.types("\r%.")
	if o := await(t, ended); !o.Detached {
		t.Errorf("%+v", o)
	}
}

func TestAttachFollowsTheWindow(t *testing.T) {
	s, guest := share(t, Config{})
	d := newDesk(t, size80)
	ended := d.sit(t.Context(), guest, Request{Params: Params{Size: Size{10, 10}}}, Options{})
	eventually(t, "the real size", func() bool { return len(s.Terminals()) == 1 && s.Terminals()[0].Size == size80 })
	if err := setSize(d.master, Size{132, 43}); err != nil {
		t.Fatal(err)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGWINCH)
	eventually(t, "the new size", func() bool { return s.Terminals()[0].Size == Size{132, 43} })
	d.types("exit\r")
	await(t, ended)
}

func TestSignalsRestoreTheTerminal(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
		_, guest := share(t, Config{})
		d := newDesk(t, size80)
		ended := d.sit(t.Context(), guest, Request{}, Options{})
		d.sees("$ ")
		_ = syscall.Kill(os.Getpid(), sig)
		if o := await(t, ended); o.err == nil || o.Detached {
			t.Errorf("%v: %+v", sig, o)
		}
		d.restored()
	}
	_, guest := share(t, Config{})
	d := newDesk(t, size80)
	ctx, cancel := context.WithCancel(t.Context())
	ended := d.sit(ctx, guest, Request{}, Options{})
	d.sees("$ ")
	cancel()
	if o := await(t, ended); session.KindOf(o.err) != session.Canceled {
		t.Errorf("%+v", o)
	}
	d.restored()
}

// TestPanicRestoresTheTerminal runs this test's binary on a terminal, where it
// panics in a goroutine that nobody recovers.
func TestPanicRestoresTheTerminal(t *testing.T) {
	const marker = "TANDEM_TEST_PANIC"
	if os.Getenv(marker) != "" {
		s := New(Config{Argv: []string{"/bin/cat"}, Dir: t.TempDir()})
		_, guest := sessiontest.Pair(t, sessiontest.Serve(s), nil)
		_, _ = Run(t.Context(), guest.Open, Request{}, TTY{In: os.Stdin, Out: os.Stdout}, Options{Events: func(e Event) {
			if _, ok := e.(Roster); ok {
				panic("as the test wants it")
			}
		}})
		return
	}
	d := newDesk(t, size80)
	cmd := exec.Command(os.Args[0], "-test.run=^TestPanicRestoresTheTerminal$")
	cmd.Env = append(os.Environ(), marker+"=1")
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = d.tty.In, d.tty.Out, &stderr
	if err := cmd.Run(); err == nil || !strings.Contains(stderr.String(), "as the test wants it") {
		t.Fatalf("it did not panic: %v\n%s", err, &stderr)
	}
	d.restored()
}

func TestRefusal(t *testing.T) {
	_, guest := share(t, Config{})
	d := newDesk(t, size80)
	o := await(t, d.sit(t.Context(), guest, Request{Right: View}, Options{}))
	if session.KindOf(o.err) != session.NotFound || o.Lost != nil {
		t.Errorf("%+v", o)
	}
	d.restored()
}

func TestWatcherLeavesWithInterrupt(t *testing.T) {
	s, guest := share(t, Config{})
	host := attach(t, guest, Request{Params: Params{Size: size80}})
	host.types("echo vis''ible\n")
	host.sees("visible")
	d := newDesk(t, Size{20, 10})
	ended := d.sit(t.Context(), guest, Request{Right: View}, Options{})
	d.sees("visible")
	d.types("echo typed\r")
	_ = syscall.Kill(os.Getpid(), syscall.SIGWINCH)
	// Long enough for either to have reached the host.
	host.types("echo fir''st; sleep 0.1; echo sec''ond\n")
	d.sees("second")
	d.types("\x03")
	if o := await(t, ended); !o.Detached || o.err != nil {
		t.Errorf("%+v", o)
	}
	if strings.Contains(string(host.seen()), "typed") || s.Terminals()[0].Size != size80 {
		t.Error("a watcher had an effect")
	}
}

// TestQueriesAreAnsweredOnce: of two desks one sees the query; a latecomer
// sees none of those in the past.
func TestQueriesAreAnsweredOnce(t *testing.T) {
	_, guest := share(t, Config{Argv: []string{"/bin/cat"}})
	a, b := newDesk(t, size80), newDesk(t, size80)
	endA := a.sit(t.Context(), guest, Request{}, Options{})
	a.types("one\r")
	a.sees("one\r\none\r\n")
	endB := b.sit(t.Context(), guest, Request{}, Options{})
	b.sees("one")
	typist := attach(t, guest, Request{})
	typist.types("[\x1b[c\x1b]52;c;?\a]two\n") // cat prints it as it is; the echo is ^[
	for _, d := range []*desk{a, b} {
		d.sees("]two")
	}
	eventually(t, "both lines", func() bool { return strings.Count(a.seen(), "]two") == 2 && strings.Count(b.seen(), "]two") == 2 })
	if !strings.Contains(a.seen(), "[\x1b[c]two") || strings.Contains(b.seen(), "\x1b[c") || !strings.Contains(b.seen(), "[]two") {
		t.Errorf("a sees %q\nb sees %q", a.seen(), b.seen())
	}
	c := newDesk(t, size80)
	endC := c.sit(t.Context(), guest, Request{}, Options{})
	c.sees("[]two")
	leave := func(d *desk, ended <-chan outcome) {
		d.types("\r~.")
		await(t, ended)
	}
	leave(a, endA)
	leave(b, endB)
	leave(c, endC)
	// Nor does one that answers from now on.
	e := newDesk(t, size80)
	endE := e.sit(t.Context(), guest, Request{}, Options{})
	e.sees("[]two")
	typist.types("[\x1b[c]three\n")
	e.sees("[\x1b[c]three")
	leave(e, endE)
}

// pipes is a TTY of two pipes, and the test's ends.
func pipes(t *testing.T) (tty TTY, in, out *os.File) {
	t.Helper()
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, f := range []*os.File{inR, inW, outR, outW} {
			_ = f.Close()
		}
	})
	return TTY{In: inR, Out: outW}, inW, outR
}

func TestPipes(t *testing.T) {
	_, guest := share(t, Config{})
	for input, want := range map[string]struct {
		code   int
		output string
	}{
		"echo sum $((40+2)); printf '\\033[c'\n~.\nexit 3\n": {3, "sum 42\r\n\x1b[c"}, // not a terminal: no escapes, no filter
		"(exit 4)\n": {4, ""},
	} {
		tty, in, out := pipes(t)
		ended := background(func() (Result, error) { return Run(t.Context(), guest.Open, Request{}, tty, Options{}) })
		if _, err := in.WriteString(input); err != nil {
			t.Fatal(err)
		}
		_ = in.Close()
		o := await(t, ended)
		_ = tty.Out.Close()
		output, err := io.ReadAll(out)
		if err != nil || o.err != nil || o.Code != want.code || !strings.Contains(string(output), want.output) {
			t.Errorf("%q: %+v, %v, output %q", input, o, err, output)
		}
	}
}

func TestInputFromAFile(t *testing.T) {
	_, guest := share(t, Config{})
	tty, _, out := pipes(t)
	go func() { _, _ = io.Copy(io.Discard, out) }()
	for _, name := range []string{os.DevNull, t.TempDir() + "/input"} {
		if name != os.DevNull {
			if err := os.WriteFile(name, []byte("exit 9\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		in, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		o := await(t, background(func() (Result, error) {
			return Run(t.Context(), guest.Open, Request{}, TTY{In: in, Out: tty.Out}, Options{})
		}))
		_ = in.Close()
		if want := map[bool]int{true: 0, false: 9}[name == os.DevNull]; o.err != nil || o.Code != want {
			t.Errorf("%s: %+v", name, o)
		}
	}
	_ = tty.Out.Close()
}

// TestRunIsExact cuts session after session while a counter prints.
func TestRunIsExact(t *testing.T) {
	const lines = 30000
	s, _ := share(t, Config{Argv: []string{"/bin/sh", "-c", fmt.Sprintf("read go; i=0; while [ $i -lt %d ]; do echo $i; i=$((i+1)); done; exit 11", lines)}})
	var mu sync.Mutex
	var current *sessiontest.Session
	attempts := 0
	open := func(ctx context.Context, h session.Header) (session.Stream, error) {
		mu.Lock()
		defer mu.Unlock()
		if attempts++; attempts%4 == 3 {
			return nil, session.Errorf("dial", session.Unavailable, "no path now")
		}
		_, current = sessiontest.Pair(t, sessiontest.Serve(s), nil)
		return current.Open(ctx, h)
	}
	tty, in, out := pipes(t)
	var notices []string
	ended := background(func() (Result, error) {
		return Run(t.Context(), open, Request{}, tty, Options{Notice: func(text string) { notices = append(notices, text) }})
	})
	if _, err := in.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	var o outcome
	buf := make([]byte, 4096)
	cuts, next := 0, 1000
	read := make(chan struct{})
	go func() {
		defer close(read)
		for {
			n, err := out.Read(buf)
			got.Write(buf[:n])
			if err != nil {
				return
			}
			if got.Len() > next && cuts < 6 {
				cuts++
				next += 9973 * cuts
				mu.Lock()
				current.Cut()
				mu.Unlock()
			}
		}
	}()
	o = await(t, ended)
	_ = tty.Out.Close()
	<-read
	var want bytes.Buffer
	want.WriteString("go\r\n")
	for i := range lines {
		fmt.Fprintf(&want, "%d\r\n", i)
	}
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Errorf("after %d cuts: %d bytes, want %d", cuts, got.Len(), want.Len())
	}
	if o.err != nil || o.Code != 11 || o.Offset != uint64(want.Len()) || cuts < 3 {
		t.Errorf("%+v after %d cuts", o, cuts)
	}
	if len(notices) < 4 || len(notices)%2 != 0 || notices[0] != "connection lost, reattaching…" || !strings.HasPrefix(notices[1], "reattached after") {
		t.Errorf("notices %q", notices)
	}
}

func TestLeavingWhileCutOff(t *testing.T) {
	for _, keys := range []string{"\r~.", "\x03"} {
		s, _ := share(t, Config{})
		_, guest := sessiontest.Pair(t, sessiontest.Serve(s), nil)
		first := true
		open := func(ctx context.Context, h session.Header) (session.Stream, error) {
			if first {
				first = false
				return guest.Open(ctx, h)
			}
			<-ctx.Done() // a path that never comes back
			return nil, ctx.Err()
		}
		d := newDesk(t, size80)
		ended := background(func() (Result, error) { return Run(t.Context(), open, Request{}, d.tty, Options{}) })
		d.sees("$ ")
		guest.Cut()
		d.sees("[tandem: connection lost, reattaching…]")
		d.types(keys)
		if o := await(t, ended); !o.Detached || o.err != nil || o.Lost != nil {
			t.Errorf("%q: %+v", keys, o)
		}
		d.restored()
	}
}

// TestTerminalGoneMeanwhile: who comes back gets the terminal it left, or
// none, and not another one of the name.
func TestTerminalGoneMeanwhile(t *testing.T) {
	s, _ := share(t, Config{})
	sessions := make(chan *sessiontest.Session, 2)
	back := make(chan struct{}, 1)
	back <- struct{}{}
	open := func(ctx context.Context, h session.Header) (session.Stream, error) {
		<-back
		_, guest := sessiontest.Pair(t, sessiontest.Serve(s), nil)
		sessions <- guest
		return guest.Open(ctx, h)
	}
	d := newDesk(t, size80)
	ended := background(func() (Result, error) { return Run(t.Context(), open, Request{}, d.tty, Options{}) })
	d.sees("$ ")
	(<-sessions).Cut()
	d.sees("connection lost")
	if err := errors.Join(s.End(""), s.Start("", Params{})); err != nil {
		t.Fatal(err)
	}
	back <- struct{}{}
	if o := await(t, ended); session.KindOf(o.err) != session.NotFound || o.Terminal == "" {
		t.Errorf("%+v", o)
	}
	d.restored()
}

// TestPipedInputWaits: what a pipe delivers while there is no stream is not
// dropped, as a person's typing is.
func TestPipedInputWaits(t *testing.T) {
	s, _ := share(t, Config{Argv: []string{"/bin/cat"}})
	sessions := make(chan *sessiontest.Session, 2)
	back := make(chan struct{}, 1)
	back <- struct{}{}
	open := func(ctx context.Context, h session.Header) (session.Stream, error) {
		<-back
		_, guest := sessiontest.Pair(t, sessiontest.Serve(s), nil)
		sessions <- guest
		return guest.Open(ctx, h)
	}
	tty, in, out := pipes(t)
	welcomed, lost := make(chan struct{}, 2), make(chan struct{}, 2)
	ended := background(func() (Result, error) {
		return Run(t.Context(), open, Request{}, tty, Options{
			Notice: func(string) { lost <- struct{}{} },
			Events: func(e Event) {
				if _, ok := e.(Welcome); ok {
					welcomed <- struct{}{}
				}
			},
		})
	})
	<-welcomed
	(<-sessions).Cut()
	<-lost
	if _, err := in.WriteString("late\n"); err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	go func() {
		time.Sleep(20 * time.Millisecond) // for the input to be dropped, if it is
		back <- struct{}{}
	}()
	if o := await(t, ended); o.err != nil || o.Code != 0 {
		t.Errorf("%+v", o)
	}
	_ = tty.Out.Close()
	if output, err := io.ReadAll(out); err != nil || !strings.Contains(string(output), "late\r\nlate\r\n") {
		t.Errorf("%q, %v", output, err)
	}
}
