package stream

import (
	"io"
	"net"
	"os"
	"sync"
	"time"

	"tandem/session"
)

const (
	// sendBuffer is how much Write takes before it waits for the channel.
	sendBuffer = 64 << 10
	// defaultMaxWindow bounds the growth of a receive window.
	defaultMaxWindow = 4 << 20
	// linger is how long a closed or reset stream waits for its last frames
	// to leave and for the peer's EOF before it gives up on the channel. It
	// spans a change of path.
	linger = time.Minute
)

// Options are what a stream does not learn from its channel.
type Options struct {
	// Peer is who is at the other end; an Offer reports it.
	Peer session.Peer
	// Local and Remote are the stream's addresses; nil means Addr of the
	// peer's ID.
	Local, Remote net.Addr
	// Window is how much received data may wait for its reader once that has begun
	// to read, in bytes; more where the peer could send more. It is at least
	// InitialWindow.
	Window int
	// MaxWindow bounds how much received data may wait for its reader, in
	// bytes. 0 means 4 MiB; it is at least InitialWindow.
	MaxWindow int
}

// Addr is the address of a stream's end: a peer.
type Addr string

// Network is "tandem".
func (Addr) Network() string  { return "tandem" }
func (a Addr) String() string { return string(a) }

// Stream is one session.Stream over one Channel. All methods may be called
// concurrently. Close and Reset return at once and the last frames leave
// behind them; Done tells when the stream's work has ended.
type Stream struct {
	ch            Channel
	local, remote net.Addr
	done          chan struct{}

	mu     sync.Mutex
	err    error       // why both directions have failed
	closed bool        // by Close
	timer  *time.Timer // gives up after linger
	in     incoming
	out    outgoing
}

var _ session.Stream = (*Stream)(nil)

// incoming is what the peer sends; guarded by Stream.mu.
type incoming struct {
	readable *sync.Cond // readers wait here
	queue    queue
	received uint64 // DATA bytes that arrived
	consumed uint64 // of which the application has read
	granted  uint64 // the peer's limit
	window   uint64 // how far the limit is kept ahead of consumed
	max      uint64 // bound of window
	accepted uint64 // window once the application has read
	blocked  bool   // the peer said so and the window has not grown since
	eof      bool   // EOF arrived
	stopped  bool   // STOP arrived
	ended    bool   // nothing more can arrive
	deadline deadline
}

// outgoing is what we send; guarded by Stream.mu.
type outgoing struct {
	writable  *sync.Cond // writers wait here
	work      *sync.Cond // the goroutine that writes to the channel waits here
	queue     queue
	busy      bool   // a Write is under way, others wait their turn
	taken     uint64 // bytes that entered the queue
	limit     uint64 // how many may, says the peer
	blockedAt uint64 // the limit the peer was last told of
	header    []byte // to be sent, first
	blocked   bool   // BLOCKED is to be sent when the queue is empty
	window    bool   // WINDOW is to be sent
	stop      bool   // STOP is to be sent
	reset     []byte // RESET is to be sent
	eof       bool   // no more is written; EOF is sent when the queue is empty
	eofSent   bool
	err       error // why nothing more can be sent
	deadline  deadline
}

// Open starts a stream for h over ch and returns at once; the header and
// whatever is written go ahead of any answer. A refusal arrives as the peer's
// *session.Error from Read or Write. The stream owns ch.
func Open(ch Channel, h session.Header, opts Options) (*Stream, error) {
	header, err := headerFrame(h)
	if err != nil {
		return nil, err
	}
	s := newStream(ch, opts)
	s.out.header = header
	go s.run()
	return s, nil
}

func newStream(ch Channel, opts Options) *Stream {
	s := &Stream{ch: ch, local: opts.Local, remote: opts.Remote, done: make(chan struct{})}
	if s.local == nil {
		s.local = Addr("local")
	}
	if s.remote == nil {
		s.remote = Addr(opts.Peer.ID.String())
	}
	s.in.readable = sync.NewCond(&s.mu)
	s.in.granted, s.in.window, s.in.max = InitialWindow, InitialWindow, defaultMaxWindow
	if opts.MaxWindow != 0 {
		s.in.max = uint64(max(opts.MaxWindow, InitialWindow))
	}
	s.in.accepted = uint64(max(opts.Window, InitialWindow))
	s.in.max = max(s.in.max, s.in.accepted)
	s.out.writable, s.out.work = sync.NewCond(&s.mu), sync.NewCond(&s.mu)
	s.out.limit = InitialWindow
	return s
}

// Read reads what has arrived. It returns io.EOF after the peer's CloseWrite,
// the peer's *session.Error after its Reset, net.ErrClosed after Close and
// os.ErrDeadlineExceeded after the deadline.
func (s *Stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.closed:
			return 0, net.ErrClosed
		case s.err != nil:
			return 0, s.err
		case s.in.deadline.passed():
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case s.in.queue.size > 0:
			n := s.in.queue.read(p)
			s.in.consumed += uint64(n)
			s.credit()
			return n, nil
		case s.in.eof:
			return 0, io.EOF
		}
		s.in.readable.Wait()
	}
}

// credit raises the peer's limit when that is worth a frame.
func (s *Stream) credit() {
	if s.in.eof || s.in.ended {
		return
	}
	s.in.window = max(s.in.window, s.in.accepted)
	if s.in.blocked && s.in.queue.size == 0 && s.in.window < s.in.max {
		// The peer could have sent more and we have read all it sent: the
		// window is smaller than what the path holds.
		s.in.window = min(2*s.in.window, s.in.max)
		s.in.blocked = false
	}
	if s.in.consumed+s.in.window-s.in.granted >= s.in.window/2 && !s.out.window {
		s.out.window = true
		s.out.work.Signal()
	}
}

// Write sends p. It returns when all of p has been taken into the send buffer,
// from which it leaves at once as far as the channel lets it. Concurrent
// writes do not mix.
func (s *Stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.out.busy && s.writeErr() == nil {
		s.out.writable.Wait()
	}
	if err := s.writeErr(); err != nil {
		return 0, err
	}
	s.out.busy = true
	defer func() {
		s.out.busy = false
		s.out.writable.Broadcast()
	}()
	written := 0
	for written < len(p) {
		if err := s.writeErr(); err != nil {
			return written, err
		}
		credit := s.out.limit - s.out.taken
		room := sendBuffer - s.out.queue.size
		if credit > 0 && room > 0 {
			n := int(min(uint64(len(p)-written), credit, uint64(room)))
			s.out.queue.write(p[written : written+n])
			s.out.taken += uint64(n)
			written += n
			s.out.work.Signal()
			continue
		}
		if credit == 0 && s.out.blockedAt != s.out.limit {
			s.out.blockedAt, s.out.blocked = s.out.limit, true
			s.out.work.Signal()
		}
		s.out.writable.Wait()
	}
	return written, nil
}

// writeErr is why a Write can't go on.
func (s *Stream) writeErr() error {
	switch {
	case s.closed:
		return net.ErrClosed
	case s.err != nil:
		return s.err
	case s.in.stopped:
		return &session.Error{Op: "stream", Kind: session.Canceled, Text: "the peer has closed the stream", Err: io.ErrClosedPipe}
	case s.out.err != nil && (s.in.eof || s.in.ended):
		return s.out.err
	case s.out.eof:
		return net.ErrClosed
	case s.out.deadline.passed():
		return os.ErrDeadlineExceeded
	}
	return nil
}

// CloseWrite ends our direction: the peer reads io.EOF behind what was written.
func (s *Stream) CloseWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	if s.err != nil {
		return s.err
	}
	s.out.eof = true
	s.wake()
	return nil
}

// Close ends our direction and discards what the peer has sent or still
// sends. What was written before still arrives. A second Close does nothing.
func (s *Stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.in.queue.clear()
	s.out.eof = true
	s.out.stop = !s.in.eof
	s.lingerLocked()
	s.wake()
	return nil
}

// Reset abandons both directions at once. The kind and public text of reason
// reach the peer; a nil reason is Canceled. It returns nil, also where there
// is nothing left to reset.
func (s *Stream) Reset(reason error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resetLocked(reason)
	return nil
}

func (s *Stream) resetLocked(reason error) {
	if s.err != nil {
		return
	}
	if reason == nil {
		reason = &session.Error{Op: "stream", Kind: session.Canceled, Text: "reset"}
	}
	if !s.finished() {
		s.out.reset = resetFrame(reason)
		s.lingerLocked()
	}
	s.failLocked(reason)
}

// Fail ends the stream with err without a word to the peer: the session under
// it has ended. It closes the channel.
func (s *Stream) Fail(err error) {
	s.mu.Lock()
	s.failLocked(err)
	s.out.reset = nil
	s.wake()
	s.mu.Unlock()
	_ = s.ch.Close() // the stream has failed already
}

func (s *Stream) failLocked(err error) {
	if s.err == nil {
		s.err = err
	}
	s.in.queue.clear()
	s.out.queue.clear()
	s.wake()
}

// wake makes everyone who waits look again.
func (s *Stream) wake() {
	s.in.readable.Broadcast()
	s.out.writable.Broadcast()
	s.out.work.Broadcast()
}

func (s *Stream) lingerLocked() {
	if s.timer == nil && s.err == nil {
		s.timer = time.AfterFunc(linger, func() {
			s.Fail(&session.Error{Op: "stream", Kind: session.Timeout, Text: "the peer did not finish the stream"})
		})
	}
}

// Done is closed when the stream's work has ended: its last frame has left or
// can't leave, its channel is closed, and its goroutines have returned. What
// had arrived can still be read.
func (s *Stream) Done() <-chan struct{} { return s.done }

// LocalAddr is our end.
func (s *Stream) LocalAddr() net.Addr { return s.local }

// RemoteAddr is the peer's end.
func (s *Stream) RemoteAddr() net.Addr { return s.remote }

// SetDeadline sets both deadlines, as a net.Conn does.
func (s *Stream) SetDeadline(t time.Time) error {
	if err := s.SetReadDeadline(t); err != nil {
		return err
	}
	return s.SetWriteDeadline(t)
}

// SetReadDeadline sets when pending and later reads fail; the zero time is never.
func (s *Stream) SetReadDeadline(t time.Time) error {
	return s.setDeadline(&s.in.deadline, s.in.readable, t)
}

// SetWriteDeadline sets when pending and later writes fail; the zero time is never.
func (s *Stream) SetWriteDeadline(t time.Time) error {
	return s.setDeadline(&s.out.deadline, s.out.writable, t)
}

func (s *Stream) setDeadline(d *deadline, cond *sync.Cond, t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	d.set(t, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		cond.Broadcast()
	})
	cond.Broadcast()
	return nil
}

// deadline is a point in time and the timer that wakes those it concerns.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (d *deadline) set(t time.Time, wake func()) {
	d.stop()
	if d.at = t; !t.IsZero() && time.Until(t) > 0 {
		d.timer = time.AfterFunc(time.Until(t), wake)
	}
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
