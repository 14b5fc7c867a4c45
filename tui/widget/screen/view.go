package screen

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
	"github.com/muesli/termenv"

	"tandem/share/terminal"
)

// View is the part of a terminal that is shown, at most as large as the place
// for it. It follows the cursor, until the person scrolls back.
type View struct {
	Screen *terminal.Screen
	// Profile is what colours the person's terminal has, ASCII that it has
	// nothing but those characters.
	Profile termenv.Profile
	ASCII   bool
	// Plain draws text only, for screen readers.
	Plain bool
	// Focused shows the program's cursor.
	Focused bool

	width, height int
	back          bool   // scrolled back
	top           uint64 // the first row shown, when scrolled back
	left          int    // the first column shown
	at            place  // where the person's own cursor is, when scrolled back
	anchor        *place // where a selection began
	query         string
	hits          []hit // of query, in order
	searched      uint64
}

// place is a cell of a terminal.
type place struct {
	row uint64
	col int
}

func (p place) before(o place) bool { return p.row < o.row || p.row == o.row && p.col < o.col }

// SetSize gives the view its place, in cells.
func (v *View) SetSize(width, height int) { v.width, v.height = max(width, 0), max(height, 0) }

// Back reports whether the view is scrolled back: keys then move in it.
func (v *View) Back() bool { return v.back }

// Live goes back to what is shown now.
func (v *View) Live() { v.back, v.anchor = false, nil }

// Scrolled is how many rows back the view is, of how many there are.
func (v *View) Scrolled() (rows, of uint64) {
	start, on, _ := v.Screen.Rows()
	if !v.back {
		return 0, on - start
	}
	return on - min(v.first(), on), on - start
}

// first is the first row that is shown.
func (v *View) first() uint64 {
	start, on, end := v.Screen.Rows()
	if v.back {
		return min(max(v.top, start), v.last())
	}
	first := on
	if rows := end - on; rows > uint64(v.height) {
		_, y, _ := v.Screen.Cursor()
		first += min(uint64(max(y-v.height+1, 0)), rows-uint64(v.height))
	}
	return first
}

// last is the last row that can come first.
func (v *View) last() uint64 {
	_, on, end := v.Screen.Rows()
	if rows := end - on; rows > uint64(v.height) {
		return end - uint64(v.height)
	}
	return on
}

// column is the first column that is shown.
func (v *View) column() int {
	x, _, _ := v.Screen.Cursor()
	if v.back {
		x = v.at.col
	}
	cols := int(v.Screen.Size().Cols)
	x = min(x, cols-1) // the terminal may have become narrower
	left := min(v.left, max(cols-v.width, 0))
	if x < left {
		left = x
	}
	if x >= left+v.width {
		left = x - v.width + 1
	}
	v.left = left
	return left
}

// Scroll moves by so many rows, back for a negative number. Scrolling on
// beyond the end is going back to what is shown now, unless something is being
// selected.
func (v *View) Scroll(rows int) {
	start, _, end := v.Screen.Rows()
	if !v.back {
		if rows >= 0 || start == v.first() {
			return
		}
		x, y, _ := v.Screen.Cursor()
		_, on, _ := v.Screen.Rows()
		v.back, v.top, v.at = true, v.first(), place{on + uint64(y), x}
	}
	if rows < 0 {
		v.top = max(v.first(), start+uint64(-rows)) - uint64(-rows)
	} else if v.top = v.first() + uint64(rows); v.top >= v.last() && v.anchor == nil {
		v.Live()
		return
	}
	v.top = v.first()
	// The person's cursor stays in sight.
	v.at.row = min(max(v.at.row, v.top), min(v.top+uint64(max(v.height, 1)), end)-1)
}

// Move moves the person's cursor, scrolling back for it.
func (v *View) Move(cols, rows int) {
	if !v.back {
		v.enter()
	}
	start, _, end := v.Screen.Rows()
	if rows < 0 {
		v.at.row = max(v.at.row, start+uint64(-rows)) - uint64(-rows)
	} else {
		v.at.row = min(v.at.row+uint64(rows), end-1)
	}
	v.at.col = min(max(v.at.col+cols, 0), int(v.Screen.Size().Cols)-1)
	v.show(v.at.row)
}

// Edge moves the person's cursor to the first or last row or column.
func (v *View) Edge(cols, rows int) {
	if !v.back {
		v.enter()
	}
	start, _, end := v.Screen.Rows()
	switch {
	case rows < 0:
		v.at.row = start
	case rows > 0:
		v.at.row = end - 1
	}
	switch {
	case cols < 0:
		v.at.col = 0
	case cols > 0:
		v.at.col = int(v.Screen.Size().Cols) - 1
	}
	v.show(v.at.row)
}

// enter begins scrolling back at the program's cursor.
func (v *View) enter() {
	_, on, _ := v.Screen.Rows()
	x, y, _ := v.Screen.Cursor()
	top := v.first()
	v.back, v.top, v.at = true, top, place{on + uint64(y), x}
}

// show scrolls as little as it takes to have a row in sight.
func (v *View) show(row uint64) {
	v.top = v.first()
	if row < v.top {
		v.top = row
	} else if height := uint64(max(v.height, 1)); row >= v.top+height {
		v.top = row - height + 1
	}
}

// Select begins a selection at the person's cursor, or drops it.
func (v *View) Select() {
	if v.anchor != nil {
		v.anchor = nil
		return
	}
	if !v.back {
		v.enter()
	}
	at := v.at
	v.anchor = &at
}

// Place puts the person's cursor on a cell of the view, and begins a selection
// there if it isn't going on: for the mouse.
func (v *View) Place(x, y int, drag bool) {
	if !v.back {
		v.enter()
	}
	_, _, end := v.Screen.Rows()
	at := place{min(v.first()+uint64(max(y, 0)), end-1), min(v.column()+max(x, 0), int(v.Screen.Size().Cols)-1)}
	if !drag {
		v.anchor = nil
	} else if v.anchor == nil {
		anchor := v.at
		v.anchor = &anchor
	}
	v.at = at
}

// Selecting reports whether something is being selected.
func (v *View) Selecting() bool { return v.anchor != nil }

// selection is what is selected: from one cell to another, both included.
func (v *View) selection() (from, to place, ok bool) {
	if v.anchor == nil {
		return place{}, place{}, false
	}
	if v.at.before(*v.anchor) {
		return v.at, *v.anchor, true
	}
	return *v.anchor, v.at, true
}

// maxSelection is how much is copied at once, in bytes.
const maxSelection = 1 << 20

// Selected is the text of the selection, as it was printed: lines that were
// too long for a row are one.
func (v *View) Selected() string {
	from, to, ok := v.selection()
	if !ok {
		return ""
	}
	var b strings.Builder
	var cells []terminal.Cell
	for row := from.row; row <= to.row && b.Len() < maxSelection; row++ {
		var wrapped bool
		cells, wrapped = v.Screen.AppendRow(cells[:0], row)
		first, end := 0, len(cells)
		if row == from.row {
			first = min(from.col, len(cells))
		}
		if row == to.row {
			end = min(to.col+1, len(cells))
		}
		var line strings.Builder
		for _, c := range cells[first:max(end, first)] {
			line.WriteString(c.Text)
		}
		if row < to.row && wrapped {
			b.WriteString(line.String())
			continue
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		if row < to.row {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// String draws the view: height lines of width cells.
func (v *View) String() string {
	if v.width == 0 || v.height == 0 {
		return ""
	}
	_, on, end := v.Screen.Rows()
	first, left := v.first(), v.column()
	cols := min(int(v.Screen.Size().Cols)-left, v.width)
	p := painter{profile: v.Profile, ascii: v.ASCII, bare: v.Plain}
	beyond := "·"
	if v.ASCII {
		beyond = "."
	}
	if v.Plain {
		beyond = " "
	}
	outside := strings.Repeat(beyond, v.width-cols)
	x, y, visible := v.Screen.Cursor()
	cursor := place{on + uint64(y), x}
	lines := make([]string, 0, v.height)
	var cells []terminal.Cell
	for row := first; row < first+uint64(v.height); row++ {
		if row >= end {
			lines = append(lines, v.faint(strings.Repeat(beyond, v.width)))
			continue
		}
		cells, _ = v.Screen.AppendRow(cells[:0], row)
		shown := cells[min(left, len(cells)):]
		if left > 0 && len(shown) > 0 && shown[0].Width == 0 {
			shown[0].Text, shown[0].Width = " ", 1
		}
		line := p.row(shown, cols, v.marks(row, left, cursor, visible))
		if outside != "" {
			line += v.faint(outside)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func (v *View) faint(s string) string {
	if v.Plain || ansi.StringWidth(s) == 0 {
		return s
	}
	return "\x1b[2m" + s + "\x1b[0m"
}

// marks says what is marked in a row; nil if nothing is.
func (v *View) marks(row uint64, left int, cursor place, visible bool) func(int) mark {
	from, to, selecting := v.selection()
	selecting = selecting && row >= from.row && row <= to.row
	hits := v.hitsIn(row)
	own := v.back && row == v.at.row
	programs := !v.back && v.Focused && visible && row == cursor.row
	if !selecting && len(hits) == 0 && !own && !programs {
		return nil
	}
	return func(x int) mark {
		at := place{row, x + left}
		selected := selecting && !at.before(from) && !to.before(at)
		on := own && at.col == v.at.col || programs && at.col == cursor.col
		if on != selected {
			return reversed
		}
		for _, h := range hits {
			if h.covers(at) {
				return found
			}
		}
		return unmarked
	}
}

// Cell is the terminal's cell at a place of the view, while that isn't scrolled
// back; -1, -1 if there is none.
func (v *View) Cell(x, y int) (col, row int) {
	_, on, _ := v.Screen.Rows()
	size := v.Screen.Size()
	col, row = x+v.column(), y+int(v.first()-min(on, v.first()))
	if v.back || x < 0 || y < 0 || col >= int(size.Cols) || row >= int(size.Rows) {
		return -1, -1
	}
	return col, row
}
