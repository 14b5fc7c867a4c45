package screen

import "slices"

// NumberFrom numbers rows from n on, so that there are numbers for older ones. It
// is for a screen that has just been made.
func (s *Screen) NumberFrom(n uint64) { s.history.gone = n }

// Prepend puts lines before the oldest of history, as far as there is room for
// them: the newest of them, then, and it reports false. No row gets another number.
// It fails as Write does, and then nothing has changed.
func (s *Screen) Prepend(lines []Line) (all bool, _ error) {
	older := New(s.cols, 1) // so that each line leaves it at once
	for _, l := range lines {
		if _, err := older.Write(l.Text); err != nil {
			return false, err
		}
		if !l.Wrapped {
			older.lineFeed()
			older.moveTo(0, 0)
			older.cur.pen = style{}
		}
	}
	if last := older.main.lines[0]; len(last.trimmed()) > 0 {
		last.wrapped = true
		older.history.push(last)
	}
	h := &s.history
	room, cells := min(maxLines-h.len(), int(min(h.gone, maxLines))), maxCells-h.cells
	from := older.history.len()
	for ; from > 0 && room > 0; from, room = from-1, room-1 {
		l := older.history.at(from - 1)
		if cells -= len(l.cells); cells < 0 {
			break
		}
	}
	var taken []*line
	for i := from; i < older.history.len(); i++ {
		l := older.history.at(i)
		for x := range l.cells {
			s.adopt(&l.cells[x], older)
		}
		h.cells += len(l.cells)
		taken = append(taken, l)
	}
	h.lines, h.first = slices.Concat(taken, h.lines[h.first:]), 0
	h.gone -= uint64(len(taken))
	return from == 0, nil
}

// adopt makes a cell of another screen one of this one. What there are too many of
// is lost: a cluster becomes its first character, a link plain text.
func (s *Screen) adopt(c *cell, from *Screen) {
	if c.text < 0 {
		cluster := from.clusters[^c.text]
		if _, known := s.clusterOf[string(cluster)]; known || len(s.clusters) < maxClusters {
			c.text = s.clusterText(cluster)
		} else {
			c.text = cluster[0]
		}
	}
	if c.style.link != 0 {
		link := from.links[c.style.link-1]
		n, known := s.linkOf[link]
		if !known && len(s.links) < maxLinks {
			s.links = append(s.links, link)
			n = uint16(len(s.links))
			s.linkOf[link] = n
		}
		c.style.link = n
	}
}
