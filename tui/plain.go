package tui

import (
	"io"
	"strings"
	"sync"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"tandem/tui/page"
)

// plain shows the root's window as lines of text, one below the other, for
// screen readers and for terminals that can't move their cursor. After a key, when
// something interrupts, and when the node begins or ceases to answer, the lines that
// have changed are printed; what changes by itself, such as a countdown, is not news.
type plain struct {
	*root
	printer *printer
	shown   []string
	title   string
	over    page.Page
	toast   string
	answers bool // the node does
}

func newPlain(m *root, out io.Writer) *plain {
	return &plain{root: m, printer: &printer{out: out}}
}

// Update gives the message to the root and prints what is new.
func (p *plain) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	_, cmd := p.root.Update(msg)
	lines := textLines(p.root.View())
	title := p.top().page.Title()
	toast, answers := p.toasts.text, !p.state.At.IsZero() && p.state.Err == nil
	var print []string
	switch {
	case title != p.title || p.root.over != p.over:
		print = lines
	case isInput(msg) || len(p.shown) == 0 || answers != p.answers:
		print = changed(p.shown, lines)
	case toast != p.toast && toast != "":
		print = []string{toast}
	default:
		p.toast = toast
		return p, cmd
	}
	p.shown, p.title, p.over, p.toast, p.answers = lines, title, p.root.over, toast, answers
	return p, tea.Batch(cmd, p.printer.print(print))
}

// isInput reports whether a person has done something, or an answer to it has come.
func isInput(msg tea.Msg) bool {
	switch msg.(type) {
	case tea.WindowSizeMsg, page.Tick, drained, answered, subscribed, subscribe, page.State, page.Happened:
		return false
	}
	return true
}

// View is nothing: the lines are printed.
func (p *plain) View() string { return "" }

// textLines are the lines of a window without styles and blank ones.
func textLines(view string) []string {
	var lines []string
	for line := range strings.SplitSeq(ansi.Strip(view), "\n") {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
	}
	return lines
}

// changed are the lines of now that were not there before.
func changed(before, now []string) []string {
	had := make(map[string]bool, len(before))
	for _, l := range before {
		had[l] = true
	}
	var lines []string
	for _, l := range now {
		if !had[l] {
			lines = append(lines, l)
		}
	}
	return lines
}

// printer writes lines in the order they were given to it, whichever Cmd runs first.
type printer struct {
	out     io.Writer
	mu      sync.Mutex
	waiting []string
}

func (p *printer) print(lines []string) tea.Cmd {
	if len(lines) == 0 {
		return nil
	}
	p.mu.Lock()
	p.waiting = append(p.waiting, lines...)
	p.mu.Unlock()
	return func() tea.Msg {
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.waiting) > 0 {
			// The terminal is raw: a line needs its carriage return.
			_, err := io.WriteString(p.out, strings.Join(p.waiting, "\r\n")+"\r\n")
			p.waiting = nil
			if err != nil {
				return tea.QuitMsg{} // nobody is there to read
			}
		}
		return nil
	}
}
