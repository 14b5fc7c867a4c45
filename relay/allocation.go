package relay

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// A client is the 5-tuple that owns an allocation.
type client interface {
	// send queues one whole message, in out or elsewhere. It doesn't block:
	// what there is no room for is lost.
	send(message []byte, out *batch)
	// stream reports whether messages are padded to four bytes.
	stream() bool
	// detach says that the allocation has ended.
	detach(a *allocation)
}

// relayBatch is how many datagrams an allocation reads at a time.
const relayBatch = 32

// allocation is one relayed address. To pion/turn it is the socket that it
// asked for: ReadFrom returns only when the allocation has ended, and in
// between carries what peers send.
type allocation struct {
	server *Server
	owner  *user
	public netip.AddrPort
	conn   *socket
	client atomic.Pointer[client] // nil until pion has made the allocation
	// expires is when it ends unless refreshed, as a duration since the server
	// started; 0 until pion has said so.
	expires atomic.Int64
	sent    atomic.Bool // the client has sent a peer something, lately: see Drain
	once    sync.Once

	mu          sync.RWMutex
	permissions map[netip.Addr]struct{}
	byNumber    map[uint16]peer
	byAddr      map[netip.AddrPort]peer
}

// peer is a transport address with a channel.
type peer struct {
	addr    netip.AddrPort
	channel uint16
	route   route
}

// mayAdd reports whether the allocation has room for a permission for addr.
func (a *allocation) mayAdd(addr netip.Addr) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	_, known := a.permissions[addr]
	return known || len(a.permissions) < a.server.cfg.Limits.Peers
}

// permit and bind are the second check of the policy: what it refuses never
// enters the tables that the data path reads.
func (a *allocation) permit(addr netip.Addr) {
	if !a.server.policy.permits(addr) {
		a.server.stats.refusedPeers.Add(1)
		return
	}
	a.mu.Lock()
	a.permissions[addr] = struct{}{}
	a.mu.Unlock()
}

func (a *allocation) forbid(addr netip.Addr) {
	a.mu.Lock()
	delete(a.permissions, addr)
	a.mu.Unlock()
}

func (a *allocation) bind(channel uint16, addr netip.AddrPort) {
	r := a.server.policy.route(addr)
	if r == (route{}) {
		a.server.stats.refusedPeers.Add(1)
		return
	}
	a.mu.Lock()
	p := peer{addr: addr, channel: channel, route: r}
	a.byNumber[channel], a.byAddr[addr] = p, p
	full := len(a.byNumber) > a.server.cfg.Limits.Peers
	a.mu.Unlock()
	if full {
		// pion/turn looks channels up one by one, and can't be told to refuse
		// one; who asks for this many isn't a client of ours.
		a.server.log.Debug("an allocation with too many channels ends", "relayed", a.public)
		a.expires.Store(int64(a.server.uptime())) // see ending
		_ = a.conn.Close()
	}
}

func (a *allocation) unbind(channel uint16) {
	a.mu.Lock()
	delete(a.byAddr, a.byNumber[channel].addr)
	delete(a.byNumber, channel)
	a.mu.Unlock()
}

func (a *allocation) boundTo(channel uint16) (peer, bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	p, ok := a.byNumber[channel]
	return p, ok
}

// lookup finds the channel of addr, and whether addr may reach the client.
func (a *allocation) lookup(addr netip.AddrPort) (p peer, bound, permitted bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if p, bound = a.byAddr[addr]; bound {
		return p, true, true
	}
	_, permitted = a.permissions[addr.Addr()]
	return peer{}, false, permitted
}

// refreshed notes that pion has given the allocation another lifetime. The
// answer to a retransmitted Allocate request repeats the first lifetime but
// doesn't extend it.
func (a *allocation) refreshed(lifetime time.Duration, first bool) {
	now := a.server.uptime()
	at := int64(now + lifetime)
	if first {
		a.expires.CompareAndSwap(0, at)
	} else if old := a.expires.Load(); old > int64(now) { // not while it is being ended
		a.expires.CompareAndSwap(old, at)
	}
}

// ending reports whether the allocation is about to expire. pion/turn v5.1.1
// dereferences a nil timer if an allocation expires while a permission is being
// added to it, which would end the process, so in its last second an allocation
// takes no new ones.
func (a *allocation) ending() bool {
	at := a.expires.Load()
	return at != 0 && time.Duration(at)-a.server.uptime() < time.Second
}

// toPeer carries d from the client, through out.
func (a *allocation) toPeer(d datagram, to netip.AddrPort, r route, out *batch) {
	if !a.sent.Load() { // so that its cache line stays where it is
		a.sent.Store(true)
	}
	if !a.server.account(a.owner, d.len()) {
		return
	}
	if r.inside {
		if target := a.server.allocationAt(to); target != nil {
			a.server.stats.toPeer.Add(uint64(d.len()))
			target.deliver(d, a.public, out)
			return
		}
	}
	if !r.outside {
		a.server.stats.refusedPeers.Add(1)
		return
	}
	a.server.stats.toPeer.Add(uint64(d.len()))
	out.add(a.conn, to, d.bytes())
}

// fromPeer carries d, which came through the socket, to the client.
func (a *allocation) fromPeer(d datagram, from netip.AddrPort, out *batch) {
	p, bound, permitted := a.lookup(from)
	if bound && !p.route.outside || !bound && permitted && !a.server.policy.route(from).outside {
		permitted = false
	}
	if !permitted {
		a.server.stats.refusedPeers.Add(1)
		return
	}
	if a.server.account(a.owner, d.len()) {
		a.forward(d, from, p.channel, out)
	}
}

// deliver carries d, which came from another allocation, to the client. The
// sender's user has paid for it; the receiver's does too.
func (a *allocation) deliver(d datagram, from netip.AddrPort, out *batch) {
	p, _, permitted := a.lookup(from)
	if !permitted {
		a.server.stats.refusedPeers.Add(1)
		return
	}
	if a.server.account(a.owner, d.len()) {
		a.forward(d, from, p.channel, out)
	}
}

// forward wraps d for the client. Channel 0 is none.
func (a *allocation) forward(d datagram, from netip.AddrPort, channel uint16, out *batch) {
	to := a.client.Load()
	if to == nil {
		return
	}
	a.server.stats.toClient.Add(uint64(d.len()))
	if channel != 0 {
		d = d.asChannelData(channel, (*to).stream())
	} else {
		d = d.asDataIndication(from)
	}
	(*to).send(d.bytes(), out)
}

// ReadFrom implements net.PacketConn for pion/turn.
func (a *allocation) ReadFrom([]byte) (int, net.Addr, error) {
	defer a.server.pumps.Done()
	in, out := newReader(a.conn, relayBatch), &batch{server: a.server}
	for {
		if in.waits() {
			out.flush()
		}
		d, from, err := in.next()
		if err != nil {
			return 0, nil, err
		}
		a.fromPeer(d, from, out)
	}
}

// WriteTo implements net.PacketConn; pion/turn sees no data to write.
func (a *allocation) WriteTo([]byte, net.Addr) (int, error) { return 0, net.ErrClosed }

// Close ends the allocation. It never fails, because pion/turn would stop
// closing the others.
func (a *allocation) Close() error {
	a.once.Do(func() {
		_ = a.conn.Close()
		a.server.release(a)
		if c := a.client.Load(); c != nil {
			(*c).detach(a)
		}
		a.server.pumps.Done()
	})
	return nil
}

// LocalAddr implements net.PacketConn.
func (a *allocation) LocalAddr() net.Addr { return a.conn.LocalAddr() }

// SetDeadline implements net.PacketConn.
func (a *allocation) SetDeadline(t time.Time) error { return a.conn.SetDeadline(t) }

// SetReadDeadline implements net.PacketConn.
func (a *allocation) SetReadDeadline(t time.Time) error { return a.conn.SetReadDeadline(t) }

// SetWriteDeadline implements net.PacketConn.
func (a *allocation) SetWriteDeadline(t time.Time) error { return a.conn.SetWriteDeadline(t) }
