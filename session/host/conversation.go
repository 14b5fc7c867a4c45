package host

import (
	"context"
	"sync"
	"sync/atomic"

	"tandem/session"
)

// conversationQueue is how many envelopes wait for a slow reader before the
// newest are dropped: a full trickle of candidates from both ends fits.
const conversationQueue = 32

// conversation is the session.Signaler of one link: letters in, letters out.
type conversation struct {
	send  func(ctx context.Context, envelope []byte) error // set before anybody uses it
	inbox chan []byte

	last atomic.Pointer[string] // the mailbox that was heard last

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
		return c.send(ctx, envelope)
	}
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
