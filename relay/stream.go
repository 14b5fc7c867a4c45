package relay

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxQueue is how many bytes may wait for one TCP or TLS client. What comes
	// from peers beyond it is dropped, as a router would, so that one slow
	// client holds nobody up. Answers to requests may use twice that.
	maxQueue = 256 << 10
	// writeTimeout is how long a client may leave a write stuck.
	writeTimeout = 15 * time.Second
)

// streamFront is a listener for TCP or TLS clients.
type streamFront struct {
	server   *Server
	listener net.Listener
	tls      *tls.Config // nil for TCP
	stop     chan struct{}
	stopOnce sync.Once
	working  sync.WaitGroup // connections

	mu      sync.Mutex
	closing bool
	conns   map[netip.AddrPort]*streamConn
}

func newStreamFront(s *Server, l net.Listener, config *tls.Config) *streamFront {
	return &streamFront{
		server: s, listener: l, tls: config,
		stop: make(chan struct{}), conns: make(map[netip.AddrPort]*streamConn),
	}
}

func (f *streamFront) connOf(src netip.AddrPort) *streamConn {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.conns[src]
}

func (f *streamFront) gateOf(src netip.AddrPort) *gate {
	if c := f.connOf(src); c != nil {
		return c.gate
	}
	return nil
}

func (f *streamFront) attach(src netip.AddrPort, a *allocation) {
	if c := f.connOf(src); c != nil {
		c.allocation.Store(a)
		var as client = c
		a.client.Store(&as)
	}
}

// Accept implements net.Listener for pion/turn, which gives up for good at the
// first error: so there is none until Close.
func (f *streamFront) Accept() (net.Conn, error) {
	for {
		raw, err := f.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			<-f.stop // a draining server serves the connections it has
			return nil, err
		}
		if err != nil { // out of file descriptors, or the client has gone
			select {
			case <-f.stop:
				return nil, net.ErrClosed
			case <-time.After(10 * time.Millisecond):
			}
			continue
		}
		if c := f.admit(raw); c != nil {
			return c, nil
		}
		_ = raw.Close()
	}
}

// admit makes a streamConn of raw, or nothing where there are too many.
func (f *streamFront) admit(raw net.Conn) *streamConn {
	src := addrPort(raw.RemoteAddr())
	if !src.IsValid() || !f.server.conns.enter(src.Addr()) {
		f.server.stats.refusedConns.Add(1)
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closing {
		f.server.conns.leave(src.Addr())
		return nil
	}
	limitUnsent(raw)
	c := &streamConn{
		Conn: raw, raw: raw, front: f, src: src, gate: newGate(f.server), buf: newDatagram(),
		wake: make(chan struct{}, 1), quit: make(chan struct{}),
	}
	if f.tls != nil {
		c.Conn = tls.Server(raw, f.tls)
	}
	c.in = bufio.NewReaderSize(c.Conn, 16<<10)
	c.since.Store(time.Now().UnixNano())
	c.gate.answer = func(answer []byte, _ uint32, _ netip.AddrPort) { c.enqueue(answer, 2*maxQueue) }
	f.conns[src] = c
	f.working.Add(2) // pion's reader, until Close; and the writer
	go c.write()
	return c
}

// hangUp ends every connection and waits until nothing works for them.
func (f *streamFront) hangUp() {
	f.stopListening()
	f.mu.Lock()
	f.closing = true
	for _, c := range f.conns {
		_ = c.raw.Close()
	}
	f.mu.Unlock()
	f.working.Wait()
}

func (f *streamFront) stopListening() { _ = f.listener.Close() }

// Close implements net.Listener: it ends Accept.
func (f *streamFront) Close() error {
	f.stopListening()
	f.stopOnce.Do(func() { close(f.stop) })
	return nil
}

// Addr implements net.Listener.
func (f *streamFront) Addr() net.Addr { return f.listener.Addr() }

// streamConn is one TCP or TLS client. To pion/turn it is a connection on
// which each Read returns one whole request.
type streamConn struct {
	net.Conn            // TLS or raw
	raw        net.Conn // closed instead of Conn: an alert to a stuck client would wait
	front      *streamFront
	src        netip.AddrPort
	gate       *gate         // of pion/turn's reading goroutine
	in         *bufio.Reader // likewise
	buf        datagram      // likewise
	greeted    bool          // likewise: the TLS handshake is done
	allocation atomic.Pointer[allocation]
	since      atomic.Int64 // without an allocation, in Unix nanoseconds
	once       sync.Once

	mu   sync.Mutex
	out  []byte        // waiting to be written
	wake chan struct{} // out is no longer empty
	quit chan struct{} // closed by Close
}

// Read implements net.Conn for pion/turn.
func (c *streamConn) Read(p []byte) (int, error) {
	if err := c.greet(); err != nil {
		return 0, err
	}
	for {
		d, err := c.frame()
		if err != nil {
			return 0, err
		}
		if request := c.gate.screen(d, c.allocation.Load(), c.src); len(request) > 0 && len(request) < len(p) {
			c.gate.out.flush()
			return copy(p, request), nil
		}
	}
}

// whole reports whether a frame has arrived altogether.
func (c *streamConn) whole() bool {
	b, _ := c.in.Peek(c.in.Buffered())
	if len(b) < channelHeader {
		return false
	}
	n, _ := frameLength(b)
	return n <= len(b)
}

func (c *streamConn) greet() error {
	if c.greeted {
		return nil
	}
	c.greeted = true
	secure, ok := c.Conn.(*tls.Conn)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.front.server.cfg.Limits.AuthTimeout)
	defer cancel()
	return secure.HandshakeContext(ctx)
}

// extend sets the deadline for the next bytes.
func (c *streamConn) extend() {
	limits := c.front.server.cfg.Limits
	if c.allocation.Load() != nil {
		_ = c.raw.SetReadDeadline(time.Now().Add(limits.IdleTimeout))
		return
	}
	_ = c.raw.SetReadDeadline(time.Unix(0, c.since.Load()).Add(limits.AuthTimeout))
}

// frame reads one message.
func (c *streamConn) frame() (datagram, error) {
	d := c.buf
	if !c.whole() {
		c.gate.out.flush()
		c.extend()
	}
	head, err := c.in.Peek(channelHeader)
	if err != nil {
		return d, err
	}
	n, ok := frameLength(head)
	if !ok {
		c.front.server.stats.malformed.Add(1)
		return d, errors.New("not a TURN frame")
	}
	d.end = d.start + n
	_, err = io.ReadFull(c.in, d.bytes())
	return d, err
}

// Write queues an answer of pion/turn's.
func (c *streamConn) Write(p []byte) (int, error) {
	learn(p, c.allocation.Load())
	if !c.enqueue(p, 2*maxQueue) {
		return 0, errors.New("the client doesn't read its answers")
	}
	return len(p), nil
}

func (c *streamConn) send(message []byte, _ *batch) {
	if !c.enqueue(message, maxQueue) {
		c.front.server.stats.dropped.Add(1)
	}
}

func (c *streamConn) stream() bool { return true }

func (c *streamConn) enqueue(p []byte, limit int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.out)+len(p) > limit {
		return false
	}
	c.out = append(c.out, p...)
	if len(c.out) == len(p) {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// write moves what is queued onto the wire, as much at a time as there is.
func (c *streamConn) write() {
	defer c.front.working.Done()
	var batch []byte
	for {
		select {
		case <-c.quit:
			return
		case <-c.wake:
		}
		c.mu.Lock()
		batch, c.out = c.out, batch[:0]
		c.mu.Unlock()
		_ = c.raw.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := c.Conn.Write(batch); err != nil {
			_ = c.raw.Close() // the reader ends, and with it everything
			<-c.quit
			return
		}
		if cap(batch) > maxQueue/4 {
			batch = nil // one burst is no reason to keep that much
		}
	}
}

func (c *streamConn) detach(a *allocation) {
	if c.allocation.CompareAndSwap(a, nil) {
		c.since.Store(time.Now().UnixNano())
		c.extend()
	}
}

// Close ends the connection; pion/turn calls it once it has stopped reading.
func (c *streamConn) Close() error {
	c.once.Do(func() {
		_ = c.raw.Close()
		close(c.quit)
		c.front.mu.Lock()
		if c.front.conns[c.src] == c {
			delete(c.front.conns, c.src)
		}
		c.front.mu.Unlock()
		c.front.server.conns.leave(c.src.Addr())
		c.front.working.Done()
	})
	return nil
}
