package tui

import (
	"io"
	"strings"
	"sync"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"tandem/session"
	"tandem/tui/page"
)

// plain shows the root's window as lines of text, one below the other, for
// screen readers and for terminals that can't move their cursor. After a key, when
// something interrupts, and when the node begins or ceases to answer, the lines that
// have changed are printed; what changes by itself, such as a countdown, is not news.
// Text that is being typed is echoed, and what it makes of the window is printed after
// the key that ends it.
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
	key, _ := msg.(tea.KeyMsg)
	typing, before := p.typing(), ""
	if typing && key.Type == tea.KeySpace {
		before = p.letters()
	}
	_, cmd := p.root.Update(msg)
	if typing && p.typing() && p.printer.echoes(key) {
		// A space is for choices as well, where there is something to see.
		if before == "" || before == p.letters() {
			return p, tea.Batch(cmd, p.printer.echo(key))
		}
	}
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

// letters are what a window shows, less blanks and the cursor.
func (p *plain) letters() string {
	return strings.NewReplacer(" ", "", "|", "").Replace(strings.Join(textLines(p.root.View()), ""))
}

// typing reports whether letters go into a text.
func (p *plain) typing() bool {
	shown := p.top().page
	if p.root.over != nil {
		shown = p.root.over
	}
	c, ok := shown.(page.Capturer)
	return ok && c.Captures() == page.CaptureText
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
	echoed  []rune // since the last line; only Update uses it
	mu      sync.Mutex
	waiting []byte
}

// echoes reports whether a key is part of a text: one that can be echoed.
func (p *printer) echoes(k tea.KeyMsg) bool {
	switch k.Type {
	case tea.KeyRunes, tea.KeySpace:
		return !k.Alt
	case tea.KeyBackspace:
		return len(p.echoed) > 0
	}
	return false
}

func (p *printer) echo(k tea.KeyMsg) tea.Cmd {
	if last := len(p.echoed) - 1; k.Type == tea.KeyBackspace {
		width := ansi.StringWidth(string(p.echoed[last]))
		p.echoed = p.echoed[:last]
		return p.write(strings.Repeat("\b", width) + strings.Repeat(" ", width) + strings.Repeat("\b", width))
	}
	text := session.Printable(string(k.Runes)) // it may have been pasted
	p.echoed = append(p.echoed, []rune(text)...)
	return p.write(text)
}

func (p *printer) print(lines []string) tea.Cmd {
	var text strings.Builder
	if len(p.echoed) > 0 {
		p.echoed = nil
		text.WriteString("\r\n")
	}
	for _, l := range lines {
		text.WriteString(l + "\r\n") // the terminal is raw: a line needs its carriage return
	}
	return p.write(text.String())
}

func (p *printer) write(text string) tea.Cmd {
	if text == "" {
		return nil
	}
	p.mu.Lock()
	p.waiting = append(p.waiting, text...)
	p.mu.Unlock()
	return func() tea.Msg {
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.waiting) > 0 {
			_, err := p.out.Write(p.waiting)
			p.waiting = nil
			if err != nil {
				return tea.QuitMsg{} // nobody is there to read
			}
		}
		return nil
	}
}
