package node

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"

	"tandem/session"
	"tandem/session/link/stream"
)

// errNoNode is why a caller can't do anything: its node has gone.
var errNoNode = errors.New("no node answers at the control socket")

// maxEvent bounds the line of one event, in bytes.
const maxEvent = 4 << 20

// caller is the Backend of a node that runs in another process. Once that has
// gone, everything fails with errNoNode.
type caller struct {
	path string
}

// connect finds the node that runs under home. The error's kind is NotFound if
// none does.
func connect(ctx context.Context, home Home) (*caller, error) {
	c := &caller{path: socketPath(home)}
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, &session.Error{Op: "find the running node", Kind: session.NotFound, Err: err}
	}
	return c, conn.Close()
}

func (c *caller) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.path)
	if err != nil {
		return nil, err
	}
	if err := checkOwner(conn.(*net.UnixConn)); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

func (c *caller) open(ctx context.Context, action string, params any) (*stream.Stream, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, &session.Error{
			Op: "ask the running node", Kind: session.NotFound, Text: "the tandem that ran here has ended",
			Err: errors.Join(errNoNode, err),
		}
	}
	raw, err := json.Marshal(params)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return stream.Open(stream.FrameConn(conn), session.Header{Service: controlService, Action: action, Params: raw}, stream.Options{})
}

func (c *caller) ask(ctx context.Context, action string, params, result any) error {
	return c.replies(ctx, action, params, func(reply json.RawMessage) (more bool, err error) {
		return false, json.Unmarshal(reply, result)
	})
}

// replies asks, and has each take every reply until that wants no more.
func (c *caller) replies(ctx context.Context, action string, params any, each func(json.RawMessage) (more bool, err error)) error {
	s, err := c.open(ctx, action, params)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // the reply is complete or the error is reported
	stop := context.AfterFunc(ctx, func() { _ = s.Reset(ctx.Err()) })
	defer stop()
	limit := &io.LimitedReader{R: s}
	decoder := json.NewDecoder(limit)
	for {
		limit.N = maxControl
		var a answer
		if err := decoder.Decode(&a); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
		if e := a.Error; e != nil {
			return &session.Error{Kind: e.Kind, Text: e.Text, Hint: e.Hint}
		}
		if more, err := each(a.Result); err != nil || !more {
			return err
		}
	}
}

// Open asks the node for a stream to peer, once it has a session with it: why
// there is none is told in full that way.
func (c *caller) Open(ctx context.Context, peer string, h session.Header) (session.Stream, error) {
	if err := c.ask(ctx, actionDial, peerParams{peer}, new(nothing)); err != nil {
		return nil, err
	}
	return c.open(ctx, actionOpen, openParams{Peer: peer, Header: h})
}

// Peers asks the node for its known peers.
func (c *caller) Peers(ctx context.Context) ([]PeerStatus, error) {
	peers := []PeerStatus{}
	err := c.replies(ctx, actionPeers, nil, func(reply json.RawMessage) (more bool, err error) {
		var some []listedPeer
		if err := json.Unmarshal(reply, &some); err != nil {
			return false, err
		}
		for _, l := range some {
			peers = append(peers, l.status())
		}
		return len(some) > 0, nil
	})
	if err != nil {
		return nil, err
	}
	return peers, nil
}

// Why asks the node for the path to one peer.
func (c *caller) Why(ctx context.Context, peer string) (PeerStatus, error) {
	var status PeerStatus
	return status, c.ask(ctx, actionWhy, peerParams{peer}, &status)
}

// Ended waits until the node's session with a peer is over.
func (c *caller) Ended(ctx context.Context, peer string) error {
	return c.ask(ctx, actionEnded, peerParams{peer}, new(nothing))
}

// Join asks the node to join with a code or link.
func (c *caller) Join(ctx context.Context, invite string, servers []string) (Joined, error) {
	var joined Joined
	return joined, c.ask(ctx, actionJoin, joinParams{Invite: invite, Servers: servers}, &joined)
}

// Self asks the node who it is.
func (c *caller) Self(ctx context.Context) (self Self, err error) {
	return self, c.ask(ctx, actionSelf, nil, &self)
}

// Events asks the node for what happens, in a goroutine that ends when the
// channel does.
func (c *caller) Events(ctx context.Context) (<-chan Event, error) {
	s, err := c.open(ctx, actionEvents, nil)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset(ctx.Err()) })
	end := func() {
		stop()
		_ = s.Close() // it was only read
	}
	lines := bufio.NewScanner(s)
	lines.Buffer(nil, maxEvent)
	if !lines.Scan() {
		end()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, cmp.Or(lines.Err(), error(errEnding))
	}
	events := make(chan Event)
	go func() {
		defer close(events)
		defer end()
		for lines.Scan() {
			var e Event
			if json.Unmarshal(lines.Bytes(), &e) != nil {
				return // it is no node that we know
			}
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	return events, nil
}

// StartShare asks the node to share.
func (c *caller) StartShare(ctx context.Context, s Share) (status ShareStatus, err error) {
	return status, c.ask(ctx, actionShare, s, &status)
}

// Shares asks the node for its shares.
func (c *caller) Shares(ctx context.Context) (shares []ShareStatus, err error) {
	return shares, c.ask(ctx, actionShares, nil, &shares)
}

// EndShare asks the node to end a share.
func (c *caller) EndShare(ctx context.Context, id string) error {
	return c.ask(ctx, actionEndShare, shareParams{id}, new(nothing))
}

// Requests asks the node who waits for an answer.
func (c *caller) Requests(ctx context.Context) (requests []Request, err error) {
	return requests, c.ask(ctx, actionRequests, nil, &requests)
}

// Answer tells the node what to say to a request.
func (c *caller) Answer(ctx context.Context, request string, a Answer) error {
	return c.ask(ctx, actionAnswer, answerParams{request, a}, new(nothing))
}

// Dismiss asks the node to take back what a peer was granted.
func (c *caller) Dismiss(ctx context.Context, peer string) error {
	return c.ask(ctx, actionDismiss, peerParams{peer}, new(nothing))
}

// Forget asks the node to forget a peer.
func (c *caller) Forget(ctx context.Context, peer string) error {
	return c.ask(ctx, actionForget, peerParams{peer}, new(nothing))
}

// Rename asks the node to call a peer something else.
func (c *caller) Rename(ctx context.Context, peer, alias string) error {
	return c.ask(ctx, actionRename, renameParams{peer, alias}, new(nothing))
}

// Activity asks the node for entries of the audit log.
func (c *caller) Activity(ctx context.Context, q ActivityQuery) (entries []AuditEntry, err error) {
	return entries, c.ask(ctx, actionActivity, q, &entries)
}

// Close does nothing: the node goes on.
func (c *caller) Close() error { return nil }
