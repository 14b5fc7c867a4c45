//go:build unix

package tui

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"tandem/tui/theme"
	"tandem/tui/tuitest"
)

// seat is a terminal that a test looks at from the other side.
type seat struct {
	master, slave *os.File
	config        Config
	said          *shown
	read          sync.WaitGroup
}

// shown is what a terminal was told, which is read while it is written.
type shown struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *shown) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *shown) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func newSeat(t *testing.T, look theme.Options) *seat {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(master, &pty.Winsize{Cols: 80, Rows: 24}); err != nil {
		t.Fatal(err)
	}
	s := &seat{master: master, slave: slave, said: &shown{}}
	s.config = Config{Backend: tuitest.Busy(), Theme: look, Keys: theme.DefaultKeys(), In: slave, Out: slave}
	s.read.Go(func() { _, _ = io.Copy(s.said, master) }) // ends when the other end is closed
	return s
}

// run runs the terminal UI and returns what it showed, and how it ended. The
// terminal is as before then.
func (s *seat) run(ctx context.Context, t *testing.T) (string, error) {
	t.Helper()
	before, err := term.GetState(int(s.slave.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	failed := Run(ctx, s.config)
	after, err := term.GetState(int(s.slave.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if *before != *after {
		t.Errorf("the terminal was %+v and is %+v", before, after)
	}
	if err := s.slave.Close(); err != nil {
		t.Fatal(err)
	}
	s.read.Wait()
	if err := s.master.Close(); err != nil {
		t.Fatal(err)
	}
	return s.said.String(), failed
}

// What is printed for a screen reader has no sequences, and nothing twice that has
// not changed.
func TestPlain(t *testing.T) {
	s := newSeat(t, theme.Options{Plain: true})
	s.config.Ends = func() bool { return true }
	ctx, giveUp := context.WithTimeout(t.Context(), time.Minute)
	defer giveUp()
	var typing sync.WaitGroup
	defer typing.Wait()
	typing.Go(func() {
		for _, step := range []struct {
			text  string
			times int
			key   string
		}{{"Sessions (1)", 1, "n"}, {"What do you share?", 1, "\t"}, {"> guests [watch and type]", 1, "\t"}, {"> program", 1, "bas\x7fsh -l"}, {"bas\b \bsh -l", 1, "\t"}, {"\r\n> recording", 1, "\x1b"}, {"Sessions (1)", 2, "q"}, {"Quit?", 1, "Y"}} {
			for strings.Count(s.said.String(), step.text) < step.times && ctx.Err() == nil {
				time.Sleep(5 * time.Millisecond)
			}
			_, _ = io.WriteString(s.master, step.key)
		}
	})
	said, err := s.run(ctx, t)
	if err != nil {
		t.Fatalf("%v; it said\n%s", err, said)
	}
	if strings.ContainsRune(said, 0x1b) {
		t.Errorf("sequences are printed: %q", said)
	}
	if strings.Contains(said, "> program b") || !strings.Contains(said, "program bash -l") {
		t.Errorf("what is typed should be echoed, and the line come once it is there:\n%s", said)
	}
	if n := strings.Count(said, "What do you share?"); n != 1 {
		t.Errorf("the form's title was printed %d times:\n%s", n, said)
	}
}
