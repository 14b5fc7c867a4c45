package pace

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever it is told, a controller lets out no more than its cap, and lets out
// something when nothing is outstanding.
func TestController(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1e9, 0)
		c := New(Config{Packet: 1000, Most: 16000}, now)
		outstanding := 0
		t.Repeat(map[string]func(*rapid.T){
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.Int64Range(0, int64(3*time.Second)).Draw(t, "time")))
			},
			"trip": func(t *rapid.T) {
				c.RoundTrip(time.Duration(rapid.Int64Range(-1, int64(3*time.Second)).Draw(t, "trip")), now)
			},
			"acked": func(t *rapid.T) {
				outstanding -= rapid.IntRange(0, outstanding).Draw(t, "bytes")
				c.Acked(outstanding, now)
			},
			"lost": func(t *rapid.T) {
				n := rapid.IntRange(0, outstanding).Draw(t, "bytes")
				outstanding -= n
				c.Lost(n)
			},
			"forget": func(*rapid.T) { c.Forget(now) },
			"send": func(t *rapid.T) {
				n := c.MessageSize()
				if n < 1 || n > 16000 {
					t.Fatalf("messages of %d bytes", n)
				}
				if c.Wait(n, now) > 0 {
					return
				}
				if limit := max(c.Cap(), n); outstanding+n > limit {
					t.Fatalf("%d bytes outstanding, at most %d", outstanding+n, limit)
				}
				c.Sent(n, now)
				outstanding += n
			},
			"": func(t *rapid.T) {
				if c.Cap() <= 0 || c.outstanding != outstanding {
					t.Fatalf("%v, want %d bytes outstanding", c, outstanding)
				}
			},
		})
		// Progress: with nothing outstanding, a message leaves in finite time.
		c.Acked(0, now)
		for range 1000 {
			n := c.MessageSize()
			wait := c.Wait(n, now)
			if wait == 0 {
				return
			}
			now = now.Add(wait)
			c.Acked(0, now)
		}
		t.Fatalf("nothing may leave: %v", c)
	})
}

func TestMessagesFitTheRate(t *testing.T) {
	c := New(Config{Packet: 1156, Most: 16391}, time.Unix(1e9, 0))
	for rate, want := range map[float64]int{0: 1156, 1.25e6: 2312, 1e9: 14 * 1156} {
		c.rates.reset(rate)
		if got := c.MessageSize(); got != want {
			t.Errorf("at %.0f B/s messages of %d bytes, want %d", rate, got, want)
		}
	}
}
