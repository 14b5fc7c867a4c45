package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/sctp"
	"golang.org/x/time/rate"
)

const (
	copiesChannel = 2
	// maxCopied is the longest message that is copied: a keystroke, what a
	// program answers to it, small frames of services.
	maxCopied = 512
	// copyHeader is the stream's ID and the message's number.
	copyHeader = 2 + 4
	// copySoon is when the first copy leaves: late enough for a packet of its
	// own, and for a queue that overflows just now to have some room again.
	copySoon = 10 * time.Millisecond
	// copyLeast, copyMost and copyUnknown are when the second one leaves at the
	// earliest, at the latest, and while no round trip is known; else it is
	// after half of one.
	copyLeast   = 30 * time.Millisecond
	copyMost    = 250 * time.Millisecond
	copyUnknown = 60 * time.Millisecond
	// copyRate and copyBurst bound how many messages are copied: what is said
	// faster reveals its losses by itself.
	copyRate  = 50
	copyBurst = 50
	// copiesAhead is how far beyond the next message a copy is of use, and
	// copiesKept how many of those a connection keeps.
	copiesAhead = 64
	copiesKept  = 512
)

// copies is the channel that carries sparse messages again. When such a message
// is lost, nothing behind it tells SCTP so, and a person waits for the
// retransmission timer: a second, then two.
type copies struct {
	read    func(p []byte) (int, error)
	write   func(frame []byte)
	wake    func()               // has SCTP look what it may send now
	halfRTT func() time.Duration // 0 if unknown
	limit   *rate.Limiter
	fresh   chan copied
	// wanted is set when the peer is known to understand copies.
	wanted atomic.Bool
	kept   atomic.Int64

	mu       sync.Mutex
	channels map[uint16]*channel
}

// copied is a message of channel 2, and when it is to leave.
type copied struct {
	frame []byte
	at    time.Time
}

func newCopies(a *sctp.Association, halfRTT func() time.Duration) (*copies, error) {
	s, err := a.OpenStream(copiesChannel, sctp.PayloadTypeWebRTCBinary)
	if err != nil {
		return nil, err
	}
	s.SetReliabilityParams(true, sctp.ReliabilityTypeRexmit, 0)
	c := makeCopies(halfRTT)
	c.read = func(p []byte) (int, error) {
		n, _, err := s.ReadSCTP(p)
		return n, err
	}
	c.write = func(frame []byte) {
		_, _ = s.WriteSCTP(frame, sctp.PayloadTypeWebRTCBinary) // a failure is the connection's, and shows elsewhere
	}
	c.wake = func() {
		_, _ = s.WriteSCTP(nil, sctp.PayloadTypeWebRTCBinary) // a message of no packets; nothing waits for it, unordered
	}
	return c, nil
}

func makeCopies(halfRTT func() time.Duration) *copies {
	return &copies{
		halfRTT: halfRTT, limit: rate.NewLimiter(copyRate, copyBurst), fresh: make(chan copied, copyBurst),
		channels: make(map[uint16]*channel),
	}
}

// sent takes note of a message that has left on a stream. It never blocks.
func (c *copies) sent(id uint16, number uint32, message []byte) {
	if !c.wanted.Load() || len(message) == 0 || len(message) > maxCopied || !c.limit.Allow() {
		return
	}
	frame := appendCopy(make([]byte, 0, copyHeader+len(message)), id, number, message)
	select {
	case c.fresh <- copied{frame, time.Now().Add(copySoon)}:
	default: // it still has SCTP
	}
}

// run sends copies until ctx ends.
func (c *copies) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var first, second []copied // by when they leave
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-c.fresh:
			first = append(first, m)
		case <-timer.C:
		}
		now := time.Now()
		for len(first) > 0 && !now.Before(first[0].at) {
			m := first[0]
			first = first[1:]
			c.write(m.frame)
			m.at = now.Add(c.secondDelay() - copySoon)
			second = append(second, m)
		}
		for len(second) > 0 && !now.Before(second[0].at) {
			c.write(second[0].frame)
			second = second[1:]
		}
		next := now.Add(time.Hour)
		for _, waiting := range [][]copied{first, second} {
			if len(waiting) > 0 && waiting[0].at.Before(next) {
				next = waiting[0].at
			}
		}
		timer.Reset(next.Sub(now))
	}
}

func (c *copies) secondDelay() time.Duration {
	half := c.halfRTT()
	if half == 0 {
		return copyUnknown
	}
	return min(max(half, copyLeast), copyMost)
}

// receive hands the peer's copies to their channels until SCTP ends. Those of no
// channel, and those that are too short or too long, are dropped.
func (c *copies) receive() {
	buf := make([]byte, maxMessageSize)
	for {
		n, err := c.read(buf)
		if err != nil {
			return
		}
		id, number, message, ok := parseCopy(buf[:n])
		if !ok {
			continue
		}
		c.mu.Lock()
		ch := c.channels[id]
		c.mu.Unlock()
		if ch != nil {
			ch.offer(number, message)
		}
	}
}

func appendCopy(frame []byte, id uint16, number uint32, message []byte) []byte {
	frame = binary.BigEndian.AppendUint16(frame, id)
	frame = binary.BigEndian.AppendUint32(frame, number)
	return append(frame, message...)
}

// parseCopy reads what appendCopy wrote. The message lies in frame.
func parseCopy(frame []byte) (id uint16, number uint32, message []byte, ok bool) {
	if len(frame) <= copyHeader || len(frame) > copyHeader+maxCopied {
		return 0, 0, nil, false
	}
	return binary.BigEndian.Uint16(frame), binary.BigEndian.Uint32(frame[2:]), frame[copyHeader:], true
}

func (c *copies) attach(id uint16, ch *channel) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.channels[id] = ch
}

func (c *copies) detach(id uint16, ch *channel) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.channels[id] == ch {
		delete(c.channels, id)
	}
}

// arrivals puts the messages of one channel in order: those of the reliable
// channel, which come in order by themselves, and copies, which come in any
// order, repeatedly or not at all. Each message is taken once.
type arrivals struct {
	kept *atomic.Int64 // copies kept on the connection

	next    uint32 // number of the message to be taken next
	arrived uint32 // how many the reliable channel has brought; never beyond next
	ahead   map[uint32][]byte
	closed  bool
}

// original counts a message of the reliable channel, and reports whether it is
// the next one; otherwise its copy was faster.
func (a *arrivals) original() bool {
	number := a.arrived
	a.arrived++
	if number != a.next {
		return false
	}
	a.drop(number)
	a.next++
	return true
}

// copy keeps a copy that is of use, and reports whether it is the next message.
func (a *arrivals) copy(number uint32, message []byte) bool {
	if a.closed || number-a.next >= copiesAhead {
		return false
	}
	if _, known := a.ahead[number]; known {
		return false
	}
	if a.kept.Add(1) > copiesKept {
		a.kept.Add(-1)
		return false
	}
	if a.ahead == nil {
		a.ahead = make(map[uint32][]byte)
	}
	a.ahead[number] = bytes.Clone(message)
	return number == a.next
}

// take returns the next message if a copy of it is there.
func (a *arrivals) take() (message []byte, ok bool) {
	message, ok = a.ahead[a.next]
	if ok {
		a.drop(a.next)
		a.next++
	}
	return message, ok
}

func (a *arrivals) drop(number uint32) {
	if _, ok := a.ahead[number]; ok {
		delete(a.ahead, number)
		a.kept.Add(-1)
	}
}

// close forgets all copies for good.
func (a *arrivals) close() {
	a.closed = true
	a.kept.Add(-int64(len(a.ahead)))
	a.ahead = nil
}
