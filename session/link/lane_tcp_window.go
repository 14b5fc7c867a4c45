package link

import "time"

const (
	// tcpQueue is how much a TCP lane keeps under way beyond what fills the path, as
	// time: the most that a keystroke waits behind it, wherever the queue is.
	tcpQueue = 10 * time.Millisecond
	// tcpLeast and tcpMost bound what is under way, in bytes; it begins at the least.
	tcpLeast = 32 << 10
	tcpMost  = 8 << 20
	// tcpMemory is for how long at least a rate counts, and a round trip for
	// ten times that.
	tcpMemory = 500 * time.Millisecond
)

// tcpWindow bounds what a TCP lane has under way: its delivery rate times its round
// trip, and a little. TCP alone would fill whatever queue there is. The rate is
// measured as in draft-ietf-ccwg-bbr, section 4.1.2, from the lane's acknowledgements.
type tcpWindow struct {
	outstanding int
	delivered   int
	deliveredAt time.Time
	batches     []tcpBatch // that are not all acknowledged

	rate      [2]float64 // bytes a second: the most of this period and the one before
	rateSince time.Time
	rtt       [2]time.Duration // the least, likewise
	rttSince  time.Time
}

// tcpBatch is what left in one piece.
type tcpBatch struct {
	left        int // bytes that are not acknowledged
	at          time.Time
	delivered   int // before it left
	deliveredAt time.Time
}

func (w *tcpWindow) sent(n int, now time.Time) {
	if w.outstanding == 0 {
		w.deliveredAt = now
	}
	w.outstanding += n
	w.batches = append(w.batches, tcpBatch{left: n, at: now, delivered: w.delivered, deliveredAt: w.deliveredAt})
}

// acked takes that n more bytes have arrived.
func (w *tcpWindow) acked(n int, now time.Time) {
	w.outstanding -= n
	w.delivered += n
	w.deliveredAt = now
	for n > 0 && len(w.batches) > 0 {
		b := &w.batches[0]
		some := min(n, b.left)
		n -= some
		if b.left -= some; b.left > 0 {
			break
		}
		w.measure(*b, now)
		w.batches = w.batches[1:]
	}
}

func (w *tcpWindow) measure(b tcpBatch, now time.Time) {
	if now.Sub(w.rttSince) > 10*tcpMemory {
		w.rtt[1], w.rtt[0], w.rttSince = w.rtt[0], 0, now
	}
	if rtt := now.Sub(b.at); w.rtt[0] == 0 || rtt < w.rtt[0] {
		w.rtt[0] = rtt
	}
	if now.Sub(w.rateSince) > tcpMemory {
		w.rate[1], w.rate[0], w.rateSince = w.rate[0], 0, now
	}
	if took := now.Sub(b.deliveredAt); took > 0 {
		w.rate[0] = max(w.rate[0], float64(w.delivered-b.delivered)/took.Seconds())
	}
}

// least is the least round trip of late; 0 if none was measured.
func (w *tcpWindow) least() time.Duration {
	if w.rtt[0] == 0 || w.rtt[1] != 0 && w.rtt[1] < w.rtt[0] {
		return w.rtt[1]
	}
	return w.rtt[0]
}

// room is how many bytes more may be sent.
func (w *tcpWindow) room() int {
	most := max(w.rate[0], w.rate[1]) * (min(w.least(), tcpShort) + tcpQueue).Seconds()
	return min(max(int(most), tcpLeast), tcpMost) - w.outstanding
}

// silent is for how long nothing of what is under way has arrived.
func (w *tcpWindow) silent(now time.Time) time.Duration {
	if len(w.batches) == 0 {
		return 0
	}
	last := w.batches[0].at
	if w.deliveredAt.After(last) {
		last = w.deliveredAt
	}
	return now.Sub(last)
}
