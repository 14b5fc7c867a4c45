//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"tandem/tui/tuitest"
)

// sitting is a program in a terminal of its own, and somebody who looks at it.
type sitting struct {
	*tuitest.Display
	t            *testing.T
	cmd          *exec.Cmd
	master, seat *os.File
	before       *term.State
	read         chan struct{}
}

// home is a short path, as sockets need, for the state of one tandem.
func homeFor(t *testing.T) string {
	t.Helper()
	home, err := os.MkdirTemp("/tmp", "tui")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	return home
}

// sit runs a program with that home in a terminal of cols by rows.
func sit(t *testing.T, home string, cols, rows uint16, env []string, program ...string) *sitting {
	t.Helper()
	s := &sitting{t: t, Display: tuitest.NewDisplay(cols, rows), cmd: exec.Command(program[0], program[1:]...), read: make(chan struct{})}
	s.cmd.Env = append(os.Environ(), "TANDEM_HOME="+home, "HOME="+home, "TERM=xterm-256color", "LANG=C.UTF-8", "LC_ALL=", "TANDEM_SERVERS=", "CI=", "PS1=$ ", "ENV=")
	s.cmd.Env = append(s.cmd.Env, env...)
	var err error
	if s.master, s.seat, err = pty.Open(); err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(s.master, &pty.Winsize{Cols: cols, Rows: rows}); err != nil {
		t.Fatal(err)
	}
	if s.before, err = term.GetState(int(s.seat.Fd())); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(s.seat, "printed before\r\n"); err != nil {
		t.Fatal(err)
	}
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = s.seat, s.seat, s.seat
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.read)
		_, _ = io.Copy(s.Display, s.master) // until both ends of the seat are closed
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // it has ended, if all went well
		_, _ = s.cmd.Process.Wait()
		_ = s.seat.Close()
		_ = s.master.Close()
		<-s.read
	})
	return s
}

func (s *sitting) types(keys string) {
	s.t.Helper()
	if _, err := io.WriteString(s.master, keys); err != nil {
		s.t.Fatal(err)
	}
}

func (s *sitting) until(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(theTUI); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited for %s; it shows\n%s", what, strings.Join(s.Lines(), "\n"))
		}
	}
}

// shows waits until the terminal shows all of texts.
func (s *sitting) shows(texts ...string) {
	s.t.Helper()
	s.until(fmt.Sprintf("%q", texts), func() bool { return s.Shows(texts...) })
}

// ends waits until the program has ended with that code, and fails unless the
// terminal is as it was.
func (s *sitting) ends(code int) {
	s.t.Helper()
	_ = s.cmd.Wait()
	if got := s.cmd.ProcessState.ExitCode(); got != code {
		s.t.Errorf("exit code %d, want %d", got, code)
	}
	s.asBefore()
}

func (s *sitting) asBefore() {
	s.t.Helper()
	if _, err := io.WriteString(s.seat, "printed after\r\n"); err != nil {
		s.t.Fatal(err)
	}
	s.shows("printed before", "printed after")
	now, err := term.GetState(int(s.seat.Fd()))
	if err != nil {
		s.t.Fatal(err)
	}
	if taken := s.Taken(); len(taken) > 0 || *now != *s.before {
		s.t.Errorf("the program keeps %q; the terminal was %+v and is %+v", taken, s.before, now)
	}
}

func (s *sitting) signal(pid int, sig syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		s.t.Fatal(err)
	}
}

// TestTUIGivesTheTerminalBack: whatever ends or stops the terminal UI.
func TestTUIGivesTheTerminalBack(t *testing.T) {
	for name, end := range map[string]struct {
		how  func(*sitting)
		code int
	}{
		"q":       {func(s *sitting) { s.types("q") }, 0},
		"ctrl+c":  {func(s *sitting) { s.types("\x03") }, 0},
		"SIGTERM": {func(s *sitting) { s.signal(s.cmd.Process.Pid, syscall.SIGTERM) }, exitInterrupted},
		"SIGINT":  {func(s *sitting) { s.signal(s.cmd.Process.Pid, syscall.SIGINT) }, exitInterrupted},
		"SIGHUP":  {func(s *sitting) { s.signal(s.cmd.Process.Pid, syscall.SIGHUP) }, exitInterrupted},
		"in a form": {func(s *sitting) {
			s.types("n")
			s.shows("What do you share?")
			s.types("\x03")
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sit(t, homeFor(t), 80, 24, nil, "tandem")
			s.shows("Nobody is here yet.")
			end.how(s)
			s.ends(end.code)
		})
	}
}

// TestTUISuspends: the shell has its terminal while the UI is stopped, and the UI
// draws itself anew when it goes on.
func TestTUISuspends(t *testing.T) {
	s := sit(t, homeFor(t), 80, 24, nil, "/bin/sh", "-i")
	s.shows("$")
	s.types("tandem\r")
	s.shows("Nobody is here yet.")
	for range 2 {
		s.types("\x1a")
		s.until("the shell", func() bool { return !s.Shows("Nobody is here yet.") && s.Shows("Stopped", "$") })
		s.types("echo $((6*7)) meanwhile\r")
		s.shows("42 meanwhile")
		if taken := s.Taken(); len(taken) > 0 {
			t.Errorf("while it is stopped it keeps %q", taken)
		}
		s.types("clear; fg; echo it ended with $?\r")
		s.shows("Nobody is here yet.", "Home")
		if s.Shows("meanwhile") {
			t.Errorf("the shell's text is in the window:\n%s", strings.Join(s.Lines(), "\n"))
		}
	}
	s.types("q")
	s.shows("it ended with 0")
	s.types("exit 7\r")
	_ = s.cmd.Wait()
	if code := s.cmd.ProcessState.ExitCode(); code != 7 || len(s.Taken()) > 0 {
		t.Errorf("the shell ended with %d; what is left: %q", code, s.Taken())
	}
}

// TestTUILendsTheTerminal: a shell that fills the screen has all of the terminal, and
// the window is drawn anew after it.
func TestTUILendsTheTerminal(t *testing.T) {
	s := sit(t, homeFor(t), 80, 24, []string{"TANDEM_SERVERS=" + serve(t)["SERVER"], "SHELL=/bin/sh"}, "tandem")
	s.shows("Nobody is here yet.", "1 server")
	s.types("n")
	s.shows("What do you share?")
	s.types("\r")
	s.shows("tandem join ")
	s.types("w")
	s.shows("you type")
	s.types("\x1d")
	s.shows("a command?")
	s.types("f")
	s.until("the shell alone", func() bool { return !s.Shows("My terminal") && (s.Shows("#") || s.Shows("$")) })
	s.types("echo $((6*7)) in full\r")
	s.shows("42 in full")
	s.types("\r~.")
	s.shows("My terminal", "42 in full", "commands")
	s.types("\x1d")
	s.shows("a command?")
	s.types("q")
	s.until("the invite", func() bool { return !s.Shows("42 in full") })
	s.types("\x03")
	s.shows("Quit?")
	s.types("Y")
	_ = s.cmd.Wait()
	s.until("the end", func() bool { return len(s.Taken()) == 0 })
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestTUINodeFails: a node that is killed, or hangs, under the terminal UI is told
// of, and the keys work.
func TestTUINodeFails(t *testing.T) {
	for name, sig := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "stopped": syscall.SIGSTOP} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && sig == syscall.SIGSTOP {
				t.Skip("it takes a while until a node that says nothing is told of")
			}
			t.Parallel()
			home := homeFor(t)
			node := sit(t, home, 80, 24, nil, "tandem") // the first one is the node of all
			node.shows("Nobody is here yet.")
			s := sit(t, home, 80, 24, nil, "tandem")
			s.shows("Nobody is here yet.")
			s.signal(node.cmd.Process.Pid, sig)
			s.types("?")
			s.shows("Everywhere")
			s.types("\x1b")
			s.until("home", func() bool { return !s.Shows("Everywhere") })
			if sig == syscall.SIGSTOP {
				s.shows("the node doesn't answer")
			}
			s.types("q")
			s.ends(0)
		})
	}
}

// TestTUIInPoorTerminals: a window that is too small, a terminal that knows only
// lines, and one that knows only ASCII.
func TestTUIInPoorTerminals(t *testing.T) {
	t.Run("20x5", func(t *testing.T) {
		t.Parallel()
		s := sit(t, homeFor(t), 20, 5, nil, "tandem")
		s.shows("tandem needs")
		if err := pty.Setsize(s.master, &pty.Winsize{Cols: 80, Rows: 24}); err != nil {
			t.Fatal(err)
		}
		s.Resize(80, 24)
		s.shows("Nobody is here yet.")
		s.types("q")
		_ = s.cmd.Wait()
		if taken := s.Taken(); len(taken) > 0 || s.cmd.ProcessState.ExitCode() != 0 {
			t.Errorf("it keeps %q and ended with %v", taken, s.cmd.ProcessState)
		}
	})
	t.Run("0x0", func(t *testing.T) { // as a serial console says
		t.Parallel()
		s := sit(t, homeFor(t), 80, 24, nil, "/bin/sh", "-c", "stty rows 0 columns 0; exec tandem")
		s.shows("Nobody is here yet.", "help")
		s.types("q")
		s.ends(0)
	})
	t.Run("dumb", func(t *testing.T) {
		t.Parallel()
		s := sit(t, homeFor(t), 80, 24, []string{"TERM=dumb"}, "tandem")
		s.shows("Nobody is here yet.")
		s.types("q")
		s.ends(0)
	})
	t.Run("no UTF-8", func(t *testing.T) {
		t.Parallel()
		s := sit(t, homeFor(t), 80, 24, []string{"LANG=C"}, "tandem")
		s.shows("Nobody is here yet.")
		for _, line := range s.Lines() {
			if strings.ContainsFunc(line, func(r rune) bool { return r > 0x7e }) {
				t.Errorf("%q has more than ASCII", line)
			}
		}
		s.types("q")
		s.ends(0)
	})
}
