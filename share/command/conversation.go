package command

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"tandem/session"
)

// Linger is how long the output may be silent after the program has ended
// before it counts as ended too, although another process holds it open.
const Linger = time.Second

// takenEvery is how much input is confirmed at once.
const takenEvery = InputWindow / 8

// farewell is how long a peer may take to close the stream after EXIT.
const farewell = 10 * time.Second

// errTimeout ends a program; its peer is told by EXIT, not by a reset.
var errTimeout = errors.New("timeout")

// conversation is one program and the stream of its peer.
type conversation struct {
	program *process
	stream  session.Stream
	exited  func(code int) // called once

	write sync.Mutex // one frame at a time
	ended atomic.Bool

	mu       sync.Mutex
	changed  *sync.Cond
	waiting  []byte // input that the program has not been given yet
	received uint64 // input that has come
	taken    uint64 // of which the program has been given
	inputEnd bool   // no more will come
	gone     bool   // nobody will read what is waiting
}

func newConversation(p *process, stream session.Stream) *conversation {
	c := &conversation{program: p, stream: stream}
	c.changed = sync.NewCond(&c.mu)
	return c
}

// serve runs the program to its end. It returns when the program, all that is
// left of its session, and all work for it have ended.
func (c *conversation) serve(parent context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	if timeout > 0 {
		timer := time.AfterFunc(timeout, func() { cancel(errTimeout) })
		defer timer.Stop()
	}
	var input, output, watch sync.WaitGroup
	input.Go(func() {
		cancel(c.read()) // nothing, if the program has ended before
		c.closeInput()
	})
	input.Go(c.feed)
	for _, pump := range []func() error{
		func() error { return c.pump(c.program.out, func(b []byte) message { return stdout(b) }) },
		func() error { return c.pump(c.program.err, func(b []byte) message { return stderr(b) }) },
	} {
		output.Go(func() {
			if err := pump(); err != nil {
				cancel(err)
			}
		})
	}
	over := make(chan struct{})
	watch.Go(func() {
		select {
		case <-ctx.Done():
		case <-over:
			return
		}
		timedOut := errors.Is(context.Cause(ctx), errTimeout)
		if !timedOut {
			_ = c.stream.Reset(context.Cause(ctx)) // whoever writes to it stops
		}
		c.program.end()
		if !timedOut {
			return
		}
		select { // the peer may take its time to read the rest
		case <-parent.Done():
			_ = c.stream.Reset(context.Cause(parent))
		case <-over:
		}
	})

	exit := c.program.wait()
	c.exited(exit.Code)
	c.ended.Store(true)
	linger(c.program.out, Linger)
	linger(c.program.err, Linger)
	output.Wait()

	cause := context.Cause(ctx)
	if errors.Is(cause, errTimeout) {
		exit.Reason, cause = "it took longer than "+timeout.String(), nil
	}
	if cause == nil {
		cause = c.send(exit)
	}
	// From here on nothing may reset the stream: EXIT is on its way.
	close(over)
	watch.Wait()
	part(parent, c.stream, func() {
		c.program.end() // what it has left behind
		_ = c.program.in.Close()
		input.Wait()
	})
	c.program.close()
	return cause
}

// part ends a stream behind EXIT. The peer closes it when it has read that:
// closing it first would fail the input that is still under way, and EXIT with it
// where the stream passes through others. read returns when the peer has closed.
func part(ctx context.Context, stream session.Stream, read func()) {
	closeNow := func() { _ = stream.Close() }
	_ = stream.CloseWrite()
	timer := time.AfterFunc(farewell, closeNow)
	defer timer.Stop()
	stop := context.AfterFunc(ctx, closeNow)
	defer stop()
	read()
	closeNow()
}

// read takes the peer's frames until the stream ends, which before EXIT means
// that the peer has left.
func (c *conversation) read() error {
	frames := newFrameReader(c.stream)
	for {
		m, err := frames.Next()
		if errors.Is(err, io.EOF) {
			return session.Errorf("run", session.Canceled, "the peer has left")
		}
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case stdin:
			err = c.take(m)
		case end:
			err = c.endInput()
		case signalName:
			c.program.signal(m)
		default:
			err = session.Errorf("run", session.Invalid, "frame %#02x is the host's to send", m.frameType())
		}
		if err != nil {
			return err
		}
	}
}

func (c *conversation) take(p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received += uint64(len(p))
	switch {
	case c.inputEnd:
		return session.Errorf("run", session.Invalid, "input after its end")
	case c.received-c.taken > InputWindow:
		return session.Errorf("run", session.Invalid, "more input than there is room for")
	}
	c.waiting = append(c.waiting, p...)
	c.changed.Signal()
	return nil
}

func (c *conversation) endInput() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inputEnd {
		return session.Errorf("run", session.Invalid, "a second end of the input")
	}
	c.inputEnd = true
	c.changed.Signal()
	return nil
}

// closeInput ends feed: the peer has left or the program has ended.
func (c *conversation) closeInput() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	c.changed.Signal()
}

// feed gives the program its input, and closes it behind the last byte.
func (c *conversation) feed() {
	defer func() { _ = c.program.in.Close() }()
	var block []byte
	var confirmed uint64
	deaf := false // the program has closed its standard input
	for {
		c.mu.Lock()
		for len(c.waiting) == 0 && !c.inputEnd && !c.gone {
			c.changed.Wait()
		}
		if c.gone || len(c.waiting) == 0 {
			c.mu.Unlock()
			return
		}
		block, c.waiting = c.waiting, block[:0]
		c.mu.Unlock()
		for rest := block; len(rest) > 0; {
			n := min(len(rest), MaxBody)
			if !deaf {
				if _, err := c.program.in.Write(rest[:n]); err != nil {
					deaf = true
				}
			}
			rest = rest[n:]
			c.mu.Lock()
			c.taken += uint64(n)
			total, gone := c.taken, c.gone
			c.mu.Unlock()
			if gone {
				return
			}
			if total-confirmed >= takenEvery {
				confirmed = total
				if c.send(taken(total)) != nil {
					return // read has noticed too
				}
			}
		}
	}
}

// pump passes output on as fast as the peer takes it.
func (c *conversation) pump(from *os.File, frame func([]byte) message) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := readOutput(from, buf)
		if n > 0 {
			if err := c.send(frame(buf[:n])); err != nil {
				return err
			}
		}
		if err != nil {
			return nil // ended, or silent for too long
		}
		if c.ended.Load() {
			linger(from, Linger)
		}
	}
}

// readOutput reads what there is, also when the time for it is over: on a busy
// host that may be before anybody has looked.
func readOutput(from *os.File, buf []byte) (int, error) {
	n, err := from.Read(buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if n = waiting(from, buf); n > 0 {
			return n, nil
		}
	}
	return n, err
}

func (c *conversation) send(m message) error {
	c.write.Lock()
	defer c.write.Unlock()
	_, err := c.stream.Write(appendFrame(nil, m))
	return err
}
