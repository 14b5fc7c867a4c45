package widget

import (
	"strings"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"tandem/tui/theme"
)

// List is a cursor in a list of any length, and the window on it: only what is
// visible is ever rendered.
type List struct {
	keys          theme.Keys
	length        int
	cursor        int
	offset        int // the first visible line
	width, height int
	// Skip reports lines that the cursor passes over, such as headings; nil is none.
	Skip func(i int) bool
}

// NewList makes an empty list.
func NewList(keys theme.Keys) List { return List{keys: keys} }

// SetSize sets the size of the window.
func (l *List) SetSize(width, height int) {
	l.width, l.height = max(0, width), max(0, height)
	l.settle(1)
}

// SetLength sets the number of lines; the cursor stays where it can.
func (l *List) SetLength(n int) {
	l.length = max(0, n)
	l.settle(1)
}

// Length is the number of lines, Cursor the line under the cursor (-1 in an
// empty list).
func (l *List) Length() int { return l.length }

// Cursor is the line under the cursor, -1 if there is none.
func (l *List) Cursor() int {
	if l.cursor >= l.length || l.skipped(l.cursor) {
		return -1
	}
	return l.cursor
}

// Select moves the cursor to line i.
func (l *List) Select(i int) {
	l.cursor = i
	l.settle(1)
}

func (l *List) skipped(i int) bool { return l.Skip != nil && i >= 0 && i < l.length && l.Skip(i) }

// settle brings the cursor onto a line that may be selected, looking first in
// the direction given, and the window onto the cursor.
func (l *List) settle(direction int) {
	l.cursor = min(max(l.cursor, 0), max(0, l.length-1))
	if l.skipped(l.cursor) {
		at := l.cursor
		for l.skipped(at) {
			at += direction
		}
		if at < 0 || at >= l.length {
			for at = l.cursor; l.skipped(at); {
				at -= direction
			}
		}
		if at >= 0 && at < l.length {
			l.cursor = at
		}
	}
	if l.cursor < l.offset {
		l.offset = l.cursor
		for l.offset > 0 && l.skipped(l.offset-1) { // show the heading above
			l.offset--
		}
	}
	if l.cursor >= l.offset+l.height {
		l.offset = l.cursor - l.height + 1
	}
	l.offset = min(max(l.offset, 0), max(0, l.length-l.height))
}

// Update moves the cursor by keys and the mouse, and reports whether it was for
// the list. A click on the line under the cursor counts as the key for open, and
// is left to the page: see Clicked.
func (l *List) Update(msg tea.Msg) bool {
	switch msg := msg.(type) {
	case tea.KeyMsg:
		return l.key(msg)
	case tea.MouseMsg:
		switch {
		case msg.Button == tea.MouseButtonWheelUp:
			l.move(-3)
		case msg.Button == tea.MouseButtonWheelDown:
			l.move(3)
		case msg.Action == tea.MouseActionPress && msg.Button == tea.MouseButtonLeft:
			i := l.offset + msg.Y
			if msg.Y < 0 || msg.Y >= l.height || i >= l.length || l.skipped(i) || i == l.cursor {
				return false
			}
			l.cursor = i
			l.settle(1)
		default:
			return false
		}
		return true
	}
	return false
}

// Clicked reports whether msg is a click on the line under the cursor.
func (l *List) Clicked(msg tea.Msg) bool {
	m, ok := msg.(tea.MouseMsg)
	return ok && m.Action == tea.MouseActionPress && m.Button == tea.MouseButtonLeft &&
		m.Y >= 0 && m.Y < l.height && l.offset+m.Y == l.Cursor()
}

func (l *List) key(msg tea.KeyMsg) bool {
	switch {
	case key.Matches(msg, l.keys.Up):
		l.move(-1)
	case key.Matches(msg, l.keys.Down):
		l.move(1)
	case key.Matches(msg, l.keys.PageUp):
		l.move(-max(1, l.height-1))
	case key.Matches(msg, l.keys.PageDown):
		l.move(max(1, l.height-1))
	case key.Matches(msg, l.keys.Top):
		l.offset = 0
		l.move(-l.length)
	case key.Matches(msg, l.keys.Bottom):
		l.move(l.length)
	default:
		return false
	}
	return true
}

func (l *List) move(by int) {
	l.cursor += by
	direction := 1
	if by < 0 {
		direction = -1
	}
	l.settle(direction)
}

// View renders the window: row makes one line, and is called for visible lines only.
func (l *List) View(row func(i int, selected bool) string) string {
	if l.width == 0 || l.height == 0 {
		return ""
	}
	lines := make([]string, 0, l.height)
	for i := l.offset; i < min(l.length, l.offset+l.height); i++ {
		lines = append(lines, Pad(row(i, i == l.Cursor()), l.width))
	}
	return Fit(strings.Join(lines, "\n"), l.width, l.height)
}

// Lines renders the window of a list whose entries take several lines each: as
// many entries as its height.
func (l *List) Lines(entry func(i int, selected bool) []string) []string {
	var lines []string
	for i := l.offset; i < min(l.length, l.offset+l.height); i++ {
		lines = append(lines, entry(i, i == l.Cursor())...)
	}
	return lines
}

// Position says where the window is in a list that doesn't fit: "12–30 of 10000".
func (l *List) Position() string {
	if l.length <= l.height || l.height == 0 {
		return ""
	}
	return itoa(l.offset+1) + "-" + itoa(min(l.length, l.offset+l.height)) + " of " + itoa(l.length)
}
