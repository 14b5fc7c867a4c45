package predict

import "time"

// place works out what the host's line will look like after each pending key up
// to the first barrier, beginning with how it looks now.
func (p *Predictor) place() {
	if !p.based {
		p.placed = 0
	}
	if !p.still() {
		return
	}
	p.targetCol = p.grid.x
	ink := p.ink()
	p.work = append(p.work[:0], p.grid.line()...)
	p.target = append(p.target[:0], p.work...)
	x := p.grid.x
	p.placed = 0
	for i := range p.pending {
		k := &p.pending[i]
		to, ok := p.apply(k, x, ink)
		if !ok {
			if k.does != barrier {
				p.pending[i].does = barrier
				for j := i + 1; j < len(p.pending); j++ {
					p.pending[j].epoch++
				}
				p.epoch++
			}
			return
		}
		x = to
		k.col = x
		p.placed++
		if k.epoch <= p.confirmed {
			p.target = append(p.target[:0], p.work...)
			p.targetCol = x
		}
	}
}

// apply makes a key's effect on the line in work, with the cursor in column x. It
// fails if that is not to be foreseen.
func (p *Predictor) apply(k *key, x int, ink *pen) (to int, ok bool) {
	limit := min(p.grid.cols, p.limit) - 1 // the last column is never touched
	k.witness, k.shows, k.changes = -1, "", false
	switch k.does {
	case insert:
		w := columnsOf(k.text)
		if x+w >= limit || p.work[x].kind == tail {
			return 0, false
		}
		k.witness, k.shows = x, k.text
		k.changes = p.work[x].shows() != k.text
		if !p.open(x, w, limit) {
			return 0, false
		}
		p.work[x] = cell{kind: glyph, text: k.text, pen: ink}
		if w == 2 {
			p.work[x+1] = cell{kind: tail, pen: ink}
		}
		return x + w, true
	case rubout:
		if x <= p.homeColumn() || x > limit {
			return 0, false
		}
		w := 1
		if p.work[x-1].kind == tail {
			w = 2
		}
		if x-w < 0 || p.work[x-w].kind != glyph && p.work[x-w].kind != blank {
			return 0, false
		}
		before := p.work[x-w].shows()
		if !p.pull(x, w, limit) {
			return 0, false
		}
		k.witness, k.shows = x-w, p.work[x-w].shows()
		k.changes = before != k.shows
		return x - w, true
	case left:
		if x <= p.homeColumn() {
			return 0, false
		}
		if x--; p.work[x].kind == tail {
			x--
		}
		return x, p.work[x].kind == glyph || p.work[x].kind == blank
	case right:
		if x+2 >= limit || p.work[x].kind != glyph {
			return 0, false
		}
		if x++; p.work[x].kind == tail {
			x++
		}
		return x, true
	}
	return 0, false
}

// gap is how many blanks separate the text that an insertion pushes from what
// stays where it is, such as a prompt on the right.
const gap = 3

// textEnd is the first column behind the text at x: a gap follows, or the limit.
func (p *Predictor) textEnd(x, limit int) (end int, ok bool) {
	blanks := 0
	for end = x; end < limit; end++ {
		switch c := &p.work[end]; {
		case c.kind == unknown:
			return 0, false
		case c.shows() == " ":
			if blanks++; blanks == gap {
				return end + 1 - gap, true
			}
		default:
			blanks = 0
		}
	}
	return limit - blanks, blanks > 0
}

// open makes room for w cells at x.
func (p *Predictor) open(x, w, limit int) bool {
	end, ok := p.textEnd(x, limit)
	if !ok || end+w > limit {
		return false
	}
	copy(p.work[x+w:end+w], p.work[x:end])
	return true
}

// pull removes the w cells before x.
func (p *Predictor) pull(x, w, limit int) bool {
	end, ok := p.textEnd(x, limit)
	if !ok {
		return false
	}
	copy(p.work[x-w:end-w], p.work[x:end])
	for i := end - w; i < end; i++ {
		p.work[i] = cell{kind: blank, pen: p.grid.plain}
	}
	return true
}

// ink is how a predicted character looks: as if the host printed it now, but for
// the underline.
func (p *Predictor) ink() *pen {
	if !p.underlined || p.grid.pen.attributes&underline != 0 {
		return p.grid.pen
	}
	marked := *p.grid.pen
	marked.attributes |= underline
	return &marked
}

// Paint is what to write to the terminal so that it shows what is predicted now,
// and nothing else over the host's screen.
func (p *Predictor) Paint(dst []byte, now time.Time) []byte {
	if !p.visible(now) || !p.still() || p.placed == 0 || p.pending[0].epoch > p.confirmed {
		return p.hide(dst)
	}
	if !p.overlaid {
		p.overlaid = true
		p.drawn = append(p.drawn[:0], p.grid.line()...)
		p.drawnCol = p.grid.x
	}
	return p.draw(dst, p.target, p.targetCol)
}

// hide takes away what was drawn.
func (p *Predictor) hide(dst []byte) []byte {
	if !p.overlaid {
		return dst
	}
	dst = p.draw(dst, p.grid.line(), p.grid.x)
	p.overlaid = false
	return dst
}
