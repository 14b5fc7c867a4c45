package terminal

import (
	"time"

	"tandem/session"
)

// pings measures how long a frame takes to a viewer and back, behind whatever
// output is on its way there: what its person waits for.
type pings struct {
	wanted  bool
	sent    uint64    // the number of the last PING
	sentAt  time.Time // zero once it is answered
	rtt     time.Duration
	shownAs time.Duration // the last rtt that was worth a roster
}

func (p *pings) next(now time.Time) ping {
	p.wanted = false
	p.sent++
	p.sentAt = now
	return ping(p.sent)
}

// measure asks for the round trip now and then, one at a time.
func (v *viewer) measure(over <-chan struct{}) {
	t := v.terminal
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		t.mu.Lock()
		if v.pings.sentAt.IsZero() {
			v.pings.wanted = true
			t.changed.Broadcast()
		}
		t.mu.Unlock()
		select {
		case <-tick.C:
		case <-over:
			return
		}
	}
}

func (v *viewer) ponged(n pong) error {
	t := v.terminal
	t.mu.Lock()
	defer t.mu.Unlock()
	p := &v.pings
	if uint64(n) != p.sent || p.sentAt.IsZero() {
		return session.Errorf("terminal", session.Invalid, "an answer to PING %d, which is not open", n)
	}
	p.rtt, p.sentAt = max(time.Since(p.sentAt), 1), time.Time{}
	// Not every jitter is news.
	if d := (p.rtt - p.shownAs).Abs(); p.shownAs == 0 || d > 5*time.Millisecond && d > p.shownAs/4 {
		p.shownAs = p.rtt
		t.rosterChanged()
	}
	return nil
}

// latency is the last round trip, or how long the open one already takes. It
// is called with mu held.
func (v *viewer) latency(now time.Time) time.Duration {
	if p := &v.pings; !p.sentAt.IsZero() {
		if open := now.Sub(p.sentAt); open > p.rtt && open > time.Second {
			return open
		}
	}
	return v.pings.rtt
}
