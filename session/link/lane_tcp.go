package link

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"time"

	"tandem/session"
	"tandem/session/link/stream"
)

const (
	// tcpData and tcpAck are the types of a TCP lane's frames, and tcpHeader and
	// tcpAckSize how long the former's header and the latter are.
	tcpData    = 1
	tcpAck     = 2
	tcpHeader  = 1 + 2 + 4 + 2
	tcpAckSize = 1 + 4

	// tcpPiece is how much is encrypted and written at once, and tcpBacklog how much
	// may wait for that, in bytes.
	tcpPiece   = 256 << 10
	tcpBacklog = 512 << 10
	// tcpBuffer is how much is read from the socket at once.
	tcpBuffer = 256 << 10
	// Arrivals are acknowledged after tcpAckEvery bytes, or tcpAckDelay.
	tcpAckEvery = 128 << 10
	tcpAckDelay = time.Millisecond
	// tcpSilent is how long nothing may arrive of what is under way.
	tcpSilent = 2 * time.Second
	tcpPoll   = 250 * time.Millisecond
	// A path that loses one of tcpLossy segments, of tcpCounted at least, is for packet
	// lanes: most of TCP takes each for congestion.
	tcpLossy   = 200
	tcpCounted = 2000
)

// tcpLane is a lane over TCP: TLS keeps order and loses nothing, so there are frames
// of any length, and acknowledgements only to know what to send again when it breaks.
type tcpLane struct {
	lanes *lanes
	conn  *tls.Conn
	setup *tcpSetup
	wake  chan struct{} // tells write that something has changed
	done  chan struct{} // closed when the lane has failed
	once  sync.Once
	count laneCount
	err   error // why; nil if nobody needs it any more

	mu      sync.Mutex
	room    *sync.Cond // whoever has more cargo waits here
	over    bool
	backlog []cargo // to be written
	waiting int     // how many bytes those are
	flight  []cargo // written, and not acknowledged
	window  tcpWindow

	acked   uint32    // frames of ours that the peer has
	arrived uint32    // frames of the peer's
	unacked int       // bytes of those that we have not acknowledged
	ackAt   time.Time // when to; zero for never
}

func newTCPLane(ls *lanes, c *tls.Conn, s *tcpSetup) *tcpLane {
	l := &tcpLane{lanes: ls, conn: c, setup: s, wake: make(chan struct{}, 1), done: make(chan struct{})}
	l.room = sync.NewCond(&l.mu)
	l.count.since = time.Now()
	return l
}

// fail ends the lane; nil is no failure.
func (l *tcpLane) fail(err error) {
	l.once.Do(func() {
		l.err = err
		_ = l.conn.NetConn().Close() // what that loses is sent again
		l.mu.Lock()
		l.over = true
		l.room.Broadcast()
		l.mu.Unlock()
		close(l.done)
	})
}

// carryTCP uses the lane until that is over.
func (ls *lanes) carryTCP(ctx context.Context, l *tcpLane) error {
	var work sync.WaitGroup
	work.Go(func() { l.fail(l.read()) })
	work.Go(func() { l.fail(l.write()) })
	ls.mu.Lock()
	ls.tcp.live = l
	ls.mu.Unlock()
	ls.touch()
	l.fail(l.watch(ctx))
	ls.mu.Lock()
	ls.tcp.live = nil
	ls.room.Broadcast()
	ls.mu.Unlock()
	work.Wait()
	ls.mu.Lock()
	ls.again = append(append(ls.again, l.flight...), l.backlog...)
	ls.stirLocked()
	ls.mu.Unlock()
	return l.err
}

// watch returns when the lane is over: broken, silent, idle for a while, the trunk
// has moved elsewhere, or the session has ended.
func (l *tcpLane) watch(ctx context.Context) error {
	ticker := time.NewTicker(tcpPoll)
	defer ticker.Stop()
	var losses tcpLossCount
	looked := time.Now()
	for {
		select {
		case <-l.done:
			return l.err
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			if !l.setup.beside(l.setup.trunk.path()) {
				return session.Errorf("lane", session.Unavailable, "the session has another path")
			}
			l.mu.Lock()
			silent := l.window.silent(now)
			l.mu.Unlock()
			ran := now.Sub(looked) < 2*tcpPoll // else it is us who have not heard
			if looked = now; ran && silent > tcpSilent {
				return session.Errorf("lane", session.Timeout, "the lane has been silent for %v", silent)
			}
			if losses.lossy(tcpLosses(l.conn.NetConn().(*batchConn).Conn)) {
				return errTCPLossy
			}
			if l.lanes.link.role == offerer && now.Sub(time.Unix(0, l.lanes.used.Load())) > laneIdle {
				return nil
			}
		}
	}
}

// errTCPLossy is why a lane is given up that would still work.
var errTCPLossy = session.Errorf("lane", session.Unavailable, "the path loses packets")

// tcpLossCount watches a connection's losses.
type tcpLossCount struct{ sent, again uint32 }

// lossy takes how many segments were sent so far, and how many of them again, and says
// whether that are too many of the last ones.
func (c *tcpLossCount) lossy(sent, again uint32) bool {
	if sent == 0 || sent-c.sent < tcpCounted { // not known, or too few
		return false
	}
	lossy := (again-c.again)*tcpLossy > sent-c.sent
	c.sent, c.again = sent, again
	return lossy
}

// take has a message sent, and waits while many others do. It returns false if the
// lane is over, or the message's stream.
func (l *tcpLane) take(p cargo) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.waiting >= tcpBacklog && !l.over && !p.st.shutting() {
		l.room.Wait()
	}
	if l.over || p.st.shutting() {
		return false
	}
	p.st.underWay.Add(1)
	l.backlog = append(l.backlog, p)
	if l.waiting += len(p.frame); l.window.room() > 0 {
		l.stir()
	}
	return true
}

// look makes whoever waits for room look again.
func (l *tcpLane) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.room.Broadcast()
}

func (l *tcpLane) stir() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// write sends what there is to send, until the lane is over.
func (l *tcpLane) write() error {
	timer := time.NewTimer(tcpAckDelay)
	defer timer.Stop()
	out := l.conn.NetConn().(*batchConn)
	out.gather()
	buf := make([]byte, 0, tcpPiece+stream.MaxFrame+tcpHeader+tcpAckSize)
	for {
		b, ackAt := l.next(buf, time.Now())
		if len(b) > 0 {
			if _, err := l.conn.Write(b); err != nil {
				return peerGone(err)
			}
			if err := out.Flush(); err != nil {
				return peerGone(err)
			}
			l.lanes.link.sent.Add(uint64(len(b)))
			l.count.sent.Add(uint64(len(b)))
			continue
		}
		var late <-chan time.Time
		if !ackAt.IsZero() {
			timer.Reset(time.Until(ackAt))
			late = timer.C
		}
		select {
		case <-l.wake:
		case <-late:
		case <-l.done:
			return nil
		}
	}
}

// next appends the frames that may leave now to b, and says when there will be an
// acknowledgement.
func (l *tcpLane) next(b []byte, now time.Time) ([]byte, time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unacked >= tcpAckEvery || !l.ackAt.IsZero() && !now.Before(l.ackAt) {
		b = appendTCPAck(b, l.arrived)
		l.unacked, l.ackAt = 0, time.Time{}
	}
	room, n, size := l.window.room(), 0, 0
	for n < len(l.backlog) && room > size && len(b) < tcpPiece {
		p := l.backlog[n]
		n++
		l.waiting -= len(p.frame)
		if p.st.shutting() {
			p.st.underWay.Add(-1)
			continue
		}
		b = appendTCPData(b, p)
		size += len(p.frame)
		l.flight = append(l.flight, p)
	}
	if n > 0 {
		clear(l.backlog[:n])
		if l.backlog = l.backlog[n:]; len(l.backlog) == 0 {
			l.backlog = nil
		}
		l.room.Broadcast()
	}
	if size > 0 {
		l.window.sent(size, now)
	}
	if size > 0 && l.unacked > 0 { // it leaves with the rest
		b = appendTCPAck(b, l.arrived)
		l.unacked, l.ackAt = 0, time.Time{}
	}
	return b, l.ackAt
}

func appendTCPData(b []byte, p cargo) []byte {
	b = binary.BigEndian.AppendUint16(append(b, tcpData), p.st.id)
	b = binary.BigEndian.AppendUint32(b, p.number)
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.frame)))
	return append(b, p.frame...)
}

func appendTCPAck(b []byte, count uint32) []byte {
	return binary.BigEndian.AppendUint32(append(b, tcpAck), count)
}

// tcpFrame is a frame of the peer's.
type tcpFrame struct {
	id      uint16
	message uint32
	body    []byte // of data; nil for an acknowledgement
	count   uint32
}

// readTCPFrame reads what appendTCPData and appendTCPAck wrote, into memory of pool.
func readTCPFrame(r *bufio.Reader, pool *frames) (f tcpFrame, err error) {
	var header [tcpHeader]byte
	if _, err := io.ReadFull(r, header[:1]); err != nil {
		return f, err
	}
	switch header[0] {
	case tcpAck:
		if _, err := io.ReadFull(r, header[1:tcpAckSize]); err != nil {
			return f, err
		}
		f.count = binary.BigEndian.Uint32(header[1:])
		return f, nil
	case tcpData:
		if _, err := io.ReadFull(r, header[1:]); err != nil {
			return f, err
		}
		n := int(binary.BigEndian.Uint16(header[7:]))
		if n == 0 || n > stream.MaxFrame {
			return f, malformed("a message of %d bytes on a lane", n)
		}
		f.id, f.message, f.body = binary.BigEndian.Uint16(header[1:]), binary.BigEndian.Uint32(header[3:]), pool.get(n)
		_, err = io.ReadFull(r, f.body)
		return f, err
	}
	return f, malformed("a frame of type %d on a lane", header[0])
}

// read takes what arrives, until the lane is over.
func (l *tcpLane) read() error {
	r := bufio.NewReaderSize(l.conn, stream.MaxFrame+tcpHeader)
	for {
		f, err := readTCPFrame(r, &l.lanes.frames)
		if err != nil {
			return err
		}
		if f.body == nil {
			if err := l.acknowledged(f.count); err != nil {
				return err
			}
			continue
		}
		l.lanes.mu.Lock()
		st := l.lanes.stripes[f.id]
		l.lanes.mu.Unlock()
		if st != nil {
			st.arrived(f.message, f.body, true)
		}
		l.lanes.link.received.Add(uint64(len(f.body)))
		l.count.received.Add(uint64(tcpHeader + len(f.body)))
		l.note(len(f.body))
	}
}

// note counts a frame of the peer's that has arrived.
func (l *tcpLane) note(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.arrived++
	before := l.unacked
	l.unacked += n
	if before == 0 {
		l.ackAt = time.Now().Add(tcpAckDelay)
	}
	if before == 0 || before < tcpAckEvery && l.unacked >= tcpAckEvery {
		l.stir()
	}
}

// acknowledged forgets what has arrived: count frames since the lane began.
func (l *tcpLane) acknowledged(count uint32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := int(count - l.acked)
	if count-l.acked > uint32(len(l.flight)) {
		return malformed("a false acknowledgement on a lane")
	}
	bytes := 0
	for _, p := range l.flight[:n] {
		bytes += len(p.frame)
		p.st.underWay.Add(-1)
		l.lanes.frames.put(p.frame)
	}
	clear(l.flight[:n])
	l.acked, l.flight = count, l.flight[n:]
	l.window.acked(bytes, time.Now())
	if len(l.backlog) > 0 {
		l.stir()
	}
	return nil
}

// batchConn is a TCP connection for TLS: what has arrived is read at once, and, from
// gather on, what TLS writes record by record leaves together.
type batchConn struct {
	net.Conn
	r *bufio.Reader

	mu sync.Mutex
	w  *bufio.Writer
}

func batched(c net.Conn) *batchConn {
	return &batchConn{Conn: c, r: bufio.NewReaderSize(c, tcpBuffer)}
}

func (c *batchConn) Read(p []byte) (int, error) { return c.r.Read(p) }

func (c *batchConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.w == nil {
		return c.Conn.Write(p)
	}
	return c.w.Write(p)
}

// gather has Write keep what it gets until Flush, or until there is much of it.
func (c *batchConn) gather() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.w = bufio.NewWriterSize(c.Conn, tcpBuffer)
}

// Flush sends what was written.
func (c *batchConn) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.w.Flush()
}
