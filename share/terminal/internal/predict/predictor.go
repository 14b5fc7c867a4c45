package predict

import "time"

// Mode says when predictions are shown.
type Mode string

// The modes.
const (
	Never  Mode = "never"
	Auto   Mode = "auto" // where it helps; the package comment has the limits
	Always Mode = "always"
)

// Hold is how long the host keeps the news that it has typed something to a
// program before it tells us, so that the program's answer comes first.
const Hold = 50 * time.Millisecond

// When to show predictions, and to underline them; see the package comment.
const (
	showAbove      = 30 * time.Millisecond
	showUntil      = 20 * time.Millisecond
	underlineAbove = 80 * time.Millisecond
	underlineUntil = 50 * time.Millisecond
	// glitch is how long a key waits for its echo before predictions are shown
	// on a fast link, until calm keys, calmPause apart, have waited less.
	glitch    = 250 * time.Millisecond
	calm      = 10
	calmPause = 150 * time.Millisecond
)

const (
	// maxPaste is how much is typed at once by hand.
	maxPaste = 100
	// maxPending is how many keys may wait for their echo.
	maxPending = 512
)

// Predictor follows what a person types and what a host prints, and draws on the
// person's terminal what the host is expected to print next. It has no clock of
// its own. Type, Taken, RoundTrip, HostColumns and Reset tell it something; Output, Resize and
// Paint tell what to write to the terminal. It is not safe for concurrent use.
type Predictor struct {
	mode     Mode
	grid     *grid
	keyboard keyboard
	limit    int // columns that the host has

	typed   uint64 // input so far, in bytes
	pending []key
	placed  int // how many of pending have been placed
	// Where the cursor was when the first of pending was placed. The keys hold
	// for this cursor only.
	based      bool
	row, col   int
	home       home
	epoch      int // of the next key
	confirmed  int // epochs up to this one may be shown
	roundTrip  time.Duration
	probe      key  // measures the round trip, if it has a time
	showing    bool // the round trip asks for it
	underlined bool
	calmLeft   int // keys left to calm down after a glitch
	calmAt     time.Time

	// target is what the cursor's line should look like, up to the last key that
	// may be shown, and targetCol where the cursor should stand.
	target    []cell
	targetCol int
	work      []cell
	// drawn is what the terminal shows of the line instead of the grid's, if
	// overlaid, and drawnCol where its cursor stands.
	overlaid bool
	drawn    []cell
	drawnCol int
}

// key is something typed whose effect hasn't been seen.
type key struct {
	does  action
	text  string
	end   uint64 // the input up to here includes it
	epoch int
	at    time.Time
	// Of a placed key: what the host is expected to show.
	col     int    // of the cursor
	witness int    // the column that tells, or -1
	shows   string // there
	changes bool   // it has shown something else before
}

// home is where the first key was typed on a line: what is left of it can't be
// erased, most likely.
type home struct {
	known           bool
	row, feeds, col int
}

// New makes a predictor for a terminal of a size in cells, in which the screen
// is empty from the cursor on and the cursor in the first column.
func New(mode Mode, cols, rows int) *Predictor {
	cols, rows = max(cols, 1), max(rows, 1)
	return &Predictor{mode: mode, grid: newGrid(cols, rows), limit: cols, epoch: 1}
}

// Type notes that the person types p, which is about to be sent to the host.
func (p *Predictor) Type(keys []byte, now time.Time) {
	if len(keys) > maxPaste {
		p.typed += uint64(len(keys))
		p.keyboard = keyboard{}
		p.push(key{does: barrier, end: p.typed, at: now})
	} else {
		for len(keys) > 0 {
			does, text, n := p.keyboard.next(keys)
			keys = keys[n:]
			p.typed += uint64(n)
			p.push(key{does: does, text: text, end: p.typed, at: now})
		}
	}
	if p.probe.at.IsZero() {
		p.probe = key{end: p.typed, at: now}
	}
	p.place()
}

func (p *Predictor) push(k key) {
	if len(p.pending) >= maxPending {
		p.pending = p.pending[:0]
		p.placed, p.based = 0, false
		k.does = barrier
	}
	if len(p.pending) == 0 && !p.based {
		p.base()
	}
	if p.based && !p.atHome() {
		p.home = home{true, p.grid.y, p.grid.feeds, p.col}
	}
	k.epoch = p.epoch
	if k.does == barrier {
		p.epoch++
	}
	p.pending = append(p.pending, k)
}

// atHome reports whether the cursor's line is the one that home is of.
func (p *Predictor) atHome() bool {
	return p.home.known && p.home.row == p.grid.y && p.home.feeds == p.grid.feeds
}

// homeColumn is the column that a person can't get left of.
func (p *Predictor) homeColumn() int {
	if p.atHome() {
		return p.home.col
	}
	return 0
}

// base settles that the pending keys count from where the cursor is.
func (p *Predictor) base() {
	p.based = p.grid.sure()
	p.row, p.col = p.grid.y, p.grid.x
}

// still reports whether the cursor is where the pending keys count from.
func (p *Predictor) still() bool {
	return p.based && p.grid.sure() && p.grid.y == p.row && p.grid.x == p.col
}

// Output is what to write to the terminal so that it shows out, which the host
// has printed, and what is still predicted.
func (p *Predictor) Output(dst, out []byte, now time.Time) []byte {
	dst = p.hide(dst)
	fed, row, col := p.grid.feeds, p.grid.y, p.grid.x
	p.grid.write(out)
	p.seen(fed != p.grid.feeds || row != p.grid.y || col != p.grid.x, now)
	return p.Paint(append(dst, out...), now)
}

// seen compares what is expected with what the host has printed.
func (p *Predictor) seen(moved bool, now time.Time) {
	if p.grid.sure() {
		// The first that fits: if several were echoed at once the others don't,
		// or the cursor has been here twice, and will be again.
		for i := range p.placed {
			if p.fits(&p.pending[i]) {
				p.confirm(i+1, now)
				p.base()
				p.place()
				return
			}
		}
	}
	switch {
	case p.still():
	case len(p.pending) > 0:
		// In the middle of something, or wrong: Taken will tell.
	default:
		p.based = false
		if moved {
			p.surprise()
		}
	}
	p.place()
}

// surprise begins an epoch because the host does what we did not expect.
func (p *Predictor) surprise() {
	p.epoch++
	for i := range p.pending {
		p.pending[i].epoch = p.epoch
		if p.pending[i].does == barrier {
			p.epoch++
		}
	}
}

// fits reports whether the host shows what is expected after k.
func (p *Predictor) fits(k *key) bool {
	if p.grid.y != p.row || p.grid.x != k.col {
		return false
	}
	return k.witness < 0 || p.grid.line()[k.witness].kind != unknown && p.grid.line()[k.witness].shows() == k.shows
}

// confirm removes the first n pending keys: they were right.
func (p *Predictor) confirm(n int, now time.Time) {
	for i := range p.pending[:n] {
		k := &p.pending[i]
		took := now.Sub(k.at)
		if k.changes && p.grid.line()[k.witness].shows() == k.shows {
			p.confirmed = max(p.confirmed, k.epoch)
			if p.calmLeft > 0 && took < glitch && now.Sub(p.calmAt) >= calmPause {
				p.calmLeft--
				p.calmAt = now
			}
		}
	}
	p.drop(n)
}

func (p *Predictor) drop(n int) {
	p.pending = append(p.pending[:0], p.pending[n:]...)
	p.placed = max(p.placed-n, 0)
}

// Taken notes that the host's program was given the first n bytes of input at
// least Hold ago, and that everything it has printed since came before.
func (p *Predictor) Taken(n uint64, now time.Time) {
	due, barriers := 0, false
	for due < len(p.pending) && p.pending[due].end <= n {
		barriers = barriers || p.pending[due].does == barrier
		due++
	}
	if !p.probe.at.IsZero() && p.probe.end <= n {
		p.measure(now.Sub(p.probe.at) - Hold)
		p.probe = key{}
	}
	if due == 0 {
		return
	}
	if !barriers && p.grid.sure() {
		for i := due - 1; i < p.placed; i++ {
			if p.fits(&p.pending[i]) {
				p.confirm(i+1, now)
				p.base()
				p.place()
				return
			}
		}
	}
	p.drop(due)
	if !barriers {
		p.surprise()
	}
	p.base()
	p.skipEchoed()
	p.place()
}

// skipEchoed drops the first pending keys if their characters stand before the
// cursor: the host's program got them a moment ago.
func (p *Predictor) skipEchoed() {
	if !p.based {
		return
	}
	line, most := p.grid.line(), 0
	for most < len(p.pending) && p.pending[most].does == insert {
		most++
	}
	for n := most; n > 0; n-- {
		x := p.col
		for i := n - 1; i >= 0 && x >= 0; i-- {
			if x--; x >= 0 && line[x].kind == tail {
				x--
			}
			if x >= 0 && (line[x].kind == unknown || line[x].shows() != p.pending[i].text) {
				x = -1
			}
		}
		if x >= 0 {
			p.drop(n)
			return
		}
	}
}

// measure averages the round trip as TCP does (RFC 6298).
func (p *Predictor) measure(rtt time.Duration) {
	rtt = max(rtt, 0)
	if p.roundTrip == 0 {
		p.roundTrip = max(rtt, 1)
	} else {
		p.roundTrip += (rtt - p.roundTrip) / 8
	}
	switch {
	case p.roundTrip > showAbove:
		p.showing = true
	case p.roundTrip <= showUntil && !p.overlaid:
		p.showing = false
	}
	switch {
	case p.roundTrip > underlineAbove:
		p.underlined = true
	case p.roundTrip <= underlineUntil:
		p.underlined = false
	}
}

// RoundTrip notes what is known of the round trip before anything has been typed.
func (p *Predictor) RoundTrip(rtt time.Duration) {
	if p.roundTrip == 0 && rtt > 0 {
		p.measure(rtt)
	}
}

// Resize notes that the person's terminal has another size now, and is what to
// write to it then.
func (p *Predictor) Resize(dst []byte, cols, rows int) []byte {
	cols, rows = max(cols, 1), max(rows, 1)
	if cols == p.grid.cols && rows == p.grid.rows {
		return dst
	}
	dst = p.hide(dst)
	p.grid.resize(cols, rows)
	p.forget()
	return dst
}

// HostColumns notes how wide the host's terminal is, which may be less than ours.
func (p *Predictor) HostColumns(cols int) { p.limit = cols }

// Reset forgets what was typed: the next Type begins a new input.
func (p *Predictor) Reset() {
	p.forget()
	p.typed = 0
	p.pending = nil
	p.probe = key{}
	p.keyboard = keyboard{}
}

// forget stops waiting for what has been typed.
func (p *Predictor) forget() {
	p.based, p.home, p.placed = false, home{}, 0
	p.epoch++
	if n := len(p.pending); n > 0 {
		last := p.pending[n-1]
		last.does, last.epoch = barrier, p.epoch
		p.epoch++
		p.pending = append(p.pending[:0], last)
	}
}

// Wait is how long until Paint may have something to write though nothing
// has happened; 0 means forever.
func (p *Predictor) Wait(now time.Time) time.Duration {
	if p.mode != Auto || p.showing || p.calmLeft > 0 || p.placed == 0 {
		return 0
	}
	return max(glitch-now.Sub(p.pending[0].at), time.Millisecond)
}

// visible reports whether predictions are to be shown at all.
func (p *Predictor) visible(now time.Time) bool {
	if p.mode == Auto && p.placed > 0 && now.Sub(p.pending[0].at) >= glitch {
		p.calmLeft = calm
		p.calmAt = now
	}
	return p.mode == Always || p.mode == Auto && (p.showing || p.calmLeft > 0)
}
