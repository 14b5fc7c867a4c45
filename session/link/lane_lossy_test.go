//go:build linux

package link

import (
	"testing"
	"time"

	"tandem/session"
)

// Over a path that loses packets, delays them and carries no long ones, everything
// arrives as it was.
func TestLanesOverBadPaths(t *testing.T) {
	t.Parallel()
	notShort(t)
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		link lossy
		long bool // packets get long
	}{
		"loss":    {lossy{rate: 100e6, delay: 5 * ms, loss: 0.05}, true},
		"jitter":  {lossy{rate: 50e6, delay: 5 * ms, jitter: 10 * ms, loss: 0.01}, true},
		"shallow": {lossy{rate: 50e6, delay: 5 * ms, queue: 3 * ms}, true},
		"narrow":  {lossy{rate: 50e6, delay: 5 * ms, mtu: 1280}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := c.link
			l.start(t)
			near, far := meet(t, l.up.config(Config{}), l.down.config(Config{Handler: echo}))
			long := func() bool {
				near.lanes.mu.Lock()
				defer near.lanes.mu.Unlock()
				for _, lane := range near.lanes.live {
					if lane.size == mostPacket {
						return true
					}
				}
				return false
			}
			eventually(t, "a lane with packets of the right length", func() bool {
				copyBulk(t, near, 256<<10)
				return len(near.liveLanes()) > 0 && long() == c.long
			})
			copyBulk(t, near, 1<<20)
			if long() && !c.long {
				t.Error("long packets vanish and are sent")
			}
			for _, l := range []*Link{near, far} {
				eventually(t, "acknowledgement of all", l.lanes.settled)
			}
		})
	}
}

// When long packets begin to vanish in the midst of a transfer, it goes on with
// short ones.
func TestLanesPathGetsNarrow(t *testing.T) {
	t.Parallel()
	notShort(t)
	l := lossy{rate: 50e6, delay: 5 * time.Millisecond}
	l.start(t)
	near, far := meet(t, l.up.config(Config{}), l.down.config(Config{Handler: echo}))
	eventually(t, "a lane with long packets", func() bool {
		copyBulk(t, near, 256<<10)
		return near.lanes.messageSize() == mostPacket-dataHeader && far.lanes.messageSize() == mostPacket-dataHeader
	})
	time.AfterFunc(50*time.Millisecond, func() {
		for _, d := range []*direction{l.up, l.down} {
			d.mu.Lock()
			d.mtu = 1280
			d.mu.Unlock()
		}
	})
	copyBulk(t, near, 2<<20)
	eventually(t, "short packets", func() bool {
		copyBulk(t, near, 256<<10)
		return near.lanes.messageSize() == leastPacket-dataHeader
	})
}

// Over a long path the first lane is opened with the stream, before there is anything
// to send; over a short one when there is.
func TestLaneForeseen(t *testing.T) {
	t.Parallel()
	for name, delay := range map[string]time.Duration{"far": 15 * time.Millisecond, "near": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := lossy{rate: 100e6, delay: delay}
			l.start(t)
			near, _ := meet(t, l.up.config(Config{}), l.down.config(Config{Handler: echo}))
			eventually(t, "a round trip", func() bool { return near.trunk.governor.halfRTT() > 0 })
			s, err := near.Open(t.Context(), session.Header{Service: "echo/1", Bulk: true})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			near.lanes.mu.Lock()
			rtt, begun := 2*near.trunk.governor.halfRTT(), len(near.lanes.signals)
			near.lanes.mu.Unlock()
			if name == "far" {
				eventually(t, "a lane", func() bool { return len(near.liveLanes()) == 1 })
			} else if begun != 0 && rtt < laneFar { // the machine may be so busy that it is far
				t.Errorf("%d lanes are begun for nothing at %v", begun, rtt)
			}
		})
	}
}
