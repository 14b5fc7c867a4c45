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
	maxCallers  = 4096 // a forward has one for each of its connections
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

	mu      sync.Mutex
	streams int           // streams to peers that callers have
	none    chan struct{} // closed while there are none
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
	c := &control{listener: l, node: n, slots: make(chan struct{}, maxCallers), closed: make(chan struct{}), none: make(chan struct{})}
	close(c.none)
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
	caller := offer.Stream()
	c.work.Go(func() { // what is done for a caller ends when it goes away
		select {
		case <-caller.Done():
			cancel()
		case <-c.closed:
			caller.Fail(errEnding)
		}
	})
	if err := c.answer(ctx, offer); err != nil {
		_ = offer.Reject(session.Public(err)) // no effect once accepted
	}
	<-caller.Done()
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
		c.begin()
		defer c.end()
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

func (c *control) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams++; c.streams == 1 {
		c.none = make(chan struct{})
	}
}

func (c *control) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams--; c.streams == 0 {
		close(c.none)
	}
}

// unused is closed when no caller has a stream to a peer.
func (c *control) unused() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.none
}

// Linger waits, before Close, for the streams to peers that other programs have
// through this node, or until ctx ends. If there are any it calls waiting first.
func (n *Node) Linger(ctx context.Context, waiting func()) {
	if n.control == nil {
		return
	}
	unused := n.control.unused()
	select {
	case <-unused:
		return
	default:
		waiting()
	}
	select {
	case <-unused:
	case <-ctx.Done():
	}
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
// resets pass from each to the other. A side that reads no more ends one
// direction only: what is still sent to it is dropped.
func splice(a, b session.Stream) {
	var both sync.WaitGroup
	both.Go(func() { pass(a, b) })
	both.Go(func() { pass(b, a) })
	both.Wait()
	_, _ = a.Close(), b.Close()
}

func pass(to, from session.Stream) {
	var dst io.Writer = to
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if _, writeErr := dst.Write(buf[:n]); writeErr != nil {
			dst = io.Discard
		}
		switch {
		case errors.Is(err, io.EOF):
			_ = to.CloseWrite() // the other direction reports a dead stream
			return
		case err != nil:
			_ = to.Reset(err)
			return
		}
	}
}

func (c *control) Close() error {
	close(c.closed)
	err := c.listener.Close()
	c.work.Wait()
	return err
}
