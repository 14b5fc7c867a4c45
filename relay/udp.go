package relay

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// frontBatch is how many datagrams a front reads at a time.
const frontBatch = 64

// udpFront is one socket that clients send to. pion/turn reads from it only
// the requests that its gate lets through.
type udpFront struct {
	server *Server
	conn   *socket
	gate   *gate   // of pion/turn's one reading goroutine
	in     *reader // likewise
	closed chan struct{}
	// behaviour is set once, when all sockets are known.
	behaviour behaviour

	mu      sync.RWMutex
	clients map[netip.AddrPort]*udpClient
}

// udpClient is a client that has an allocation.
type udpClient struct {
	front      *udpFront
	addr       netip.AddrPort
	allocation *allocation
}

func newUDPFront(s *Server, conn *net.UDPConn) *udpFront {
	sock := newSocket(conn, frontBuffer)
	f := &udpFront{
		server: s, conn: sock, gate: newGate(s), in: newReader(sock, frontBatch),
		closed: make(chan struct{}), clients: make(map[netip.AddrPort]*udpClient),
	}
	f.gate.answer = func(answer []byte, flags uint32, to netip.AddrPort) {
		f.gate.out.add(f.behaviour.from[flags].conn, to, answer)
	}
	return f
}

func (f *udpFront) gateOf(netip.AddrPort) *gate { return f.gate }

func (f *udpFront) attach(src netip.AddrPort, a *allocation) {
	c := &udpClient{front: f, addr: src, allocation: a}
	f.mu.Lock()
	f.clients[src] = c
	f.mu.Unlock()
	var as client = c
	a.client.Store(&as)
}

func (f *udpFront) allocationOf(src netip.AddrPort) *allocation {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if c := f.clients[src]; c != nil {
		return c.allocation
	}
	return nil
}

func (c *udpClient) send(message []byte, out *batch) { out.add(c.front.conn, c.addr, message) }
func (c *udpClient) stream() bool                    { return false }

func (c *udpClient) detach(*allocation) {
	c.front.mu.Lock()
	defer c.front.mu.Unlock()
	if c.front.clients[c.addr] == c {
		delete(c.front.clients, c.addr)
	}
}

// ReadFrom implements net.PacketConn for pion/turn: it carries data until
// there is a request.
func (f *udpFront) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		if f.in.waits() {
			f.gate.out.flush()
		}
		d, from, err := f.in.next()
		if err != nil {
			close(f.closed) // pion/turn doesn't read again
			return 0, nil, err
		}
		if request := f.gate.screen(d, f.allocationOf(from), from); len(request) > 0 && len(request) < len(p) {
			f.gate.out.flush()
			return copy(p, request), net.UDPAddrFromAddrPort(from), nil
		}
	}
}

// WriteTo sends an answer of pion/turn's.
func (f *udpFront) WriteTo(p []byte, to net.Addr) (int, error) {
	addr := addrPort(to)
	learn(p, f.allocationOf(addr))
	return f.conn.WriteToUDPAddrPort(p, addr)
}

// Close ends the socket; closed is closed once nothing reads from it.
func (f *udpFront) Close() error { return f.conn.Close() }

// LocalAddr implements net.PacketConn.
func (f *udpFront) LocalAddr() net.Addr { return f.conn.LocalAddr() }

// SetDeadline implements net.PacketConn.
func (f *udpFront) SetDeadline(t time.Time) error { return f.conn.SetDeadline(t) }

// SetReadDeadline implements net.PacketConn.
func (f *udpFront) SetReadDeadline(t time.Time) error { return f.conn.SetReadDeadline(t) }

// SetWriteDeadline implements net.PacketConn.
func (f *udpFront) SetWriteDeadline(t time.Time) error { return f.conn.SetWriteDeadline(t) }
