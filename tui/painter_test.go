package tui

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"
	"github.com/muesli/termenv"

	"tandem/tui/page"
	"tandem/tui/theme"
	"tandem/tui/tuitest"
)

// painted is a painter and the terminal that it draws on.
type painted struct {
	*painter
	*tuitest.Display
}

func newPainted(t *testing.T) painted {
	t.Helper()
	b := tuitest.Busy()
	run := func(work func(context.Context) tea.Msg) tea.Cmd {
		return func() tea.Msg { return work(t.Context()) }
	}
	m := newRoot(Config{Backend: b, Theme: theme.Options{Profile: termenv.ANSI256}, Keys: theme.DefaultKeys()}, run, tuitest.Now())
	d := tuitest.NewDisplay(80, 24)
	p := painted{newPainter(m, d), d}
	p.send(answered{state: tuitest.State(t, b)})
	return p
}

// send gives the painter a message as bubbletea does, and lets it draw.
func (p painted) send(msg tea.Msg) {
	_, _ = p.Update(sizes(p.painter, msg))
	_ = p.View()
	if p.armed {
		_, _ = p.Update(frame{})
		_ = p.View()
	}
}

// same fails unless the terminal shows the window.
func (p painted) same(t *testing.T) {
	t.Helper()
	shown := p.Lines()
	for i, line := range strings.Split(ansi.Strip(p.root.View()), "\n") {
		if want := strings.TrimRight(line, " "); shown[i] != want {
			t.Fatalf("line %d shows %q, want %q", i, shown[i], want)
		}
	}
}

// What changes is drawn, and nothing else.
func TestPainterDrawsWhatHasChanged(t *testing.T) {
	p := newPainted(t)
	p.same(t)
	before := p.Written()
	p.send(tea.KeyMsg{Type: tea.KeyDown})
	p.same(t)
	if n := p.Written() - before; n == 0 || n > 600 {
		t.Errorf("the cursor moves with %d bytes", n)
	}
	before = p.Written()
	p.send(page.Tick{Now: tuitest.Now()})
	if p.Written() != before {
		t.Errorf("%d bytes for nothing", p.Written()-before)
	}
	p.send(page.Verb{Text: "tandem why anna"})
	p.send(tea.KeyMsg{Type: tea.KeyF1})
	p.same(t)
	p.send(tea.KeyMsg{Type: tea.KeyEsc})
	p.same(t)
}

// After another size, after it was suspended and after something else had the
// terminal, all is drawn anew.
func TestPainterStartsAnew(t *testing.T) {
	p := newPainted(t)
	disturb := func() { _, _ = p.Write([]byte("\x1b[2J\x1b[5;5Hsomething else\x1b[7m")) }
	for _, event := range []func(){
		func() { disturb(); p.send(tea.SuspendMsg{}) },
		func() {
			command := lent{ranCommand(disturb), p.painter}
			if err := command.Run(); err != nil {
				t.Error(err)
			}
			p.send(page.Refresh{})
		},
		func() {
			p.Resize(60, 15)
			p.send(tea.WindowSizeMsg{Width: 60, Height: 15})
		},
		func() {
			p.Resize(120, 40)
			p.send(tea.WindowSizeMsg{Width: 120, Height: 40})
		},
	} {
		event()
		p.same(t)
	}
}

// ranCommand is a tea.ExecCommand.
type ranCommand func()

func (c ranCommand) Run() error        { c(); return nil }
func (ranCommand) SetStdin(io.Reader)  {}
func (ranCommand) SetStdout(io.Writer) {}
func (ranCommand) SetStderr(io.Writer) {}

// Many messages make one frame, and what the last of them changed is in it.
func TestPainterKeepsFramesApart(t *testing.T) {
	p := newPainted(t)
	p.last, p.pause = time.Now(), time.Hour
	before := p.Written()
	for i := range 1000 {
		_, _ = p.Update(page.Verb{Text: strings.Repeat("x", i%70)})
		_ = p.View()
	}
	if p.Written() != before || !p.armed {
		t.Fatalf("%d bytes at once; the frame is on its way: %v", p.Written()-before, p.armed)
	}
	_, _ = p.Update(frame{})
	_ = p.View()
	p.same(t)
	if p.pause >= time.Hour || p.pause < frameLeast {
		t.Errorf("the next frame waits for %v", p.pause)
	}
}
