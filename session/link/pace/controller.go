package pace

import (
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
	// lateness is by how much a message may miss its time before there was too
	// little to send.
	lateness = 2 * burst
	// fullGrowth in fullRounds round trips is what the rate must grow by, or the
	// path is full.
	fullGrowth = 1.25
	fullRounds = 3
	// slowTrips round trips in a row that took twice the least tell of a slower path.
	slowTrips = 4
	// cruiseRounds and cruiseLeast are how long a cruise takes at least.
	cruiseRounds = 6
	cruiseLeast  = 250 * time.Millisecond
	grownGain    = 1.1 // after a probe that found so much more, another one follows
	// upQueue is the queue that probing may make, as time.
	upQueue = 15 * time.Millisecond

	rateWindow  = time.Second
	rateLeast   = 20 * time.Millisecond // over which the rate is measured
	rateMost    = 100 * time.Millisecond
	rttWindow   = 10 * time.Second
	rttNear     = 1.05
	measureTime = 100 * time.Millisecond

	// startBytes are sent in the first round trip, which is startRTT if unknown.
	startBytes = 64 << 10
	startRTT   = 100 * time.Millisecond
	// slack is what may be outstanding beyond the product, as time: SACKs are
	// late, and so are we.
	slack        = 4 * time.Millisecond
	slackPackets = 8
	// burst is what may be sent at once after having been late, as time.
	burst = 3 * time.Millisecond
	// messageTime is how long a message takes the path.
	messageTime = 2 * time.Millisecond
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

// Config says how long messages are. Sizes are bytes.
type Config struct {
	// Packet is what one packet carries of a message; messages are multiples of
	// it, as far as Most allows.
	Packet int
	// Most is the longest message.
	Most int
	// Random returns numbers from 0 to 1; nil is rand.Float64.
	Random func() float64
}

// Controller says when to send. Its methods want times that never fall.
type Controller struct {
	config Config
	phase  phase
	since  time.Time // when the phase began

	sent        uint64
	outstanding int
	samples     samples // of what was delivered
	departed    samples // of what was sent
	rates       maxFilter
	recent      float64 // the rate measured last
	limited     uint64  // up to this much delivered, there was too little to send

	round    uint64    // round trips that have ended
	roundEnd uint64    // delivered at which the present one ends
	roundAt  time.Time // when it began
	probed   float64   // the rate before a probe
	full     float64   // the rate that growth is compared with
	fullFor  int       // round trips without growth

	best     time.Duration // the least round trip since the last measurement
	measured time.Duration // the least of the present one
	last     time.Duration // the one measured last
	lately   time.Duration // the lesser of the last two
	slow     int           // round trips in a row that took twice the least
	near     time.Time     // when a round trip was near the least
	cruising time.Duration

	blocked bool      // the cap has held back the next message
	next    time.Time // when the next message may leave
}

// New makes a controller that knows nothing yet.
func New(config Config, now time.Time) *Controller {
	if config.Random == nil {
		config.Random = rand.Float64
	}
	return &Controller{config: config, since: now, near: now, roundAt: now, next: now}
}

// Forget starts again: the path is another one. What is outstanding stays.
func (c *Controller) Forget(now time.Time) {
	fresh := New(c.config, now)
	fresh.sent, fresh.outstanding = c.sent, c.outstanding
	fresh.roundEnd = c.sent
	*c = *fresh
}

// RoundTrip takes a measured round trip.
func (c *Controller) RoundTrip(rtt time.Duration, now time.Time) {
	if rtt <= 0 {
		return
	}
	c.lately = rtt
	if c.last != 0 {
		c.lately = min(rtt, c.last)
	}
	c.last = rtt
	if c.best == 0 || float64(rtt) <= float64(c.best)*rttNear+float64(time.Millisecond) {
		c.near = now
	}
	if c.best == 0 || rtt < c.best {
		c.best = rtt
	}
	if c.measured == 0 || rtt < c.measured {
		c.measured = rtt
	}
	if rtt > 2*c.best+2*slack {
		c.slow++
	} else {
		c.slow = 0
	}
	switch {
	case c.phase == start && c.slow >= 2:
		c.enter(drain, now)
	case c.phase != start && c.slow >= slowTrips:
		c.rates.reset(c.recent) // the path has become slower
		c.slow = 0
	}
}

// Sent notes that n bytes have left.
func (c *Controller) Sent(n int, now time.Time) {
	if !c.blocked && now.Sub(c.next) > lateness {
		c.limited = c.sent + uint64(n)
	}
	c.blocked = false
	if c.outstanding == 0 {
		c.samples.reset(now, c.sent) // after a pause, a new measurement
		c.departed.reset(now, c.sent)
	}
	c.sent += uint64(n)
	c.outstanding += n
	c.departed.add(now, c.sent, 0, c.span())
	if floor := now.Add(-burst); c.next.Before(floor) {
		c.next = floor
	}
	c.next = c.next.Add(time.Duration(float64(n) / c.pacing() * float64(time.Second)))
}

// Lost takes back n bytes that were sent and can't arrive any more: their
// connection has ended.
func (c *Controller) Lost(n int) {
	c.sent -= min(c.sent, uint64(n))
	c.outstanding -= min(c.outstanding, n)
}

// Acked takes how much is outstanding now.
func (c *Controller) Acked(outstanding int, now time.Time) {
	before := c.delivered()
	c.outstanding = max(outstanding, 0)
	delivered := c.delivered()
	if delivered > before || c.samples.n == 0 {
		c.measureRate(delivered, now)
	}
	if delivered >= c.roundEnd && delivered > 0 && now.Sub(c.roundAt) >= c.span() {
		c.round++
		c.roundEnd, c.roundAt = c.sent, now
		c.checkFull(delivered, now)
	}
	c.step(now)
}

func (c *Controller) delivered() uint64 {
	return c.sent - min(c.sent, uint64(c.outstanding))
}

// measureRate notes what was delivered over the last round trip.
func (c *Controller) measureRate(delivered uint64, now time.Time) {
	then, ok := c.samples.add(now, delivered, c.span(), c.span())
	if !ok {
		return
	}
	// What has arrived in a burst, because it had to wait somewhere, left over a
	// longer time.
	took := max(now.Sub(then.at), c.departed.when(delivered).Sub(c.departed.when(then.bytes)))
	rate := float64(delivered-then.bytes) / took.Seconds()
	c.recent = rate
	if then.bytes >= c.limited || rate > c.rates.max() {
		c.rates.add(rate)
	}
}

// span is over how long the rate is measured.
func (c *Controller) span() time.Duration { return min(max(c.best, rateLeast), rateMost) }

// checkFull ends the start when the rate no longer grows.
func (c *Controller) checkFull(delivered uint64, now time.Time) {
	if c.phase != start || delivered < c.limited {
		return
	}
	if rate := c.rates.max(); rate > c.full*fullGrowth {
		c.full, c.fullFor = rate, 0
		return
	}
	if c.fullFor++; c.fullFor >= fullRounds {
		c.enter(drain, now)
	}
}

func (c *Controller) enter(p phase, now time.Time) {
	c.phase, c.since = p, now
	switch p {
	case measure:
		c.measured = 0
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
		if now.Sub(c.near) > rttWindow {
			c.enter(measure, now)
		} else if in > c.cruising || in > c.span() && c.rates.max() > c.probed*grownGain {
			c.probed = c.rates.max()
			c.rates.turn(now)
			c.enter(up, now)
		}
	case up:
		if float64(in)*(upGain-1) > float64(upQueue) || in > max(least, rateLeast) {
			c.enter(down, now)
		}
	case down:
		if in > max(least, rateLeast) || c.outstanding <= c.product() {
			c.enter(cruise, now)
		}
	case measure:
		if in > least+measureTime {
			c.near = now
			if c.measured != 0 {
				c.best = c.measured
			}
			c.enter(cruise, now)
		}
	}
}

// Rate is what the path delivers, in bytes per second; 0 if not known yet.
func (c *Controller) Rate() float64 { return c.rates.max() }

// pacing is the rate to send at, in bytes per second.
func (c *Controller) pacing() float64 {
	rate := c.rates.max()
	if c.phase == start {
		rate = max(rate, startBytes/c.least().Seconds())
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
		switch queue := c.lately - c.least() - c.least()/16; {
		case queue < queueLow:
			return rate * moreGain
		case queue > queueHigh:
			return rate * lessGain
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
	return startRTT
}

// product is what the path holds.
func (c *Controller) product() int {
	return int(c.rates.max() * c.least().Seconds())
}

// extra is what may be outstanding beyond that.
func (c *Controller) extra() int {
	return int(c.rates.max()*slack.Seconds()) + slackPackets*c.config.Packet
}

// Cap is how much may be outstanding now, in bytes.
func (c *Controller) Cap() int {
	product, extra := float64(c.product()), c.extra()
	gain := cruiseGain
	switch c.phase {
	case start:
		return max(int(startWindow*product)+extra, startBytes)
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

// Wait is how long the next message of n bytes has to wait if nothing changes
// before: 0 if it may leave now, and otherwise when to ask again. What is full
// empties by Acked alone, so after that ask again as well.
func (c *Controller) Wait(n int, now time.Time) time.Duration {
	if c.outstanding > 0 && c.outstanding+n > c.Cap() {
		c.blocked = true
		return max(c.least()/16, time.Millisecond)
	}
	return max(c.next.Sub(now), 0)
}

// MessageSize is how long messages should be, in bytes: a few milliseconds of
// the path, in whole packets.
func (c *Controller) MessageSize() int {
	size := int(c.rates.max() * messageTime.Seconds())
	packets := min(max(size/c.config.Packet, 1), max(c.config.Most/c.config.Packet, 1))
	return min(packets*c.config.Packet, c.config.Most)
}

// String is what the controller believes, for a log.
func (c *Controller) String() string {
	names := [...]string{"start", "drain", "cruise", "up", "down", "measure"}
	return fmt.Sprintf("%s: %.0f B/s, %v, %d of %d bytes outstanding", names[c.phase], c.rates.max(), c.best, c.outstanding, c.Cap())
}
