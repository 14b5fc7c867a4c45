package sessiontest

import (
	"io"
	"sync"
	"time"

	"tandem/session/link/stream"
)

// maxQueued is how many messages a channel holds before WriteMessage blocks.
const maxQueued = 64

// Channels makes the two ends of a message channel in memory. A message can be
// read delay after it was written.
func Channels(delay time.Duration) (a, b stream.Channel) {
	ab, ba := newPipe(delay), newPipe(delay)
	return &channel{in: ba, out: ab}, &channel{in: ab, out: ba}
}

type channel struct{ in, out *pipe }

func (c *channel) ReadMessage(buf []byte) (int, error) { return c.in.read(buf) }
func (c *channel) WriteMessage(b []byte) error         { return c.out.write(b) }

// Close ends both directions: the peer reads what was written before, we read
// nothing more.
func (c *channel) Close() error {
	c.in.close(true)
	c.out.close(false)
	return nil
}

type message struct {
	body []byte
	due  time.Time
}

// pipe is one direction of a channel.
type pipe struct {
	delay time.Duration

	mu     sync.Mutex
	cond   *sync.Cond
	queue  []message
	closed bool // no more is written
	gone   bool // nobody reads
}

func newPipe(delay time.Duration) *pipe {
	p := &pipe{delay: delay}
	p.cond = sync.NewCond(&p.mu)
	return p
}

func (p *pipe) write(b []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	// A path with a delay holds more; its sender is limited by credit.
	for p.delay == 0 && len(p.queue) >= maxQueued && !p.closed {
		p.cond.Wait()
	}
	if p.closed || p.gone {
		return io.ErrClosedPipe
	}
	m := message{body: append([]byte(nil), b...)}
	if p.delay > 0 {
		m.due = time.Now().Add(p.delay)
		time.AfterFunc(p.delay, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.cond.Broadcast()
		})
	}
	p.queue = append(p.queue, m)
	p.cond.Broadcast()
	return nil
}

func (p *pipe) read(buf []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.gone:
			return 0, io.ErrClosedPipe
		case len(p.queue) > 0 && !p.queue[0].due.After(time.Now()):
			m := p.queue[0]
			p.queue = p.queue[1:]
			p.cond.Broadcast()
			if len(m.body) > len(buf) {
				return 0, io.ErrShortBuffer
			}
			return copy(buf, m.body), nil
		case len(p.queue) == 0 && p.closed:
			return 0, io.EOF
		}
		p.cond.Wait()
	}
}

func (p *pipe) close(gone bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if gone {
		p.gone = true
		p.queue = nil
	}
	p.cond.Broadcast()
}
