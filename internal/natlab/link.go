//go:build linux

package natlab

import (
	"errors"
	"time"
)

// Link describes one link, the same in both directions. The zero Link is perfect: it delivers at
// once. Sizes are those of IP packets, without any link-layer header.
type Link struct {
	Delay  time.Duration // one way
	Jitter time.Duration // each packet takes a random 0 to Jitter longer; packets stay in order
	Loss   float64       // probability that a packet is lost, 0 to 1, each independently
	Rate   int64         // bits per second; 0 is unlimited

	// Queue is the longest a packet may wait for its turn on a link with a Rate; a packet that
	// would wait longer is dropped. Zero means 100 ms, but at least 64 KiB.
	Queue time.Duration
	// QueueBytes, if not zero, limits the queue by the bytes waiting instead.
	QueueBytes int

	// MTU, if not zero, is the largest packet that passes. Larger ones vanish without an ICMP
	// message: the interfaces keep announcing 1500, as on a path whose routers are misconfigured.
	MTU int

	// Seed chooses the random numbers of loss and jitter. The same seed and the same packets in
	// the same order give the same losses.
	Seed uint64
}

func (l Link) check() error {
	switch {
	case l.Delay < 0, l.Jitter < 0, l.Rate < 0, l.Queue < 0, l.QueueBytes < 0, l.MTU < 0:
		return errors.New("a link property is negative")
	case l.Loss < 0 || l.Loss > 1:
		return errors.New("a link's loss is not between 0 and 1")
	}
	return nil
}

// queueLimit is the longest wait for the link's rate.
func (l Link) queueLimit() time.Duration {
	switch {
	case l.QueueBytes > 0:
		return l.sending(l.QueueBytes)
	case l.Queue > 0:
		return l.Queue
	default:
		return max(100*time.Millisecond, l.sending(64<<10))
	}
}

// sending is how long n bytes occupy the link.
func (l Link) sending(n int) time.Duration {
	if l.Rate == 0 {
		return 0
	}
	return time.Duration(float64(n) * 8 / float64(l.Rate) * float64(time.Second))
}

// Traffic counts what became of the packets offered to one direction of a link, in bytes of IP
// packet and in packets.
type Traffic struct {
	Bytes, Packets int64 // delivered
	Lost           int64 // packets lost at random
	Dropped        int64 // packets for which the queue had no room
	TooBig         int64 // packets above the MTU
	Cut            int64 // packets offered to, or in flight on, a cut link
}

// Wire is a link in a network: the access link of a site, whose Up direction leads to the WAN, or
// the path between two sites, whose Up direction leads from the first to the second. All methods
// may be called while traffic flows and from any goroutine.
type Wire struct {
	up, down *pipe
}

// SetLink gives both directions new properties. Packets already on the link keep the old ones. It
// panics if a property is out of range.
func (w *Wire) SetLink(l Link) { w.SetUp(l); w.SetDown(l) }

// SetUp gives the Up direction its own properties.
func (w *Wire) SetUp(l Link) { mustCheck(l); w.up.change(func(old *Link) { *old = l }) }

// SetDown gives the Down direction its own properties.
func (w *Wire) SetDown(l Link) { mustCheck(l); w.down.change(func(old *Link) { *old = l }) }

// SetLoss changes only the loss, in both directions.
func (w *Wire) SetLoss(p float64) {
	mustCheck(Link{Loss: p})
	for _, d := range w.both() {
		d.change(func(l *Link) { l.Loss = p })
	}
}

// SetDelay changes only the delay, in both directions.
func (w *Wire) SetDelay(delay time.Duration) {
	mustCheck(Link{Delay: delay})
	for _, d := range w.both() {
		d.change(func(l *Link) { l.Delay = delay })
	}
}

// SetRate changes only the rate in bits per second, in both directions; 0 is unlimited.
func (w *Wire) SetRate(bits int64) {
	mustCheck(Link{Rate: bits})
	for _, d := range w.both() {
		d.change(func(l *Link) { l.Rate = bits })
	}
}

// Cut takes the link down or, with false, puts it back. No interface notices: packets vanish, those
// in flight too.
func (w *Wire) Cut(cut bool) {
	for _, d := range w.both() {
		d.setCut(cut)
	}
}

// Stats are the counts of both directions since the network was made.
func (w *Wire) Stats() (up, down Traffic) { return w.up.stats(), w.down.stats() }

// Tap calls fn for every packet the link delivers from now on, until stop is called; fn is not
// running any more when stop returns. It runs in the packet's way, perhaps on several goroutines at
// once, and may keep neither Raw nor Payload, nor use the Wire.
func (w *Wire) Tap(fn func(Packet)) (stop func()) {
	up := w.up.tap(func(p Packet) { p.Up = true; fn(p) })
	down := w.down.tap(fn)
	return func() { up(); down() }
}

func (w *Wire) both() [2]*pipe { return [2]*pipe{w.up, w.down} }

func mustCheck(l Link) {
	if err := l.check(); err != nil {
		panic("natlab: " + err.Error())
	}
}
