package link

import (
	"sync"
	"time"

	"tandem/session/link/stream"
)

const (
	// governorDelay is the queue that bulk data keeps in front of the path, as
	// time, so that it notices a faster one; for longer paths it is a quarter of
	// a round trip, but no more than governorProbe.
	governorDelay = 4 * time.Millisecond
	governorProbe = 10 * time.Millisecond
	// governorStart is the limit before anything was measured; never is it less
	// than governorLeast nor more than governorMost.
	governorStart = 32 << 10
	governorLeast = 4 << 10
	governorMost  = 16 << 20
	// fairShare is what a stream may have outstanding beside a greedy one.
	fairShare = 32 << 10
	rttWindow = 10 * time.Second
	// drainEvery is how often a queue of our own is emptied to measure the
	// round trip without it, and drainFor and two round trips for how long. A
	// round trip beyond drainMost was that of a ping that got lost.
	drainEvery = 4 * time.Second
	drainFor   = 60 * time.Millisecond
	drainMost  = time.Second
	// A message takes messageTime of the path, but it has at least leastMessage
	// bytes: what goes into one packet.
	messageTime  = 4 * time.Millisecond
	leastMessage = 1100
)

// governor bounds what all streams together have outstanding, so that bulk data
// fills the path and not the queues in front of it, where keystrokes would
// wait: SCTP's own window grows until something is lost. It moves the limit as
// FAST TCP does (Wei, Jin, Low, Hegde: IEEE/ACM Transactions on Networking 14,
// 2006): pings tell how long a message takes now, and the least of late how long
// it takes without a queue; what was outstanding, scaled by the ratio, fills the
// path exactly. While bulk data flows, the queue is emptied from time to time:
// otherwise it would pass for a part of the path.
type governor struct {
	mu       sync.Mutex
	limit    int  // 0 is governorStart
	opened   bool // a queue has been seen: no more doubling
	limited  bool // a writer had to wait since the last round trip
	waited   time.Time
	used     time.Time        // when more than governorStart was outstanding
	last     time.Duration    // the round trip measured last
	now      time.Duration    // the lesser of the last two
	rtt      [2]time.Duration // minima of this window and the one before
	rttSince time.Time
	drained  time.Time // when a drain began
	draining time.Time // when it ends or has ended
	paths    int       // how often another path was taken
}

// roundTrip takes a measured round trip, and how many bytes SCTP's congestion
// window has.
func (g *governor) roundTrip(rtt time.Duration, window uint32, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if age := now.Sub(g.rttSince); age > rttWindow {
		g.rtt[1], g.rtt[0], g.rttSince = g.rtt[0], 0, now
		if age > 2*rttWindow { // nothing was measured for so long
			g.rtt[1] = 0
		}
	}
	if g.rtt[0] == 0 || rtt < g.rtt[0] {
		g.rtt[0] = rtt
	}
	g.now = rtt
	if g.last != 0 {
		g.now = min(rtt, g.last)
	}
	g.last = rtt
	g.adjust(now)
	// What waits for the window tells nothing of the path: pings overtake it.
	g.limit = min(g.limit, max(2*int(window), governorLeast))
}

// adjust moves the limit. A round trip counts only if the limit was what held
// the writers back, and no drain is in it.
func (g *governor) adjust(now time.Time) {
	least := g.minRTT()
	if !g.limited || now.Before(g.draining.Add(2*least+pingBulk)) {
		return
	}
	g.limited = false
	if now.Sub(g.drained) > drainEvery {
		g.drained, g.draining = now, now.Add(drainFor+2*min(least, drainMost))
		return
	}
	limit := float64(max(g.limit, governorLeast))
	if g.limit == 0 {
		limit = governorStart
	}
	switch queue := g.now - least; {
	case !g.opened && queue < target(least):
		limit *= 2
	case queue < target(least)/4:
		limit *= 1.25 // the path has become faster, or is free again
	default:
		g.opened = true
		wanted := limit * float64(least+target(least)) / float64(g.now)
		limit = (limit + wanted) / 2
	}
	g.limit = min(max(int(limit), governorLeast), governorMost)
}

// target is the queue to keep on a path with that least round trip.
func target(least time.Duration) time.Duration {
	return governorDelay + min(least/4, governorProbe)
}

// halfRTT is half of the least round trip lately, or 0 if there was none.
func (g *governor) halfRTT() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.minRTT() / 2
}

// forget drops what was measured: the path is another one, and has no queue.
func (g *governor) forget(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit, g.opened, g.last, g.now, g.rtt, g.rttSince = 0, false, 0, 0, [2]time.Duration{}, time.Time{}
	g.drained, g.draining = now, time.Time{}
	g.paths++
}

// changes is how often another path was taken.
func (g *governor) changes() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.paths
}

// pingBulk and pingDrain are how often the round trip is measured beside bulk
// data, and while a queue drains.
const (
	pingBulk  = 50 * time.Millisecond
	pingDrain = 20 * time.Millisecond
)

// pingInterval is how often the round trip should be measured now, or 0 if
// nothing depends on it.
func (g *governor) pingInterval(now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case now.Before(g.draining):
		return pingDrain
	case now.Sub(g.waited) < time.Second:
		return pingBulk
	}
	return 0
}

// messageSize is how long a message of bulk data should be, in bytes: what is
// written in one piece is what others wait for at least.
func (g *governor) messageSize() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now == 0 || g.limit == 0 {
		return stream.MaxFrame
	}
	size := float64(g.limit) / float64(g.now) * float64(messageTime)
	return min(max(int(size), leastMessage), stream.MaxFrame)
}

// mayWrite says whether a stream that has own bytes outstanding, of buffered in
// all, may hand more to SCTP. A stream with little has room even if others have
// used up the limit; twice the limit is the end for all.
func (g *governor) mayWrite(own, buffered int, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Sub(g.waited) > time.Second {
		g.drained = now // after a pause, there is no queue
	}
	if buffered > governorStart {
		g.used = now
	} else if now.Sub(g.used) > rttWindow && g.limit > governorStart {
		g.limit, g.opened = 0, false // that the path has carried more says little by now (RFC 7661)
	}
	limit := g.limit
	if limit == 0 {
		limit = governorStart
	}
	if !g.draining.IsZero() {
		// Less by twice the queue, so that it drains; then more again over a
		// round trip, so that a burst makes no queue.
		least, since := max(g.minRTT(), time.Millisecond), max(0, now.Sub(g.draining))
		less := min(0.5, 2*float64(target(least))/float64(least+target(least)))
		less = max(0, less*(1-float64(since)/float64(least)))
		limit -= int(less * float64(limit))
	}
	if buffered < limit || own < min(fairShare, limit/2) && buffered < 2*limit {
		return true
	}
	g.limited, g.waited = true, now
	return false
}

// minRTT is the least round trip of the last one or two windows.
func (g *governor) minRTT() time.Duration {
	if g.rtt[1] != 0 && (g.rtt[0] == 0 || g.rtt[1] < g.rtt[0]) {
		return g.rtt[1]
	}
	return g.rtt[0]
}
