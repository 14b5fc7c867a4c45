package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"golang.org/x/term"

	"tandem/session"
	"tandem/tui/page"
	"tandem/tui/theme"
)

// Config is what the terminal UI starts from.
type Config struct {
	Backend page.Backend
	Theme   theme.Options
	Keys    theme.Keys
	// Ends reports whether shares and sessions end with this program, as their node
	// runs in it; nil: they don't.
	Ends func() bool
	// Seat is the terminal that the person sits at.
	Seat page.Seat
	// Doctor examines this network; nil: nobody can.
	Doctor page.Doctor
	// First is the page to begin with, above home; nil is none.
	First func(page.Env) page.Page
	// In and Out are the terminal; Out is written to by nobody else meanwhile.
	In  io.Reader
	Out *os.File
}

// work runs what pages wait for: it ends with the program, and is waited for.
type work struct {
	mu    sync.Mutex
	group sync.WaitGroup
	run   func(func(context.Context) tea.Msg) tea.Cmd
	stop  context.CancelFunc
}

// panicked is that work did. The root panics in its stead: bubbletea gives the
// terminal back before it tells of that, but not before it tells of a Cmd's panic.
type panicked struct{ why string }

func newWork(ctx context.Context) *work {
	ctx, stop := context.WithCancel(ctx)
	w := &work{stop: stop}
	w.run = func(f func(context.Context) tea.Msg) tea.Cmd {
		return func() (msg tea.Msg) {
			if !w.begin(ctx) {
				return nil
			}
			defer w.group.Done()
			defer func() {
				if p := recover(); p != nil {
					msg = panicked{fmt.Sprintf("%v\n\n%s", p, debug.Stack())}
				}
			}()
			return f(ctx)
		}
	}
	return w
}

// begin counts one more, unless the work has been ended.
func (w *work) begin(ctx context.Context) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil {
		return false
	}
	w.group.Add(1)
	return true
}

// Close ends the work and waits for it, a while: a backend that hangs may not
// keep the terminal from its person.
func (w *work) Close() {
	w.mu.Lock()
	w.stop()
	w.mu.Unlock() // whoever begins from here on sees that it has ended
	done := make(chan struct{})
	go func() {
		w.group.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Second):
	}
}

// raw makes a terminal give keys one by one, unechoed: bubbletea does so only
// where it draws.
func raw(in io.Reader) (restore func(), err error) {
	file, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return func() {}, nil
	}
	was, err := term.MakeRaw(int(file.Fd()))
	if err != nil {
		return nil, &session.Error{Op: "tui", Err: err}
	}
	return func() { _ = term.Restore(int(file.Fd()), was) }, nil // it is the last thing done
}

// Run shows the terminal UI until its person quits or ctx ends. The terminal is
// then as it was.
func Run(ctx context.Context, c Config) error {
	w := newWork(ctx)
	defer w.Close()
	if c.Seat.Write == nil && c.Out != nil {
		c.Seat.Write = func(p []byte) error {
			_, err := c.Out.Write(p)
			return err
		}
	}
	c.Keys.Suspend.SetEnabled(!c.Theme.Plain) // the terminal's mode is not bubbletea's to restore then
	m := newRoot(c, w.run, time.Now())
	options := []tea.ProgramOption{tea.WithInput(c.In), tea.WithOutput(c.Out), tea.WithoutSignalHandler()}
	var model tea.Model
	if c.Theme.Plain {
		restore, err := raw(c.In)
		if err != nil {
			return err
		}
		defer restore()
		model = newPlain(m, c.Out)
		options = append(options, tea.WithoutRenderer())
	} else {
		if width, height, err := term.GetSize(int(c.Out.Fd())); err == nil {
			m.setSize(width, height)
		}
		model = newPainter(m, c.Out)
		options = append(options, tea.WithAltScreen(), tea.WithMouseCellMotion(), tea.WithFilter(sizes), tea.WithFPS(1))
	}
	program := tea.NewProgram(model, options...)
	stop := context.AfterFunc(ctx, program.Quit) // which waits for the reading of keys; a program killed by its context doesn't
	defer stop()
	_, err := program.Run()
	switch {
	case errors.Is(err, tea.ErrProgramPanic):
		return session.Errorf("tui", session.Internal, "the terminal UI has failed; what is printed above says where")
	case err == nil, errors.Is(err, tea.ErrProgramKilled), errors.Is(err, tea.ErrInterrupted):
		return ctx.Err()
	}
	return err
}
