package node

import (
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
	s, err := c.open(ctx, action, params)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // the reply is complete or the error is reported
	stop := context.AfterFunc(ctx, func() { _ = s.Reset(ctx.Err()) })
	defer stop()
	var a answer
	if err := json.NewDecoder(io.LimitReader(s, maxControl)).Decode(&a); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	if e := a.Error; e != nil {
		return &session.Error{Kind: e.Kind, Text: e.Text, Hint: e.Hint}
	}
	return json.Unmarshal(a.Result, result)
}

// Open asks the node for a stream to peer, once it has a session with it: why
// there is none is told in full that way.
func (c *caller) Open(ctx context.Context, peer string, h session.Header) (session.Stream, error) {
	var none struct{}
	if err := c.ask(ctx, actionDial, openParams{Peer: peer}, &none); err != nil {
		return nil, err
	}
	return c.open(ctx, actionOpen, openParams{Peer: peer, Header: h})
}

// Peers asks the node for its known peers.
func (c *caller) Peers(ctx context.Context) ([]PeerStatus, error) {
	var peers []PeerStatus
	return peers, c.ask(ctx, actionPeers, nil, &peers)
}

// Why asks the node for the path to one peer.
func (c *caller) Why(ctx context.Context, peer string) (PeerStatus, error) {
	var status PeerStatus
	return status, c.ask(ctx, actionWhy, openParams{Peer: peer}, &status)
}

// Ended waits until the node's session with a peer is over.
func (c *caller) Ended(ctx context.Context, peer string) error {
	var none struct{}
	return c.ask(ctx, actionEnded, openParams{Peer: peer}, &none)
}

// Join asks the node to join with a code or link.
func (c *caller) Join(ctx context.Context, invite string, servers []string) (Joined, error) {
	var joined Joined
	return joined, c.ask(ctx, actionJoin, joinParams{Invite: invite, Servers: servers}, &joined)
}

// Close does nothing: the node goes on.
func (c *caller) Close() error { return nil }
