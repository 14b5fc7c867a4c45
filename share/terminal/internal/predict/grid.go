package predict

import (
	"slices"

	"github.com/charmbracelet/x/ansi"
)

// kind is what is known of a cell.
type kind byte

const (
	unknown kind = iota
	blank        // erased, with the pen's colours
	glyph        // shows text
	tail         // the right half of the wide glyph before it
)

// cell is one cell of the screen. Its pen is never changed.
type cell struct {
	text string
	pen  *pen
	kind kind
}

func (c *cell) equal(d *cell) bool {
	return c.kind == d.kind && c.text == d.text && (c.pen == d.pen || c.pen != nil && d.pen != nil && *c.pen == *d.pen)
}

// shows is what a person sees in the cell, without its colours.
func (c *cell) shows() string {
	if c.kind == blank {
		return " "
	}
	return c.text
}

// line is a row of cells. Most are erased or forgotten as a whole, many times
// before they are looked at: then they all are like one.
type line struct {
	cells []cell // if not whole
	whole bool
	like  cell
}

// grid is the screen of the person's terminal, as far as it is known. It is fed
// what the terminal is sent, and sets what it isn't sure of to unknown.
type grid struct {
	cols, rows int
	lines      []line
	known      int // lines from here on are all unknown
	parser     *ansi.Parser

	// The cursor is in row y and in one of the columns x to x+slack.
	x, y, slack int
	// floating: the terminal's row is y or further down, for its screen was
	// not empty when we came. Lines are then ours from the first one that we saw.
	floating bool
	// wrap: the last column has been written, and the next character goes to
	// the next line. wrapUnsure: terminals disagree on whether it does.
	wrap, wrapUnsure bool
	top, bottom      int // the scrolling region
	pen, plain       *pen
	saved            cursor
	feeds            int // lines fed so far
	last             rune
	other            *grid // the main screen while the alternate one is shown

	// Modes in which a character does more, or something else, than to appear.
	insert, newline, noWrap, origin, margins, linked, protected, synchronised, vt52 bool
	charset, shifted                                                                bool // characters are others than they seem
	tabs                                                                            bool // stops were changed
}

// cursor is what DECSC saves.
type cursor struct {
	valid, floating, charset bool
	x, y, slack, feeds       int
	pen                      *pen
}

func newGrid(cols, rows int) *grid {
	g := &grid{cols: cols, rows: rows, floating: true, bottom: rows - 1, plain: &pen{}, parser: ansi.NewParser()}
	g.parser.SetDataSize(16) // of strings, only the beginning matters
	g.parser.SetHandler(ansi.Handler{
		Print: g.print, Execute: g.execute, HandleCsi: g.csi, HandleEsc: g.escape, HandleOsc: g.osc,
	})
	g.pen = g.plain
	g.blankAll()
	return g
}

// blankAll makes a new screen, all erased.
func (g *grid) blankAll() {
	g.lines = make([]line, g.rows)
	for y := range g.lines {
		g.erase(y, 0, g.cols)
	}
}

// forgetAll makes everything on the screen unknown.
func (g *grid) forgetAll() {
	for y := range g.known {
		g.lines[y].whole, g.lines[y].like = true, cell{}
	}
	g.known = 0
}

// resize: terminals differ in what they keep.
func (g *grid) resize(cols, rows int) {
	if cols == g.cols && rows == g.rows {
		return
	}
	g.cols, g.rows, g.known = cols, rows, 0
	g.blankAll()
	g.lose()
	g.saved.valid = false
	if g.other != nil {
		*g.other = grid{}
	}
}

// lose: neither the screen nor the cursor is known any more.
func (g *grid) lose() {
	g.forgetAll()
	g.x, g.y, g.slack = 0, 0, g.cols-1
	g.floating, g.wrap, g.wrapUnsure = true, false, false
	g.top, g.bottom = 0, g.rows-1
}

// sure reports whether a character written now would just appear at the cursor
// and move it on, and drawing can be undone.
func (g *grid) sure() bool {
	return g.parser.State() == 0 && g.slack == 0 && !g.wrap && !g.wrapUnsure && !g.pen.odd() &&
		!g.insert && !g.margins && !g.charset && !g.shifted && !g.linked && !g.protected && !g.synchronised && !g.vt52
}

// row is the cells of a line.
func (g *grid) row(y int) []cell {
	l := &g.lines[y]
	if l.whole {
		if l.cells == nil {
			l.cells = make([]cell, g.cols)
		}
		for x := range l.cells {
			l.cells[x] = l.like
		}
		l.whole = false
	}
	return l.cells
}

// line is the cursor's.
func (g *grid) line() []cell { return g.row(g.y) }

// fill sets cells from column a up to b. A wide character that is cut leaves
// something unknown behind.
func (g *grid) fill(y, a, b int, c cell) {
	a, b = max(a, 0), min(b, g.cols)
	if a >= b {
		return
	}
	if c.kind != unknown {
		g.known = max(g.known, y+1)
	}
	if l := &g.lines[y]; b-a == g.cols || l.whole && l.like.equal(&c) {
		l.whole, l.like = true, c
		return
	}
	line := g.row(y)
	if line[a].kind == tail {
		line[a-1] = cell{}
	}
	if b < g.cols && line[b].kind == tail {
		line[b] = cell{}
	}
	for i := a; i < b; i++ {
		line[i] = c
	}
}

func (g *grid) erase(y, a, b int) {
	c := cell{kind: blank, pen: g.pen}
	if g.pen.odd() {
		c = cell{}
	}
	g.fill(y, a, b, c)
}

func (g *grid) forget(y, a, b int) { g.fill(y, a, b, cell{}) }

// print shows a character.
func (g *grid) print(r rune) {
	g.last = r
	w := columns(r)
	switch {
	case g.wrapUnsure, g.vt52, g.margins:
		g.lose()
		return
	case w == 0:
		g.combine(r)
		return
	case w < 0:
		g.stray(2)
		return
	case g.slack > 0:
		g.stray(w)
		return
	}
	if g.wrap || g.x+w > g.cols {
		switch {
		case w > g.cols:
			g.lose()
			return
		case g.noWrap:
			g.forget(g.y, g.cols-2, g.cols)
			return
		}
		if !g.wrap { // a wide character leaves the last column as it is, or doesn't
			g.forget(g.y, g.cols-1, g.cols)
		}
		g.wrap = false
		g.x = 0
		g.feed()
	}
	switch c := (cell{kind: glyph, pen: g.pen}); {
	case g.insert, g.charset, g.shifted, g.linked, g.protected, g.pen.odd():
		g.forget(g.y, g.x, g.x+w)
		if g.insert {
			g.forget(g.y, g.x, g.cols)
		}
	default:
		c.text = spell(r)
		g.fill(g.y, g.x, g.x+w, cell{kind: tail, pen: g.pen})
		g.line()[g.x] = c
	}
	if g.x += w; g.x == g.cols {
		g.x, g.wrap = g.cols-1, !g.noWrap
	}
}

// combine adds a mark to the character before the cursor.
func (g *grid) combine(r rune) {
	at := g.x - 1
	if g.wrap {
		at = g.x
	}
	if at >= 0 && g.line()[at].kind == tail {
		at--
	}
	const long = 32 // bytes; more marks than a character has
	if g.slack > 0 || at < 0 || g.line()[at].kind != glyph || len(g.line()[at].text) > long {
		g.stray(1)
		return
	}
	g.line()[at].text += string(r)
}

// stray: something has been printed, at a place or of a width that is uncertain,
// at most w.
func (g *grid) stray(w int) {
	g.forget(g.y, g.x-2, g.cols)
	if g.wrap || g.x+g.slack+w >= g.cols {
		g.lose()
		return
	}
	g.slack += w
}

// execute acts on a control character.
func (g *grid) execute(b byte) {
	switch b {
	case 0, '\a':
	case '\b':
		g.across(-1)
	case '\t':
		g.tab()
	case '\n', '\v', '\f':
		g.settleWrap()
		if g.newline {
			g.column(0)
		}
		g.feed()
	case '\r':
		if g.margins || g.vt52 {
			g.lose()
			return
		}
		g.column(0)
	case 0x0e:
		g.shifted = true
	case 0x0f:
		g.shifted = false
	default:
		g.lose() // C1 controls and substitutes
	}
}

// column moves the cursor to a column for certain.
func (g *grid) column(x int) {
	g.x, g.slack, g.wrap, g.wrapUnsure = min(max(x, 0), g.cols-1), 0, false, false
}

// across moves the cursor within its line.
func (g *grid) across(n int) {
	if g.wrap || g.wrapUnsure { // some terminals count from behind the last column
		g.slack++
	}
	g.wrap, g.wrapUnsure = false, false
	if g.slack > 0 {
		g.forget(g.y, 0, g.cols)
	}
	if g.margins {
		g.lose()
		return
	}
	g.x = min(max(g.x+n, 0), g.cols-1)
	g.slack = min(g.slack, g.cols-1-g.x)
}

func (g *grid) tab() {
	if g.tabs || g.slack > 0 || g.margins {
		g.lose()
		return
	}
	g.settleWrap()
	g.x = min((g.x/8+1)*8, g.cols-1)
}

// settleWrap is for what may or may not end a pending wrap.
func (g *grid) settleWrap() {
	if g.wrap {
		g.wrap, g.wrapUnsure = false, true
	}
}

// feed moves the cursor one line down, and the screen up if it must.
func (g *grid) feed() {
	g.feeds++
	switch {
	case g.y == g.bottom:
		g.scrollUp(g.top, g.bottom, 1)
		g.floating = g.floating && g.y < g.rows-1
	case g.y < g.rows-1:
		g.y++
		if g.floating && *g.pen != *g.plain {
			g.forget(g.y, 0, g.cols) // it may have been scrolled in
		}
		if g.y == g.rows-1 {
			g.floating = false
		}
	}
}

// scrollUp moves lines from bottom up by n.
func (g *grid) scrollUp(top, bottom, n int) {
	region := g.lines[top : bottom+1]
	n = min(n, len(region))
	rotate(region, n)
	for y := bottom + 1 - n; y <= bottom; y++ {
		g.erase(y, 0, g.cols)
	}
}

func (g *grid) scrollDown(top, bottom, n int) {
	region := g.lines[top : bottom+1]
	n = min(n, len(region))
	rotate(region, len(region)-n)
	for y := top; y < top+n; y++ {
		g.erase(y, 0, g.cols)
	}
	g.known = g.rows
}

// rotate moves the first n lines to the end.
func rotate(lines []line, n int) {
	if n == 1 { // the usual case
		first := lines[0]
		copy(lines, lines[1:])
		lines[len(lines)-1] = first
		return
	}
	slices.Reverse(lines[:n])
	slices.Reverse(lines[n:])
	slices.Reverse(lines)
}

// anchor: the cursor goes to a row that counts from the screen's top.
func (g *grid) anchor(y int) {
	if g.floating && !g.empty() {
		g.forgetAll()
	}
	g.floating = false
	if g.origin {
		g.lose()
		return
	}
	g.y = min(max(y, 0), g.rows-1)
}

// empty reports whether the screen is erased, and the same everywhere.
func (g *grid) empty() bool {
	first := &g.lines[0].like
	for y := range g.lines {
		if !g.lines[y].whole || !g.lines[y].like.equal(first) {
			return false
		}
	}
	return first.kind == blank
}

// vertical moves the cursor by lines, stopping at the screen's edge or the
// region's.
func (g *grid) vertical(n int) {
	to := g.y + n
	low, high := 0, g.rows-1
	if g.y >= g.top && n < 0 {
		low = g.top
	}
	if g.y <= g.bottom && n > 0 {
		high = g.bottom
	}
	if g.floating && (to < low || n > 0) {
		g.lose()
		return
	}
	g.settleWrap()
	g.y = min(max(to, low), high)
}

func (g *grid) save() {
	g.saved = cursor{valid: true, floating: g.floating, charset: g.charset, x: g.x, y: g.y, slack: g.slack, feeds: g.feeds, pen: g.pen}
	if g.wrap || g.wrapUnsure || g.origin || g.linked || g.protected {
		g.saved.valid = false
	}
}

func (g *grid) restore() {
	s := g.saved
	if !s.valid || (s.floating || g.floating) && s.feeds != g.feeds || s.floating != g.floating || g.origin {
		g.lose()
		g.unsurePen()
		return
	}
	g.column(s.x)
	g.y, g.slack, g.pen, g.charset = s.y, s.slack, s.pen, g.charset || s.charset
}

// unsurePen: the attributes are unknown until the next SGR 0.
func (g *grid) unsurePen() { g.pen = &pen{strange: true} }

// alternate shows the other screen: DEC modes 1049, 1047 and 47.
func (g *grid) alternate(mode int, on bool) {
	if on == (g.other != nil) {
		g.lose() // again
		return
	}
	if g.top != 0 || g.bottom != g.rows-1 {
		g.lose()
	}
	if on {
		if mode == 1049 {
			g.save()
		}
		main := *g
		g.other = &main
		g.blankAll()
		if mode != 1049 || *g.pen != *g.plain {
			g.forgetAll()
		}
		// Some terminals have another cursor there.
		g.x, g.y, g.slack, g.floating, g.wrap, g.wrapUnsure = 0, 0, g.cols-1, true, false, false
		return
	}
	main := g.other
	g.other = nil
	if mode != 1049 || main.cols != g.cols || main.rows != g.rows || !main.saved.valid {
		g.lose()
		return
	}
	g.lines, g.known, g.floating, g.saved, g.feeds = main.lines, g.rows, main.floating, main.saved, main.feeds
	g.column(main.saved.x)
	g.y, g.slack = main.saved.y, main.saved.slack
	if *g.pen != *main.saved.pen { // does it return as well?
		g.unsurePen()
	}
}
