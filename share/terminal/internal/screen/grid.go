package screen

import "slices"

// position is a place on the screen, from 0.
type position struct{ x, y int }

// cursor is what DECSC saves.
type cursor struct {
	position
	pending  bool // the next character wraps first
	pen      style
	sets     [4]byte // the character sets G0 to G3, by the final byte that chose them
	shift    int     // which of them is in use
	origin   bool
	autowrap bool
}

func home() cursor { return cursor{sets: [4]byte{'B', 'B', 'B', 'B'}, autowrap: true} }

// grid is one of the two screens.
type grid struct{ lines []*line }

func newGrid(rows int) grid {
	g := grid{lines: make([]*line, rows)}
	for y := range g.lines {
		g.lines[y] = &line{}
	}
	return g
}

// active is the grid that is shown.
func (s *Screen) active() *grid {
	if s.alternate != 0 {
		return &s.alt
	}
	return &s.main
}

func (s *Screen) line() *line { return s.active().lines[s.cur.y] }

// print writes a character at the cursor.
func (s *Screen) print(r rune) {
	width := 1
	if r >= 0x300 {
		if width = runeWidth(r); s.combine(r, width == 0) {
			return
		}
		if width == 0 {
			return // there is nothing before it
		}
	}
	c := cell{text: r, width: int8(width), style: s.cur.pen}
	if r < 0x80 {
		switch s.cur.sets[s.cur.shift] {
		case '0':
			c.style.attr |= graphics
		case 'A':
			if r == '#' {
				c.text = '£'
			}
		}
	}
	s.put(c)
	s.last = c.text
}

// put writes a cell at the cursor and moves on.
func (s *Screen) put(c cell) {
	width := int(c.width)
	if width > s.cols {
		return
	}
	if s.cur.autowrap && (s.cur.pending || s.cur.x+width > s.cols) {
		l := s.line()
		s.lineFeed()
		s.cur.x, l.wrapped = 0, true
	}
	s.cur.pending = false
	if s.cur.x+width > s.cols {
		return
	}
	l := s.line()
	if s.insert {
		s.insertCells(width)
	}
	l.overwrite(s.cur.x, s.cur.x+width)
	*l.ref(s.cur.x) = c
	if width == 2 {
		*l.ref(s.cur.x + 1) = cell{width: trail, style: c.style}
	}
	if s.cur.x += width; s.cur.x >= s.cols {
		s.cur.x, s.cur.pending = s.cols-1, s.cur.autowrap
	}
}

// text writes printable ASCII, which is most of everything.
func (s *Screen) text(p []byte) {
	if s.insert || s.cur.sets[s.cur.shift] != 'B' {
		for _, b := range p {
			s.print(rune(b))
		}
		return
	}
	for len(p) > 0 {
		if s.cur.pending || s.cur.x == s.cols-1 {
			s.print(rune(p[0]))
			p = p[1:]
			continue
		}
		l := s.line()
		n := min(len(p), s.cols-1-s.cur.x)
		l.overwrite(s.cur.x, s.cur.x+n)
		l.ref(s.cur.x + n - 1)
		cells := l.cells[s.cur.x : s.cur.x+n]
		for i := range cells {
			cells[i] = cell{text: rune(p[i]), width: 1, style: s.cur.pen}
		}
		s.cur.x += n
		s.last = rune(p[n-1])
		p = p[n:]
	}
}

// combine adds a character to the one before the cursor, if they join.
func (s *Screen) combine(r rune, zeroWidth bool) bool {
	x := s.before()
	if x < 0 {
		return false
	}
	c := s.line().ref(x)
	if c.text == 0 {
		if !zeroWidth {
			return false
		}
		c.text, c.width = ' ', 1
	}
	cluster := s.content(c.text)
	if !zeroWidth && !attracts(cluster, r) {
		return false
	}
	if len(cluster) >= maxCluster {
		return true
	}
	c.text = s.intern(append(slices.Clone(cluster), r))
	s.last = 0
	return true
}

// attracts reports whether a character that takes cells of its own becomes
// part of the cluster before it: after a joiner, or as a skin colour.
func attracts(cluster []rune, r rune) bool {
	modifier := r >= 0x1f3fb && r <= 0x1f3ff
	return cluster[len(cluster)-1] == joiner || modifier && cluster[0] >= 0x80
}

// attracted reports whether the character at x, written behind its neighbour,
// would become part of it.
func (s *Screen) attracted(l *line, x int) bool {
	c, prev := l.at(x), x-1
	if l.at(prev).trails() {
		prev--
	}
	before := l.at(prev)
	return c.text != 0 && before.text != 0 && attracts(s.content(before.text), s.content(c.text)[0])
}

// before is the column of the character in front of the cursor, -1 if there is
// none in this row.
func (s *Screen) before() int {
	x := s.cur.x - 1
	if s.cur.pending {
		x = s.cur.x
	}
	if x > 0 && s.line().at(x).trails() {
		x--
	}
	return x
}

const (
	joiner = 0x200d
	// maxCluster is how many code points one cell takes, maxClusters how many
	// different ones are remembered.
	maxCluster  = 8
	maxClusters = 1 << 14
)

// content is what a cell's text stands for.
func (s *Screen) content(text rune) []rune {
	if text >= 0 {
		return []rune{text}
	}
	return s.clusters[^text]
}

// intern is the text of a cell that holds a cluster. When there are too many
// different ones, a cluster loses what combines with its first character.
func (s *Screen) intern(cluster []rune) rune {
	key := string(cluster)
	if i, ok := s.clusterOf[key]; ok {
		return ^i
	}
	if len(s.clusters) >= maxClusters {
		s.forgetClusters()
	}
	if len(s.clusters) >= maxClusters {
		return cluster[0]
	}
	i := rune(len(s.clusters))
	s.clusters = append(s.clusters, cluster)
	s.clusterOf[key] = i
	return ^i
}

// forgetClusters keeps the clusters that are still to be seen.
func (s *Screen) forgetClusters() {
	old := s.clusters
	s.clusters, s.clusterOf = nil, make(map[string]rune)
	keep := func(cells []cell) {
		for i := range cells {
			if c := &cells[i]; c.text < 0 {
				cluster := old[^c.text]
				c.text = s.clusterText(cluster)
			}
		}
	}
	for _, g := range []*grid{&s.main, &s.alt} {
		for _, l := range g.lines {
			keep(l.cells)
		}
	}
	for i := range s.history.len() {
		keep(s.history.at(i).cells)
	}
}

func (s *Screen) clusterText(cluster []rune) rune {
	if i, ok := s.clusterOf[string(cluster)]; ok {
		return ^i
	}
	i := rune(len(s.clusters))
	s.clusters = append(s.clusters, cluster)
	s.clusterOf[string(cluster)] = i
	return ^i
}

// lineFeed moves down, scrolling at the bottom of the region.
func (s *Screen) lineFeed() {
	s.line().wrapped = false
	switch s.cur.y {
	case s.bottom:
		s.scrollUp(s.top, 1)
	case s.rows - 1:
	default:
		s.cur.y++
	}
}

// reverseLineFeed moves up, scrolling at the top of the region.
func (s *Screen) reverseLineFeed() {
	switch s.cur.y {
	case s.top:
		s.scrollDown(s.top, 1)
	case 0:
	default:
		s.cur.y--
	}
}

// scrollUp moves the rows from top to the region's bottom up by n. What leaves
// the top of the main screen goes into history.
func (s *Screen) scrollUp(top, n int) {
	n = min(n, s.bottom-top+1)
	if top == 0 && s.alternate == 0 {
		for _, l := range s.main.lines[:n] {
			s.history.push(l)
		}
	}
	s.deleteLines(top, n)
}

// deleteLines is scrollUp without history.
func (s *Screen) deleteLines(top, n int) {
	lines := s.active().lines[top : s.bottom+1]
	n = min(n, len(lines))
	copy(lines, lines[n:])
	for i := len(lines) - n; i < len(lines); i++ {
		lines[i] = s.blankLine()
	}
}

// scrollDown moves the rows from top to the region's bottom down by n.
func (s *Screen) scrollDown(top, n int) {
	lines := s.active().lines[top : s.bottom+1]
	n = min(n, len(lines))
	copy(lines[n:], lines)
	for i := range n {
		lines[i] = s.blankLine()
	}
}

func (s *Screen) blankLine() *line {
	l := &line{}
	if st := s.cur.pen.blank(); st != (style{}) {
		l.fill(0, s.cols, st)
	}
	return l
}

// erase clears the cells in [from, to) of row y.
func (s *Screen) erase(y, from, to int) {
	l := s.active().lines[y]
	l.fill(from, min(to, s.cols), s.cur.pen.blank())
	if to >= s.cols {
		l.wrapped = false
	}
}

// insertCells makes room for n cells at the cursor.
func (s *Screen) insertCells(n int) {
	l, x := s.line(), s.cur.x
	n = min(n, s.cols-x)
	l.split(x)
	l.split(s.cols - n)
	if x < len(l.cells) {
		kept := min(len(l.cells), s.cols-n)
		if kept > x {
			l.ref(kept + n - 1)
			copy(l.cells[x+n:kept+n], l.cells[x:kept])
		}
	}
	st := s.cur.pen.blank()
	if st == (style{}) && x >= len(l.cells) {
		return
	}
	for i := x; i < x+n; i++ {
		*l.ref(i) = cell{style: st}
	}
}

// deleteCells removes n cells at the cursor.
func (s *Screen) deleteCells(n int) {
	l, x := s.line(), s.cur.x
	n = min(n, s.cols-x)
	l.split(x)
	l.split(x + n)
	if x+n < len(l.cells) {
		copy(l.cells[x:], l.cells[x+n:])
	}
	l.cells = l.cells[:max(min(x, len(l.cells)), len(l.cells)-n)]
	if st := s.cur.pen.blank(); st != (style{}) {
		for i := s.cols - n; i < s.cols; i++ {
			*l.ref(i) = cell{style: st}
		}
	}
}
