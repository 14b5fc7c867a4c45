package tuitest

import (
	"strings"
	"sync"

	"tandem/share/terminal"
)

// Display is a terminal that shows what is written to it.
type Display struct {
	mu      sync.Mutex
	screen  *terminal.Screen
	written int
}

// NewDisplay is an empty terminal of that size.
func NewDisplay(cols, rows uint16) *Display {
	return &Display{screen: terminal.NewScreen(terminal.Size{Cols: cols, Rows: rows})}
}

// Write shows output.
func (d *Display) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.written += len(p)
	d.screen.Follow(terminal.Output{Data: p})
	return len(p), nil
}

// Resize gives the terminal another size.
func (d *Display) Resize(cols, rows uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.screen.Follow(terminal.Size{Cols: cols, Rows: rows})
}

// Written is how many bytes have been written.
func (d *Display) Written() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.written
}

// Lines are what it shows, without blanks at the ends.
func (d *Display) Lines() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var lines []string
	_, first, end := d.screen.Rows()
	for n := first; n < end; n++ {
		cells, _ := d.screen.AppendRow(nil, n)
		var b strings.Builder
		for _, c := range cells {
			if c.Text == "" && c.Width > 0 {
				c.Text = " "
			}
			b.WriteString(c.Text)
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	return lines
}

// Shows reports whether it shows all of texts.
func (d *Display) Shows(texts ...string) bool {
	shown := strings.Join(d.Lines(), "\n")
	for _, text := range texts {
		if !strings.Contains(shown, text) {
			return false
		}
	}
	return true
}

// Taken is what a program has set that a shell would not want: the alternate
// screen, a hidden cursor, the mouse, marks around what is pasted, a style.
func (d *Display) Taken() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var taken []string
	m := d.screen.Modes()
	_, _, cursor := d.screen.Cursor()
	for what, is := range map[string]bool{
		"the alternate screen": m.Alternate, "a hidden cursor": !cursor, "the mouse": m.Mouse != 0, "marks around what is pasted": m.Paste,
		"focus reports": m.Focus, "application keys": m.CursorKeys || m.Keypad,
	} {
		if is {
			taken = append(taken, what)
		}
	}
	return taken
}
