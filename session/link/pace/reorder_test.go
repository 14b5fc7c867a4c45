package pace

import (
	"fmt"
	"testing"
	"time"
)

// TestReorderingPaths wants a path filled that delays each packet by another time, so
// that they arrive in another order: what is late is not lost.
func TestReorderingPaths(t *testing.T) {
	const ms = time.Millisecond
	for _, base := range []path{
		{rate: 10e6, rtt: 20 * ms},
		{rate: 20e6, rtt: 50 * ms},
		{rate: 50e6, rtt: 50 * ms, loss: 0.01},
		{rate: 100e6, rtt: 20 * ms},
		{rate: 20e6, rtt: 300 * ms},
	} {
		for _, times := range []float64{0.5, 1, 2} {
			p := base
			p.jitter, p.free = time.Duration(times*float64(p.rtt)), true
			p.queue = max(2*bdp(p.rate, p.rtt), 64<<10)
			t.Run(fmt.Sprintf("%.0fMbit-%v-%.1f%%-%.1f", p.rate/1e6, p.rtt, p.loss*100, times), func(t *testing.T) {
				t.Parallel()
				s := newSim(t, p, 1)
				f := s.sender(1 << 40)
				const warm, measured = 6 * time.Second, 10 * time.Second
				from := warm + 10*p.rtt
				s.run(from, never)
				begun, twice := f.arrived, f.twice
				s.queues = nil
				s.run(from+measured, never)
				share, again := s.share(f.arrived-f.twice-begun+twice, measured), float64(f.twice-twice)/float64(f.arrived-begun)
				t.Logf("%.1f%% of the link, %.2f%% twice, queue p50 %v p95 %v; %v", 100*share, 100*again, s.quantile(0.5), s.quantile(0.95), f.control)
				if want := 0.8 - p.loss; share < want {
					t.Errorf("%.1f%% of the link, want %.1f%%", 100*share, 100*want)
				}
				if again > 0.02 {
					t.Errorf("%.2f%% arrived twice", 100*again)
				}
			})
		}
	}
}
