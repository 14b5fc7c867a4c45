package link

import (
	"encoding/binary"
	"slices"
	"time"

	"tandem/session/link/stream"
)

const (
	// laneHeader is the stream's ID and the message's number.
	laneHeader = 2 + 4
	// laneMessage is the longest message of a lane, and lanePacket how much of one
	// goes into a packet.
	laneMessage = laneHeader + stream.MaxFrame
	lanePacket  = 1156 // of sctpMTU, without 12 bytes of header and 20 of the chunk's
	// maxRetained is how much may be sent and not acknowledged, of a whole session.
	maxRetained = 24 << 20
	// laneWait is how long a sender that waits sleeps at most.
	laneWait = 5 * time.Millisecond
)

func appendLaneMessage(b []byte, id uint16, number uint32, frame []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, id)
	b = binary.BigEndian.AppendUint32(b, number)
	return append(b, frame...)
}

// parseLaneMessage reads what appendLaneMessage wrote. The frame lies in b.
func parseLaneMessage(b []byte) (id uint16, number uint32, frame []byte, ok bool) {
	if len(b) <= laneHeader || len(b) > laneMessage {
		return 0, 0, nil, false
	}
	return binary.BigEndian.Uint16(b), binary.BigEndian.Uint32(b[2:]), b[laneHeader:], true
}

// messageSize is how long the frames of bulk data should be, or 0 if there is no
// lane.
func (ls *lanes) messageSize() int {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if len(ls.live) == 0 {
		return 0
	}
	return ls.control.MessageSize() - laneHeader
}

// observe tells the controller what has happened since; ls.mu is held.
func (ls *lanes) observe(now time.Time) {
	rtt, trips, paths := ls.trunk.governor.latest(now)
	if paths != ls.paths {
		ls.paths = paths
		ls.control.Forget(now)
	}
	if trips != ls.trips {
		ls.trips = trips
		ls.control.RoundTrip(rtt, now)
	}
	outstanding := 0
	for _, l := range ls.live {
		outstanding += l.conn.sctp.BufferedAmount()
	}
	ls.control.Acked(outstanding, now)
}

// admit takes a message for a lane if one may leave now; otherwise it says how
// long to wait. Without lanes it returns neither.
func (ls *lanes) admit(n int, again bool) (l *lane, wait time.Duration) {
	now := time.Now()
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.want(now)
	if len(ls.live) == 0 {
		return nil, 0
	}
	ls.observe(now)
	if !again && ls.retained+n > maxRetained {
		return nil, laneWait
	}
	if wait := ls.control.Wait(n, now); wait > 0 {
		return nil, min(wait, laneWait)
	}
	least := 0
	for _, candidate := range ls.live {
		if amount := candidate.conn.sctp.BufferedAmount(); l == nil || amount < least {
			l, least = candidate, amount
		}
	}
	ls.control.Sent(n, now)
	return l, 0
}

// send sends a message on a lane when it is its turn, and says on which; nil if
// there is none, or the stripe is closed.
func (ls *lanes) send(st *stripe, number uint32, frame []byte, again bool) *lane {
	message := appendLaneMessage(make([]byte, 0, laneHeader+len(frame)), st.id, number, frame)
	var timer *time.Timer
	for {
		l, wait := ls.admit(len(message), again)
		switch {
		case l != nil:
			if _, err := l.stream.Write(message); err != nil {
				l.conn.fail(peerGone(err))
				ls.drop(l)
				continue
			}
			ls.link.sent.Add(uint64(len(frame)))
			ls.touch()
			l.conn.carrier.use()
			return l
		case wait == 0:
			return nil
		}
		if timer == nil {
			timer = time.NewTimer(wait)
			defer timer.Stop()
		} else {
			timer.Reset(wait)
		}
		select {
		case <-timer.C:
		case <-st.closed:
			return nil
		case <-st.trunk.conn.done:
			return nil
		}
	}
}

// drop takes a lane out of use. What it may not have delivered goes another way.
func (ls *lanes) drop(l *lane) {
	ls.mu.Lock()
	i := slices.Index(ls.live, l)
	if i < 0 {
		ls.mu.Unlock()
		return
	}
	ls.live = slices.Delete(ls.live, i, i+1)
	close(l.gone)
	ls.control.Lost(l.conn.sctp.BufferedAmount())
	var stripes []*stripe
	for _, st := range ls.stripes {
		stripes = append(stripes, st)
	}
	ls.mu.Unlock()
	for _, st := range stripes {
		st.resend(l)
	}
}

func (ls *lanes) retain(n int) {
	ls.mu.Lock()
	ls.retained += n
	ls.mu.Unlock()
}

// keep counts n bytes that wait out of order, and reports whether that is more
// than an honest peer has under way.
func (ls *lanes) keep(n int) (ok bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.kept += n
	return ls.kept <= maxKept
}
