package pace

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	startGain   = 2.77 // 4 ln 2: doubles the rate in each round trip
	startWindow = 2.0
	drainGain   = 0.35
	upGain      = 1.25
	downGain    = 0.75
	moreGain    = 1.02 // in a cruise without a queue
	lessGain    = 0.97 // and with one
	cruiseGain  = 1.25 // of what is outstanding
	// queueLow and queueHigh are that queue, as time.
	queueLow  = 3 * time.Millisecond
	queueHigh = 8 * time.Millisecond
	// queueDoubt, or a sixteenth of the least round trip if that is less, of a queue
	// may be chance.
	queueDoubt = 6 * time.Millisecond
	// spreadOwn is by how much round trips may differ because of ourselves, or because
	// the machine is busy.
	spreadOwn = 15 * time.Millisecond
	// spreadMost is as much as is believed.
	spreadMost = 2 * time.Second
	// queueSteep of queue beyond that take away all of the rate, but no more of it
	// than leastGain leaves.
	queueSteep = 400 * time.Millisecond
	leastGain  = 0.9
	// lateness is by how much a message may miss its time before there was too
	// little to send.
	lateness = 10 * time.Millisecond
	// slowRounds round trips in a row that took twice the least tell of a slower path.
	slowRounds = 4
	// filledRounds round trips in a row with a queue tell how much the path carries.
	filledRounds = 3
	// cruiseRounds and cruiseLeast are how long a cruise takes at least.
	cruiseRounds = 6
	cruiseLeast  = 250 * time.Millisecond
	grownGain    = 1.05 // after a probe that found so much more, another one follows
	// upQueue is the queue that probing may make, as time.
	upQueue = 12 * time.Millisecond
	upTime  = time.Duration(float64(upQueue) / (upGain - 1))
	// patience is how many round trips in a row without a queue make the next probe a
	// long one; each that finds nothing doubles it, up to mostPatience.
	patience     = cruiseRounds
	mostPatience = 96

	probeLeast = 20 * time.Millisecond // of a probe, and of what follows it

	rateWindow = time.Second
	rateLeast  = 50 * time.Millisecond // over which the rate is measured
	rttWindow  = 10 * time.Second
	// idleMost is how long nothing may be sent before what is known of the rate is
	// forgotten (RFC 9002, section 7.8): the path may carry much less by now.
	idleMost = 3 * time.Second
	rttNear  = 1.05
	// rttDoubt is how long no round trip may come near the least while the rate falls
	// to half: then it is doubtful that what we see is our own queue.
	rttDoubt    = time.Second
	longerGain  = 1.5
	measureTime = 100 * time.Millisecond
	measureMost = 3 * time.Second

	// startBytes are sent in the first round trip, which is startRTT if unknown, or
	// what startRate, in bytes per second, makes of it.
	startBytes = 64 << 10
	startRate  = 640 << 10
	startRTT   = 100 * time.Millisecond
	// slack is what may be outstanding beyond the product, as time: SACKs are
	// late, and so are we.
	slack        = 4 * time.Millisecond
	slackPackets = 8
	// burst is what may be sent at once after having been late, as time.
	burst = 20 * time.Millisecond
	// burstMost is how much acknowledgements that come in bursts may add to what is
	// outstanding, as time.
	burstMost = 100 * time.Millisecond
)

type phase uint8

const (
	start phase = iota
	drain
	cruise
	up
	down
	measure
)

// Config is what a Controller does not measure.
type Config struct {
	// Packet is how long packets are, in bytes.
	Packet int
	// Random returns numbers from 0 to 1; nil is rand.Float64.
	Random func() float64
}

// Controller says when to send. Its methods want times that never fall.
type Controller struct {
	config Config
	phase  phase
	since  time.Time // when the phase began

	sent        uint64
	delivered   uint64
	outstanding int       // the rest was lost
	active      time.Time // when something left
	departed    samples
	rates       maxFilter
	bursts      maxFilter
	burstAt     time.Time
	burstBytes  int
	limited     uint64 // of what was sent up to here, there was too little

	round    mark    // when the present round trip began
	roundEnd uint64  // this much of what was sent is gone when it ends
	probed   float64 // the rate before a probe
	before   history // and before earlier ones
	calm     int     // round trips in a row without a queue
	patience int     // how many of them make a probe a long one
	long     bool    // the present one is
	starting starting
	slow     streak // that took twice the least
	filled   streak // with a queue, in a cruise

	expected  time.Duration // by Expect
	best      time.Duration // the least round trip since the last measurement
	measured  time.Duration // the least of the present one
	lowest    time.Duration // the least in this round trip; 0 if there was none
	lately    time.Duration // the least in the one before
	took      tally         // by the packets of this round trip
	spread    time.Duration // by how much packets take longer than the fastest, by themselves
	near      time.Time     // when a round trip was near the least
	nearRate  float64       // the most since then
	cruising  time.Duration
	measuring time.Time // when that began

	blocked bool      // the cap has held back the next message
	next    time.Time // when the next message may leave
}

// New makes a controller that knows nothing yet.
func New(config Config, now time.Time) *Controller {
	if config.Random == nil {
		config.Random = rand.Float64
	}
	return &Controller{config: config, since: now, near: now, round: mark{at: now}, next: now, patience: patience}
}

// Forget starts again: the path is another one. What is outstanding stays.
func (c *Controller) Forget(now time.Time) {
	fresh := New(c.config, now)
	fresh.sent, fresh.delivered, fresh.outstanding = c.sent, c.delivered, c.outstanding
	fresh.begin(now)
	*c = *fresh
}

// Expect takes a round trip that another connection has measured. It counts until
// there is a better one.
func (c *Controller) Expect(rtt time.Duration) { c.expected = rtt }

// RoundTrip takes a measured round trip.
func (c *Controller) RoundTrip(rtt time.Duration, now time.Time) {
	if rtt <= 0 {
		return
	}
	if c.best == 0 || float64(rtt) <= float64(c.best)*rttNear+float64(time.Millisecond) {
		c.near, c.nearRate = now, 0
	}
	for _, least := range []*time.Duration{&c.best, &c.measured, &c.lowest} {
		if *least == 0 || rtt < *least {
			*least = rtt
		}
	}
	c.starting.trip(rtt, c.best, c.spread, now)
}

// Took takes how long a packet took until it was acknowledged. Round trips are of those
// that come first; this is of all.
func (c *Controller) Took(d time.Duration) { c.took = tally{c.took.sum + d, c.took.n + 1} }

// tally adds up durations.
type tally struct{ sum, n time.Duration }

func (t tally) mean() time.Duration { return t.sum / max(t.n, 1) }

// Sent notes that n bytes have left.
func (c *Controller) Sent(n int, now time.Time) {
	if !c.blocked && now.Sub(c.next) > lateness {
		c.limited = c.sent + uint64(n)
	}
	if c.blocked {
		c.blocked = false
		c.next = later(c.next, now) // it was not we who were late
	}
	if c.outstanding == 0 && now.Sub(c.active) > idleMost {
		expected := cmp.Or(c.best, c.expected)
		c.Forget(now)
		c.Expect(expected)
	}
	c.active = now
	if c.outstanding == 0 { // after a pause, a new measurement
		c.departed.reset(sample{now, c.sent})
		c.begin(now)
		c.starting.begin(c.round)
	}
	c.sent += uint64(n)
	c.outstanding += n
	c.departed.add(sample{now, c.sent}, c.span())
	if floor := now.Add(-burst); c.next.Before(floor) {
		c.next = floor
	}
	c.next = c.next.Add(time.Duration(float64(n) / c.pacing() * float64(time.Second)))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Lost notes that n bytes that were sent have not arrived and are not expected any
// more.
func (c *Controller) Lost(n int) {
	n = min(c.outstanding, n)
	c.outstanding -= n
	c.starting.lost += n
}

// Acked notes that n bytes that were sent have arrived.
func (c *Controller) Acked(n int, now time.Time) {
	n = min(n, c.outstanding)
	c.outstanding -= n
	c.delivered += uint64(n)
	c.measureBurst(n, now)
	if c.phase == start {
		c.grow(now)
	}
	if gone := c.gone(); gone >= c.roundEnd && gone > c.round.gone && now.Sub(c.round.at) >= c.span() {
		c.endRound(now)
	}
	c.step(now)
}

// measureBurst notes by how much more was acknowledged at once than the rate says.
func (c *Controller) measureBurst(n int, now time.Time) {
	expected := c.rates.max() * now.Sub(c.burstAt).Seconds()
	if float64(c.burstBytes) <= expected {
		c.burstAt, c.burstBytes, expected = now, 0, 0
	}
	c.burstBytes += n
	c.bursts.add(min(float64(c.burstBytes)-expected, c.rates.max()*(burstMost+c.least()/4).Seconds()))
}

// gone is how much of what was sent is not outstanding any more.
func (c *Controller) gone() uint64 { return c.sent - uint64(c.outstanding) }

// mark is a moment, and what had happened until then.
type mark struct {
	at              time.Time
	delivered, gone uint64
}

// begin begins a round trip: it ends when all that is sent now is gone.
func (c *Controller) begin(now time.Time) {
	c.round, c.roundEnd, c.lowest = mark{now, c.delivered, c.gone()}, c.sent, 0
	c.took = tally{}
}

// endRound looks at the round trip that has ended.
func (c *Controller) endRound(now time.Time) {
	rate := c.rateSince(c.round, 0, now)
	limited := c.round.gone < c.limited
	if !limited || rate > c.rates.max() {
		c.rates.add(rate)
	}
	if c.lowest != 0 {
		c.lately = c.lowest
		spread := min(max(c.took.mean()-c.lowest-AckDelay, 0), spreadMost)
		c.spread += (spread - c.spread) / 4
		if c.starting.full == 0 { // the first round trip
			c.spread = spread
		}
	}
	c.nearRate = max(c.nearRate, c.rates.max())
	least := c.least()
	if c.phase == start {
		c.checkStart(limited, now)
	} else if c.slow.add(c.lately > 2*least+2*slack, rate) >= slowRounds {
		c.rates.reset(c.slow.most) // the path has become slower
		c.slow = streak{}
	} else if c.filled.add(c.phase == cruise && c.queue() > queueHigh, rate) >= filledRounds {
		c.rates.reset(c.filled.most) // with a queue all the time, it was no more than that
		c.filled = streak{}
	}
	c.calm++
	if limited || c.queue() > queueHigh || c.phase == start || c.starting.doubt > 0 {
		c.calm = 0
	}
	c.doubt(rate, now)
	c.begin(now)
}

// queue is what round trips lately took beyond the least.
func (c *Controller) queue() time.Duration {
	return c.beyond(c.lately)
}

// jitter is by how much packets take longer than the fastest where that is the path's
// doing.
func (c *Controller) jitter() time.Duration {
	if c.spread <= max(spreadOwn, c.least()/8) {
		return 0
	}
	return c.spread
}

// beyond is what a round trip took beyond the least, less what may be chance.
func (c *Controller) beyond(rtt time.Duration) time.Duration {
	return rtt - c.least() - min(c.least()/16, queueDoubt) - c.jitter()
}

// streak is how many round trips in a row were of a kind, and the most that was
// measured in them.
type streak struct {
	n    int
	most float64
}

func (s *streak) add(ok bool, rate float64) int {
	if !ok {
		*s = streak{}
		return 0
	}
	s.n, s.most = s.n+1, max(s.most, rate)
	return s.n
}

// span is over how long the rate is measured.
func (c *Controller) span() time.Duration { return max(c.best+c.jitter(), rateLeast) }

func (c *Controller) enter(p phase, now time.Time) {
	c.phase, c.since = p, now
	switch p {
	case measure:
		c.measured, c.measuring = 0, now
	case cruise:
		c.cruising = max(cruiseRounds*c.best, cruiseLeast)
		c.cruising += time.Duration(c.config.Random() * float64(c.cruising) / 4) // so that two senders do not probe in step
	}
}

// step goes on to the next phase when it is time.
func (c *Controller) step(now time.Time) {
	in, least := now.Sub(c.since), c.best
	switch c.phase {
	case start:
	case drain:
		if c.outstanding <= c.product()+c.extra() || in > 4*least+measureTime {
			c.enter(cruise, now)
		}
	case cruise:
		if far := now.Sub(c.near); far > rttWindow || far > rttDoubt && c.rates.max() < c.nearRate/2 {
			c.enter(measure, now)
		} else if in > c.cruising || in > c.span() && c.rates.max() > c.probed*grownGain {
			grown := c.before.grown(c.rates.max()) && c.queue() < queueHigh
			if c.long && c.rates.max() <= c.probed*grownGain {
				c.patience, c.calm = min(2*c.patience, mostPatience), 0
			} else if c.long {
				c.patience = patience
			}
			c.probed = c.rates.max()
			c.rates.turn(now)
			c.bursts.turn(now)
			c.long = c.calm >= c.patience
			if grown {
				c.enter(start, now)
			} else {
				c.enter(up, now)
			}
		}
	case up:
		most := upTime
		if c.long {
			most = c.span()
		}
		if in > min(most, max(c.span(), probeLeast)) || c.long && c.beyond(c.starting.last) > upQueue {
			c.enter(down, now)
		}
	case down:
		if in > max(least, probeLeast) || c.outstanding <= c.product() {
			c.enter(cruise, now)
		}
	case measure:
		if c.outstanding > c.Cap() && now.Sub(c.measuring) < measureMost {
			c.since, c.measured = now, 0 // the queue still drains
		} else if in > max(least, c.lately)+measureTime {
			c.near, c.nearRate = now, 0
			longer := float64(c.measured) > float64(least)*longerGain
			if c.measured != 0 {
				c.best = c.measured
			}
			if longer {
				c.starting = starting{}
				c.enter(start, now) // it was not the queue, so there may be much to gain
			} else {
				c.enter(cruise, now)
			}
		}
	}
}

// Rate is what the path delivers, in bytes per second; 0 if not known yet.
func (c *Controller) Rate() float64 { return c.rates.max() }

// pacing is the rate to send at, in bytes per second.
func (c *Controller) pacing() float64 {
	rate := c.rates.max()
	if c.phase == start {
		rate = max(rate, startRate/startGain, startBytes/startGain/c.least().Seconds())
	}
	rate = max(rate, float64(c.config.Packet)/c.least().Seconds())
	switch c.phase {
	case start:
		return rate * startGain
	case drain:
		return rate * drainGain
	case up:
		return rate * upGain
	case down:
		return rate * downGain
	case cruise:
		queue := c.queue()
		if c.least() > 2*rateLeast && c.jitter() == 0 { // a round trip ago is long ago
			queue = c.beyond(c.starting.recent)
		}
		switch {
		case queue < queueLow:
			return rate * moreGain
		case queue > queueHigh:
			return rate * max(lessGain-float64(queue-queueHigh)/float64(queueSteep), leastGain)
		}
	case measure:
	}
	return rate
}

// least is the least round trip, or a guess.
func (c *Controller) least() time.Duration {
	if rtt := c.best; rtt != 0 {
		return max(rtt, 100*time.Microsecond)
	}
	if c.expected != 0 {
		return c.expected
	}
	return startRTT
}

// product is what the path holds.
func (c *Controller) product() int {
	return int(c.rates.max() * c.least().Seconds())
}

// extra is what may be outstanding beyond that.
func (c *Controller) extra() int {
	least := c.rates.max()*slack.Seconds() + float64(slackPackets*c.config.Packet)
	if c.queue() > 2*queueHigh {
		return int(least) // what has come in bursts is in the queue by now
	}
	return int(max(least, c.bursts.max()))
}

// Cap is how much may be outstanding now, in bytes.
func (c *Controller) Cap() int {
	product, extra := float64(c.product()), c.extra()+int(c.rates.max()*c.spread.Seconds())
	gain := cruiseGain
	switch c.phase {
	case start:
		return max(int(startWindow*product)+extra, startBytes, int(startRate*c.least().Seconds()))
	case up:
		gain = startWindow
	case drain, down:
		gain = cruiseGain
	case measure:
		gain, extra = 0.5, extra/2
	case cruise:
	}
	return max(int(gain*product)+extra, slackPackets*c.config.Packet)
}

// Wait is how long the next packet of n bytes has to wait if nothing changes
// before: 0 if it may leave now, and otherwise when to ask again. What is full
// empties by Acked alone, so after that ask again as well.
func (c *Controller) Wait(n int, now time.Time) time.Duration {
	if c.outstanding > 0 && c.outstanding+n > c.Cap() {
		c.blocked = true
		return max(c.least()/16, time.Millisecond)
	}
	return max(c.next.Sub(now), 0)
}

// String is what the controller believes, for a log.
func (c *Controller) String() string {
	names := [...]string{"start", "drain", "cruise", "up", "down", "measure"}
	return fmt.Sprintf("%s: %.0f B/s, %v, %d of %d bytes outstanding", names[c.phase], c.rates.max(), c.best, c.outstanding, c.Cap())
}
