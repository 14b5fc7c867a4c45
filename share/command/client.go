package command

import (
	"cmp"
	"context"
	"errors"
	"io"
	"sync"

	"tandem/session"
)

// Opener opens streams to the peer that runs the program; a session.Session is
// one.
type Opener interface {
	Open(ctx context.Context, h session.Header) (session.Stream, error)
}

// Client is the peer's half of command/1 for one program. Its methods may be
// called concurrently, but Wait once only.
type Client struct {
	stream session.Stream

	write sync.Mutex // one frame at a time

	mu    sync.Mutex
	room  *sync.Cond
	sent  uint64 // input, in bytes
	taken uint64 // of which the host has taken
	ended bool   // by End
	err   error  // why no more input will be taken
}

// Start asks a peer to run a program. A refusal comes from Wait.
func Start(ctx context.Context, peer Opener, r Request) (*Client, error) {
	h, err := r.Header()
	if err != nil {
		return nil, err
	}
	stream, err := peer.Open(ctx, h)
	if err != nil {
		return nil, err
	}
	c := &Client{stream: stream}
	c.room = sync.NewCond(&c.mu)
	return c, nil
}

// errOver is what input fails with once the program has ended.
var errOver = &session.Error{Op: "run", Kind: session.Canceled, Text: "the program has ended", Err: io.ErrClosedPipe}

// Wait passes the program's output on and returns how it ended. It fails with
// the host's *session.Error if that refused or ended it, with the writers'
// errors, and with an error of kind Integrity or Invalid if the host does not
// keep to the protocol; the program is then ended. While a writer blocks, the
// program is held up.
func (c *Client) Wait(out, err io.Writer) (Exit, error) {
	exit, failed := c.wait(out, err)
	c.mu.Lock()
	if c.err = failed; failed == nil {
		c.err = errOver
	}
	c.mu.Unlock()
	c.room.Broadcast()
	if failed != nil {
		_ = c.stream.Reset(failed)
	}
	_ = c.stream.Close()
	return exit, failed
}

func (c *Client) wait(out, err io.Writer) (Exit, error) {
	frames := newFrameReader(c.stream)
	for {
		m, failed := frames.Next()
		if errors.Is(failed, io.EOF) {
			failed = session.Errorf("run", session.Integrity, "the peer does not say how the program ended: %w", io.ErrUnexpectedEOF)
		}
		if failed != nil {
			return Exit{}, failed
		}
		switch m := m.(type) {
		case stdout:
			_, failed = out.Write(m)
		case stderr:
			_, failed = err.Write(m)
		case taken:
			failed = c.confirm(uint64(m))
		case Exit:
			return m, nil
		default:
			failed = session.Errorf("run", session.Invalid, "frame %#02x is the peer's to send", m.frameType())
		}
		if failed != nil {
			return Exit{}, failed
		}
	}
}

func (c *Client) confirm(total uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if total < c.taken || total > c.sent {
		return session.Errorf("run", session.Integrity, "the host took input that was not sent")
	}
	c.taken = total
	c.room.Broadcast()
	return nil
}

// Write gives the program input. It waits while the program does not read, and
// fails when Wait has returned. It must not follow End.
func (c *Client) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		c.mu.Lock()
		for c.err == nil && !c.ended && c.sent-c.taken >= InputWindow {
			c.room.Wait()
		}
		if c.err != nil || c.ended {
			defer c.mu.Unlock()
			if c.err != nil {
				return written, c.err
			}
			return written, session.Errorf("run", session.Invalid, "input after its end")
		}
		n := int(min(uint64(len(p)-written), InputWindow-(c.sent-c.taken), 32<<10))
		c.sent += uint64(n)
		c.mu.Unlock()
		if err := c.send(stdin(p[written : written+n])); err != nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			return written, cmp.Or(c.err, err)
		}
		written += n
	}
	return written, nil
}

// End says that no more input will come. A second End does nothing.
func (c *Client) End() error {
	c.mu.Lock()
	done := c.ended || c.err != nil
	c.ended = true
	c.mu.Unlock()
	c.room.Broadcast()
	if done {
		return nil
	}
	return c.send(end{})
}

// Signal sends a signal to the program's process group: one of those that the
// package comment lists, such as "INT".
func (c *Client) Signal(name string) error {
	if _, err := decode(typeSignal, []byte(name)); err != nil {
		return session.Errorf("signal", session.Invalid, "%q is not a signal that travels", session.PrintableName(name))
	}
	return c.send(signalName(name))
}

// Close leaves: a program that still runs is ended by its host. Wait fails.
func (c *Client) Close() error { return c.stream.Close() }

func (c *Client) send(m message) error {
	c.write.Lock()
	defer c.write.Unlock()
	_, err := c.stream.Write(appendFrame(nil, m))
	return err
}
