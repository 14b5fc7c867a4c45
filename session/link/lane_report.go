package link

import (
	"net"
	"net/netip"
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
	live, tcp := slices.Clone(ls.live), ls.tcp.live
	ls.mu.Unlock()
	for _, l := range live {
		path := l.conn.path()
		all = append(all, session.Lane{
			Kind: session.PacketLane, Local: path.Local, Remote: path.Remote, Since: l.count.since, RTT: path.RTT,
			Sent: l.count.sent.Load(), Received: l.count.received.Load(),
		})
	}
	if tcp != nil {
		tcp.mu.Lock()
		rtt := tcp.window.least()
		tcp.mu.Unlock()
		all = append(all, session.Lane{
			Kind: session.TCPLane, Local: tcpEndpoint(tcp.conn.LocalAddr()), Remote: tcpEndpoint(tcp.conn.RemoteAddr()), Since: tcp.count.since, RTT: rtt,
			Sent: tcp.count.sent.Load(), Received: tcp.count.received.Load(),
		})
	}
	slices.SortFunc(all, func(a, b session.Lane) int { return a.Since.Compare(b.Since) })
	return all
}

// tcpEndpoint is one end of a TCP lane, which uses the addresses of a direct path.
func tcpEndpoint(a net.Addr) session.Endpoint {
	e := session.Endpoint{Type: "host", Protocol: "tcp"}
	if at, ok := a.(*net.TCPAddr); ok {
		addr := at.AddrPort()
		e.Addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	}
	return e
}
