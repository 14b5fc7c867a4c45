package screen

import "github.com/mattn/go-runewidth"

// colour is 0 for the default, or one of the kinds below with its value.
type colour uint32

const (
	indexed colour = 1 << 24 // plus 0 to 255
	direct  colour = 2 << 24 // plus 0xRRGGBB
)

// attribute is a set of renditions.
type attribute uint16

const (
	bold attribute = 1 << iota
	faint
	italic
	blink
	reverse
	hidden
	struck
	overlined
	graphics // the character is one of DEC's special graphics
	// Underlining has a kind: 0 to 5.
	underlineShift           = 12
	underline      attribute = 7 << underlineShift
)

// style is how a cell looks. The zero style is the default.
type style struct {
	fg, bg, under colour
	attr          attribute
	link          uint16 // index of links, plus one
}

// blank is the style that erasing leaves behind: the background (xterm's
// "bce").
func (s style) blank() style { return style{bg: s.bg} }

// cell is one place on the screen. Of a wide character the second cell has
// width 0 and no text. The zero cell has never been written to.
type cell struct {
	// text is the character; a negative one is the complement of an index of
	// clusters; 0 means that the cell is erased.
	text  rune
	width int8
	style style
}

// line is a row. Cells beyond the end of cells are zero.
type line struct {
	cells   []cell
	wrapped bool // the text goes on in the next row
	cleared bool // it was cleared away, into history, and doesn't come back by itself
}

func (l *line) at(x int) cell {
	if x < 0 || x >= len(l.cells) {
		return cell{}
	}
	return l.cells[x]
}

// ref is the cell at x, for writing.
func (l *line) ref(x int) *cell {
	if x >= len(l.cells) {
		if x >= cap(l.cells) {
			grown := make([]cell, len(l.cells), max(x+1, 2*cap(l.cells)))
			copy(grown, l.cells)
			l.cells = grown
		}
		n := len(l.cells)
		l.cells = l.cells[:x+1]
		clear(l.cells[n:])
	}
	return &l.cells[x]
}

// split erases the halves of wide characters that a border at x would cut
// apart.
func (l *line) split(x int) {
	if x <= 0 || x >= len(l.cells) || !l.cells[x].trails() {
		return
	}
	l.cells[x] = cell{style: l.cells[x].style.blank()}
	l.cells[x-1] = cell{style: l.cells[x-1].style.blank()}
}

// overwrite makes [from, to) ready to be written over: what is left of wide
// characters that it cuts apart has no background of its own.
func (l *line) overwrite(from, to int) {
	for _, x := range []int{from, to} {
		if x > 0 && x < len(l.cells) && l.cells[x].trails() {
			l.cells[x-1], l.cells[x] = cell{}, cell{}
		}
	}
}

// trails reports whether this is the second cell of a wide character.
func (c cell) trails() bool { return c.width < 0 }

// erased reports whether nothing has been written here.
func (c cell) erased() bool { return c.text == 0 && !c.trails() }

// trail is the second cell of a wide character.
const trail = -1

// fill sets the cells in [from, to).
func (l *line) fill(from, to int, st style) {
	l.split(from)
	l.split(to)
	if st == (style{}) && to >= len(l.cells) {
		l.cells = l.cells[:min(from, len(l.cells))]
		return
	}
	for x := from; x < to; x++ {
		*l.ref(x) = cell{style: st}
	}
}

// trimmed drops zero cells at the end.
func (l *line) trimmed() []cell {
	n := len(l.cells)
	for n > 0 && l.cells[n-1] == (cell{}) {
		n--
	}
	return l.cells[:n]
}

// narrow measures characters as terminals do that don't ask what an East Asian
// font would do to ambiguous ones.
var narrow = runewidth.Condition{StrictEmojiNeutral: true}

// runeWidth is how many cells a character takes: 0, 1 or 2.
func runeWidth(r rune) int {
	switch {
	case r < 0x300 || r == 0xfffd:
		return 1 // U+00AD too: a terminal shows the soft hyphen
	case r >= 0x1160 && r <= 0x11ff, r >= 0xd7b0 && r <= 0xd7ff:
		return 0 // Hangul vowels and finals join the consonant before them
	}
	return narrow.RuneWidth(r)
}
