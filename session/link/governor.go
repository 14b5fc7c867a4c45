package link

import (
	"sync"
	"time"
)

const (
	// governorSlack is what may be outstanding whatever was measured; with the
	// message that goes over the limit it is 24 KiB.
	governorSlack = 8 << 10
	// governorDelay is the queue that bulk data may build, as time.
	governorDelay = 5 * time.Millisecond
	// governorStart is the limit before anything was measured.
	governorStart = 64 << 10
	governorMost  = 16 << 20
	// fairShare is what a stream may have outstanding beside a greedy one.
	fairShare = 32 << 10
	// governorSample is the shortest time over which delivery is measured.
	governorSample = 10 * time.Millisecond
	rttWindow      = 10 * time.Second
)

// governor bounds what all streams together have outstanding, so that bulk data
// fills the path and not the queues in front of it, where keystrokes would
// wait. SCTP's own window grows until something is lost. The limit is what the
// path delivers in one round trip without a queue and a little more, after BBR
// (draft-ietf-ccwg-bbr): delivery is what SACKs have covered.
type governor struct {
	mu        sync.Mutex
	written   uint64
	limit     int
	rate      float64 // bytes a second; 0 if unknown
	limited   bool    // a writer had to wait since the last sample
	sampled   time.Time
	delivered uint64
	rtt       [2]time.Duration // minima of this window and the one before
	rttSince  time.Time
}

// wrote counts bytes handed to SCTP.
func (g *governor) wrote(n int) {
	g.mu.Lock()
	g.written += uint64(n)
	g.mu.Unlock()
}

// roundTrip takes a measured round trip.
func (g *governor) roundTrip(rtt time.Duration, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Sub(g.rttSince) > rttWindow {
		g.rtt[1], g.rtt[0], g.rttSince = g.rtt[0], 0, now
	}
	if g.rtt[0] == 0 || rtt < g.rtt[0] {
		g.rtt[0] = rtt
	}
}

// halfRTT is half of the least round trip lately, or 0 if there was none.
func (g *governor) halfRTT() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.minRTT() / 2
}

// forget drops what was measured: the path is another one.
func (g *governor) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rate, g.limit, g.rtt, g.rttSince, g.sampled = 0, 0, [2]time.Duration{}, time.Time{}, time.Time{}
}

// mayWrite says whether a stream that has own bytes outstanding, of buffered in
// all, may hand more to SCTP. A stream with little has room even if others have
// used up the limit; twice the limit is the end for all.
func (g *governor) mayWrite(own, buffered int, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sample(buffered, now)
	limit := g.limit
	if limit == 0 {
		limit = governorStart
	}
	if buffered < limit || own < fairShare && buffered < 2*limit {
		return true
	}
	g.limited = true
	return false
}

// sample measures delivery and moves the limit. A sample counts only if the
// limit was what held the writers back; otherwise it says how much there was to
// send.
func (g *governor) sample(buffered int, now time.Time) {
	minRTT := g.minRTT()
	delivered := g.written - min(g.written, uint64(buffered))
	if g.sampled.IsZero() {
		g.sampled, g.delivered, g.limited = now, delivered, false
		return
	}
	elapsed := now.Sub(g.sampled)
	if elapsed < max(governorSample, minRTT) {
		return
	}
	rate := float64(delivered-min(delivered, g.delivered)) / elapsed.Seconds()
	grows := rate > 1.2*g.rate
	if rate > g.rate {
		g.rate = rate
	} else if g.limited {
		g.rate -= (g.rate - rate) / 8
	}
	if g.limited {
		gain := 1.25
		if grows {
			gain = 2 // as a slow start does
		}
		room := g.rate * (gain*minRTT.Seconds() + governorDelay.Seconds())
		g.limit = min(int(room)+governorSlack, governorMost)
	}
	g.sampled, g.delivered, g.limited = now, delivered, false
}

// minRTT is the least round trip of the last one or two windows.
func (g *governor) minRTT() time.Duration {
	if g.rtt[1] != 0 && (g.rtt[0] == 0 || g.rtt[1] < g.rtt[0]) {
		return g.rtt[1]
	}
	return g.rtt[0]
}
