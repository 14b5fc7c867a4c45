package pace

import (
	"fmt"
	"testing"
	"time"
)

// TestStart fills a path soon after the first packet, and takes no longer than it must
// to find out that it is full: until then there is a queue, of a round trip at most, or
// packets are dropped.
func TestStart(t *testing.T) {
	const ms, step = time.Millisecond, 50 * time.Millisecond
	for _, c := range []struct {
		path    path
		full    time.Duration // by when it delivers four fifths
		queue   time.Duration // at most
		queued  time.Duration // how long there are 30 ms or more
		dropped int
	}{
		{path{rate: 20e6, rtt: 300 * ms, queue: 250e3}, 1300 * ms, 110 * ms, 1500 * ms, 400},
		{path{rate: 20e6, rtt: 300 * ms, queue: 1500e3}, 1300 * ms, 330 * ms, 900 * ms, 0},
		{path{rate: 20e6, rtt: 300 * ms, queue: 250e3, loss: 0.01}, 1300 * ms, 110 * ms, 1100 * ms, 400},
		{path{rate: 20e6, rtt: 300 * ms, queue: 250e3, loss: 0.05}, 1300 * ms, 110 * ms, 1100 * ms, 400},
		{path{rate: 20e6, rtt: 300 * ms, queue: 10e3}, 1500 * ms, 10 * ms, 0, 2000},
		{path{rate: 100e6, rtt: 50 * ms, queue: 6250e3}, 350 * ms, 65 * ms, 150 * ms, 0},
		{path{rate: 100e6, rtt: 50 * ms, queue: 1250e3, loss: 0.03}, 350 * ms, 65 * ms, 150 * ms, 0},
		{path{rate: 10e6, rtt: 20 * ms, queue: 125e3}, 150 * ms, 40 * ms, 150 * ms, 0},
		{path{rate: 1000e6, rtt: 20 * ms, queue: 12500e3}, 300 * ms, 35 * ms, 50 * ms, 0},
		// What looks like a queue is none: the start goes on.
		{path{rate: 50e6, rtt: 50 * ms, queue: 300e3, jitter: 20 * ms}, 700 * ms, 50 * ms, 200 * ms, 200},
	} {
		p := c.path
		t.Run(fmt.Sprintf("%.0fMbit-%v-%.1f%%-jitter-%v-%dkB", p.rate/1e6, p.rtt, p.loss*100, p.jitter, p.queue/1000), func(t *testing.T) {
			t.Parallel()
			s := newSim(t, p, 1)
			f := s.sender(1 << 40)
			var full, worst, queued time.Duration
			arrived := 0
			for at := step; at <= 6*time.Second; at += step {
				s.run(at, never)
				queue := s.quantile(1)
				s.queues = nil
				worst = max(worst, queue)
				if queue >= 30*ms {
					queued += step
				}
				if full == 0 && s.share(f.arrived-arrived, step) > 0.8 {
					full = at
				}
				arrived = f.arrived
			}
			t.Logf("full after %v, a queue of %v at most, of 30 ms or more for %v, %d packets dropped; %v", full, worst, queued, s.dropped, f.control)
			if full == 0 || full > c.full {
				t.Errorf("full after %v, want %v", full, c.full)
			}
			if worst > c.queue || queued > c.queued {
				t.Errorf("a queue of %v at most, of 30 ms or more for %v; want %v and %v", worst, queued, c.queue, c.queued)
			}
			if s.dropped > c.dropped {
				t.Errorf("%d packets dropped, want at most %d", s.dropped, c.dropped)
			}
		})
	}
}
