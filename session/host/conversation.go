package host

import (
	"context"
	"sync"

	"tandem/session"
)

// conversationQueue is how many envelopes wait for a slow reader before the
// newest are dropped: a full trickle of candidates from both ends fits.
const conversationQueue = 64

// conversation is the session.Signaler of one link: letters in, letters out.
type conversation struct {
	send  func(ctx context.Context, envelope []byte) error
	inbox chan []byte

	once   sync.Once
	closed chan struct{}
}

func newConversation(send func(context.Context, []byte) error) *conversation {
	return &conversation{send: send, inbox: make(chan []byte, conversationQueue), closed: make(chan struct{})}
}

func (c *conversation) Send(ctx context.Context, envelope []byte) error {
	select {
	case <-c.closed:
		return session.Errorf("signal", session.Canceled, "the conversation is over")
	default:
		return c.send(ctx, envelope)
	}
}

func (c *conversation) Receive(ctx context.Context) ([]byte, error) {
	select {
	case envelope := <-c.inbox:
		return envelope, nil
	case <-c.closed:
		return nil, session.Errorf("signal", session.Canceled, "the conversation is over")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// deliver never blocks: signaling is best effort, and its receive loop serves
// every conversation.
func (c *conversation) deliver(envelope []byte) {
	select {
	case c.inbox <- envelope:
	default:
	}
}

func (c *conversation) close() { c.once.Do(func() { close(c.closed) }) }
