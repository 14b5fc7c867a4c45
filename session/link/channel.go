package link

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/datachannel"
	"github.com/pion/sctp"

	"tandem/session/link/stream"
)

const (
	// smallMessage is the longest message that never waits, if nothing else of
	// its stream does.
	smallMessage = 1 << 10
	// recheck is how often a waiting writer looks whether others have left room.
	recheck = 2 * time.Millisecond
)

// channel is a detached data channel as a stream.Channel.
type channel struct {
	conn           *conn
	id             uint16
	dc             *datachannel.DataChannel
	sent, received *atomic.Uint64

	writing sync.Mutex
	written uint32 // messages

	mu       sync.Mutex
	arrivals arrivals

	low    chan struct{}
	once   sync.Once
	closed chan struct{}
}

var _ stream.Channel = (*channel)(nil)

func newChannel(c *conn, dc *datachannel.DataChannel, sent, received *atomic.Uint64) *channel {
	ch := &channel{
		conn: c, id: dc.StreamIdentifier(), dc: dc, sent: sent, received: received,
		arrivals: arrivals{kept: &c.copies.kept}, low: make(chan struct{}, 1), closed: make(chan struct{}),
	}
	c.copies.attach(ch.id, ch)
	dc.OnBufferedAmountLow(func() {
		select {
		case ch.low <- struct{}{}:
		default:
		}
	})
	return ch
}

func (ch *channel) ReadMessage(buf []byte) (int, error) {
	n, err := ch.readNext(buf)
	if err == nil {
		ch.received.Add(uint64(n))
		ch.conn.carrier.use()
		return n, nil
	}
	if ch.over() {
		return 0, io.ErrClosedPipe
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrShortBuffer) {
		return 0, err
	}
	<-ch.conn.done // SCTP has failed, and channel 0 with it
	<-ch.closed
	return 0, io.ErrClosedPipe
}

// readNext reads the next message, from the channel itself or a copy.
func (ch *channel) readNext(buf []byte) (int, error) {
	for {
		ch.mu.Lock()
		message, ok := ch.arrivals.take()
		ch.mu.Unlock()
		switch {
		case ok && len(message) > len(buf):
			return 0, io.ErrShortBuffer
		case ok:
			return copy(buf, message), nil
		}
		n, err := ch.dc.Read(buf)
		if errors.Is(err, sctp.ErrReadDeadlineExceeded) {
			_ = ch.dc.SetReadDeadline(time.Time{})
			// Looked at after that, so that Close can't be missed.
			select {
			case <-ch.closed:
				return 0, io.ErrClosedPipe
			default:
				continue
			}
		}
		if err != nil {
			return n, err
		}
		ch.mu.Lock()
		original := ch.arrivals.original()
		ch.mu.Unlock()
		if original {
			return n, nil
		}
	}
}

// offer takes a copy that has arrived.
func (ch *channel) offer(number uint32, message []byte) {
	ch.mu.Lock()
	next := ch.arrivals.copy(number, message)
	ch.mu.Unlock()
	if next {
		_ = ch.dc.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
	}
}

// over reports whether the channel has been closed here. When the connection
// has ended, it waits for that: whoever has the stream fails it with the
// session's own error before it closes the channel, and nothing here should be
// faster with a lesser one.
func (ch *channel) over() bool {
	select {
	case <-ch.conn.ending:
		<-ch.closed
		return true
	case <-ch.conn.done:
		<-ch.closed
		return true
	case <-ch.closed:
		return true
	default:
		return false
	}
}

// MessageSize is how long bulk messages should be now.
func (ch *channel) MessageSize() int { return ch.conn.governor.messageSize() }

func (ch *channel) WriteMessage(b []byte) error {
	var timer *time.Timer
	for !ch.mayWrite(len(b)) {
		if timer == nil {
			timer = time.NewTimer(recheck)
			defer timer.Stop()
		} else {
			timer.Reset(recheck)
		}
		select {
		case <-ch.low:
		case <-timer.C:
		case <-ch.closed:
			return io.ErrClosedPipe
		case <-ch.conn.done:
			<-ch.closed
			return io.ErrClosedPipe
		}
	}
	return ch.write(b)
}

// write hands a message to SCTP, which never blocks.
func (ch *channel) write(b []byte) error {
	ch.writing.Lock()
	defer ch.writing.Unlock()
	if _, err := ch.dc.Write(b); err != nil {
		if ch.over() {
			return io.ErrClosedPipe
		}
		_ = ch.Close() // a channel that lost a message is of no use
		return err
	}
	ch.sent.Add(uint64(len(b)))
	ch.conn.carrier.use()
	select {
	case ch.conn.urged <- struct{}{}:
	default:
	}
	ch.conn.copies.sent(ch.id, ch.written, b)
	ch.written++
	return nil
}

// mayWrite says whether a message of n bytes may be handed to SCTP now.
func (ch *channel) mayWrite(n int) bool {
	own := int(ch.dc.BufferedAmount())
	if own == 0 && n <= smallMessage {
		return true
	}
	if ch.conn.governor.mayWrite(own, ch.conn.sctp.BufferedAmount(), time.Now()) {
		return true
	}
	ch.dc.SetBufferedAmountLowThreshold(uint64(own / 2))
	return false
}

func (ch *channel) Close() error {
	ch.once.Do(func() {
		close(ch.closed)
		ch.conn.copies.detach(ch.id, ch)
		ch.mu.Lock()
		ch.arrivals.close()
		ch.mu.Unlock()
		select {
		case <-ch.conn.done:
			// The whole connection goes; a reset of this channel could reach
			// the peer before the reason does.
		default:
			_ = ch.dc.Close() // fails only when SCTP has ended
		}
		// Ends a read that waits; a closed SCTP stream would not.
		_ = ch.dc.SetReadDeadline(time.Unix(1, 0))
	})
	return nil
}
