package screen

import "strings"

// Colour is 0 for the terminal's default, or what Index or RGB tells.
type Colour uint32

// Index is the number of one of the 256 colours.
func (c Colour) Index() (n uint8, ok bool) { return uint8(c), colour(c)>>24<<24 == indexed }

// RGB is a colour given directly.
func (c Colour) RGB() (r, g, b uint8, ok bool) {
	return uint8(c >> 16), uint8(c >> 8), uint8(c), colour(c)>>24<<24 == direct
}

// Style is how a cell looks; the zero Style is the default.
type Style struct {
	FG, BG                                Colour
	Bold, Faint, Italic, Underline, Blink bool
	Reverse, Hidden, Struck, Overlined    bool
}

// Cell is one place as it is to be shown. Of a wide character the second cell
// has width 0 and no text; any other has text, a space where nothing is.
type Cell struct {
	Text  string
	Width int
	Style Style
	// Link is the address of a hyperlink: printable ASCII, or "".
	Link string
}

// Rows says which rows can be looked at: [start, screen) are history, [screen,
// end) what is shown now. The numbers are those of History.
func (s *Screen) Rows() (start, screen, end uint64) {
	start, screen = s.History()
	return start, screen, screen + uint64(s.rows)
}

// AppendRow appends the cells of a row to cells, without default ones at its
// end, and says whether its text goes on in the next row. A row that is not
// there has none.
func (s *Screen) AppendRow(cells []Cell, n uint64) (_ []Cell, wrapped bool) {
	start, shown, end := s.Rows()
	var l *line
	switch {
	case n < start || n >= end:
		return cells, false
	case n < shown:
		l = s.history.at(int(n - start))
	default:
		l = s.active().lines[n-shown]
	}
	for _, c := range l.trimmed() {
		cells = append(cells, s.look(c))
	}
	return cells, l.wrapped
}

func (s *Screen) look(c cell) Cell {
	a := c.style.attr
	out := Cell{Width: int(c.width), Style: Style{
		FG: Colour(c.style.fg), BG: Colour(c.style.bg),
		Bold: a&bold != 0, Faint: a&faint != 0, Italic: a&italic != 0, Underline: a&underline != 0, Blink: a&blink != 0,
		Reverse: a&reverse != 0, Hidden: a&hidden != 0, Struck: a&struck != 0, Overlined: a&overlined != 0,
	}}
	if c.style.link != 0 {
		_, out.Link, _ = strings.Cut(s.links[c.style.link-1], ";")
	}
	switch {
	case c.trails():
		out.Width = 0
	case c.erased():
		out.Text, out.Width = " ", 1
	case c.text < 0:
		out.Text = string(s.content(c.text))
	case a&graphics != 0 && c.text >= '`' && c.text <= '~':
		out.Text = string(specialGraphics[c.text-'`'])
	default:
		out.Text = string(c.text)
	}
	return out
}

// specialGraphics are DEC's special graphics from 0x60 to 0x7e.
var specialGraphics = [...]rune{
	'◆', '▒', '␉', '␌', '␍', '␊', '°', '±', '␤', '␋', '┘', '┐', '┌', '└', '┼', '⎺',
	'⎻', '─', '⎼', '⎽', '├', '┤', '┴', '┬', '│', '≤', '≥', 'π', '≠', '£', '·',
}

// Cursor is where the cursor is, from 0, and whether the program shows it.
func (s *Screen) Cursor() (x, y int, visible bool) {
	_, hidden := s.private[25]
	return s.cur.x, s.cur.y, !hidden
}

// Title is the window's title; it is not checked for what may be shown.
func (s *Screen) Title() string { return s.title }

// Modes are what the program has asked of keys, the mouse and the screen.
type Modes struct {
	Alternate     bool // the alternate screen is shown: it has no history
	CursorKeys    bool // application cursor keys (DECCKM)
	Keypad        bool // application keypad
	NewLine       bool // Enter is CR LF
	Paste         bool // bracketed paste
	Focus         bool // focus reports
	ScrollKeys    bool // the wheel is arrow keys on the alternate screen
	Reverse       bool // the whole screen is reversed
	Mouse         int  // the tracking mode: 9, 1000, 1002, 1003, or 0
	MouseEncoding int  // 1005, 1015, 1006, 1016, or 0
}

// Modes are those in force now.
func (s *Screen) Modes() Modes {
	m := Modes{
		Alternate: s.alternate != 0, CursorKeys: s.private[1], Keypad: s.keypad || s.private[66], NewLine: s.newline,
		Paste: s.private[2004], Focus: s.private[1004], ScrollKeys: s.private[1007], Reverse: s.private[5], Mouse: s.mouse,
	}
	for _, encoding := range []int{1005, 1015, 1006, 1016} {
		if s.private[encoding] {
			m.MouseEncoding = encoding
		}
	}
	return m
}

// Renew is a full reset that keeps history, for a snapshot to follow. With
// keep, the rows down to the cursor's go into history first.
func (s *Screen) Renew(keep bool) {
	kept := *s
	if keep && s.alternate == 0 {
		for _, l := range s.main.lines[:s.cur.y] {
			kept.history.push(l)
		}
		if l := s.line(); len(l.trimmed()) > 0 {
			kept.history.push(l)
		}
	}
	kept.parser = parser{}
	s.Reset()
	s.history, s.clusters, s.clusterOf, s.links, s.linkOf = kept.history, kept.clusters, kept.clusterOf, kept.links, kept.linkOf
}
