//go:build linux || darwin

package background

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tandem/session"
	"tandem/session/sessiontest"
	"tandem/share/terminal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// seat is a Terminal as a page uses it.
type seat struct {
	*Terminal
	t      *testing.T
	screen *terminal.Screen
	link   Link
	err    error
	exit   *terminal.Exit
	ran    chan struct{}
	mu     sync.Mutex
	stream session.Stream // the last that was opened
	opened int
}

func sit(t *testing.T, guest session.Session, request terminal.Request) *seat {
	s := &seat{t: t, screen: terminal.NewScreen(terminal.Size{Cols: 80, Rows: 24}), ran: make(chan struct{})}
	s.Terminal = NewTerminal(func(ctx context.Context, h session.Header) (session.Stream, error) {
		stream, err := guest.Open(ctx, h)
		s.mu.Lock()
		s.stream, s.opened = stream, s.opened+1
		s.mu.Unlock()
		return stream, err
	}, request)
	go func() {
		defer close(s.ran)
		s.Run(t.Context())
	}()
	t.Cleanup(func() {
		s.Close()
		<-s.ran
	})
	return s
}

// until takes batches until a condition holds.
func (s *seat) until(what string, ok func() bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for !ok() {
		b, more := s.Next(ctx)
		if !more {
			s.t.Fatalf("never saw %s: link %v, error %v, screen:\n%s", what, s.link, s.err, s.text())
		}
		s.link, s.err = b.Link, b.Err
		for _, e := range b.Events {
			s.screen.Follow(e)
			if exit, ok := e.(terminal.Exit); ok {
				s.exit = &exit
			}
		}
	}
}

func (s *seat) text() string {
	start, _, end := s.screen.Rows()
	var b strings.Builder
	for n := start; n < end; n++ {
		cells, _ := s.screen.AppendRow(nil, n)
		for _, c := range cells {
			b.WriteString(c.Text)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func (s *seat) shows(text string) func() bool {
	return func() bool { return strings.Contains(s.text(), text) }
}

// host shares a shell with a guest.
func host(t *testing.T) session.Session {
	s := terminal.New(terminal.Config{Argv: []string{"/bin/sh"}, Env: []string{"PS1=$ ", "HISTFILE=/dev/null"}, Dir: t.TempDir()})
	_, guest := sessiontest.Pair(t, sessiontest.Serve(s), nil)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return guest
}

// TestTerminal: what is typed reaches the program, its size is the viewer's,
// and its end is told.
func TestTerminal(t *testing.T) {
	s := sit(t, host(t), terminal.Request{Params: terminal.Params{Size: terminal.Size{Cols: 70, Rows: 20}}})
	s.until("the link", func() bool { return s.link == Attached })
	s.until("a prompt", s.shows("$ "))
	if !s.Type([]byte("stty size; echo a$((1+1))b\r")) {
		t.Fatal("nothing can be typed")
	}
	s.until("output", s.shows("a2b"))
	if !s.shows("20 70")() {
		t.Errorf("another size:\n%s", s.text())
	}
	s.Resize(terminal.Size{Cols: 60, Rows: 10})
	s.until("the new size", func() bool { return s.screen.Size() == terminal.Size{Cols: 60, Rows: 10} })
	s.Type([]byte("exit 3\r"))
	s.until("the exit", func() bool { return s.link == Over })
	if s.exit == nil || s.exit.Code != 3 || s.err != nil {
		t.Errorf("exit %+v, error %v", s.exit, s.err)
	}
	if s.Type([]byte("x")) {
		t.Error("typed into a terminal that has ended")
	}
	if _, more := s.Next(t.Context()); more {
		t.Error("something comes after the end")
	}
}

// TestComesBack: a lost stream is replaced, and no output is lost or shown twice.
func TestComesBack(t *testing.T) {
	s := sit(t, host(t), terminal.Request{Params: terminal.Params{Size: terminal.Size{Cols: 80, Rows: 24}}})
	s.until("a prompt", s.shows("$ "))
	s.Type([]byte("i=0; while test $i -lt 50; do echo line-$i-; i=$((i+1)); done; echo e''nd\r"))
	s.mu.Lock()
	_ = s.stream.Reset(session.Errorf("test", session.Unavailable, "cut"))
	s.mu.Unlock()
	s.until("the loss", func() bool { return s.link == Lost })
	s.until("the link again", func() bool { return s.link == Attached })
	s.until("the end", func() bool {
		if s.shows("end\n")() {
			return true
		}
		s.Type([]byte("echo e''nd\r")) // the line above may have been lost with the stream
		return false
	})
	if n := strings.Count(s.text(), "line-7-"); n > 1 {
		t.Errorf("shown %d times:\n%s", n, s.text())
	}
}

// TestRefused: a host's refusal is the end, and is told once.
func TestRefused(t *testing.T) {
	s := sit(t, host(t), terminal.Request{Name: "absent", Right: terminal.View})
	s.until("the end", func() bool { return s.link == Over })
	if session.KindOf(s.err) != session.NotFound {
		t.Error(s.err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened != 1 {
		t.Errorf("tried %d times", s.opened)
	}
}

// TestSlowPage: a page that takes nothing holds up the host's output, not its
// memory, and gets the newest screen in the end.
func TestSlowPage(t *testing.T) {
	guest := host(t)
	s := sit(t, guest, terminal.Request{Params: terminal.Params{Size: terminal.Size{Cols: 80, Rows: 24}}})
	s.until("a prompt", s.shows("$ "))
	s.Type([]byte("yes 0123456789012345678901234567890123456789 | head -c 3000000; echo fin''ished\r"))
	deadline := time.Now().Add(patience)
	for {
		s.Terminal.mu.Lock()
		held := s.bytes
		s.Terminal.mu.Unlock()
		if held > maxBatch+terminal.MaxBody {
			t.Fatalf("%d bytes are held", held)
		}
		if held > maxBatch/4 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("only %d bytes came", held)
		}
		time.Sleep(time.Millisecond)
	}
	s.until("the end", s.shows("finished"))
}

// TestCloseWhileOpening: who leaves is not kept by a host that doesn't answer.
func TestCloseWhileOpening(t *testing.T) {
	term := NewTerminal(func(ctx context.Context, _ session.Header) (session.Stream, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}, terminal.Request{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		term.Run(t.Context())
	}()
	term.Close()
	<-done
	if b, more := term.Next(t.Context()); !more || b.Link != Over {
		t.Errorf("%+v, %v", b, more)
	}
}
