//go:build linux || darwin

package terminal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"tandem/session"
	"tandem/session/sessiontest"
)

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
