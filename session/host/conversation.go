package host

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"tandem/session"
)

// conversationQueue is how many envelopes wait for a slow reader before the
// newest are dropped: a full trickle of candidates from both ends fits.
const conversationQueue = 32

// conversation is the session.Signaler of one link: letters in, letters out.
type conversation struct {
	send  func(ctx context.Context, envelope []byte) error // set before anybody uses it
	inbox chan []byte

	last   atomic.Pointer[string] // the mailbox that was heard last
	absent absence

	once   sync.Once
	closed chan struct{}
}

func newConversation() *conversation {
	return &conversation{inbox: make(chan []byte, conversationQueue), closed: make(chan struct{})}
}

func (c *conversation) Send(ctx context.Context, envelope []byte) error {
	select {
	case <-c.closed:
		return errConversation()
	default:
		err := c.send(ctx, envelope)
		c.absent.note(err)
		return err
	}
}

// absence is how long the servers have been saying that a peer isn't there.
type absence struct {
	mu          sync.Mutex
	first, last time.Time
}

// note takes the outcome of a letter. One that couldn't be sent says nothing.
func (a *absence) note(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if session.KindOf(err) != session.NotFound {
		a.first, a.last = time.Time{}, time.Time{}
		return
	}
	a.last = time.Now()
	if a.first.IsZero() {
		a.first = a.last
	}
}

func (a *absence) lasted() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last.Sub(a.first)
}

func (c *conversation) Receive(ctx context.Context) ([]byte, error) {
	select {
	case envelope := <-c.inbox:
		return envelope, nil
	case <-c.closed:
		return nil, errConversation()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func errConversation() error {
	return session.Errorf("signal", session.Canceled, "the conversation is over")
}

// deliver never blocks: signaling is best effort, and its receive loop serves
// every conversation.
func (c *conversation) deliver(from string, envelope []byte) {
	c.last.Store(&from)
	select {
	case c.inbox <- envelope:
	default:
	}
}

// answered reports whether anything was heard.
func (c *conversation) answered() bool { return c.last.Load() != nil }

// from is the mailbox that was heard last, or "".
func (c *conversation) from() string {
	if last := c.last.Load(); last != nil {
		return *last
	}
	return ""
}

func (c *conversation) close() { c.once.Do(func() { close(c.closed) }) }
