package relay

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// Socket buffers, in bytes. They hold what arrives while a core is busy.
const (
	frontBuffer = 4 << 20
	relayBuffer = 1 << 20
)

// socket is a UDP socket that reads and writes several datagrams at a time
// where the system can.
type socket struct {
	*net.UDPConn
	// segments says that the kernel cuts one large write into datagrams
	// (UDP_SEGMENT, Linux 4.18).
	segments atomic.Bool
}

func newSocket(conn *net.UDPConn, buffer int) *socket {
	_ = conn.SetReadBuffer(buffer) // as much as the system allows
	_ = conn.SetWriteBuffer(buffer)
	s := &socket{UDPConn: conn}
	s.segments.Store(canSegment(conn))
	return s
}

// incoming is a datagram and where it came from.
type incoming struct {
	datagram
	from netip.AddrPort
}

// filler reads at least one datagram, and as many as there are and fit. One
// that is longer than maxMessage is cut somewhere beyond that.
type filler interface {
	fill(into []incoming) (n int, err error)
}

// oneByOne is the filler for systems that have nothing better.
type oneByOne struct{ conn *net.UDPConn }

func (f oneByOne) fill(into []incoming) (int, error) {
	d := &into[0]
	n, from, err := f.conn.ReadFromUDPAddrPort(d.buf[headroom:])
	d.start, d.end = headroom, headroom+n
	d.from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	if err != nil {
		return 0, err
	}
	return 1, nil
}

// reader reads from a socket for one goroutine.
type reader struct {
	filler
	limit int // datagrams at a time
	ready []incoming
	n, i  int // ready[i:n] are to be handed out
}

func newReader(s *socket, limit int) *reader {
	r := &reader{filler: newFiller(s.UDPConn), limit: limit}
	r.grow(2)
	return r
}

// grow makes room for n datagrams at a time: a quiet socket needs little.
func (r *reader) grow(n int) {
	for len(r.ready) < min(n, r.limit) {
		r.ready = append(r.ready, incoming{datagram: newDatagram()})
	}
}

// waits reports whether next is going to wait.
func (r *reader) waits() bool { return r.i == r.n }

// next returns a datagram, valid until the next call, and where it came from.
// Datagrams that are too long are skipped, and so are errors other than the end
// of the socket: a peer's ICMP message is no reason to end an allocation.
func (r *reader) next() (datagram, netip.AddrPort, error) {
	for failures := 0; ; {
		for r.i < r.n {
			d := r.ready[r.i]
			r.i++
			if d.len() <= maxMessage && d.from.IsValid() {
				return d.datagram, d.from, nil
			}
		}
		if r.n == len(r.ready) {
			r.grow(2 * r.n)
		}
		var err error
		r.i = 0
		r.n, err = r.fill(r.ready)
		if errors.Is(err, net.ErrClosed) {
			return datagram{}, netip.AddrPort{}, err
		}
		if err != nil {
			if failures++; failures > 16 {
				time.Sleep(time.Millisecond)
			}
		}
	}
}

const (
	maxSegments = 64    // UDP_MAX_SEGMENTS of the first kernels to have it
	maxRun      = 60000 // bytes in one write, less than a UDP datagram may have
)

// batch collects the datagrams that one goroutine sends, and writes those that
// go the same way at once. It keeps the order of each way.
type batch struct {
	server *Server
	runs   []run
}

// run is one write: segments of the same size, the last of which may be
// shorter.
type run struct {
	socket *socket
	to     netip.AddrPort
	size   int // of a segment
	count  int
	buf    *[]byte // from the server's runs, so that idle goroutines hold none
}

func (r *run) fits(n int) bool {
	return r.socket.segments.Load() && r.size > 0 && n > 0 && n <= r.size &&
		len(*r.buf) == r.count*r.size && r.count < maxSegments && len(*r.buf)+n <= maxRun
}

// add copies a datagram into the batch.
func (b *batch) add(s *socket, to netip.AddrPort, payload []byte) {
	for i := len(b.runs) - 1; i >= 0; i-- {
		if r := &b.runs[i]; r.socket == s && r.to == to {
			if r.fits(len(payload)) {
				*r.buf = append(*r.buf, payload...)
				r.count++
				return
			}
			break // a later run, so that the order stays
		}
	}
	buf := b.server.runs.Get().(*[]byte)
	*buf = append((*buf)[:0], payload...)
	b.runs = append(b.runs, run{socket: s, to: to, size: len(payload), count: 1, buf: buf})
}

// flush writes everything. What the network doesn't take is lost, as UDP may.
func (b *batch) flush() {
	for i := range b.runs {
		b.runs[i].write()
		b.server.runs.Put(b.runs[i].buf)
	}
	clear(b.runs)
	b.runs = b.runs[:0]
}

func (r *run) write() {
	if r.count > 1 {
		_, _, err := r.socket.WriteMsgUDPAddrPort(*r.buf, segmentControl(r.size), r.to)
		if err == nil {
			return
		}
		if cannotSegment(err) { // no checksum offload on this way out
			r.socket.segments.Store(false)
		}
	}
	for rest := *r.buf; ; {
		n := min(r.size, len(rest))
		_, _ = r.socket.WriteToUDPAddrPort(rest[:n], r.to)
		if rest = rest[n:]; len(rest) == 0 {
			return
		}
	}
}
