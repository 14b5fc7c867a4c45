package terminal

import (
	"encoding/json"
	"sync"

	"tandem/session"
)

// Request is what a viewer asks for.
type Request struct {
	// Name is the terminal's; empty means DefaultName, or with Argv a name that
	// the host chooses.
	Name string
	// Right is what the viewer wants to do; empty means Control.
	Right Right
	Params
}

// Header is the header that opens the request's stream.
func (r Request) Header() (session.Header, error) {
	params, err := json.Marshal(r.Params)
	if err != nil {
		return session.Header{}, err
	}
	right := r.Right
	if right == "" {
		right = Control
	}
	return session.Header{Service: ServiceName, Resource: r.Name, Action: string(right), Params: params}, nil
}

// Client speaks the viewer's half of terminal/1 on one stream. Next is called
// from one goroutine; the other methods may be called from any.
type Client struct {
	stream session.Stream
	frames *frameReader

	welcomed bool     // Next only
	next     uint64   // the offset that must come next
	picture  Snapshot // the last piece of one, without its data

	write sync.Mutex // one frame at a time

	mu    sync.Mutex
	taken *sync.Cond
	sent  uint64 // input, in bytes
	tookN uint64 // of which the host has taken
	acked uint64
	err   error // why Next has failed
}

// NewClient takes over a stream that was opened with a Request's Header.
func NewClient(stream session.Stream) *Client {
	c := &Client{stream: stream, frames: newFrameReader(stream)}
	c.taken = sync.NewCond(&c.mu)
	return c
}

// Next returns the next event: Welcome first, then any of the others, Exit
// last. It fails with the host's *session.Error if that refused or threw the
// viewer out, with io.EOF after Exit, and with an error of kind Integrity or
// Invalid if the host does not keep to the protocol.
func (c *Client) Next() (Event, error) {
	event, err := c.read()
	if err != nil {
		c.mu.Lock()
		c.err = err
		c.mu.Unlock()
		c.taken.Broadcast()
	}
	return event, err
}

func (c *Client) read() (Event, error) {
	for {
		m, err := c.frames.Next()
		if err != nil {
			return nil, err
		}
		if p, ok := m.(ping); ok {
			_ = c.send(pong(p)) // of a broken stream, the next read tells
			continue
		}
		if t, ok := m.(Taken); ok {
			c.mu.Lock()
			wrong := uint64(t) < c.tookN || uint64(t) > c.sent
			c.tookN = max(c.tookN, uint64(t))
			c.mu.Unlock()
			if wrong {
				return nil, session.Errorf("terminal", session.Integrity, "the host took input that was not sent")
			}
			c.taken.Broadcast()
		}
		event, ok := m.(Event)
		if !ok {
			return nil, session.Errorf("terminal", session.Invalid, "frame %#02x is the viewer's to send", m.frameType())
		}
		if err := c.follow(event); err != nil {
			return nil, err
		}
		return event, nil
	}
}

// follow checks that the welcome comes first and that no byte of output is
// missing, repeated or out of order.
func (c *Client) follow(event Event) error {
	welcome, first := event.(Welcome)
	if first == c.welcomed {
		return session.Errorf("terminal", session.Invalid, "one welcome must come first")
	}
	from, to := c.next, c.next
	switch e := event.(type) {
	case Snapshot:
		return c.followSnapshot(e)
	case Output:
		from, to = e.Offset, e.Offset+uint64(len(e.Data))
	case Gap:
		from, to = e.From, e.To
	}
	if c.picture.Left > 0 && to != c.next {
		return session.Errorf("terminal", session.Integrity, "output within a snapshot")
	}
	if from != c.next {
		return session.Errorf("terminal", session.Integrity, "output goes on at %d instead of %d", from, c.next)
	}
	c.next = to
	if first {
		c.welcomed, c.next = true, welcome.Offset
		c.mu.Lock()
		c.acked = welcome.Offset
		c.mu.Unlock()
	}
	return nil
}

// Offset is the offset that follows the last event of Next.
func (c *Client) Offset() uint64 { return c.next }

// Ack tells the host that all output before offset has been dealt with. Small
// steps are saved up.
func (c *Client) Ack(offset uint64) error {
	c.mu.Lock()
	if offset < c.acked+ackEvery {
		c.mu.Unlock()
		return nil
	}
	c.acked = offset
	c.mu.Unlock()
	return c.send(ack(offset))
}

// ackEvery is how much output is acknowledged at once.
const ackEvery = Window / 8

// Input types p. It waits while the program does not read, and fails when Next
// has.
func (c *Client) Input(p []byte) error {
	for len(p) > 0 {
		c.mu.Lock()
		for c.err == nil && c.sent-c.tookN >= InputWindow {
			c.taken.Wait()
		}
		if c.err != nil {
			defer c.mu.Unlock()
			return c.err
		}
		n := min(uint64(len(p)), InputWindow-(c.sent-c.tookN), 16<<10-64)
		c.sent += n
		c.mu.Unlock()
		if err := c.send(input(p[:n])); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// Ask asks the host's person for the right to type. The roster shows it until
// they have decided.
func (c *Client) Ask() error { return c.send(ask{}) }

// Redraw asks for the screen once more, after something else was shown on it.
func (c *Client) Redraw() error { return c.send(redraw{}) }

// End says that no more input will come.
func (c *Client) End() error { return c.send(end{}) }

// Resize tells the host the viewer's new size. Sizes beyond MaxSize are cut; a
// zero size is not sent.
func (c *Client) Resize(s Size) error {
	if s = clamp(int(s.Cols), int(s.Rows)); s.IsZero() {
		return nil
	}
	return c.send(resize(s))
}

// Close detaches.
func (c *Client) Close() error { return c.stream.Close() }

func (c *Client) send(m message) error {
	c.write.Lock()
	defer c.write.Unlock()
	_, err := c.stream.Write(appendFrame(nil, m))
	return err
}
