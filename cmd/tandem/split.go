package main

import (
	"bufio"
	"errors"
	"net"
	"sync"
	"time"
)

// firstByteTimeout is how long a connection may take to show what it speaks,
// its TLS handshake included.
const firstByteTimeout = 10 * time.Second

// maxUnsorted is how many connections may be showing what they speak at once.
const maxUnsorted = 4096

// splitListener serves HTTP and TURN on one port, for networks that let out
// nothing but 443: the first byte of a STUN message is below 64 (RFC 8489,
// section 5; RFC 7983), and that of an HTTP request is a letter.
type splitListener struct {
	listener  net.Listener
	web, turn *half // HTTP, and STUN with TURN
	closed    chan struct{}
	once      sync.Once
	work      sync.WaitGroup
	unsorted  chan struct{}
}

func newSplitListener(l net.Listener) *splitListener {
	s := &splitListener{listener: l, closed: make(chan struct{}), unsorted: make(chan struct{}, maxUnsorted)}
	s.web, s.turn = newHalf(s), newHalf(s)
	s.work.Go(s.accept)
	return s
}

func (s *splitListener) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			var temporary net.Error
			if errors.As(err, &temporary) && temporary.Timeout() {
				continue
			}
			select {
			case <-s.closed:
				return
			case <-time.After(50 * time.Millisecond): // out of descriptors: some will be freed
				continue
			}
		}
		select {
		case s.unsorted <- struct{}{}:
			s.work.Go(func() { s.sort(conn); <-s.unsorted })
		default:
			_ = conn.Close() // a flood; there is nobody to tell
		}
	}
}

// sort waits for the first byte and hands the connection to its half.
func (s *splitListener) sort(conn net.Conn) {
	stop := make(chan struct{})
	defer close(stop)
	s.work.Go(func() {
		select {
		case <-s.closed:
			_ = conn.SetReadDeadline(time.Now())
		case <-stop:
		}
	})
	_ = conn.SetReadDeadline(time.Now().Add(firstByteTimeout)) // a dead conn fails at Peek
	r := bufio.NewReaderSize(conn, 512)
	first, err := r.Peek(1)
	if err != nil {
		_ = conn.Close()
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	h := s.web
	if first[0] < 64 {
		h = s.turn
	}
	select {
	case h.conns <- &peekedConn{Conn: conn, r: r}:
	case <-h.closed:
		_ = conn.Close()
	case <-s.closed:
		_ = conn.Close()
	}
}

// Close stops listening and returns when every connection has been handed over
// or closed.
func (s *splitListener) Close() error {
	var err error
	s.once.Do(func() {
		close(s.closed)
		err = s.listener.Close()
	})
	s.work.Wait()
	return err
}

// half is the net.Listener of one protocol. Closing it leaves the other alone.
type half struct {
	port   *splitListener
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newHalf(s *splitListener) *half {
	return &half{port: s, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (h *half) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	case <-h.port.closed:
		return nil, net.ErrClosed
	}
}

func (h *half) Addr() net.Addr { return h.port.listener.Addr() }

func (h *half) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// peekedConn reads what was peeked first.
type peekedConn struct {
	net.Conn
	r *bufio.Reader
}

func (c *peekedConn) Read(p []byte) (int, error) {
	if c.r != nil {
		if c.r.Buffered() > 0 {
			return c.r.Read(p)
		}
		c.r = nil // the buffer has served
	}
	return c.Conn.Read(p)
}
