package tui

import (
	"io"
	"strconv"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"tandem/tui/page"
)

const (
	// frameLeast is the least time between two frames: a key waits no longer.
	frameLeast = 5 * time.Millisecond
	// frameShare is how many times as long as the last frame took to wait before
	// the next: a terminal that takes its time is not given more than it reads.
	frameShare = 2
	frameMost  = 200 * time.Millisecond
)

// painter draws the root's window: the lines that have changed, as soon as they
// have. bubbletea's own renderer draws when its clock ticks, 120 times a second
// (standard_renderer.go of v1.3.10); it is left with the terminal's modes, and with
// nothing to draw.
type painter struct {
	*root
	out   io.Writer
	shown []string // the lines on the screen; nil if it may show anything
	stale bool     // something has happened since they were drawn
	armed bool     // a frame is on its way
	last  time.Time
	pause time.Duration // after last

	written []byte
}

// frame lets the painter draw what has waited.
type frame struct{}

// sized is a tea.WindowSizeMsg. The renderer, not knowing how large the window is,
// erases none of it.
type sized tea.WindowSizeMsg

// sizes is a filter of a tea.Program: see sized.
func sizes(_ tea.Model, msg tea.Msg) tea.Msg {
	if size, ok := msg.(tea.WindowSizeMsg); ok {
		return sized(size)
	}
	return msg
}

func newPainter(m *root, out io.Writer) *painter { return &painter{root: m, out: out, stale: true} }

// Update gives the message to the root, and sees to it that a frame follows.
func (p *painter) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch m := msg.(type) {
	case frame:
		p.armed = false
		return p, nil
	case sized:
		msg, p.shown = tea.WindowSizeMsg(m), nil
	case tea.SuspendMsg: // and it has come back
		p.shown = nil
	case page.Exec:
		m.Command = lent{m.Command, p}
		msg = m
	}
	_, cmd := p.root.Update(msg)
	p.stale = true
	if wait := p.pause - time.Since(p.last); wait > 0 && !p.armed {
		p.armed = true
		cmd = tea.Batch(cmd, p.env.After(wait, func(time.Time) tea.Msg { return frame{} }))
	}
	return p, cmd
}

// lent is a command that has the terminal while it runs.
type lent struct {
	tea.ExecCommand
	painter *painter
}

func (l lent) Run() error {
	defer func() { l.painter.shown = nil }()
	return l.ExecCommand.Run()
}

// View draws the window if it is time. What it returns draws nothing, but is
// something: for an empty view the renderer would draw a blank.
func (p *painter) View() string {
	if p.stale && !p.armed {
		p.stale = false
		p.paint()
	}
	return "\x1b[m"
}

// paint writes the lines that have changed, in one piece. Lines don't wrap while it
// does: what the terminal takes for wider than we do is cut.
func (p *painter) paint() {
	begun := time.Now()
	lines := strings.Split(p.root.View(), "\n")
	b := append(p.written[:0], "\x1b[?7l"...)
	before := len(b)
	if p.shown == nil {
		b = append(b, "\x1b[m\x1b[2J"...)
	}
	for i, line := range lines {
		if i < len(p.shown) && p.shown[i] == line {
			continue
		}
		b = append(b, "\x1b["...)
		b = strconv.AppendInt(b, int64(i+1), 10)
		b = append(b, ";1H\x1b[m"...)
		text := strings.TrimRight(line, " ")
		b = append(b, text...)
		if len(text) < len(line) {
			b = append(b, "\x1b[m\x1b[K"...)
		}
	}
	p.shown, p.written = lines, b
	if len(b) == before {
		return
	}
	_, _ = p.out.Write(append(b, "\x1b[?7h"...)) // a terminal that is gone ends the reading of keys too
	p.last = time.Now()
	p.pause = min(max(frameLeast, frameShare*p.last.Sub(begun)), frameMost)
}
