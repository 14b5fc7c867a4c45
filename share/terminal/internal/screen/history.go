package screen

import "slices"

// Limits of what is kept of the lines that have left the screen.
const (
	maxLines = 5000
	maxCells = 256 << 10
	// maxBegun is about how many cells of one text are wrapped anew with what of it
	// is on the screen.
	maxBegun = 16 << 10
)

// history is the newest lines that have left the main screen at its top.
type history struct {
	lines []*line // oldest first, from the index first on
	first int
	gone  uint64 // how many lines were dropped
	cells int
}

func (h *history) len() int       { return len(h.lines) - h.first }
func (h *history) at(i int) *line { return h.lines[h.first+i] }
func (h *history) end() uint64    { return h.gone + uint64(h.len()) }

// push takes the line over.
func (h *history) push(l *line) {
	l.cells = l.trimmed()
	if cap(l.cells) > len(l.cells)+16 {
		l.cells = append([]cell(nil), l.cells...)
	}
	h.lines = append(h.lines, l)
	h.cells += len(l.cells)
	for h.len() > maxLines || h.cells > maxCells {
		h.cells -= len(h.at(0).cells)
		h.lines[h.first] = nil
		h.first++
		h.gone++
	}
	if h.first > maxLines {
		h.lines = append([]*line(nil), h.lines[h.first:]...)
		h.first = 0
	}
}

// pop gives the newest line back, or nil.
func (h *history) pop() *line {
	if h.len() == 0 {
		return nil
	}
	l := h.lines[len(h.lines)-1]
	h.lines = h.lines[:len(h.lines)-1]
	h.cells -= len(l.cells)
	return l
}

// popBegun gives back the lines of a text that the newest line doesn't end,
// oldest first; of an endless one, the newest.
func (h *history) popBegun() (lines []*line) {
	for cells := 0; cells < maxBegun && h.len() > 0 && h.at(h.len()-1).wrapped; {
		l := h.pop()
		lines = append(lines, l)
		cells += len(l.cells) + 1
	}
	slices.Reverse(lines)
	return lines
}

// clear drops all lines; numbers go on.
func (h *history) clear() {
	h.gone += uint64(h.len())
	h.lines, h.first, h.cells = nil, 0, 0
}

// Line is a line of history, drawn from default attributes and back to them.
type Line struct {
	Text    []byte
	Wrapped bool // it goes on in the next one
}

// History is how many lines of history have been dropped, and how many there
// have been in all: the numbers of the oldest that is kept and of the next.
func (s *Screen) History() (start, end uint64) { return s.history.gone, s.history.end() }

// Lines draws the newest lines of history before the one with that number, at
// most n of them and of limit bytes in all, and says the number of the first.
// A line of more than longest bytes is drawn without attributes, and cut if it
// is still too long.
func (s *Screen) Lines(before uint64, n, longest, limit int) (first uint64, lines []Line) {
	h := &s.history
	before = min(max(before, h.gone), h.end())
	first = before
	total := 0
	for first > h.gone && len(lines) < n {
		l := h.at(int(first - 1 - h.gone))
		text := s.drawLine(l, false)
		if len(text) > longest {
			text = s.drawLine(l, true)
			text = text[:min(len(text), longest)]
		}
		if total += len(text); total > limit {
			break
		}
		lines = append(lines, Line{Text: text, Wrapped: l.wrapped})
		first--
	}
	slices.Reverse(lines)
	return first, lines
}

func (s *Screen) drawLine(l *line, plain bool) []byte {
	r := newRenderer(s)
	r.plain = plain
	r.row(l)
	r.setCharsets(home())
	r.setStyle(style{})
	return r.b
}
