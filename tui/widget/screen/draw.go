package screen

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
	"github.com/muesli/termenv"

	"tandem/share/terminal"
)

// painter draws cells as text with attributes for a terminal with these colours.
type painter struct {
	b       strings.Builder
	profile termenv.Profile
	ascii   bool // nothing beyond ASCII
	bare    bool // no attributes
	pen     terminal.Style
	drawn   bool // attributes have been set
}

// row draws cells, at most width wide and padded to it. marks, if not nil,
// changes how the cell in a column looks.
func (p *painter) row(cells []terminal.Cell, width int, marks func(x int) mark) string {
	line := p.draw(cells, width, marks, display)
	if ansi.StringWidth(line) != width {
		// Neighbours join, or are as wide as the terminal around us thinks.
		line = p.draw(cells, width, marks, simple)
	}
	if ansi.StringWidth(line) != width {
		line = p.draw(cells, width, marks, plain)
	}
	return line
}

// mark is how a cell differs from what the program has drawn.
type mark byte

const (
	unmarked mark = iota
	reversed      // the cursor, or what is selected
	found         // what was looked for
)

func (p *painter) draw(cells []terminal.Cell, width int, marks func(x int) mark, text func(terminal.Cell) string) string {
	p.b.Reset()
	p.pen, p.drawn = terminal.Style{}, false
	for x := 0; x < width; {
		c := terminal.Cell{Text: " ", Width: 1}
		if x < len(cells) {
			c = cells[x]
		}
		if c.Width == 0 || x+c.Width > width { // half of one
			c.Text, c.Width = " ", 1
		}
		if marks != nil {
			c.Style = marked(c.Style, marks(x))
		}
		p.style(c.Style)
		shown := text(c)
		if p.ascii && ansi.StringWidth(shown) > 0 && shown[0] >= 0x80 {
			shown = strings.Repeat("?", c.Width)
		}
		if c.Style.Hidden {
			shown = strings.Repeat(" ", c.Width)
		}
		p.b.WriteString(shown)
		x += c.Width
	}
	p.style(terminal.Style{})
	if p.drawn {
		p.b.WriteString("\x1b[0m")
	}
	return p.b.String()
}

func marked(s terminal.Style, m mark) terminal.Style {
	switch m {
	case reversed:
		s.Reverse = !s.Reverse
	case found:
		s.Reverse, s.Underline = !s.Reverse, true
	}
	return s
}

// display is a cell's text, without what would change how others are shown.
func display(c terminal.Cell) string {
	if len(c.Text) == 1 {
		if c.Text[0] < ' ' || c.Text[0] == 0x7f {
			return "?"
		}
		return c.Text
	}
	text := strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Bidi_Control, r) || unicode.IsControl(r) {
			return -1
		}
		return r
	}, c.Text)
	if ansi.StringWidth(text) != c.Width {
		return simple(c)
	}
	return text
}

// simple is a cell's first character if nothing joins it.
func simple(c terminal.Cell) string {
	r, size := utf8.DecodeRuneInString(c.Text)
	if text := c.Text[:size]; unicode.IsPrint(r) && !unicode.Is(unicode.Regional_Indicator, r) && ansi.StringWidth(text) == c.Width {
		return text
	}
	return strings.Repeat("?", c.Width)
}

// plain is what is certain to be as wide as it should.
func plain(c terminal.Cell) string {
	if len(c.Text) == 1 && c.Text[0] >= ' ' && c.Text[0] < 0x7f {
		return c.Text
	}
	return strings.Repeat("?", c.Width)
}

// style makes s the pen.
func (p *painter) style(s terminal.Style) {
	s.Hidden = false
	if s == p.pen || p.bare {
		return
	}
	p.pen = s
	p.drawn = s != terminal.Style{}
	p.b.WriteString("\x1b[0")
	for _, a := range [...]struct {
		on   bool
		code string
	}{
		{s.Bold, ";1"},
		{s.Faint, ";2"},
		{s.Italic, ";3"},
		{s.Underline, ";4"},
		{s.Blink, ";5"},
		{s.Reverse, ";7"},
		{s.Struck, ";9"},
		{s.Overlined, ";53"},
	} {
		if a.on {
			p.b.WriteString(a.code)
		}
	}
	p.colour(s.FG, false)
	p.colour(s.BG, true)
	p.b.WriteByte('m')
}

func (p *painter) colour(c terminal.Colour, background bool) {
	var from termenv.Color
	if n, ok := c.Index(); ok && n < 16 {
		from = termenv.ANSIColor(n)
	} else if ok {
		from = termenv.ANSI256Color(n)
	} else if r, g, b, ok := c.RGB(); ok {
		from = termenv.RGBColor("#" + hex(r) + hex(g) + hex(b))
	} else {
		return
	}
	if p.profile == termenv.Ascii {
		return
	}
	if to := p.profile.Convert(from); to != nil {
		p.b.WriteByte(';')
		p.b.WriteString(to.Sequence(background))
	}
}

func hex(n uint8) string {
	if n < 16 {
		return "0" + strconv.FormatUint(uint64(n), 16)
	}
	return strconv.FormatUint(uint64(n), 16)
}
