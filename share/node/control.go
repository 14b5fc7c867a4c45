package node

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"tandem/session"
	"tandem/session/link/stream"
)

// The control socket's service and its actions. Each connection is one stream
// of package stream in its form for byte streams, with this header; see the
// package comment.
const (
	controlService = "node/1"
	actionOpen     = "open"
	actionJoin     = "join"
	actionPeers    = "peers"
	actionWhy      = "why"
	actionDial     = "dial"
	actionEnded    = "ended"
)

// headerTimeout is how long a caller may take to say what it wants.
const headerTimeout = 10 * time.Second

// maxCallers is how many connections are served at once, and acceptAgain how
// long to wait when one can't be taken.
const (
	maxCallers  = 256
	acceptAgain = 100 * time.Millisecond
)

// maxControl bounds one JSON reply on the control socket, in bytes.
const maxControl = 4 << 20

// openParams are the parameters of actionOpen.
type openParams struct {
	Peer   string         `json:"peer"`
	Header session.Header `json:"header"`
}

// joinParams are the parameters of actionJoin.
type joinParams struct {
	Invite  string   `json:"invite"`
	Servers []string `json:"servers,omitempty"`
}

func socketPath(home Home) string { return filepath.Join(home.State, "run", "control.sock") }

// control serves a Backend on a unix socket to programs of the same user.
type control struct {
	listener *net.UnixListener
	node     *Node
	slots    chan struct{} // one for each connection there may be
	work     sync.WaitGroup
	closed   chan struct{}
}

// listenControl makes the socket in a folder only its owner can enter. The
// caller holds the home's lock, so a socket left behind has no owner.
func listenControl(home Home, n *Node) (*control, error) {
	path := socketPath(home)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, &session.Error{Op: "control socket", Err: err}
	}
	if err := os.Chmod(filepath.Dir(path), 0o700); err != nil {
		return nil, &session.Error{Op: "control socket", Err: err}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, &session.Error{Op: "control socket", Err: err}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, &session.Error{
			Op: "control socket", Err: err,
			Hint: "A long path doesn't fit a socket's name: set TANDEM_HOME to a shorter one.",
		}
	}
	c := &control{listener: l, node: n, slots: make(chan struct{}, maxCallers), closed: make(chan struct{})}
	c.work.Go(c.accept)
	return c, nil
}

func (c *control) accept() {
	for {
		select {
		case c.slots <- struct{}{}: // further callers wait in the kernel's queue
		case <-c.closed:
			return
		}
		conn, err := c.listener.AcceptUnix()
		if err == nil {
			err = checkOwner(conn)
		}
		if err == nil {
			c.work.Go(func() {
				defer func() { <-c.slots }()
				c.serve(conn)
			})
			continue
		}
		<-c.slots
		if conn != nil {
			_ = conn.Close() // another user's; there is nobody to tell
			continue
		}
		select {
		case <-c.closed:
			return
		case <-time.After(acceptAgain): // out of files, most likely
			c.node.cfg.Log.Warn("control socket", "error", err)
		}
	}
}

// errEnding is what callers hear of a node that closes: another one, perhaps
// their own, can take over.
var errEnding = session.Errorf("control", session.Unavailable, "the node is closing")

func (c *control) serve(conn net.Conn) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c.work.Go(func() {
		select {
		case <-c.closed:
			cancel()
		case <-ctx.Done():
		}
	})
	first, cancelFirst := context.WithTimeout(ctx, headerTimeout)
	offer, err := stream.Receive(first, stream.FrameConn(conn), stream.Options{})
	cancelFirst()
	if err != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { offer.Stream().Fail(errEnding) })
	defer stop()
	gone := make(chan struct{})
	c.work.Go(func() { // what is done for a caller ends when it goes away
		defer close(gone)
		select {
		case <-offer.Stream().Done():
			cancel()
		case <-ctx.Done():
		}
	})
	if err := c.answer(ctx, offer); err != nil {
		_ = offer.Reject(session.Public(err)) // no effect once accepted
	}
	select {
	case <-offer.Stream().Done():
	case <-ctx.Done():
	}
	cancel()
	<-gone
}

func (c *control) answer(ctx context.Context, o *stream.Offer) error {
	h := o.Header()
	if h.Service != controlService {
		return session.Errorf("control", session.Unsupported, "the running node doesn't know %s; is it another version?", h.Service)
	}
	switch h.Action {
	case actionOpen:
		var p openParams
		if err := json.Unmarshal(h.Params, &p); err != nil {
			return session.Errorf("control", session.Invalid, "bad parameters")
		}
		remote, err := c.node.Open(ctx, p.Peer, p.Header)
		if err != nil {
			return err
		}
		local, err := o.Accept()
		if err != nil {
			_ = remote.Reset(err)
			return err
		}
		splice(local, remote)
		return nil
	case actionDial:
		var p openParams
		if err := json.Unmarshal(h.Params, &p); err != nil {
			return session.Errorf("control", session.Invalid, "bad parameters")
		}
		var err error
		if p.Peer != Own {
			_, err = c.node.dial(ctx, p.Peer)
		}
		return reply(o, struct{}{}, err)
	case actionEnded:
		var p openParams
		if err := json.Unmarshal(h.Params, &p); err != nil {
			return session.Errorf("control", session.Invalid, "bad parameters")
		}
		return reply(o, struct{}{}, c.node.Ended(ctx, p.Peer))
	case actionPeers:
		peers, err := c.node.Peers(ctx)
		return reply(o, peers, err)
	case actionWhy:
		var p openParams
		if err := json.Unmarshal(h.Params, &p); err != nil {
			return session.Errorf("control", session.Invalid, "bad parameters")
		}
		status, err := c.node.Why(ctx, p.Peer)
		return reply(o, status, err)
	case actionJoin:
		var p joinParams
		if err := json.Unmarshal(h.Params, &p); err != nil {
			return session.Errorf("control", session.Invalid, "bad parameters")
		}
		joined, err := c.node.Join(ctx, p.Invite, p.Servers)
		return reply(o, joined, err)
	}
	return session.Errorf("control", session.Unsupported, "the running node doesn't know %q; is it another version?", h.Action)
}

// answer is the reply to every action but open.
type answer struct {
	Error  *localError     `json:"error,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

// localError is an error as it crosses the control socket: between two
// processes of one person nothing is held back.
type localError struct {
	Kind session.Kind `json:"kind"`
	Text string       `json:"text"`
	Hint string       `json:"hint,omitempty"`
}

func reply(o session.Offer, v any, err error) error {
	var a answer
	if err == nil {
		a.Result, err = json.Marshal(v)
	}
	if err != nil {
		a = answer{Error: &localError{Kind: session.KindOf(err), Text: err.Error(), Hint: session.Hint(err)}}
	}
	s, err := o.Accept()
	if err != nil {
		return err
	}
	if err := json.NewEncoder(s).Encode(a); err != nil {
		_ = s.Reset(err)
		return err
	}
	return s.Close()
}

// splice joins two streams until both have ended: bytes, half-closes and
// resets pass from each to the other.
func splice(a, b session.Stream) {
	var both sync.WaitGroup
	pass := func(to, from session.Stream) {
		if _, err := io.Copy(to, from); err != nil {
			_ = to.Reset(err)
			_ = from.Reset(err)
			return
		}
		_ = to.CloseWrite() // the other direction reports a dead stream
	}
	both.Go(func() { pass(a, b) })
	both.Go(func() { pass(b, a) })
	both.Wait()
	_, _ = a.Close(), b.Close()
}

func (c *control) Close() error {
	close(c.closed)
	err := c.listener.Close()
	c.work.Wait()
	return err
}

// Client is the Backend of a node that runs in another process.
type Client struct {
	path string
}

// connect finds the node that runs under home. The error's kind is NotFound if
// none does.
func connect(ctx context.Context, home Home) (*Client, error) {
	c := &Client{path: socketPath(home)}
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, &session.Error{Op: "find the running node", Kind: session.NotFound, Err: err}
	}
	return c, conn.Close()
}

func (c *Client) dial(ctx context.Context) (net.Conn, error) {
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

func (c *Client) open(ctx context.Context, action string, params any) (*stream.Stream, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, &session.Error{Op: "ask the running node", Kind: session.Unavailable, Err: err}
	}
	raw, err := json.Marshal(params)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return stream.Open(stream.FrameConn(conn), session.Header{Service: controlService, Action: action, Params: raw}, stream.Options{})
}

func (c *Client) ask(ctx context.Context, action string, params, result any) error {
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
func (c *Client) Open(ctx context.Context, peer string, h session.Header) (session.Stream, error) {
	var none struct{}
	if err := c.ask(ctx, actionDial, openParams{Peer: peer}, &none); err != nil {
		return nil, err
	}
	return c.open(ctx, actionOpen, openParams{Peer: peer, Header: h})
}

// Peers asks the node for its known peers.
func (c *Client) Peers(ctx context.Context) ([]PeerStatus, error) {
	var peers []PeerStatus
	return peers, c.ask(ctx, actionPeers, nil, &peers)
}

// Why asks the node for the path to one peer.
func (c *Client) Why(ctx context.Context, peer string) (PeerStatus, error) {
	var status PeerStatus
	return status, c.ask(ctx, actionWhy, openParams{Peer: peer}, &status)
}

// Ended waits until the node's session with a peer is over.
func (c *Client) Ended(ctx context.Context, peer string) error {
	var none struct{}
	return c.ask(ctx, actionEnded, openParams{Peer: peer}, &none)
}

// Join asks the node to join with a code or link.
func (c *Client) Join(ctx context.Context, invite string, servers []string) (Joined, error) {
	var joined Joined
	return joined, c.ask(ctx, actionJoin, joinParams{Invite: invite, Servers: servers}, &joined)
}

// Close does nothing: the node goes on.
func (c *Client) Close() error { return nil }
