package screen

import "fmt"

// Screen is a terminal's state. It is not safe for concurrent use.
type Screen struct {
	cols, rows int
	parser     parser

	main, alt   grid
	mainCols    int // what the main screen's lines are wrapped at; it is fitted when it is shown
	alternate   int // the mode that chose the alternate screen: 47, 1047, 1049, or 0
	history     history
	cur         cursor
	saved       *cursor // by DECSC, for both screens; nil: not yet
	savedOnAlt  bool    // it was saved on the alternate screen
	entry       *cursor // where the alternate screen was entered by mode 1049
	top, bottom int     // the scrolling region's first and last row
	insert      bool
	newline     bool
	last        rune // what REP repeats; 0 unless a character was the last thing to come
	tabs        []bool

	private     map[int]bool // private modes that are not at their default
	mouse       int          // the tracking mode: 9, 1000, 1002, 1003, or 0
	keypad      bool
	cursorStyle int
	otherKeys   int      // modifyOtherKeys
	kitty       [2][]int // keyboard flags pushed, for each screen
	title       string
	titles      []string
	colours     map[string]string // by what comes before the colour in OSC
	clusters    [][]rune
	clusterOf   map[string]rune
	links       []string // parameters and address
	linkOf      map[string]uint16
}

// New makes a reset screen of that size in cells.
func New(cols, rows int) *Screen {
	s := &Screen{cols: max(cols, 1), rows: max(rows, 1)}
	s.reset()
	return s
}

// Reset is what a terminal's full reset (RIS) does, for what is being parsed
// and for history as well.
func (s *Screen) Reset() {
	*s = Screen{cols: s.cols, rows: s.rows, history: history{gone: s.history.end()}}
	s.reset()
}

// reset makes everything but size, parser and history new.
func (s *Screen) reset() {
	*s = Screen{cols: s.cols, rows: s.rows, mainCols: s.cols, parser: s.parser, history: s.history}
	s.main, s.alt = newGrid(s.rows), newGrid(s.rows)
	s.cur, s.bottom = home(), s.rows-1
	s.private, s.colours = make(map[int]bool), make(map[string]string)
	s.clusterOf, s.linkOf = make(map[string]rune), make(map[string]uint16)
	s.resetTabs()
	// History would refer to clusters and links that are gone.
	s.history.clear()
}

// Size is the screen's size in cells.
func (s *Screen) Size() (cols, rows int) { return s.cols, s.rows }

// Write follows output. It fails only for faults of its own, and is reset then.
func (s *Screen) Write(p []byte) (n int, err error) {
	defer func() {
		if r := recover(); r != nil {
			s.Reset()
			err = fmt.Errorf("follow the screen: %v", r)
		}
	}()
	for n < len(p) {
		if s.parser.state == ground {
			start := n
			for n < len(p) && p[n] >= 0x20 && p[n] < del {
				n++
			}
			if n > start {
				s.text(p[start:n])
				continue
			}
		}
		s.step(p[n])
		n++
		if s.cur.pending {
			s.written(s.line(), s.cur.x) // what the wrap was after may be gone
		}
	}
	return n, nil
}

func (s *Screen) resetTabs() {
	s.tabs = make([]bool, s.cols)
	for x := 8; x < s.cols; x += 8 {
		s.tabs[x] = true
	}
}

// control acts on a C0 control character.
func (s *Screen) control(b byte) {
	s.last = 0
	switch b {
	case bs:
		s.moveTo(s.cur.x-1, s.cur.y)
	case ht:
		s.tab(1)
	case lf, 0x0b, 0x0c:
		s.lineFeed()
		if s.newline {
			s.cur.x, s.cur.pending = 0, false
		}
	case cr:
		s.cur.x, s.cur.pending = 0, false
	case so:
		s.cur.shift = 1
	case si:
		s.cur.shift = 0
	}
}

// moveTo places the cursor within the screen.
func (s *Screen) moveTo(x, y int) {
	s.cur.x = min(max(x, 0), s.cols-1)
	s.cur.y = min(max(y, 0), s.rows-1)
	s.cur.pending = false
}

// tab moves to the n-th next tab stop, or previous for a negative n.
func (s *Screen) tab(n int) {
	step := 1
	if n < 0 {
		n, step = -n, -1
	}
	x := s.cur.x
	for ; n > 0 && x+step >= 0 && x+step < s.cols; n-- {
		for x += step; x > 0 && x < s.cols-1 && !s.tabs[x]; {
			x += step
		}
	}
	if x != s.cur.x {
		s.moveTo(x, s.cur.y)
	}
}

// escape acts on an ESC sequence.
func (s *Screen) escape(intermediates string, final byte) {
	switch intermediates {
	case "":
		s.plainEscape(final)
	case "#":
		if final == '8' {
			s.align()
		}
	case "(", ")", "*", "+":
		if final != '0' && final != 'A' {
			final = 'B'
		}
		s.cur.sets[intermediates[0]-'('] = final
	}
}

func (s *Screen) plainEscape(final byte) {
	switch final {
	case '7':
		s.save()
	case '8':
		s.restore(s.saved)
	case '=', '>':
		s.keypad = final == '='
	case 'D':
		s.lineFeed()
	case 'E':
		s.lineFeed()
		s.cur.x, s.cur.pending = 0, false
	case 'H':
		s.tabs[s.cur.x] = true
	case 'M':
		s.reverseLineFeed()
	case 'c':
		s.reset()
	case 'n':
		s.cur.shift = 2
	case 'o':
		s.cur.shift = 3
	}
}

// align fills the screen with E (DECALN).
func (s *Screen) align() {
	for _, l := range s.active().lines {
		l.fill(0, s.cols, style{})
		l.wrapped = false
		for x := range s.cols {
			*l.ref(x) = cell{text: 'E', width: 1}
		}
	}
	s.top, s.bottom = 0, s.rows-1
	s.moveTo(0, 0)
}

func (s *Screen) save() {
	saved := s.cur
	s.saved, s.savedOnAlt = &saved, s.alternate != 0
}

// restore goes back to where saved says.
func (s *Screen) restore(saved *cursor) {
	c := home()
	if saved != nil {
		c = *saved
	}
	c.autowrap = s.cur.autowrap // not part of what is saved
	c.pending = c.pending && c.autowrap
	if c.origin {
		c.y = min(max(c.y, s.top), s.bottom)
	}
	s.cur = c
}

// setAlternate chooses the alternate screen by a mode, or the main one by 0.
func (s *Screen) setAlternate(mode int) {
	if (mode != 0) == (s.alternate != 0) {
		return
	}
	s.alternate = mode
	if mode == 0 {
		s.savedOnAlt = false
	} else {
		// Nothing of an earlier alternate screen is left.
		s.kitty[1] = nil
		for _, l := range s.alt.lines {
			*l = line{}
		}
	}
}
