package screen

// csi acts on a control sequence. last is what REP repeats.
func (s *Screen) csi(q *sequence, last rune) {
	switch {
	case q.intermediates == " " && q.final == 'q' && q.private == 0:
		s.cursorStyle = q.get(0, 0)
	case q.intermediates == "!" && q.final == 'p' && q.private == 0:
		s.softReset()
	case q.intermediates != "":
	case q.private == '?':
		s.privateCSI(q)
	case q.private != 0:
		s.keyboard(q)
	default:
		if !s.moveCSI(q) && !s.editCSI(q) {
			s.otherCSI(q, last)
		}
	}
}

// moveCSI acts on what moves the cursor.
func (s *Screen) moveCSI(q *sequence) bool {
	n := q.get(0, 1)
	switch q.final {
	case 'A', 'F':
		limit := 0
		if s.cur.y >= s.top {
			limit = s.top
		}
		s.moveTo(s.cur.x, max(s.cur.y-n, limit))
	case 'B', 'E', 'e':
		limit := s.rows - 1
		if s.cur.y <= s.bottom {
			limit = s.bottom
		}
		s.moveTo(s.cur.x, min(s.cur.y+n, limit))
	case 'C', 'a':
		s.moveTo(s.cur.x+n, s.cur.y)
	case 'D':
		s.moveTo(s.cur.x-n, s.cur.y)
	case 'G', '`':
		s.moveTo(n-1, s.cur.y)
	case 'H', 'f':
		s.address(q.get(1, 1)-1, n-1)
	case 'd':
		s.address(s.cur.x, n-1)
	case 'I':
		s.tab(n)
	case 'Z':
		s.tab(-n)
	case 's':
		s.save()
	case 'u':
		s.restore(s.saved)
	default:
		return false
	}
	if q.final == 'E' || q.final == 'F' {
		s.cur.x = 0
	}
	return true
}

// address places the cursor, relative to the region in origin mode.
func (s *Screen) address(x, y int) {
	if s.cur.origin {
		y = min(y+s.top, s.bottom)
	}
	s.moveTo(x, y)
}

// editCSI acts on what changes cells. With a pending wrap the cursor is behind
// the last cell of its row, and the row isn't touched.
func (s *Screen) editCSI(q *sequence) bool {
	n := q.get(0, 1)
	x, y := s.cur.x, s.cur.y
	if s.cur.pending {
		x = s.cols
	}
	inRegion := y >= s.top && y <= s.bottom
	switch q.final {
	case '@':
		if x < s.cols {
			s.insertCells(n)
		}
	case 'P':
		if x < s.cols {
			s.deleteCells(n)
		}
	case 'X':
		if x < s.cols {
			s.erase(y, x, min(x+n, s.cols))
		}
	case 'J':
		s.eraseDisplay(q.get(0, 0), x)
	case 'K':
		s.eraseLine(q.get(0, 0), x)
	case 'L':
		if inRegion {
			s.scrollDown(y, n)
		}
	case 'M':
		if inRegion {
			s.deleteLines(y, n)
		}
	case 'S':
		s.scrollUp(s.top, n)
	case 'T':
		if len(q.params) <= 1 { // with more, xterm's highlight tracking
			s.scrollDown(s.top, n)
		}
	default:
		return false
	}
	return true
}

func (s *Screen) eraseLine(which, x int) {
	switch which {
	case 0:
		if x < s.cols {
			s.erase(s.cur.y, x, s.cols)
		}
	case 1:
		s.erase(s.cur.y, 0, min(x+1, s.cols))
	case 2:
		s.erase(s.cur.y, 0, s.cols)
	}
}

func (s *Screen) eraseDisplay(which, x int) {
	from, to := 0, 0
	switch which {
	case 0:
		s.eraseLine(0, x)
		from, to = s.cur.y+1, s.rows
	case 1:
		s.eraseLine(1, x)
		from, to = 0, s.cur.y
	case 2:
		s.keepScreen()
		from, to = 0, s.rows
	case 3:
		s.history.clear()
	}
	for y := from; y < to; y++ {
		s.erase(y, 0, s.cols)
	}
}

// keepScreen puts what is on the main screen into history before it is erased.
func (s *Screen) keepScreen() {
	if s.alternate != 0 {
		return
	}
	used := s.rows
	for used > 0 && len(s.main.lines[used-1].trimmed()) == 0 {
		used--
	}
	for y, l := range s.main.lines[:used] {
		l.cleared = true
		s.history.push(l)
		s.main.lines[y] = &line{}
	}
}

func (s *Screen) otherCSI(q *sequence, last rune) {
	switch q.final {
	case 'b':
		if last != 0 {
			for range min(q.get(0, 1), s.cols*s.rows) {
				s.print(last)
			}
			s.last = 0
		}
	case 'g':
		switch q.get(0, 0) {
		case 0:
			s.tabs[s.cur.x] = false
		case 3:
			clear(s.tabs)
		}
	case 'h', 'l':
		for _, p := range q.params {
			switch p.value {
			case 4:
				s.insert = q.final == 'h'
			case 20:
				s.newline = q.final == 'h'
			}
		}
	case 'm':
		s.rendition(q.params)
	case 'r':
		top, bottom := q.get(0, 1)-1, min(q.get(1, s.rows), s.rows)-1
		if top < bottom {
			s.top, s.bottom = top, bottom
			s.address(0, 0)
		}
	case 't':
		s.titleStack(q.get(0, 0), q.get(1, 0))
	}
}

// rendition is SGR.
func (s *Screen) rendition(params []param) {
	pen := &s.cur.pen
	if len(params) == 0 {
		params = []param{{}}
	}
	for i := 0; i < len(params); i++ {
		sub := i + 1
		for sub < len(params) && params[sub].sub {
			sub++
		}
		group := params[i:sub]
		i = sub - 1
		switch n := max(group[0].value, 0); {
		case n == 38, n == 48, n == 58:
			target := map[int]*colour{38: &pen.fg, 48: &pen.bg, 58: &pen.under}[n]
			if len(group) > 1 {
				setColour(target, group[1:])
				continue
			}
			i += setColour(target, plainParams(params[sub:]))
		case n == 4 && len(group) > 1:
			if kind := group[1].value; kind >= 0 && kind <= 5 {
				pen.attr = pen.attr&^underline | attribute(kind)<<underlineShift
			}
		case len(group) > 1: // nothing else has a form with colons
		default:
			pen.set(n)
		}
	}
}

// plainParams is params up to the first with a colon.
func plainParams(params []param) []param {
	for i, p := range params {
		if p.sub {
			return params[:max(i-1, 0)]
		}
	}
	return params
}

// setColour reads what follows 38, 48 or 58 and says how many parameters it
// took.
func setColour(c *colour, params []param) int {
	if len(params) == 0 {
		return 0
	}
	value := func(i int) (colour, bool) {
		if i >= len(params) {
			return 0, false
		}
		v := max(params[i].value, 0)
		return colour(v), v <= 255
	}
	switch params[0].value {
	case 5:
		if v, ok := value(1); ok {
			*c = indexed + v
		}
		return min(2, len(params))
	case 2:
		first := 1
		if len(params) > 4 && params[0].sub {
			first = 2 // the colour space comes before the colour
		}
		r, okR := value(first)
		g, okG := value(first + 1)
		b, okB := value(first + 2)
		if okR && okG && okB {
			*c = direct + r<<16 + g<<8 + b
		}
		return min(4, len(params))
	}
	return 1
}

// set applies one parameter of SGR.
func (s *style) set(n int) {
	switch {
	case n == 0:
		*s = style{link: s.link}
	case n == 4:
		s.attr = s.attr&^underline | 1<<underlineShift
	case n == 21:
		s.attr = s.attr&^underline | 2<<underlineShift
	case n == 6: // rapidly
		s.attr |= blink
	case n == 24:
		s.attr &^= underline
	case n == 22:
		s.attr &^= bold | faint
	case n == 39:
		s.fg = 0
	case n == 49:
		s.bg = 0
	case n == 59:
		s.under = 0
	case n >= 30 && n <= 37:
		s.fg = indexed + colour(n-30)
	case n >= 40 && n <= 47:
		s.bg = indexed + colour(n-40)
	case n >= 90 && n <= 97:
		s.fg = indexed + colour(n-90+8)
	case n >= 100 && n <= 107:
		s.bg = indexed + colour(n-100+8)
	default:
		for _, a := range attributes {
			switch n {
			case a.on:
				s.attr |= a.attr
			case a.off:
				s.attr &^= a.attr
			}
		}
	}
}

// attributes are the renditions that are only on or off.
var attributes = [...]struct {
	attr    attribute
	on, off int
}{{bold, 1, 22}, {faint, 2, 22}, {italic, 3, 23}, {blink, 5, 25}, {reverse, 7, 27}, {hidden, 8, 28}, {struck, 9, 29}, {overlined, 53, 55}}
