package link

import (
	"bytes"
	"encoding/binary"
	"sync"
	"time"

	"tandem/session/link/pace"
)

const (
	// bulkMark is the first byte of a lane's packets: SCTP's have a port there.
	bulkMark = 0
	// packetData, packetAck and packetProbe are their types.
	packetData  = 1
	packetAck   = 2
	packetProbe = 3

	packetHeader = 2 + 4            // the mark, the type, the number
	dataHeader   = packetHeader + 6 // and the stream's ID and the message's number
	ackHeader    = packetHeader + 4 // and the delay
	maxAck       = ackHeader + 2*pace.MaxRuns

	// lastNumber is from where on a lane gives way to a new one: numbers do not wrap.
	lastNumber = 1<<32 - 1<<16

	// leastPacket is what fits in a UDP packet of 1280 bytes, as sctpMTU, and
	// mostPacket what fits in one of 1492 over IPv6, and in a relay's channel.
	leastPacket = sctpMTU
	mostPacket  = 1392
	// probeMost is how often it is tried in a row whether the path carries
	// mostPacket, probePause how long after the last time, and probeAgain before
	// another attempt.
	probeMost  = 3
	probePause = 500 * time.Millisecond
	probeAgain = 5 * time.Minute
	// deafSilences in a row make us use other lanes.
	deafSilences = 2
	// silentPackets are then under way at most, if there is no other lane (RFC 9002,
	// section 6.2.4): more would be lost again.
	silentPackets = 2
	// blackSilences in a row make us believe that long packets vanish.
	blackSilences = 3
)

// lane is one connection beside the trunk.
type lane struct {
	lanes  *lanes
	number uint32
	conn   *conn // set by add
	count  laneCount

	// Guarded by lanes.mu, as what is under way.
	flight  pace.Flight[cargo]
	size    int       // the longest packet
	probes  int       // sent in vain
	probeAt time.Time // when the next one leaves; zero for never
	paths   int       // that the connection had

	mu       sync.Mutex
	receipts pace.Receipts
	owing    chan struct{} // an acknowledgement is due later
}

func newLane(ls *lanes, number uint32) *lane {
	return &lane{lanes: ls, number: number, size: leastPacket, owing: make(chan struct{}, 1)}
}

func appendHeader(b []byte, kind byte, number uint32) []byte {
	return binary.BigEndian.AppendUint32(append(b, bulkMark, kind), number)
}

func appendData(b []byte, number uint32, id uint16, message uint32, frame []byte) []byte {
	b = appendHeader(b, packetData, number)
	b = binary.BigEndian.AppendUint16(b, id)
	b = binary.BigEndian.AppendUint32(b, message)
	return append(b, frame...)
}

// parseData reads what appendData wrote. The frame lies in b.
func parseData(b []byte) (id uint16, message uint32, frame []byte, ok bool) {
	if len(b) <= dataHeader {
		return 0, 0, nil, false
	}
	b = b[packetHeader:]
	return binary.BigEndian.Uint16(b), binary.BigEndian.Uint32(b[2:]), b[6:], true
}

func appendAck(b []byte, a *pace.Ack) []byte {
	b = appendHeader(b, packetAck, a.Largest)
	b = binary.BigEndian.AppendUint32(b, uint32(a.Delay/time.Microsecond))
	for _, n := range a.Runs {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	return b
}

func parseAck(b []byte) (a pace.Ack, ok bool) {
	if len(b) > maxAck || len(b) < ackHeader+2 || (len(b)-ackHeader)%4 != 2 {
		return pace.Ack{}, false
	}
	a.Largest = binary.BigEndian.Uint32(b[2:])
	a.Delay = time.Duration(binary.BigEndian.Uint32(b[packetHeader:])) * time.Microsecond
	for b = b[ackHeader:]; len(b) > 0; b = b[2:] {
		n := binary.BigEndian.Uint16(b)
		if n == 0 {
			return pace.Ack{}, false
		}
		a.Runs = append(a.Runs, n)
	}
	return a, true
}

// receive takes a packet of the peer's. Before the connection is confirmed it is
// dropped, as if it were lost.
func (l *lane) receive(c *conn, b []byte) {
	if !c.confirmed.Load() {
		return
	}
	c.carrier.use()
	l.count.received.Add(uint64(len(b)))
	if len(b) < packetHeader {
		c.fail(malformed("a packet of %d bytes on a lane", len(b)))
		return
	}
	now := time.Now()
	switch b[1] {
	case packetAck:
		if a, ok := parseAck(b); !ok || !l.lanes.acknowledged(l, &a, now) {
			c.fail(malformed("a false acknowledgement on a lane"))
		}
		return
	case packetData:
		id, message, frame, ok := parseData(b)
		if !ok {
			c.fail(malformed("a packet of %d bytes on a lane", len(b)))
			return
		}
		l.lanes.mu.Lock()
		st := l.lanes.stripes[id]
		l.lanes.mu.Unlock()
		if st != nil {
			st.arrived(message, bytes.Clone(frame), true)
		}
	case packetProbe:
	default:
		return // of a later version
	}
	l.mu.Lock()
	due := l.receipts.Add(binary.BigEndian.Uint32(b[2:]), now)
	l.mu.Unlock()
	if due {
		l.answer(c, now)
		return
	}
	select {
	case l.owing <- struct{}{}:
	default:
	}
}

// answer sends an acknowledgement.
func (l *lane) answer(c *conn, now time.Time) {
	l.mu.Lock()
	a := l.receipts.Ack(now)
	l.mu.Unlock()
	_, _ = c.dtls.Write(appendAck(make([]byte, 0, maxAck), &a)) // whoever reads finds out
}

// acknowledge sends the acknowledgements for which no packet is the occasion.
func (l *lane) acknowledge(c *conn) {
	timer := time.NewTimer(pace.AckDelay)
	defer timer.Stop()
	for {
		select {
		case <-l.owing:
		case <-c.done:
			return
		}
		for {
			l.mu.Lock()
			due := l.receipts.Due()
			l.mu.Unlock()
			now := time.Now()
			if due.IsZero() {
				break
			}
			if !now.Before(due) {
				l.answer(c, now)
				break
			}
			timer.Reset(due.Sub(now))
			select {
			case <-timer.C:
			case <-c.done:
				return
			}
		}
	}
}

// probe is a packet that shows whether the path carries long ones, if it is time for
// one; lanes.mu is held.
func (l *lane) probe(now time.Time) []byte {
	if l.probeAt.IsZero() || now.Before(l.probeAt) {
		return nil
	}
	l.probes++
	l.probeAt = now.Add(probePause)
	if l.probes%probeMost == 0 {
		l.probeAt = now.Add(probeAgain)
	}
	b := appendHeader(make([]byte, 0, mostPacket), packetProbe, l.flight.Next())
	b = b[:mostPacket]
	l.flight.Send(cargo{}, len(b), now)
	return b
}

// silent says whether nothing seems to get through; lanes.mu is held.
func (l *lane) silent() bool { return l.flight.Silences() >= deafSilences }

// grow makes packets long: one has arrived; lanes.mu is held.
func (l *lane) grow() { l.size, l.probes, l.probeAt = mostPacket, 0, time.Time{} }

// shrink makes packets short until it is known that the path carries long ones;
// lanes.mu is held.
func (l *lane) shrink(now time.Time) {
	l.size, l.probes, l.probeAt = leastPacket, 0, now.Add(probePause)
}
