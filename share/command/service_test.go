//go:build linux || darwin

package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
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

// host starts a service and returns it with the session of a guest.
func host(t *testing.T, config Config) (*Service, *sessiontest.Session) {
	t.Helper()
	if config.Dir == "" {
		config.Dir = t.TempDir()
	}
	s := New(config)
	_, guest := sessiontest.Pair(t, sessiontest.Serve(s), nil)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, guest
}

func start(t *testing.T, guest session.Session, r Request) *Client {
	t.Helper()
	c, err := Start(t.Context(), guest, r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// run runs a program with input to its end.
func run(t *testing.T, guest session.Session, r Request, input string) (out, errs string, exit Exit, err error) {
	t.Helper()
	c := start(t, guest, r)
	var feeding sync.WaitGroup
	feeding.Go(func() {
		_, _ = io.WriteString(c, input) // a program need not read it
		_ = c.End()
	})
	var o, e bytes.Buffer
	exit, err = c.Wait(&o, &e)
	feeding.Wait()
	return o.String(), e.String(), exit, err
}

func sh(script string, args ...string) Request {
	return Request{Argv: append([]string{"/bin/sh", "-c", script, "sh"}, args...)}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// alive reports whether a process lives: a zombie doesn't.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return syscall.Kill(pid, 0) == nil && !errors.Is(err, os.ErrNotExist)
	}
	state, _, _ := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')')+2:]), " ")
	return state != "Z" && state != "X"
}

func TestStreamsApart(t *testing.T) {
	_, guest := host(t, Config{})
	out, errs, exit, err := run(t, guest, sh(`echo out; echo err >&2; cat; exit 3`), "in\n")
	if err != nil || out != "out\nin\n" || errs != "err\n" || exit != (Exit{Code: 3}) {
		t.Errorf("out %q, err %q, exit %+v, %v", out, errs, exit, err)
	}
}

func TestArgumentsAreNotShellText(t *testing.T) {
	_, guest := host(t, Config{})
	args := []string{"a b", "$(id)", "; exit 9", "*", "", "'\"", "-e"}
	out, _, exit, err := run(t, guest, Request{Argv: append([]string{"printf", "[%s]"}, args...)}, "")
	if want := "[" + strings.Join(args, "][") + "]"; err != nil || exit.Code != 0 || out != want {
		t.Errorf("got %q, %+v, %v; want %q", out, exit, err, want)
	}
}

func TestEveryExitCode(t *testing.T) {
	_, guest := host(t, Config{})
	for code := range 256 {
		if _, _, exit, err := run(t, guest, sh("exit "+strconv.Itoa(code)), ""); err != nil || exit != (Exit{Code: code}) {
			t.Fatalf("exit %d came as %+v, %v", code, exit, err)
		}
	}
}

func TestMissingPrograms(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	noFormat := filepath.Join(dir, "noformat")
	for name, mode := range map[string]os.FileMode{plain: 0o600, noFormat: 0o700} {
		if err := os.WriteFile(name, []byte("\x01\x02"), mode); err != nil {
			t.Fatal(err)
		}
	}
	_, guest := host(t, Config{})
	for name, want := range map[string]int{
		"no-such-program-here": 127, "/no/such/program": 127, "./nothing": 127, plain + "/x": 127,
		plain: 126, noFormat: 126, dir: 126,
	} {
		out, errs, exit, err := run(t, guest, Request{Argv: []string{name}}, "")
		if err != nil || exit.Code != want || out != "" || !strings.HasPrefix(errs, "tandem: "+name+": ") {
			t.Errorf("%s: %q, %q, %+v, %v; want %d", name, out, errs, exit, err, want)
		}
	}
}

func TestSignals(t *testing.T) {
	_, guest := host(t, Config{})
	for name, want := range map[string]Exit{
		"TERM": {Code: 143, Signal: "SIGTERM"}, "INT": {Code: 130, Signal: "SIGINT"}, "KILL": {Code: 137, Signal: "SIGKILL"},
		"USR1": {Code: 7},
	} {
		c := start(t, guest, sh(`trap 'exit 7' USR1; echo ready; while :; do sleep 0.01; done`))
		r, w := io.Pipe()
		go func() {
			_, _ = io.ReadFull(r, make([]byte, 6))
			if err := c.Signal(name); err != nil {
				t.Error(err)
			}
			_, _ = io.Copy(io.Discard, r)
		}()
		if exit, err := c.Wait(w, io.Discard); err != nil || exit != want {
			t.Errorf("%s: %+v, %v", name, exit, err)
		}
		_ = w.Close()
	}
	c := start(t, guest, sh("exec cat"))
	if err := c.Signal("SEGV"); session.KindOf(err) != session.Invalid {
		t.Errorf("SEGV: %v", err)
	}
}

// TestSignalPassesStalledInput: input that a program doesn't read holds up no
// signal.
func TestSignalPassesStalledInput(t *testing.T) {
	_, guest := host(t, Config{})
	c := start(t, guest, sh("while :; do sleep 0.01; done"))
	stuck := make(chan error)
	go func() {
		_, err := c.Write(make([]byte, 3*InputWindow))
		stuck <- err
	}()
	eventually(t, "the window fills", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.sent-c.taken == InputWindow
	})
	if err := c.Signal("TERM"); err != nil {
		t.Fatal(err)
	}
	if exit, err := c.Wait(io.Discard, io.Discard); err != nil || exit.Signal != "SIGTERM" {
		t.Errorf("%+v, %v", exit, err)
	}
	// What nobody reads any more is refused, or goes nowhere.
	if err := <-stuck; err != nil && !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the stalled write: %v", err)
	}
}

func TestMuchInput(t *testing.T) {
	_, guest := host(t, Config{})
	input := strings.Repeat("0123456789abcde\n", 1<<20/2) // 8 MiB
	out, _, exit, err := run(t, guest, sh("exec wc -c"), input)
	if err != nil || exit.Code != 0 || strings.TrimSpace(out) != strconv.Itoa(len(input)) {
		t.Errorf("%q, %+v, %v", out, exit, err)
	}
	back, _, _, err := run(t, guest, sh("exec cat"), input)
	if err != nil || back != input {
		t.Errorf("cat returned %d bytes of %d, %v", len(back), len(input), err)
	}
	// A program that closes its input gets no more, and nobody waits for it.
	out, _, exit, err = run(t, guest, sh("exec <&-; echo closed"), input)
	if err != nil || exit.Code != 0 || out != "closed\n" {
		t.Errorf("closed: %q, %+v, %v", out, exit, err)
	}
}

// TestOutputBehindTheExit: what another process prints after the program's end
// still comes, and EXIT is behind it.
func TestOutputBehindTheExit(t *testing.T) {
	_, guest := host(t, Config{})
	out, _, exit, err := run(t, guest, sh(`(sleep 0.2; echo late) & exit 5`), "")
	if err != nil || out != "late\n" || exit.Code != 5 {
		t.Errorf("%q, %+v, %v", out, exit, err)
	}
}

// TestNothingStays: a process left behind that holds the output open does not
// hold up the end, and is ended with the program.
func TestNothingStays(t *testing.T) {
	_, guest := host(t, Config{})
	for _, script := range []string{`sleep 600 & echo $!`, `sleep 600 >/dev/null 2>&1 & echo $!`} {
		out, _, exit, err := run(t, guest, sh(script), "")
		pid, convErr := strconv.Atoi(strings.TrimSpace(out))
		if err != nil || convErr != nil || exit.Code != 0 {
			t.Fatalf("%q, %+v, %v", out, exit, err)
		}
		eventually(t, "the process left behind ends", func() bool { return !alive(pid) })
	}
}

// TestEndsWithItsPeer: whoever leaves, loses the permission or runs out of time
// leaves no process behind, even one that ignores SIGTERM.
func TestEndsWithItsPeer(t *testing.T) {
	const stubborn = `trap '' TERM HUP; sh -c 'trap "" TERM HUP; while :; do sleep 0.01; done' & echo $$ $!; wait; while :; do sleep 0.01; done`
	for name, leave := range map[string]func(*Client, *sessiontest.Session, *Service, chan struct{}){
		"closes":       func(c *Client, _ *sessiontest.Session, _ *Service, _ chan struct{}) { _ = c.Close() },
		"is cut off":   func(_ *Client, guest *sessiontest.Session, _ *Service, _ chan struct{}) { guest.Cut() },
		"loses rights": func(_ *Client, _ *sessiontest.Session, _ *Service, revoke chan struct{}) { close(revoke) },
		"host closes":  func(_ *Client, _ *sessiontest.Session, s *Service, _ chan struct{}) { _ = s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			revoke := make(chan struct{})
			s := New(Config{Dir: t.TempDir()})
			_, guest := sessiontest.Pair(t, sessiontest.Guarded(permit(revoke), s), nil)
			c := start(t, guest, sh(stubborn))
			pids := make(chan [2]int, 1)
			r, w := io.Pipe()
			go func() {
				var p [2]int
				if _, err := fmt.Fscan(r, &p[0], &p[1]); err != nil {
					t.Error(err)
				}
				pids <- p
				_, _ = io.Copy(io.Discard, r)
			}()
			ended := make(chan error)
			go func() {
				_, err := c.Wait(w, io.Discard)
				_ = w.Close()
				ended <- err
			}()
			p := <-pids
			if !alive(p[0]) || !alive(p[1]) {
				t.Fatal("the program has not begun")
			}
			leave(c, guest, s, revoke)
			if err := <-ended; err == nil {
				t.Error("Wait reports no failure")
			}
			eventually(t, "all processes end", func() bool { return !alive(p[0]) && !alive(p[1]) })
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// permit allows everything until it is closed.
type permit chan struct{}

func (p permit) Allow(context.Context, session.Request) (session.Permit, error) {
	return session.Permit{Revoked: p}, nil
}

func TestTimeout(t *testing.T) {
	_, guest := host(t, Config{})
	r := sh("echo begun; while :; do sleep 0.01; done")
	r.Timeout = 100 * time.Millisecond
	out, _, exit, err := run(t, guest, r, "")
	if err != nil || out != "begun\n" || exit.Signal != "SIGTERM" || exit.Code != 143 || exit.Reason != "it took longer than 100ms" {
		t.Errorf("%q, %+v, %v", out, exit, err)
	}
	r = sh("exit 4")
	r.Timeout = time.Hour
	if _, _, exit, err := run(t, guest, r, ""); err != nil || exit != (Exit{Code: 4}) {
		t.Errorf("in time: %+v, %v", exit, err)
	}
}

// TestTimeoutOfStalledPeer: a peer that reads nothing holds up no end of the
// host, and its program ends in time.
func TestTimeoutOfStalledPeer(t *testing.T) {
	s, guest := host(t, Config{})
	pid := filepath.Join(t.TempDir(), "pid")
	r := sh(`echo $$ >"$1"; exec yes`, pid)
	r.Timeout = 100 * time.Millisecond
	start(t, guest, r)
	var n int
	eventually(t, "the program begins", func() bool {
		text, _ := os.ReadFile(pid)
		var err error
		n, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil
	})
	eventually(t, "the program ends", func() bool { return !alive(n) })
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestInputUnderWay: a peer that is still sending input when the program ends
// hears how.
func TestInputUnderWay(t *testing.T) {
	_, guest := host(t, Config{})
	for range 20 {
		c := start(t, guest, Request{Argv: []string{"head", "-c", "1"}})
		var feeding sync.WaitGroup
		var failed error
		feeding.Go(func() {
			for failed == nil {
				_, failed = c.Write(make([]byte, 1000))
			}
		})
		exit, err := c.Wait(io.Discard, io.Discard)
		feeding.Wait()
		if err != nil || exit.Code != 0 || !errors.Is(failed, errOver) {
			t.Fatalf("%+v, %v; input: %v", exit, err, failed)
		}
	}
}

func TestEnvironmentAndFolder(t *testing.T) {
	t.Setenv("LD_LIBRARY_PATH", "/x")
	t.Setenv("GODEBUG", "")
	t.Setenv("SECRET", "x")
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, guest := host(t, Config{Dir: dir, Env: []string{"MODE=test"}, AcceptEnv: []string{"JOB", "LD_PRELOAD"}})
	out, _, _, err := run(t, guest, Request{Argv: []string{"env"}, Dir: "sub", Env: map[string]string{"JOB": "7", "LC_TIME": "C"}}, "")
	for _, want := range []string{"JOB=7\n", "LC_TIME=C\n", "MODE=test\n", "PWD=" + filepath.Join(dir, "sub") + "\n", "PATH="} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in %q, %v", want, out, err)
		}
	}
	for _, never := range []string{"LD_", "GODEBUG", "SECRET"} {
		if strings.Contains(out, never) {
			t.Errorf("%s reaches the program: %q", never, out)
		}
	}
	out, _, _, err = run(t, guest, Request{Argv: []string{"pwd", "-P"}, Dir: "/"}, "")
	if err != nil || out != "/\n" {
		t.Errorf("in /: %q, %v", out, err)
	}
	for name, c := range map[string]struct {
		r    Request
		want session.Kind
	}{
		"LD_PRELOAD":  {Request{Argv: []string{"true"}, Env: map[string]string{"LD_PRELOAD": "/x"}}, session.Denied},
		"PATH":        {Request{Argv: []string{"true"}, Env: map[string]string{"PATH": "/x"}}, session.Denied},
		"LANG":        {Request{Argv: []string{"true"}, Env: map[string]string{"LANG": "../x"}}, session.Denied},
		"no folder":   {Request{Argv: []string{"true"}, Dir: "missing"}, session.NotFound},
		"not pinned":  {Request{Pinned: "backup"}, session.NotFound},
		"folder file": {Request{Argv: []string{"true"}, Dir: "/dev/null"}, session.NotFound},
	} {
		if _, _, _, err := run(t, guest, c.r, ""); session.KindOf(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// TestPinned: a right to a pinned command runs that and nothing else.
func TestPinned(t *testing.T) {
	_, guest := host(t, Config{Pinned: map[string][]string{"greet": {"echo", "hello", "$HOME"}, "nothing": nil}})
	out, _, exit, err := run(t, guest, Request{Pinned: "greet"}, "")
	if err != nil || exit.Code != 0 || out != "hello $HOME\n" {
		t.Errorf("%q, %+v, %v", out, exit, err)
	}
	if _, _, _, err := run(t, guest, Request{Pinned: "nothing"}, ""); session.KindOf(err) != session.NotFound {
		t.Errorf("an empty command: %v", err)
	}
	for name, params := range map[string]string{
		"argv": `{"argv":["id"]}`, "no argv at all": `{"argv":[]}`, "folder": `{"dir":"/"}`,
	} {
		st, err := guest.Open(t.Context(), session.Header{Service: ServiceName, Resource: "greet", Action: Run, Params: []byte(params)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Read(make([]byte, 1)); session.KindOf(err) != session.Invalid {
			t.Errorf("%s: %v", name, err)
		}
		_ = st.Close()
	}
}

// TestStalledPeer: a peer that never reads holds up its own program, in bounded
// memory, and no other.
func TestStalledPeer(t *testing.T) {
	_, guest := host(t, Config{})
	marker := filepath.Join(t.TempDir(), "count")
	stalled := start(t, guest, sh(`i=0; while :; do printf %65536s; i=$((i+1)); echo $i >"$1"; done`, marker))
	last := -1
	eventually(t, "the program stalls", func() bool {
		text, _ := os.ReadFile(marker)
		n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		time.Sleep(200 * time.Millisecond)
		again, _ := os.ReadFile(marker)
		last = n
		return n > 0 && bytes.Equal(text, again)
	})
	if last > 128 {
		t.Errorf("%d blocks of 64 KiB were taken for a peer that reads nothing", last)
	}
	if out, _, _, err := run(t, guest, sh("echo other"), ""); err != nil || out != "other\n" {
		t.Errorf("beside it: %q, %v", out, err)
	}
	_ = stalled.Close()
}

// TestHostilePeer: what breaks the protocol ends the program.
func TestHostilePeer(t *testing.T) {
	_, guest := host(t, Config{})
	flood := bytes.Repeat(appendFrame(nil, stdin(make([]byte, MaxBody))), InputWindow/MaxBody+1)
	for name, raw := range map[string][]byte{
		"the host's frame": appendFrame(nil, stdout("x")),
		"two ends":         appendFrame(appendFrame(nil, end{}), end{}),
		"input after end":  appendFrame(appendFrame(nil, end{}), stdin("x")),
		"over the window":  append(flood, appendFrame(nil, stdin(make([]byte, MaxBody)))...),
		"unknown signal":   append([]byte{typeSignal, 0, 0, 0, 4}, "SEGV"...),
		"too long":         {typeStdin, 0xff, 0, 0, 0},
	} {
		h, err := sh("while :; do sleep 0.01; done").Header()
		if err != nil {
			t.Fatal(err)
		}
		st, err := guest.Open(t.Context(), h)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = st.Write(raw)
		_, err = io.Copy(io.Discard, st)
		if kind := session.KindOf(err); kind != session.Invalid && kind != session.TooLarge {
			t.Errorf("%s: %v", name, err)
		}
		_ = st.Close()
	}
}

func TestBadRequests(t *testing.T) {
	many := make([]string, maxArgs+1)
	for i := range many {
		many[i] = "x"
	}
	for name, r := range map[string]Request{
		"nothing": {}, "empty program": {Argv: []string{""}}, "many": {Argv: many},
		"long": {Argv: []string{strings.Repeat("x", maxArgBytes+1)}}, "NUL": {Argv: []string{"a\x00b"}},
		"folder NUL": {Argv: []string{"a"}, Dir: "\x00"}, "long folder": {Argv: []string{"a"}, Dir: strings.Repeat("x", maxDir+1)},
		"timeout": {Argv: []string{"a"}, Timeout: 1 << 62}, "not UTF-8": {Argv: []string{"a\xff"}}, "env not UTF-8": {Argv: []string{"a"}, Env: map[string]string{"LANG": "\xff"}},
		"past":     {Argv: []string{"a"}, Timeout: -time.Hour},
		"long env": {Argv: []string{"a"}, Env: map[string]string{"A": strings.Repeat("x", maxEnvBytes)}},
	} {
		if _, err := r.Header(); session.KindOf(err) != session.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := parse(session.Header{Action: "control", Params: []byte(`{"argv":["x"]}`)}); session.KindOf(err) != session.Invalid {
		t.Errorf("another action: %v", err)
	}
}

// TestTooMany: one peer can't take all of a host.
func TestTooMany(t *testing.T) {
	s, guest := host(t, Config{})
	clients := make([]*Client, maxOwned)
	for i := range clients {
		clients[i] = start(t, guest, Request{Argv: []string{"cat"}})
	}
	eventually(t, "all run", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.total == maxOwned
	})
	if _, _, _, err := run(t, guest, Request{Argv: []string{"true"}}, ""); session.KindOf(err) != session.Busy {
		t.Errorf("one more: %v", err)
	}
	for _, c := range clients {
		if err := c.End(); err != nil {
			t.Error(err)
		}
		if exit, err := c.Wait(io.Discard, io.Discard); err != nil || exit.Code != 0 {
			t.Errorf("%+v, %v", exit, err)
		}
	}
	eventually(t, "all have left", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.total == 0 && len(s.running) == 0
	})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, _, _, err := run(t, guest, Request{Argv: []string{"true"}}, ""); session.KindOf(err) != session.Unavailable {
		t.Errorf("after Close: %v", err)
	}
}

// TestHostileHost: a client believes a host nothing that doesn't fit.
func TestHostileHost(t *testing.T) {
	for name, c := range map[string]struct {
		frames []message
		want   session.Kind
	}{
		"no exit":              {[]message{stdout("x")}, session.Integrity},
		"input taken too much": {[]message{taken(1), Exit{}}, session.Integrity},
		"the peer's frame":     {[]message{end{}, Exit{}}, session.Invalid},
	} {
		_, guest := sessiontest.Pair(t, func(_ context.Context, o session.Offer) {
			st, err := o.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			for _, m := range c.frames {
				_, _ = st.Write(appendFrame(nil, m))
			}
			_ = st.CloseWrite()
			_, _ = io.Copy(io.Discard, st)
			_ = st.Close()
		}, nil)
		client := start(t, guest, Request{Argv: []string{"x"}})
		if _, err := client.Wait(io.Discard, io.Discard); session.KindOf(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
		if _, err := client.Write([]byte("x")); err == nil {
			t.Errorf("%s: input goes on", name)
		}
	}
}

// TestNoTerminal: a program leads a session of its own, so that it can't reach
// the terminal that its host was started from.
func TestNoTerminal(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("needs /proc")
	}
	_, guest := host(t, Config{})
	out, _, _, err := run(t, guest, sh(`read -r pid name state parent group session rest </proc/$$/stat; echo $pid $session`), "")
	var pid, sid int
	if _, scanErr := fmt.Sscan(out, &pid, &sid); err != nil || scanErr != nil || pid != sid {
		t.Errorf("process and session are %q, %v", out, err)
	}
}
