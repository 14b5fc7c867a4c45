package node

import (
	"context"
	"net"
	"sync"

	"tandem/session"
	"tandem/session/host"
	"tandem/session/link/stream"
)

// Own names this device itself where a peer is named: its person uses what it
// offers, in another window, as its guests do.
const Own = "."

// own serves this device's services to the device itself.
type own struct {
	peer       session.Peer
	dispatcher *host.Dispatcher

	mu     sync.Mutex
	closed bool
	open   map[*stream.Stream]context.CancelFunc
	work   sync.WaitGroup
}

// everything is allowed to the device's own person.
type everything struct{}

func (everything) Allow(context.Context, session.Request) (session.Permit, error) {
	return session.Permit{}, nil
}

func newOwn(peer session.Peer, dispatcher *host.Dispatcher) *own {
	return &own{peer: peer, dispatcher: dispatcher, open: make(map[*stream.Stream]context.CancelFunc)}
}

// Open starts a request to one of our own services.
func (o *own) Open(h session.Header) (session.Stream, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil, session.Errorf("open", session.Canceled, "tandem is closing")
	}
	near, far := net.Pipe()
	s, err := stream.Open(stream.FrameConn(near), h, stream.Options{})
	if err != nil {
		_ = near.Close() // nobody uses it
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	o.open[s] = cancel
	o.work.Go(func() {
		o.serve(ctx, far)
		cancel()
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.open, s)
	})
	return s, nil
}

func (o *own) serve(ctx context.Context, conn net.Conn) {
	offer, err := stream.Receive(ctx, stream.FrameConn(conn), stream.Options{Peer: o.peer})
	if err != nil {
		return // the other end sees it
	}
	o.dispatcher.Handle(ctx, offer)
	select { // the answer may still have to be read
	case <-offer.Stream().Done():
	case <-ctx.Done():
		offer.Stream().Fail(session.Errorf("serve", session.Canceled, "tandem is closing"))
	}
}

// end ends every request: a service that waits for its reader does not see that
// its context has ended, but does see that its stream has.
func (o *own) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	for s, cancel := range o.open {
		cancel()
		s.Fail(session.Errorf("open", session.Canceled, "tandem is closing"))
	}
}

// Close ends every request and waits for them.
func (o *own) Close() {
	o.end()
	o.work.Wait()
}
