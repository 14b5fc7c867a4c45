package link

import (
	"context"
	"time"
)

// The timing of urging: packets of a window are urged for over a round trip, but
// not more often than urgeMost and not less often than urgeLeast.
const (
	urgeMost  = 2 * time.Millisecond
	urgeLeast = 50 * time.Millisecond
)

// urge has SCTP look for something to send again and again while much is
// outstanding. After a timeout (PTO, RFC 8985, section 7), pion/sctp sends at most
// a few packets each time that it looks, in the end one, until all that was
// outstanding has arrived; and it looks only when an acknowledgement or a message
// comes. With delayed acknowledgements that is one packet in each round trip and
// 200 ms: what a long path has lost, and every key behind it, takes minutes.
func (c *conn) urge(ctx context.Context) {
	timer := time.NewTimer(urgeMost)
	defer timer.Stop()
	for {
		select {
		case <-c.urged:
		case <-ctx.Done():
			return
		}
		for c.sctp.BufferedAmount() > 2*sctpMTU {
			timer.Reset(urgeAfter(c.sctp.SRTT(), c.sctp.CWND()))
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
			c.copies.wake()
		}
	}
}

// urgeAfter is how long a packet's part of the congestion window takes, of a
// round trip in milliseconds and a window in bytes.
func urgeAfter(srtt float64, window uint32) time.Duration {
	part := time.Duration(srtt * float64(time.Millisecond) * sctpMTU / float64(max(window, sctpMTU)))
	return min(max(part, urgeMost), urgeLeast)
}
