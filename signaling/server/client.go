package server

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"tandem/signaling"
	"tandem/signaling/bus"
)

// maxStrikes is how many requests in a row may be over the rate before the client is
// disconnected.
const maxStrikes = 64

// socketBuffer is what the kernel may hold for a client in each direction, so
// that one that does not read costs little. In bytes.
const socketBuffer = 64 << 10

// client is one connection. Its reader is one goroutine from claim to finish;
// a writer runs only while something is queued.
type client struct {
	s  *Server
	ip netip.Prefix
	frames

	mailbox string // set by claim, before anybody else can see the client
	epoch   uint64

	seen   atomic.Int64 // when the last frame arrived, in nanoseconds since 1970
	pinged atomic.Bool  // since the last frame

	// The reader's own.
	strikes int
	watched map[string]struct{}

	mu      sync.Mutex
	plates  []string        // the nameplates it holds
	queue   [][]byte        // frames to write
	news    map[string]bool // presence to report, once the queue is empty
	room    chan struct{}   // closed when the queue has shrunk; nil if nobody waits
	writing bool            // a writer is running
	ending  bool            // nothing is queued any more; the writer hangs up when it is done
	closed  bool            // the connection is closed
}

var (
	_ bus.Mailbox = (*client)(nil)
	_ bus.Watcher = (*client)(nil)
)

// bound limits what the kernel buffers for a connection.
func bound(conn net.Conn) {
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = t.NetConn()
	}
	if t, ok := conn.(*net.TCPConn); ok {
		_ = t.SetReadBuffer(socketBuffer)
		_ = t.SetWriteBuffer(socketBuffer)
	}
}

// readAhead is conn, preceded by what the HTTP server read of it too early.
func readAhead(conn net.Conn, r *bufio.Reader) io.Reader {
	if r.Buffered() == 0 {
		return conn
	}
	early, _ := r.Peek(r.Buffered())
	return &prefixed{append([]byte(nil), early...), conn}
}

// prefixed reads first, then conn.
type prefixed struct {
	first []byte
	conn  net.Conn
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.first) == 0 {
		return p.conn.Read(b)
	}
	n := copy(b, p.first)
	if p.first = p.first[n:]; len(p.first) == 0 {
		p.first = nil
	}
	return n, nil
}

// open gives the client its connection; false if it has been killed meanwhile.
func (c *client) open(conn net.Conn, src io.Reader, timeout time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frames = frames{conn: conn, src: src, timeout: timeout, owner: c}
	if c.closed {
		conn.Close()
	}
	return !c.closed
}

// claim greets the client and gives it its mailbox.
func (c *client) claim(ctx context.Context, host string, addr netip.AddrPort) bool {
	limits := &c.s.limits
	nonce := make([]byte, signaling.NonceSize)
	_, _ = rand.Read(nonce) // does not fail
	observed := addr.String()
	if addr.Port() == 0 {
		observed = addr.Addr().String()
	}
	c.post(signaling.Message{
		Type: signaling.TypeWelcome, Version: signaling.Version, MinVersion: signaling.MinVersion,
		Nonce: nonce, Host: host, Observed: observed, Time: time.Now().UnixMilli(),
		Limits: &signaling.Limits{
			Frame: signaling.MaxFrame, Nameplates: limits.Nameplates, Watches: limits.Watches,
			IdleMS: limits.IdleTimeout.Milliseconds(),
		},
	})
	if err := c.conn.SetReadDeadline(time.Now().Add(limits.ClaimTimeout)); err != nil {
		return false
	}
	data, err := c.next()
	if err != nil {
		return c.refuse(err)
	}
	m, err := signaling.Decode(data)
	switch {
	case err != nil:
		return c.refuse(err)
	case m.Type != signaling.TypeClaim:
		return c.refuse(&signaling.Error{Kind: signaling.KindInvalid, Text: "claim a mailbox first"})
	case m.Version < signaling.MinVersion || m.Version > signaling.Version:
		return c.refuse(&signaling.Error{Kind: signaling.KindUnsupported, Text: "this server does not speak that version of the protocol"})
	case !ed25519.Verify(m.Key, signaling.ClaimBytes(nonce, host), m.Signature):
		return c.refuse(&signaling.Error{Kind: signaling.KindDenied, Text: "the claim's signature is wrong"})
	}
	c.mailbox = signaling.MailboxOf(m.Key)
	if m.Yield {
		held, err := c.s.bus.Held(ctx, c.mailbox)
		if err == nil && held {
			err = &signaling.Error{Kind: signaling.KindExists, Text: "another connection has the mailbox"}
		}
		if err != nil {
			return c.refuse(err)
		}
	}
	epoch := c.s.nextEpoch()
	// claimed is queued before the mailbox is, so that it is first to arrive.
	c.post(signaling.Message{Type: signaling.TypeClaimed, Mailbox: c.mailbox})
	if err := c.s.bus.Subscribe(ctx, c.mailbox, epoch, c); err != nil {
		return c.refuse(err)
	}
	c.epoch = epoch
	return true
}

// refuse ends a connection that broke the rules, or broke.
func (c *client) refuse(err error) bool {
	var fe *frameError
	var ne net.Error
	switch {
	case errors.As(err, &fe):
		c.end(fe.code, "protocol", &signaling.Error{Kind: fe.kind, Text: fe.why})
	case errors.As(err, &ne) && ne.Timeout():
		c.end(ws.StatusPolicyViolation, "timeout", &signaling.Error{Kind: signaling.KindTimeout, Text: "nothing came in time"})
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), ne != nil:
		return false
	default:
		c.end(ws.StatusPolicyViolation, "protocol", asError(err))
	}
	c.linger()
	return false
}

// linger reads on for a moment after the last words: closing a socket with
// unread bytes would destroy them on their way.
func (c *client) linger() {
	_ = c.conn.SetReadDeadline(time.Now().Add(c.s.limits.WriteTimeout))
	_, _ = io.CopyN(io.Discard, c.src, 4*signaling.MaxFrame)
}

// read handles what the client sends, until the connection ends.
func (c *client) read() {
	defer c.finish()
	for {
		data, err := c.next()
		if err != nil {
			c.refuse(err)
			return
		}
		m, err := signaling.Decode(data)
		if err != nil {
			c.refuse(err)
			return
		}
		if !c.spend(1 + len(data)>>12) {
			if c.strikes > maxStrikes {
				c.refuse(&signaling.Error{Kind: signaling.KindBusy, Text: "far too many requests"})
				return
			}
			c.answerError(m, &signaling.Error{Kind: signaling.KindBusy, Text: "too many requests"})
			continue
		}
		if m.Type == signaling.TypeClaim {
			c.refuse(&signaling.Error{Kind: signaling.KindInvalid, Text: "a connection claims once"})
			return
		}
		if err := c.handle(m); err != nil {
			c.answerError(m, err)
		} else {
			c.s.metrics.requests.WithLabelValues(m.Type, "ok").Inc()
		}
	}
}

// spend takes n tokens from the mailbox and from the network it is in.
func (c *client) spend(n int) bool {
	if c.s.messages.allow(c.mailbox, n) && c.s.perIP.allow(c.ip, n) {
		c.strikes = 0
		return true
	}
	c.strikes++
	return false
}

func (c *client) alive() {
	c.seen.Store(time.Now().UnixNano())
	c.pinged.Store(false)
}

// control implements frameOwner.
func (c *client) control(f ws.Frame) bool {
	if c.mailbox == "" || f.Header.OpCode == ws.OpClose {
		c.end(ws.StatusNormalClosure, "", nil)
		return false
	}
	if !c.spend(1) && c.strikes > maxStrikes {
		return false
	}
	if f.Header.OpCode == ws.OpPing {
		_ = c.enqueue(ws.MustCompileFrame(ws.NewPongFrame(f.Payload)))
	}
	return true
}

// keep is called from time to time.
func (c *client) keep(now time.Time) {
	silent := now.Sub(time.Unix(0, c.seen.Load()))
	switch {
	case silent > c.s.limits.IdleTimeout:
		c.kill("idle")
		return
	case silent > c.s.limits.PingAfter && !c.pinged.Swap(true):
		_ = c.enqueue(ws.CompiledPing)
	}
	c.renew()
}

// finish undoes what the client had, closes the connection and counts it out.
func (c *client) finish() {
	if c.epoch != 0 {
		c.s.bus.Unsubscribe(c.mailbox, c.epoch)
	}
	for mailbox := range c.watched {
		c.s.bus.Unwatch(mailbox, c)
	}
	c.s.watches.Add(-int64(len(c.watched)))
	c.renew() // from now on the nameplates have their time of grace
	c.kill("")
	c.s.leave(c)
}

// kill closes the connection at once and drops what is queued.
func (c *client) kill(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed, c.ending = true, true
	for _, frame := range c.queue {
		c.s.queued.Add(-int64(len(frame)))
	}
	c.queue, c.news = nil, nil
	c.makeRoom()
	if c.conn == nil {
		return // it is being upgraded; open will see that it is closed
	}
	if reason != "" {
		c.s.metrics.closed.WithLabelValues(reason).Inc()
	}
	// A TLS connection would first say goodbye, to a peer that may not listen.
	if t, ok := c.conn.(interface{ NetConn() net.Conn }); ok {
		t.NetConn().Close()
	}
	c.conn.Close()
}

// end queues last words and a close frame, and nothing after them.
func (c *client) end(code ws.StatusCode, reason string, last *signaling.Error) {
	if last != nil {
		c.post(signaling.Message{Type: signaling.TypeError, Kind: last.Kind, Text: last.Text})
	}
	_ = c.enqueue(ws.MustCompileFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(code, ""))))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending {
		return
	}
	if reason != "" {
		c.s.metrics.closed.WithLabelValues(reason).Inc()
	}
	c.ending, c.news = true, nil
	c.startWriter() // if only to hang up
}

// hangUp says that no more comes, and gives the peer a moment to do the same.
func (c *client) hangUp() {
	if t, ok := c.conn.(interface{ CloseWrite() error }); ok {
		_ = t.CloseWrite()
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(c.s.limits.WriteTimeout))
}

// post queues a message; one that does not fit is lost.
func (c *client) post(m signaling.Message) {
	if data, err := signaling.Encode(m); err == nil {
		_ = c.enqueue(textFrame(data))
	}
}

// answer is post for what the client itself asked for: it waits while the
// queue is full, so that a client that asks faster than it reads is slowed
// down. Only the reader calls it.
func (c *client) answer(m signaling.Message) {
	data, err := signaling.Encode(m)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) >= c.s.limits.Queue {
		if c.room == nil {
			c.room = make(chan struct{})
		}
		room := c.room
		c.mu.Unlock()
		<-room // the writer makes some, or fails within WriteTimeout
		c.mu.Lock()
	}
	_ = c.push(textFrame(data))
}

// makeRoom wakes answer. c.mu is held.
func (c *client) makeRoom() {
	if c.room != nil {
		close(c.room)
		c.room = nil
	}
}

// enqueue hands a frame to the writer, and starts one if there is none.
func (c *client) enqueue(frame []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.push(frame)
}

// push is enqueue with c.mu held.
func (c *client) push(frame []byte) error {
	switch {
	case c.ending || c.conn == nil:
		return bus.ErrNobody
	case len(c.queue) >= c.s.limits.Queue:
		return bus.ErrFull
	}
	if c.s.queued.Add(int64(len(frame))) > c.s.limits.QueuedBytes {
		c.s.queued.Add(-int64(len(frame)))
		return bus.ErrFull
	}
	c.queue = append(c.queue, frame)
	c.startWriter()
	return nil
}

// startWriter is called with c.mu held, and only while the connection is open:
// then the reader is counted, which keeps the count above zero.
func (c *client) startWriter() {
	if !c.writing && !c.closed {
		c.writing = true
		c.s.work.Go(c.write)
	}
}

// take is the frame to write now; nil if there is none, and then the writer
// ends. Presence comes last and all at once, so that it needs no queue.
func (c *client) take() (frame []byte, ending bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) > 0 {
		frame = c.queue[0]
		c.queue = c.queue[1:]
		c.makeRoom()
		return frame, false
	}
	if len(c.news) > 0 {
		m := signaling.Message{Type: signaling.TypePresence}
		for mailbox, online := range c.news {
			if online {
				m.Online = append(m.Online, mailbox)
			} else {
				m.Offline = append(m.Offline, mailbox)
			}
		}
		c.news = nil
		if data, err := signaling.Encode(m); err == nil {
			frame = textFrame(data)
			c.s.queued.Add(int64(len(frame)))
			return frame, false
		}
	}
	c.queue, c.writing = nil, false
	return nil, c.ending && !c.closed
}

// write writes until nothing is queued.
func (c *client) write() {
	for {
		frame, ending := c.take()
		if frame == nil {
			if ending {
				c.hangUp()
			}
			return
		}
		err := c.conn.SetWriteDeadline(time.Now().Add(c.s.limits.WriteTimeout))
		if err == nil {
			_, err = c.conn.Write(frame)
		}
		c.s.queued.Add(-int64(len(frame)))
		if err != nil {
			c.kill("slow")
		}
	}
}

// Deliver implements bus.Mailbox.
func (c *client) Deliver(m bus.Message) error {
	data, err := signaling.Encode(signaling.Message{Type: signaling.TypeMessage, From: m.From, Body: m.Body})
	if err != nil {
		return err
	}
	return c.enqueue(textFrame(data))
}

// Replaced implements bus.Mailbox. The newer connection has the nameplates.
func (c *client) Replaced() {
	c.mu.Lock()
	c.plates = nil
	c.mu.Unlock()
	c.end(ws.StatusPolicyViolation, "replaced",
		&signaling.Error{Kind: signaling.KindReplaced, Text: "a newer connection has the mailbox"})
}

// Presence implements bus.Watcher.
func (c *client) Presence(mailbox string, online bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending || c.conn == nil {
		return
	}
	if c.news == nil {
		c.news = make(map[string]bool)
	}
	c.news[mailbox] = online
	c.startWriter()
}

// drain tells the client to connect again elsewhere, or here, in a while.
func (c *client) drain() {
	c.post(signaling.Message{
		Type:    signaling.TypeDraining,
		AfterMS: random(max(1, c.s.limits.DrainSpread.Milliseconds())),
	})
}
