package node

import (
	"context"
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

// headerTimeout is how long a caller may take to say what it wants.
const headerTimeout = 10 * time.Second

// maxCallers is how many connections are served at once, and acceptAgain how
// long to wait when one can't be taken.
const (
	maxCallers  = 4096 // a forward has one for each of its connections
	acceptAgain = 100 * time.Millisecond
)

// runDir is where the sockets of running nodes are.
func runDir(home Home) string { return filepath.Join(home.State, "run") }

func socketPath(home Home) string { return filepath.Join(runDir(home), "control.sock") }

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
// caller holds the home's lock, or has made the name up: a socket left behind has no
// owner.
func listenControl(path string, n *Node) (*control, error) {
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
	if err := c.handle(ctx, offer); err != nil {
		_ = offer.Reject(session.Public(err)) // no effect once accepted
	}
	<-caller.Done()
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

// Hosts reports that the node is this program's own.
func (n *Node) Hosts() bool { return true }

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
