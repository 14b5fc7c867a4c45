package screen

import (
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Snapshot is what brings a freshly reset terminal of this size to this
// state. If that would take more than limit bytes, the screens are drawn
// without colours, attributes and combining characters.
func (s *Screen) Snapshot(limit int) []byte {
	r := newRenderer(s)
	r.snapshot()
	if len(r.b) > limit {
		r = newRenderer(s)
		r.plain = true
		r.snapshot()
	}
	return r.b
}

// renderer writes sequences and remembers what they have set.
type renderer struct {
	s        *Screen
	plain    bool
	b        []byte
	pen      style
	set      [4]byte // character sets, as in cursor
	shift    int
	autowrap bool
	origin   bool
}

func newRenderer(s *Screen) *renderer {
	h := home()
	return &renderer{s: s, set: h.sets, autowrap: h.autowrap}
}

func (r *renderer) snapshot() {
	s := r.s
	s.fitMain(s.entry)
	savedOn := &s.main
	if s.savedOnAlt && s.alternate != 0 {
		savedOn = &s.alt
	}
	s.settle(savedOn, s.saved)
	s.settle(&s.main, s.entry)
	if s.attracted(s.line(), max(s.before(), 0)) || s.attracted(s.line(), s.cur.x) {
		s.last = 0 // writing it again would join it with the one before
	}
	s.settle(s.active(), &s.cur)
	r.drawGrid(&s.main, true)
	if s.top != 0 || s.bottom != s.rows-1 {
		r.csi("", 'r', s.top+1, s.bottom+1)
	}
	if s.saved != nil && savedOn == &s.main {
		r.save(s.saved, savedOn)
	}
	r.kitty(s.kitty[0])
	if s.alternate != 0 {
		if s.alternate == 1049 { // which saves the cursor
			entry := home()
			if s.entry != nil {
				entry = *s.entry
			}
			r.place(&entry, &s.main)
		}
		r.mode(s.alternate, true)
		r.setOrigin(false)
		r.setStyle(style{})
		// Terminals differ in what the screen has now.
		r.moveTo(0, 0)
		r.csi("", 'J', 2)
		r.drawGrid(&s.alt, false)
		if s.saved != nil && savedOn == &s.alt {
			r.save(s.saved, savedOn)
		}
		r.kitty(s.kitty[1])
	}
	r.setStyle(style{})
	r.tabs()
	r.modes()
	r.cursor()
	r.b = s.parser.pending(r.b)
}

// settle sees to it that a pending wrap can be told, which takes writing the
// character at the right margin: what is erased there becomes a space, which
// looks the same, and what would join its neighbour gives the wrap up.
func (s *Screen) settle(g *grid, c *cursor) {
	if c == nil {
		return
	}
	if y := min(max(c.y, s.top), s.bottom); c.origin && c.y != y {
		c.y, c.pending = y, false // it could only be restored to within the region
	}
	if !c.pending {
		return
	}
	l, x := g.lines[c.y], c.x
	if l.at(x).trails() {
		x--
	}
	s.written(l, x)
	c.pending = !s.attracted(l, x)
}

// written makes the cell at x one that can be written again: what is erased
// becomes a space, which looks the same.
func (s *Screen) written(l *line, x int) {
	if l.at(x).erased() {
		ref := l.ref(x)
		ref.text, ref.width = ' ', 1
	}
}

// drawGrid draws the rows of g. With flow, a line that goes on in the next row is
// written on, so that the next terminal knows too that they are one.
func (r *renderer) drawGrid(g *grid, flow bool) {
	joined := false // this row goes on from the one before
	for y, l := range g.lines {
		cells := l.trimmed()
		if len(cells) == 0 {
			l.wrapped, joined = false, false
			continue
		}
		if !joined {
			// Not by line feeds: terminals that disagree about a width would
			// shift all that follows.
			r.moveTo(0, y)
		}
		r.row(l)
		// What no terminal could be told is forgotten here, too.
		l.wrapped = flow && y+1 < len(g.lines) && r.s.flows(l, g.lines[y+1])
		joined = l.wrapped
	}
}

// flows reports whether writing this row and then the next one would wrap.
func (s *Screen) flows(l, next *line) bool {
	cells, cols := l.trimmed(), s.cols
	if !l.wrapped || len(cells) == 0 || next.at(0).text == 0 {
		return false
	}
	last := cells[len(cells)-1]
	full := len(cells) == cols || len(cells) == cols-1 && next.at(0).width == 2
	x := len(cells) - 1
	if last.trails() {
		x--
	}
	if !full || last.erased() || s.attracted(l, x) || s.attracted(next, int(next.at(0).width)) {
		return false
	}
	return !attracts(s.content(l.at(x).text), s.content(next.at(0).text)[0])
}

// row draws a line from the cursor on, over a blank row.
func (r *renderer) row(l *line) {
	cells := l.trimmed()
	for x := 0; x < len(cells); {
		c := cells[x]
		if c.text != 0 {
			x = r.run(l, x, len(cells))
			continue
		}
		n := 1
		for x+n < len(cells) && cells[x+n] == c {
			n++
		}
		if st := c.style.blank(); st != (style{}) && !r.plain {
			r.setStyle(st)
			r.csi("", 'X', n)
		}
		if x += n; x < len(cells) {
			r.csi("", 'C', n)
		}
	}
}

// run draws the character at x and those that it would attract if they were
// written after it, which are written before it. It returns the next column.
func (r *renderer) run(l *line, x, end int) (next int) {
	starts := []int{x}
	next = x + max(int(l.cells[x].width), 1)
	for next < end && r.s.attracted(l, next) {
		starts = append(starts, next)
		next += max(int(l.cells[next].width), 1)
	}
	if len(starts) == 1 {
		r.draw(l.cells[x])
	} else {
		for _, at := range slices.Backward(starts) {
			r.csi("", 'G', at+1)
			r.draw(l.cells[at])
		}
	}
	// Terminals differ in how wide such a thing is.
	if c := l.cells[x]; next < end && !r.plain && (len(starts) > 1 || c.text < 0 || c.text >= 0x1f000) {
		r.csi("", 'G', next+1)
	}
	return next
}

// draw writes one character where the cursor is.
func (r *renderer) draw(c cell) {
	if r.plain {
		c.style = style{attr: c.style.attr & graphics}
	}
	sets := home()
	if c.style.attr&graphics != 0 {
		sets.sets[0] = '0'
	}
	r.setCharsets(sets)
	r.setStyle(c.style)
	text := r.s.content(c.text)
	if r.plain {
		text = text[:1]
	}
	for _, char := range text {
		r.b = utf8.AppendRune(r.b, char)
	}
}

// place brings the cursor and all that is saved with it to where c has it.
func (r *renderer) place(c *cursor, g *grid) {
	r.setOrigin(c.origin)
	x, l := c.x, g.lines[c.y]
	if !c.pending || l.at(x).erased() {
		r.moveTo(x, c.y)
	} else { // only writing the last cell makes a wrap pending
		if l.at(x).trails() {
			x--
		}
		r.moveTo(x, c.y)
		r.draw(l.at(x))
		r.pen = style{link: r.pen.link}
		r.b = append(r.b, "\x1b[m"...) // REP must not repeat it
	}
	r.setCharsets(*c)
	r.setStyle(c.pen)
}

func (r *renderer) moveTo(x, y int) {
	if r.origin {
		y = min(max(y-r.s.top, 0), r.s.bottom-r.s.top)
	}
	if x == 0 {
		r.csi("", 'H', y+1)
	} else {
		r.csi("", 'H', y+1, x+1)
	}
}

// save draws nothing but c, and saves it.
func (r *renderer) save(c *cursor, g *grid) {
	r.place(c, g)
	r.b = append(r.b, "\x1b7"...)
}

// cursor comes last: the next character goes on from it.
func (r *renderer) cursor() {
	s := r.s
	c := &s.cur
	r.setAutowrap(c.autowrap)
	if x := s.lastColumn(); x >= 0 {
		// Writing the last character again has it repeated by REP.
		r.setOrigin(c.origin)
		r.moveTo(x, c.y)
		r.setCharsets(*c)
		r.setStyle(c.pen)
		if s.insert { // it pushes back what moves up now
			r.csi("", 'P', int(s.line().at(x).width))
			r.csi("", 'h', 4)
		}
		r.b = utf8.AppendRune(r.b, s.last)
		return
	}
	r.place(c, s.active())
	if s.insert {
		r.csi("", 'h', 4)
	}
}

// lastColumn is where the character is that REP would repeat, or -1.
func (s *Screen) lastColumn() int {
	if s.last == 0 {
		return -1
	}
	is := func(x int) bool {
		c := s.line().at(x)
		if s.attracted(s.line(), x) {
			return false
		}
		c.style.attr &^= graphics
		return c.text == s.last && c.style == s.cur.pen
	}
	if x := s.cur.x; !s.cur.autowrap && x == s.cols-1 && is(x) {
		return x
	}
	if x := s.before(); x >= 0 && is(x) {
		return x
	}
	return -1
}

// modes are what is set independently of the cursor.
func (r *renderer) modes() {
	s := r.s
	for _, known := range privateModes {
		if on, changed := s.private[known.number]; changed {
			r.mode(known.number, on)
		}
	}
	if s.mouse != 0 {
		r.mode(s.mouse, true)
	}
	if s.keypad {
		r.b = append(r.b, "\x1b="...)
	}
	if s.newline {
		r.csi("", 'h', 20)
	}
	if s.cursorStyle != 0 {
		r.b = append(strconv.AppendInt(append(r.b, "\x1b["...), int64(s.cursorStyle), 10), " q"...)
	}
	if s.otherKeys != 0 {
		r.csi(">", 'm', 4, s.otherKeys)
	}
	for _, title := range s.titles {
		r.osc("2;", title)
		r.csi("", 't', 22, 0)
	}
	if s.title != "" || len(s.titles) > 0 {
		r.osc("2;", s.title)
	}
	for _, key := range slices.Sorted(maps.Keys(s.colours)) {
		r.osc(key+";", s.colours[key])
	}
}

func (r *renderer) kitty(stack []int) {
	for _, flags := range stack {
		r.csi(">", 'u', flags)
	}
}

// tabs sets the tab stops, if they aren't every eight columns.
func (r *renderer) tabs() {
	s := r.s
	usual := true
	for x, set := range s.tabs {
		usual = usual && set == (x > 0 && x%8 == 0)
	}
	if usual {
		return
	}
	r.csi("", 'g', 3)
	for x, set := range s.tabs {
		if set {
			r.csi("", 'G', x+1)
			r.b = append(r.b, "\x1bH"...)
		}
	}
}

func (r *renderer) mode(number int, on bool) {
	final := byte('l')
	if on {
		final = 'h'
	}
	r.csi("?", final, number)
}

func (r *renderer) setAutowrap(on bool) {
	if r.autowrap != on {
		r.autowrap = on
		r.mode(7, on)
	}
}

func (r *renderer) setOrigin(on bool) {
	if r.origin != on {
		r.origin = on
		r.mode(6, on)
	}
}

func (r *renderer) setCharsets(c cursor) {
	for i, set := range c.sets {
		if r.set[i] != set {
			r.set[i] = set
			r.b = append(r.b, esc, "()*+"[i], set)
		}
	}
	if r.shift != c.shift {
		r.shift = c.shift
		r.b = append(r.b, [...]string{"\x0f", "\x0e", "\x1bn", "\x1bo"}[c.shift]...)
	}
}

func (r *renderer) csi(private string, final byte, params ...int) {
	r.b = append(append(r.b, "\x1b["...), private...)
	for i, p := range params {
		if i > 0 {
			r.b = append(r.b, ';')
		}
		r.b = strconv.AppendInt(r.b, int64(p), 10)
	}
	r.b = append(r.b, final)
}

func (r *renderer) osc(command, text string) {
	r.b = append(append(append(append(r.b, "\x1b]"...), command...), text...), "\x1b\\"...)
}

// setStyle makes st the pen.
func (r *renderer) setStyle(st style) {
	st.attr &^= graphics
	if st.link != r.pen.link {
		target := ";"
		if st.link != 0 {
			target = r.s.links[st.link-1]
		}
		r.osc("8;", target)
		r.pen.link = st.link
	}
	if st == r.pen {
		return
	}
	r.pen = st
	r.b = append(r.b, "\x1b[0"...)
	for _, a := range attributes {
		if st.attr&a.attr != 0 {
			r.b = strconv.AppendInt(append(r.b, ';'), int64(a.on), 10)
		}
	}
	switch kind := int(st.attr & underline >> underlineShift); kind {
	case 0:
	case 1:
		r.b = append(r.b, ";4"...)
	default:
		r.b = strconv.AppendInt(append(r.b, ";4:"...), int64(kind), 10)
	}
	r.colour(st.fg, 30)
	r.colour(st.bg, 40)
	switch st.under >> 24 << 24 {
	case indexed:
		r.b = strconv.AppendInt(append(r.b, ";58:5:"...), int64(st.under&0xff), 10)
	case direct:
		r.b = append(r.b, ";58:2:"...)
		for shift := 16; shift >= 0; shift -= 8 {
			r.b = strconv.AppendInt(append(r.b, ':'), int64(st.under>>shift&0xff), 10)
		}
	}
	r.b = append(r.b, 'm')
}

// colour appends the parameters that choose a colour; base is 30 or 40.
func (r *renderer) colour(c colour, base int64) {
	n := int64(c & 0xff)
	switch {
	case c == 0:
	case c>>24<<24 == direct:
		r.b = strconv.AppendInt(append(r.b, ';'), base+8, 10)
		r.b = append(r.b, ";2"...)
		for shift := 16; shift >= 0; shift -= 8 {
			r.b = strconv.AppendInt(append(r.b, ';'), int64(c>>shift&0xff), 10)
		}
	case n < 8:
		r.b = strconv.AppendInt(append(r.b, ';'), base+n, 10)
	case n < 16:
		r.b = strconv.AppendInt(append(r.b, ';'), base+60+n-8, 10)
	default:
		r.b = strconv.AppendInt(append(r.b, ';'), base+8, 10)
		r.b = strconv.AppendInt(append(r.b, ";5;"...), n, 10)
	}
}
