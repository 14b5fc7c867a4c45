package pace

import "time"

const (
	// startQueueLeast and startQueueMost bound the queue that ends the start, an eighth of
	// the least round trip. It counts when startTrips in a row have it, over a time of
	// startLook and an eighth of the least round trip.
	startQueueLeast = 8 * time.Millisecond
	startQueueMost  = 30 * time.Millisecond
	startQueueShare = 8
	startLook       = 10 * time.Millisecond
	startTrips      = 4
	// startLoss of what was sent, in a round trip without growth, ends the start as
	// well: queues may be short.
	startLoss = 0.25
	// doubtRounds after a queue has ended the start, more may show that it was none.
	doubtRounds = 2
	// fullGrowth in fullRounds round trips is what the rate must grow by, or the
	// path is full.
	fullGrowth = 1.25
	fullRounds = 3
)

// starting is what the start looks at more often than once in a round trip.
type starting struct {
	marks  []mark  // of the last round trip, the oldest first
	full   float64 // the rate that growth is compared with
	rounds int     // without growth beyond full
	lost   int     // bytes, in the present round trip

	trips  int // in the present look
	least  time.Duration
	since  time.Time
	last   time.Duration // the least of the look before
	recent time.Duration // the lesser of the last two
	noise  time.Duration // by which looks fall, lately at most: a growing queue lets none
	queue  bool          // the last look has seen one
	doubt  int           // round trips after the start in which it may go on
}

// begin forgets all: nothing is outstanding.
func (s *starting) begin(m mark) { s.marks = append(s.marks[:0], m) }

// arrived takes what has happened up to now, and drops what is older than span.
func (s *starting) arrived(m mark, span time.Duration) {
	for len(s.marks) > 1 && m.at.Sub(s.marks[1].at) >= span {
		s.marks = s.marks[1:]
	}
	if n := len(s.marks); n > 1 && m.at.Sub(s.marks[n-2].at) < span/64 {
		s.marks[n-1] = m
		return
	}
	s.marks = append(s.marks, m)
}

// before is the last mark that is at least as old as span, or the oldest.
func (s *starting) before(now time.Time, span time.Duration) mark {
	for i := len(s.marks) - 1; i > 0; i-- {
		if now.Sub(s.marks[i].at) >= span {
			return s.marks[i]
		}
	}
	return s.marks[0]
}

// trip takes a round trip; least is the least of all, and spread by how much they differ
// by themselves.
func (s *starting) trip(rtt, least, spread time.Duration, now time.Time) {
	if s.trips == 0 {
		s.since, s.least = now, rtt
	}
	s.trips++
	s.least = min(s.least, rtt)
	if s.trips >= startTrips && now.Sub(s.since) >= startLook+least/startQueueShare {
		s.noise = max(s.last-s.least, s.noise-s.noise/16)
		s.queue = s.least > least+min(max(least/startQueueShare, startQueueLeast), startQueueMost)+max(2*spread, s.noise)
		s.recent = min(s.last, s.least)
		s.last, s.trips = s.least, 0
	}
}

// grow measures the rate of the last round trip at each acknowledgement, so that the
// start doubles it in each, and ends the start as soon as there is a queue.
func (c *Controller) grow(now time.Time) {
	s := &c.starting
	if len(s.marks) == 0 {
		s.begin(c.round)
	}
	here := mark{now, c.delivered, c.gone()}
	s.arrived(here, c.span())
	c.rates.add(max(c.rates.max(), c.rateSince(s.before(now, c.span()), c.span(), now)))
	if !s.queue || s.full == 0 { // in the first round trip, nothing is known of their spread
		return
	}
	// What arrives while there is a queue comes as fast as the path goes; over the
	// whole round trip it was less.
	short := max(c.span()/4, rateLeast/2)
	c.rates.add(c.rateSince(s.before(now, short), short, now))
	s.full, s.doubt = c.rates.max(), doubtRounds
	c.enter(drain, now)
}

// doubt asks, in the round trips after a queue has ended the start, whether that was
// one, as round trips differ by themselves on some paths. If more arrives than before,
// the start goes on; if the queue is still there, it may be a part of the path.
func (c *Controller) doubt(rate float64, now time.Time) {
	s := &c.starting
	if s.doubt == 0 || c.phase == drain {
		return
	}
	s.doubt--
	switch least := c.least(); {
	case rate > s.full*fullGrowth:
		c.enter(start, now)
	case s.doubt == 0 && c.queue() > least/4+startQueueLeast:
		c.enter(measure, now)
	}
}

// rateSince is the rate since a mark, over span at least. What has arrived in a burst,
// because it had to wait somewhere, left over a longer time.
func (c *Controller) rateSince(m mark, span time.Duration, now time.Time) float64 {
	took := max(now.Sub(m.at), c.departed.when(c.gone()).Sub(c.departed.when(m.gone)), span)
	return float64(c.delivered-m.delivered) / took.Seconds()
}

// history is the rate before each of the last probes, the newest first; 0 for those
// before the start has ended.
type history [4]float64

// grown notes a rate, and says whether probing has found so much in a few steps that
// the start finds the rest sooner.
func (h *history) grown(rate float64) bool {
	first := h[len(h)-1]
	copy(h[1:], h[:])
	h[0] = rate
	if first == 0 || rate < first*fullGrowth {
		return false
	}
	*h = history{}
	return true
}

// checkStart ends the start when the rate no longer grows, at the end of a round trip.
func (c *Controller) checkStart(limited bool, now time.Time) {
	s, most := &c.starting, c.rates.max()
	lossy := float64(s.lost) > startLoss*float64(s.lost+int(c.delivered-c.round.delivered))
	s.lost = 0
	switch {
	case most > s.full*fullGrowth:
		s.full, s.rounds = most, 0
	case lossy:
		c.enter(drain, now)
	case limited:
	default:
		s.rounds++
		if s.rounds >= fullRounds {
			c.enter(drain, now)
		}
	}
}
