package link

import (
	"slices"
	"sync/atomic"
	"time"

	"tandem/session"
)

var _ session.Laner = (*Link)(nil)

// laneCount is what a lane has carried.
type laneCount struct {
	since          time.Time
	sent, received atomic.Uint64 // bytes
}

// Lanes are those that carry bulk data now, in the order they came.
func (l *Link) Lanes() []session.Lane { return l.lanes.report() }

func (ls *lanes) report() (all []session.Lane) {
	ls.mu.Lock()
	live := slices.Clone(ls.live)
	ls.mu.Unlock()
	for _, l := range live {
		path := l.conn.path()
		all = append(all, session.Lane{
			Kind: session.PacketLane, Local: path.Local, Remote: path.Remote, Since: l.count.since, RTT: path.RTT,
			Sent: l.count.sent.Load(), Received: l.count.received.Load(),
		})
	}
	return all
}
