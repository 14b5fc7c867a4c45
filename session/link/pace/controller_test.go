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
		c := New(Config{Packet: 1000}, now)
		outstanding := 0
		t.Repeat(map[string]func(*rapid.T){
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.Int64Range(0, int64(3*time.Second)).Draw(t, "time")))
			},
			"trip": func(t *rapid.T) {
				c.RoundTrip(time.Duration(rapid.Int64Range(-1, int64(3*time.Second)).Draw(t, "trip")), now)
			},
			"acked": func(t *rapid.T) {
				n := rapid.IntRange(0, outstanding).Draw(t, "bytes")
				outstanding -= n
				c.Acked(n, now)
			},
			"lost": func(t *rapid.T) {
				n := rapid.IntRange(0, outstanding).Draw(t, "bytes")
				outstanding -= n
				c.Lost(n)
			},
			"forget": func(*rapid.T) { c.Forget(now) },
			"send": func(t *rapid.T) {
				n := rapid.IntRange(1, 1500).Draw(t, "bytes")
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
		c.Acked(outstanding, now)
		for range 1000 {
			wait := c.Wait(1000, now)
			if wait == 0 {
				return
			}
			now = now.Add(wait)
			c.Acked(0, now)
		}
		t.Fatalf("nothing may leave: %v", c)
	})
}

// After a pause, the rate from before it is not believed: as much at once might be far
// too much for the path by now.
func TestPause(t *testing.T) {
	const packet = 1200
	now := time.Unix(1e9, 0)
	c := New(Config{Packet: packet}, now)
	send := func(n int) {
		for range n {
			c.Sent(packet, now)
		}
		now = now.Add(20 * time.Millisecond)
		c.RoundTrip(20*time.Millisecond, now)
		c.Acked(n*packet, now)
	}
	for range 100 {
		send(100)
	}
	learned := c.Rate()
	now = now.Add(idleMost / 2)
	send(1)
	if c.Rate() < learned/2 {
		t.Errorf("after a short pause, %.0f of %.0f B/s", c.Rate(), learned)
	}
	now = now.Add(2 * idleMost)
	c.Sent(packet, now)
	if c.Rate() != 0 || c.least() != 20*time.Millisecond {
		t.Errorf("after a long pause, still %.0f of %.0f B/s; %v", c.Rate(), learned, c.least())
	}
}
