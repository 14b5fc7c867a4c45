package link

import (
	"fmt"
	"testing"
	"time"
)

// A greedy writer over a simulated path: the governor keeps the path full and
// the queue in front of it short.
func TestGovernor(t *testing.T) {
	for _, path := range []struct {
		rate float64 // bytes a second
		rtt  time.Duration
	}{
		{1.25e6, 20 * time.Millisecond},
		{12.5e6, 50 * time.Millisecond},
		{2.5e6, 300 * time.Millisecond},
		{125e6, time.Millisecond},
		{125e3, 100 * time.Millisecond},
	} {
		t.Run(fmt.Sprintf("%.0fKBps-%v", path.rate/1e3, path.rtt), func(t *testing.T) {
			const step, warm, end = 200 * time.Microsecond, 10 * time.Second, 60 * time.Second
			var g governor
			var queue, delivered float64
			var worst time.Duration
			buffered := 0
			pinged, pong := -time.Second, time.Duration(0)
			start := time.Unix(0, 0)
			type ack struct {
				at    time.Duration
				bytes float64
			}
			var acks []ack
			for now := time.Duration(0); now < end; now += step {
				sent := min(queue, path.rate*step.Seconds())
				queue -= sent
				if sent > 0 {
					acks = append(acks, ack{now + path.rtt, sent})
				}
				for len(acks) > 0 && acks[0].at <= now {
					buffered -= int(acks[0].bytes)
					if now > warm {
						delivered += acks[0].bytes
					}
					acks = acks[1:]
				}
				delay := time.Duration(queue / path.rate * float64(time.Second))
				// A ping waits for what is ahead of it.
				if pong != 0 && now >= pong {
					g.roundTrip(pong-pinged, 1<<30, start.Add(now))
					pong = 0
				}
				interval := g.pingInterval(start.Add(now))
				if interval == 0 {
					interval = time.Second
				}
				if pong == 0 && now-pinged >= interval {
					pinged, pong = now, now+path.rtt+delay
				}
				for g.mayWrite(buffered, buffered, start.Add(now)) {
					message := g.messageSize()
					buffered += message
					queue += float64(message)
				}
				if now > warm {
					worst = max(worst, delay)
				}
			}
			share := delivered / (path.rate * (end - warm).Seconds())
			t.Logf("%.1f %% of the path, queue at most %v", 100*share, worst)
			floor := time.Duration((governorLeast + 2*leastMessage) / path.rate * float64(time.Second))
			if share < 0.88 {
				t.Errorf("only %.1f %% of the path is used", 100*share)
			}
			if limit := path.rtt/8 + 30*time.Millisecond + floor; worst > limit {
				t.Errorf("a queue of %v, more than %v", worst, limit)
			}
		})
	}
}

// What waits for SCTP's window is overtaken by pings, and so must not grow.
func TestGovernorAndWindow(t *testing.T) {
	var g governor
	const window = 100 << 10
	now := time.Unix(100, 0)
	for range 100 {
		if g.mayWrite(g.limit+governorStart, g.limit+governorStart, now) {
			t.Fatal("a writer need not wait")
		}
		g.roundTrip(50*time.Millisecond, window, now)
		now = now.Add(pingBulk)
	}
	if g.limit != 2*window {
		t.Errorf("%d bytes may be outstanding with a window of %d", g.limit, window)
	}
}

// Another path begins with no queue: there is nothing to drain.
func TestGovernorOnAnotherPath(t *testing.T) {
	var g governor
	now := time.Unix(100, 0)
	g.mayWrite(governorStart, governorStart, now)
	g.forget(now)
	// A pong that was long under way.
	g.roundTrip(4*time.Second, 1<<20, now)
	g.mayWrite(governorStart, governorStart, now)
	g.roundTrip(50*time.Millisecond, 1<<20, now)
	if g.limit <= governorStart || !g.draining.IsZero() {
		t.Errorf("limit %d, drains until %v", g.limit, g.draining)
	}
}

// A least round trip of long ago says nothing of the path now, however rarely it is
// measured: a longer one would pass for a queue.
func TestGovernorForgetsLeast(t *testing.T) {
	for _, every := range []time.Duration{time.Second, 5 * time.Second, 30 * time.Second} {
		var g governor
		now := time.Unix(100, 0)
		g.roundTrip(20*time.Millisecond, 1<<20, now)
		passed := time.Duration(0)
		for g.halfRTT() != 150*time.Millisecond && passed < time.Hour {
			passed += every
			g.roundTrip(300*time.Millisecond, 1<<20, now.Add(passed))
		}
		if passed > 2*(rttWindow+every) || every > 2*rttWindow && passed > every {
			t.Errorf("measured every %v, the least was forgotten after %v", every, passed)
		}
	}
}

// What a path has carried counts as long as as much is under way; later it may have to
// be found out again, so that the first burst after a pause is no flood.
func TestGovernorForgetsLimit(t *testing.T) {
	now := time.Unix(1e9, 0)
	var g governor
	for range 40 {
		now = now.Add(50 * time.Millisecond)
		g.mayWrite(1<<30, 1<<30, now)
		g.roundTrip(50*time.Millisecond, 1<<30, now)
	}
	const much = 8 * governorStart
	may := func() bool { return g.mayWrite(much, much, now) }
	if !may() {
		t.Fatalf("the limit is %d", g.limit)
	}
	for range 30 { // as much as that all the time
		now = now.Add(time.Second)
		if !may() {
			t.Fatal("a limit that is used is forgotten")
		}
	}
	for range 3 {
		now = now.Add(rttWindow / 2)
		g.mayWrite(1, governorStart/2, now)
	}
	if may() {
		t.Errorf("after a pause, the limit is still %d", g.limit)
	}
}
