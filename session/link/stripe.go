package link

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tandem/session/link/stream"
)

const (
	// bulkProtocol is the protocol in the DATA_CHANNEL_OPEN of a striped stream.
	bulkProtocol = "bulk"
	// bulkWindow and bulkMaxWindow are how much received bulk data may wait for its
	// reader: what a fast and long path holds.
	bulkWindow    = 2 << 20
	bulkMaxWindow = 16 << 20
	// stripeHeader is a message's number, on the trunk.
	stripeHeader = 4
	// maxAhead is how far a message may be ahead of the one expected next, and
	// maxKept how many bytes wait out of order, of all streams of a session. A
	// message counts keptCost more than its length.
	maxAhead = 1 << 15
	maxKept  = 40 << 20
	keptCost = 64
	// ackEvery is how much may have arrived before it is acknowledged, in bytes.
	ackEvery = 256 << 10
	// stripeLinger bounds how long a stream that has ended waits for
	// acknowledgements.
	stripeLinger = time.Minute
	// frameReset is the type of the frame that overtakes all others.
	frameReset = 7
)

// stripe is a stream.Channel over the trunk and the lanes: each message has a
// number, travels on whichever is right for it, and is put in order at the other
// end. All but the first message of the opener is numbered.
type stripe struct {
	lanes  *lanes
	trunk  *channel
	id     uint16
	opener bool
	begun  bool // the first message has been written, or read; whoever does it

	once     sync.Once
	closed   chan struct{}
	underWay atomic.Int32  // messages that lanes have and the peer has not
	over     chan struct{} // closed when everything we sent is acknowledged, once closed

	mu      sync.Mutex
	changed *sync.Cond
	err     error // why nothing more arrives
	ending  bool  // Close was called

	number    uint32 // of the next message we send
	bulk      int    // bytes of bulk data sent
	heard     bool   // the peer has said something, and so knows this stream
	acked     uint32 // the peer has all before this one
	unacked   []unacked
	released  bool
	forgotten bool // what was sent does not matter any more

	next  uint32 // of the message to be read next
	ahead map[uint32][]byte
	reset []byte // a RESET that arrived
	taken int    // bytes read since the last acknowledgement
	owing bool   // a message that the peer may keep until then is among them
}

// unacked is a message that was given to a lane.
type unacked struct {
	number uint32
	size   int
}

var (
	_ stream.Channel = (*stripe)(nil)
	_ stream.Sizer   = (*stripe)(nil)
)

func (ls *lanes) stripe(trunk *channel, opener bool) *stripe {
	st := &stripe{
		lanes: ls, trunk: trunk, id: trunk.id, opener: opener, heard: !opener,
		closed: make(chan struct{}), over: make(chan struct{}), ahead: make(map[uint32][]byte),
	}
	st.changed = sync.NewCond(&st.mu)
	ls.mu.Lock()
	ls.stripes[st.id] = st
	if opener {
		ls.foresee(time.Now())
	}
	ls.mu.Unlock()
	if opener {
		ls.link.work.Go(st.pump)
	}
	return st
}

// MessageSize is how long bulk messages should be now.
func (st *stripe) MessageSize() int {
	if size := st.lanes.messageSize(); size != 0 {
		return size
	}
	return st.trunk.MessageSize()
}

// pump takes what arrives on the trunk until that ends.
func (st *stripe) pump() {
	buf := make([]byte, stripeHeader+stream.MaxMessage)
	for {
		n, err := st.trunk.ReadMessage(buf)
		if err != nil {
			st.fail(err)
			st.release()
			return
		}
		switch {
		case n < stripeHeader:
			st.trunk.conn.fail(malformed("a message of %d bytes on a bulk stream", n))
		case n == stripeHeader:
			st.acknowledged(binary.BigEndian.Uint32(buf))
		default:
			st.arrived(binary.BigEndian.Uint32(buf), bytes.Clone(buf[stripeHeader:n]), false)
		}
	}
}

func (st *stripe) fail(err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.err == nil {
		st.err = err
	}
	st.changed.Broadcast()
}

// arrived takes a message, from the trunk or a lane, and keeps its frame. Each counts
// once.
func (st *stripe) arrived(number uint32, frame []byte, byLane bool) {
	st.lanes.touch()
	st.mu.Lock()
	defer st.mu.Unlock()
	st.heard = true
	if st.ending || st.err != nil {
		return
	}
	if frame[0] == frameReset {
		st.reset = frame // abandons what came before
		st.forget()
		st.changed.Broadcast()
		return
	}
	distance := number - st.next
	if distance >= 1<<31 {
		return // it came again
	}
	if distance >= maxAhead {
		st.trunk.conn.fail(refused("the peer sends message %d of a stream where %d is next", number, st.next))
		return
	}
	if _, known := st.ahead[number]; known {
		return
	}
	if !st.lanes.keep(len(frame) + keptCost) {
		st.trunk.conn.fail(refused("the peer sends too much out of order"))
		return
	}
	st.ahead[number] = frame
	st.owing = st.owing || byLane
	if number == st.next {
		st.changed.Broadcast()
	}
}

// ReadMessage reads the next message.
func (st *stripe) ReadMessage(buf []byte) (int, error) {
	if !st.opener && !st.begun {
		st.begun = true
		n, err := st.trunk.ReadMessage(buf)
		if err == nil {
			st.acknowledge(0) // tells the peer that lanes may be used
			st.lanes.link.work.Go(st.pump)
		} else {
			st.release()
		}
		return n, err
	}
	st.mu.Lock()
	for {
		frame, ok := st.ahead[st.next]
		switch {
		case st.ending:
			st.mu.Unlock()
			return 0, io.ErrClosedPipe
		case st.reset != nil:
			n := copy(buf, st.reset)
			st.reset = nil
			st.mu.Unlock()
			return n, nil
		case ok:
			delete(st.ahead, st.next)
			st.next++
			st.taken += len(frame)
			// What is not bulk is the end, or a pause: say that it all came.
			due := st.owing && (st.taken >= ackEvery || len(frame) <= smallMessage && len(st.ahead) == 0)
			next := st.next
			if due {
				st.taken, st.owing = 0, len(st.ahead) > 0
			}
			st.mu.Unlock()
			st.lanes.keep(-len(frame) - keptCost)
			if due {
				st.acknowledge(next)
			}
			if len(frame) > len(buf) {
				return 0, io.ErrShortBuffer
			}
			n := copy(buf, frame)
			st.lanes.frames.put(frame)
			return n, nil
		case st.err != nil:
			err := st.err
			st.mu.Unlock()
			return 0, err
		}
		st.changed.Wait()
	}
}

// acknowledge tells the peer that all messages before next are here.
func (st *stripe) acknowledge(next uint32) {
	_ = st.trunk.write(binary.BigEndian.AppendUint32(nil, next)) // fails only with the trunk
}

// acknowledged forgets what the peer has.
func (st *stripe) acknowledged(next uint32) {
	st.mu.Lock()
	st.heard = true
	if next-st.acked < 1<<31 && next-st.acked <= st.number-st.acked {
		st.acked = next
	}
	freed, n := 0, 0
	for n < len(st.unacked) && st.unacked[n].number-st.acked >= 1<<31 {
		freed += st.unacked[n].size
		n++
	}
	st.unacked = st.unacked[n:]
	st.checkOver()
	st.changed.Broadcast()
	st.mu.Unlock()
	st.lanes.retain(-freed)
}

// checkOver notes that nothing is left to be acknowledged; st.mu is held.
func (st *stripe) checkOver() {
	if st.ending && len(st.unacked) == 0 {
		select {
		case <-st.over:
		default:
			close(st.over)
		}
	}
}

// WriteMessage sends a message: bulk data on a lane if there is one, everything
// else on the trunk.
func (st *stripe) WriteMessage(b []byte) error {
	if st.opener && !st.begun {
		st.begun = true
		return st.trunk.WriteMessage(b)
	}
	st.mu.Lock()
	for st.number-st.acked >= maxAhead/2 && b[0] != frameReset && st.err == nil && !st.ending && len(st.unacked) > 0 {
		st.changed.Wait()
	}
	number := st.number
	st.number++
	if len(b) > smallMessage {
		st.bulk += len(b)
	}
	// What comes behind bulk data has to wait for that anyway.
	lanes := st.heard && st.bulk > laneAfter && (len(b) > smallMessage || st.underWay.Load() > 0)
	if b[0] == frameReset {
		st.forget() // nothing else matters any more
		lanes = false
	}
	if lanes && !st.forgotten {
		st.unacked = append(st.unacked, unacked{number, len(b)})
		st.lanes.retain(len(b))
	}
	st.mu.Unlock()
	if lanes {
		frame := st.lanes.frames.get(len(b))
		copy(frame, b)
		if st.lanes.take(cargo{st, number, frame}) {
			return nil
		}
		st.lanes.frames.put(frame)
	}
	err := st.byTrunk(number, b)
	if lanes {
		st.unlist(number)
	}
	return err
}

// unlist forgets a message that goes by the trunk after all, which loses nothing.
func (st *stripe) unlist(number uint32) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for i := len(st.unacked) - 1; i >= 0; i-- {
		if u := st.unacked[i]; u.number == number {
			st.unacked = slices.Delete(st.unacked, i, i+1)
			st.lanes.retain(-u.size)
			break
		}
	}
	st.checkOver()
}

func (st *stripe) byTrunk(number uint32, b []byte) error {
	message := binary.BigEndian.AppendUint32(make([]byte, 0, stripeHeader+len(b)), number)
	return st.trunk.WriteMessage(append(message, b...))
}

// forget gives up what is not acknowledged, now and later; st.mu is held.
func (st *stripe) forget() {
	st.forgotten = true
	freed := 0
	for _, u := range st.unacked {
		freed += u.size
	}
	st.unacked = nil
	st.lanes.retain(-freed)
	st.checkOver()
}

// Close ends the channel: the trunk's part when the peer has everything that
// was sent.
func (st *stripe) Close() error {
	st.once.Do(func() {
		st.mu.Lock()
		st.ending = true
		clean := st.err == nil
		kept := 0
		for _, frame := range st.ahead {
			kept += len(frame) + keptCost
		}
		st.ahead = nil
		st.checkOver()
		wait := clean && len(st.unacked) > 0
		st.changed.Broadcast()
		st.mu.Unlock()
		st.lanes.keep(-kept)
		if !wait {
			st.shut()
			return
		}
		st.lanes.link.work.Go(func() {
			t := time.NewTimer(stripeLinger)
			defer t.Stop()
			select {
			case <-st.over:
			case <-t.C:
			case <-st.trunk.conn.done:
			}
			st.shut()
		})
	})
	return nil
}

func (st *stripe) shut() {
	close(st.closed)
	st.lanes.stir()
	_ = st.trunk.Close() // returns nil
	st.release()
}

// release forgets the stripe, once.
func (st *stripe) release() {
	st.mu.Lock()
	if st.released {
		st.mu.Unlock()
		return
	}
	st.released = true
	st.forget()
	st.mu.Unlock()
	st.lanes.mu.Lock()
	if st.lanes.stripes[st.id] == st {
		delete(st.lanes.stripes, st.id)
	}
	st.lanes.mu.Unlock()
}

// shutting says whether what was sent does not matter any more.
func (st *stripe) shutting() bool {
	select {
	case <-st.closed:
		return true
	case <-st.trunk.conn.done:
		return true
	default:
		return false
	}
}
