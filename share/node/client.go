package node

import (
	"context"
	"errors"
	"sync/atomic"

	"tandem/session"
)

// Client is the Backend of whichever node runs under a home. The first one
// may end with the program that ran it; then another's takes its place, or this
// program's own. What was under way ends with its node, which may Linger.
type Client struct {
	cfg     Config
	turn    chan struct{} // has the token of whoever may look at current
	current Backend
	ours    atomic.Bool // current is a Node of this program
}

func newClient(cfg Config, first Backend) *Client {
	c := &Client{cfg: cfg, turn: make(chan struct{}, 1), current: first}
	c.turn <- struct{}{}
	return c
}

// with runs ask with the node there is, and once more with the next one if that
// has gone.
func (c *Client) with(ctx context.Context, ask func(Backend) error) error {
	b, err := c.node(ctx, nil)
	if err != nil {
		return err
	}
	if err := ask(b); !errors.Is(err, errNoNode) {
		return err
	}
	if b, err = c.node(ctx, b); err != nil {
		return err
	}
	return ask(b)
}

// node is the present node, which must not be gone.
func (c *Client) node(ctx context.Context, gone Backend) (Backend, error) {
	select {
	case <-c.turn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { c.turn <- struct{}{} }()
	if c.current == nil {
		return nil, session.Errorf("node", session.Canceled, "tandem is closing")
	}
	if c.current == gone {
		next, err := callOrStart(ctx, c.cfg)
		if err != nil {
			return nil, err
		}
		_, ours := next.(*Node)
		c.current = next
		c.ours.Store(ours)
	}
	return c.current, nil
}

// Open asks the node for a stream to a peer, once it has a session with it.
func (c *Client) Open(ctx context.Context, peer string, h session.Header) (st session.Stream, err error) {
	err = c.with(ctx, func(b Backend) error {
		if _, ours := b.(*Node); ours && peer == Own {
			// What the person meant has ended with the program it was in.
			return session.Errorf("open", session.NotFound, "the tandem that ran here has ended")
		}
		st, err = b.Open(ctx, peer, h)
		return err
	})
	return st, err
}

// Join asks the node to join with a code or link.
func (c *Client) Join(ctx context.Context, invite string, servers []string) (joined Joined, err error) {
	err = c.with(ctx, func(b Backend) error {
		joined, err = b.Join(ctx, invite, servers)
		return err
	})
	return joined, err
}

// Peers asks the node for its known peers.
func (c *Client) Peers(ctx context.Context) (peers []PeerStatus, err error) {
	err = c.with(ctx, func(b Backend) error {
		peers, err = b.Peers(ctx)
		return err
	})
	return peers, err
}

// Why asks the node for the path to a peer.
func (c *Client) Why(ctx context.Context, peer string) (status PeerStatus, err error) {
	err = c.with(ctx, func(b Backend) error {
		status, err = b.Why(ctx, peer)
		return err
	})
	return status, err
}

// Ended waits until the node's session with a peer is over.
func (c *Client) Ended(ctx context.Context, peer string) error {
	return c.with(ctx, func(b Backend) error { return b.Ended(ctx, peer) })
}

// Self asks the node who it is.
func (c *Client) Self(ctx context.Context) (self Self, err error) {
	return ask(ctx, c, Backend.Self)
}

// Events asks the node for what happens. The channel is closed when the node
// ends as well; the next one's events are another call.
func (c *Client) Events(ctx context.Context) (<-chan Event, error) {
	return ask(ctx, c, Backend.Events)
}

// StartShare asks the node to share. The share ends with the node.
func (c *Client) StartShare(ctx context.Context, s Share) (ShareStatus, error) {
	return ask(ctx, c, func(b Backend, ctx context.Context) (ShareStatus, error) { return b.StartShare(ctx, s) })
}

// Shares asks the node for its shares.
func (c *Client) Shares(ctx context.Context) ([]ShareStatus, error) {
	return ask(ctx, c, Backend.Shares)
}

// EndShare asks the node to end a share.
func (c *Client) EndShare(ctx context.Context, id string) error {
	return c.with(ctx, func(b Backend) error { return b.EndShare(ctx, id) })
}

// Requests asks the node who waits for an answer.
func (c *Client) Requests(ctx context.Context) ([]Request, error) {
	return ask(ctx, c, Backend.Requests)
}

// Answer tells the node what to say to a request.
func (c *Client) Answer(ctx context.Context, request string, a Answer) error {
	return c.with(ctx, func(b Backend) error { return b.Answer(ctx, request, a) })
}

// Dismiss asks the node to take back what a peer was granted.
func (c *Client) Dismiss(ctx context.Context, peer string) error {
	return c.with(ctx, func(b Backend) error { return b.Dismiss(ctx, peer) })
}

// Forget asks the node to forget a peer.
func (c *Client) Forget(ctx context.Context, peer string) error {
	return c.with(ctx, func(b Backend) error { return b.Forget(ctx, peer) })
}

// Rename asks the node to call a peer something else.
func (c *Client) Rename(ctx context.Context, peer, alias string) error {
	return c.with(ctx, func(b Backend) error { return b.Rename(ctx, peer, alias) })
}

// Activity asks the node for entries of the audit log.
func (c *Client) Activity(ctx context.Context, q ActivityQuery) ([]AuditEntry, error) {
	return ask(ctx, c, func(b Backend, ctx context.Context) ([]AuditEntry, error) { return b.Activity(ctx, q) })
}

// ask is with, for questions that have an answer.
func ask[R any](ctx context.Context, c *Client, question func(Backend, context.Context) (R, error)) (result R, err error) {
	err = c.with(ctx, func(b Backend) error {
		result, err = question(b, ctx)
		return err
	})
	return result, err
}

// Hosts reports whether the node is one of this program's by now, and so ends
// with it.
func (c *Client) Hosts() bool { return c.ours.Load() }

// Linger is that of the node that this program runs by now, if it does.
func (c *Client) Linger(ctx context.Context, waiting func()) {
	<-c.turn
	defer func() { c.turn <- struct{}{} }()
	if n, ours := c.current.(*Node); ours {
		n.Linger(ctx, waiting)
	}
}

// Close ends the node that this program runs by now, if it does.
func (c *Client) Close() error {
	<-c.turn
	defer func() { c.turn <- struct{}{} }()
	b := c.current
	c.current = nil
	if b == nil {
		return nil
	}
	return b.Close()
}
