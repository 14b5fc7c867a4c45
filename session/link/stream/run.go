package stream

import (
	"errors"
	"io"

	"tandem/session"
)

// run moves frames until both directions have ended, then closes the channel.
func (s *Stream) run() {
	defer close(s.done)
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		s.readFrames()
	}()
	s.writeFrames()
	_ = s.ch.Close() // nothing depends on the channel any more
	<-reading

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
	}
	s.in.deadline.stop()
	s.out.deadline.stop()
	s.wake()
}

// finished reports whether no further frame matters.
func (s *Stream) finished() bool {
	if s.out.err != nil {
		return s.in.eof || s.in.ended || s.closed
	}
	return s.out.eofSent && (s.in.eof || s.in.ended)
}

// writeFrames sends what there is to send. It never holds the lock while the
// channel is slow, and readFrames never waits for it: so two streams that
// both have much to say can't block each other.
func (s *Stream) writeFrames() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if s.finished() || s.err != nil && s.out.reset == nil {
			return
		}
		msg, b := s.nextFrame()
		if msg == nil {
			s.out.work.Wait()
			continue
		}
		s.mu.Unlock()
		err := s.ch.WriteMessage(msg)
		if b != nil {
			b.free()
		}
		s.mu.Lock()
		if b != nil {
			s.out.writable.Broadcast()
		}
		if err != nil {
			// What has already arrived may still be read. readFrames will see
			// the end of the channel, and the peer's reason if it gave one;
			// writers wait for that.
			s.out.err = lost(err)
			s.out.reset = nil
			s.lingerLocked()
		}
	}
}

// nextFrame takes the next frame to send, if any, and the buffer it lies in.
func (s *Stream) nextFrame() ([]byte, *buffer) {
	out := &s.out
	switch {
	case out.err != nil:
		return nil, nil
	case out.header != nil:
		// Also ahead of a reset, so that the peer knows what was reset.
		msg := out.header
		out.header = nil
		return msg, nil
	case out.reset != nil:
		msg := out.reset
		out.reset = nil // the last frame
		return msg, nil
	case out.stop && !s.in.eof:
		out.stop = false
		return []byte{byte(typeStop)}, nil
	case out.window && !s.closed && !s.in.eof:
		out.window = false
		s.in.granted = s.in.consumed + s.in.window
		return windowFrame(s.in.granted), nil
	case out.queue.size > 0:
		most := MaxPayload
		if sizer, ok := s.ch.(Sizer); ok {
			most = max(sizer.MessageSize()-1, 1)
		}
		b := out.queue.take(most)
		frame := b.mem[b.start-1 : b.end]
		frame[0] = byte(typeData)
		return frame, b
	case out.blocked && !out.eof:
		out.blocked = false
		return []byte{byte(typeBlocked)}, nil
	case out.eof && !out.eofSent:
		out.eofSent = true
		return []byte{byte(typeEOF)}, nil
	}
	return nil, nil
}

// readFrames takes what arrives until the channel ends.
func (s *Stream) readFrames() {
	b := newBuffer()
	defer func() { b.free() }()
	for {
		n, err := s.ch.ReadMessage(b.mem[:])
		s.mu.Lock()
		if err != nil {
			s.endRead(err)
			s.mu.Unlock()
			return
		}
		b.start, b.end = 1, max(n, 1)
		kept, err := s.receive(b, n)
		if err != nil {
			s.resetLocked(err)
		}
		s.mu.Unlock()
		if kept {
			b = newBuffer()
		}
	}
}

// endRead notes that the channel has ended.
func (s *Stream) endRead(err error) {
	over := s.finished()
	s.in.ended = true
	switch {
	case s.err != nil || over:
	case errors.Is(err, io.ErrShortBuffer):
		s.resetLocked(violation("frame of more than %d bytes", MaxFrame))
	case s.in.eof:
		if s.out.err == nil {
			s.out.err = lost(err)
		}
	default:
		s.failLocked(lost(err))
	}
	s.wake()
}

// receive handles the frame in the first n bytes of b. It reports whether the
// queue has kept b.
func (s *Stream) receive(b *buffer, n int) (kept bool, err error) {
	if s.err != nil {
		return false, nil
	}
	f, err := parse(b.mem[:n])
	if err != nil {
		return false, err
	}
	if s.in.eof && (f.kind == typeData || f.kind == typeBlocked || f.kind == typeEOF) {
		return false, violation("frame of type %d after the end", f.kind)
	}
	switch f.kind {
	case typeHeader:
		return false, violation("unexpected header")
	case typeData:
		s.in.received += uint64(len(f.data))
		if s.in.received > s.in.granted {
			return false, violation("data beyond the credit")
		}
		if s.closed {
			return false, nil
		}
		kept = s.in.queue.add(b)
		s.in.readable.Broadcast()
	case typeWindow:
		if f.limit < s.out.limit {
			return false, violation("window limit falls")
		}
		s.out.limit = f.limit
		s.out.blocked = false
		s.out.writable.Broadcast()
	case typeBlocked:
		s.in.blocked = true
		s.credit()
	case typeEOF:
		s.in.eof = true
		s.wake()
	case typeStop:
		if s.in.stopped {
			return false, violation("second stop")
		}
		s.in.stopped = true
		s.out.queue.clear()
		s.out.eof = true
		s.wake()
	case typeReset:
		s.failLocked(f.reset)
	}
	return kept, nil
}

// lost is the error of a stream whose channel has ended too early.
func lost(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return &session.Error{Op: "stream", Kind: session.Unavailable, Text: "the connection to the peer was lost", Err: err}
}
