package screen

import "slices"

// Resize changes the size in cells as tmux does. When the width changes, the main
// screen's text is wrapped anew, and the alternate screen's lines are cut. Rows
// that the main screen loses at its top go into history and come back from there.
// While the alternate screen is shown the main one stays as it is.
func (s *Screen) Resize(cols, rows int) {
	cols, rows = max(cols, 1), max(rows, 1)
	if cols == s.cols && rows == s.rows {
		return
	}
	column := s.cur.column()
	wider := cols != s.cols
	s.cols, s.rows = cols, rows
	s.top, s.bottom = 0, rows-1
	s.last = 0
	if wider {
		s.resetTabs()
	}
	if s.alternate == 0 {
		s.alt = newGrid(rows)
		s.fitMain(&s.cur)
	} else {
		s.resizeAlt()
		s.cur.setColumn(column, cols)
	}
	if s.saved != nil {
		s.saved.x, s.saved.y, s.saved.pending = min(s.saved.x, cols-1), min(s.saved.y, rows-1), false
	}
}

// column is where the next character goes: beyond the last column if it wraps
// first.
func (c *cursor) column() int {
	if c.pending {
		return c.x + 1
	}
	return c.x
}

func (c *cursor) setColumn(x, cols int) {
	c.x, c.pending = min(x, cols-1), x >= cols && c.autowrap
}

// resizeAlt cuts the alternate screen, while it is shown, so that the cursor
// stays on it.
func (s *Screen) resizeAlt() {
	lines := s.alt.lines
	if above := s.cur.y - (s.rows - 1); above > 0 {
		lines = lines[above:]
		s.cur.y -= above
	}
	s.alt.lines = s.withRows(lines[:min(len(lines), s.rows)])
	for _, l := range s.alt.lines {
		l.cut(s.cols)
		l.wrapped = false
	}
}

// withRows adds empty lines at the end.
func (s *Screen) withRows(lines []*line) []*line {
	for len(lines) < s.rows {
		lines = append(lines, &line{})
	}
	return slices.Clip(lines)
}

func (l *line) cut(cols int) {
	l.split(cols)
	l.cells = l.cells[:min(len(l.cells), cols)]
}

// fitMain gives the main screen the present size. c is a cursor on it, or nil;
// it stays with its text.
func (s *Screen) fitMain(c *cursor) {
	if c == nil {
		c = &cursor{}
	}
	c.y = min(c.y, len(s.main.lines)-1)
	s.fitRows(c)
	if s.mainCols != s.cols {
		s.wrapAnew(c)
		s.mainCols = s.cols
	}
}

// fitRows gives the main screen its rows. Those below the cursor go first, then
// those at the top.
func (s *Screen) fitRows(c *cursor) {
	lines := s.main.lines
	lines = lines[:max(min(len(lines), s.rows), c.y+1)]
	for len(lines) > s.rows {
		s.history.push(lines[0])
		lines = lines[1:]
		c.y--
	}
	back := s.history.rows(s.rows-len(lines), s.mainCols, false)
	c.y += len(back)
	s.main.lines = s.withRows(append(back, lines...))
}

// wrapAnew wraps the main screen's text at the width. What there is room for
// then comes back from history, and what there is none for goes there.
func (s *Screen) wrapAnew(c *cursor) {
	h := &s.history
	begun := h.popBegun()
	old := append(begun, s.main.lines...)
	y, at := len(begun)+c.y, position{y: -1}
	var lines []*line
	for first := 0; first < len(old); {
		next := first + 1
		for next < len(old) && old[next-1].wrapped {
			next++
		}
		var x, row int
		text, holds := old[first:next], first <= y && y < next
		if holds {
			x, row = c.column(), y-first
		}
		wrapped, x, row := rewrap(text, s.cols, x, row)
		if holds {
			at = position{x, len(lines) + row}
		}
		lines = append(lines, wrapped...)
		first = next
	}
	above := h.rows(s.rows-len(lines), s.cols, true)
	at.y += len(above)
	lines = append(above, lines...)
	for len(lines) > s.rows {
		h.push(lines[0])
		lines = lines[1:]
		at.y--
	}
	if at.y < 0 {
		at = position{}
	}
	s.main.lines = s.withRows(lines)
	c.y = at.y
	c.setColumn(at.x, s.cols)
}

// rewrap wraps lines that are one text at so many columns, and says where the
// place in column x of its row y has gone. A place behind the text is then at its
// end.
func rewrap(text []*line, cols, x, y int) (lines []*line, atX, atY int) {
	last := text[len(text)-1]
	if used := last.used(); len(text) == 1 && used <= cols {
		last.cut(cols)
		return text, min(x, used), 0
	}
	var cells []cell
	offset := -1
	for i, l := range text {
		used := l.used()
		if i == y && x < used {
			offset = len(cells) + x
		}
		cells = append(cells, l.cells[:used]...)
	}
	if offset < 0 {
		offset = len(cells)
	}
	for start := 0; start < len(cells) || len(lines) == 0; {
		end := min(start+cols, len(cells))
		if end < len(cells) && cells[end].trails() && end > start+1 {
			end-- // it goes into the next row as a whole
		}
		if start <= offset {
			atX, atY = offset-start, len(lines)
		}
		l := &line{cells: slices.Clone(cells[start:end]), wrapped: true, cleared: last.cleared}
		for x := range l.cells { // what is wider than the screen
			if c := l.cells[x]; c.width == 2 && x+1 == len(l.cells) || c.trails() && x == 0 {
				l.cells[x] = cell{}
			}
		}
		lines = append(lines, l)
		start = end
	}
	lines[len(lines)-1].wrapped = last.wrapped
	return lines, atX, atY
}

// rows gives the newest n lines back, or as many as there are, wrapped at so many
// columns; cleared says whether those that were cleared away, too.
func (h *history) rows(n, cols int, cleared bool) (lines []*line) {
	for len(lines) < n && h.len() > 0 && (cleared || !h.at(h.len()-1).cleared) {
		last := h.pop()
		wrapped, _, _ := rewrap(append(h.popBegun(), last), cols, 0, 0)
		lines = append(wrapped, lines...)
	}
	for len(lines) > max(n, 0) {
		h.push(lines[0])
		lines = lines[1:]
	}
	for _, l := range lines {
		l.cleared = false
	}
	return lines
}

// used is how many cells of a line have text in them or before others that do.
func (l *line) used() int {
	n := len(l.cells)
	for n > 0 && l.cells[n-1].erased() {
		n--
	}
	return n
}
