package forward

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"tandem/session"
)

const (
	// takeTimeout is how long a guest may leave a connection waiting.
	takeTimeout = 30 * time.Second
	// acceptAgain is how long to wait when a connection can't be accepted.
	acceptAgain = 100 * time.Millisecond
)

// listener is one that a guest has asked for.
type listener struct {
	net.Listener
	permit session.Permit
	stop   context.CancelCauseFunc
	ended  <-chan struct{} // closed when all of it has ended
	// room has a token for each connection that waits to be taken.
	room chan struct{}

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]*waiting // nil once the listener has ended
}

func newListener(ln net.Listener, stop context.CancelCauseFunc) *listener {
	return &listener{Listener: ln, stop: stop, room: make(chan struct{}, maxWaiting), waiting: make(map[uint64]*waiting)}
}

// waiting is a connection that nobody has taken.
type waiting struct {
	net.Conn
	timer *time.Timer
}

// listen serves a listener for as long as its guest wants it.
func (s *Service) listen(ctx context.Context, o session.Offer, g *guest, p params) error {
	st, err := o.Accept()
	if err != nil {
		return err
	}
	if p.Replaces != 0 {
		s.endListener(g, p.Replaces)
	}
	ended := make(chan struct{})
	defer close(ended) // when there is room for another
	unlisten, err := s.begin(g)
	if err != nil {
		return refuse(st, err)
	}
	defer unlisten()
	ln, permit, err := s.bind(ctx, o.Peer().ID, p.Address)
	if err != nil {
		return refuse(st, err)
	}
	ctx, done := s.during(ctx, permit)
	defer done()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	l := newListener(ln, stop)
	l.permit, l.ended = permit, ended
	id := s.register(g, l)
	s.log.Info("listening", "peer", o.Peer().ID.Short(), "on", ln.Addr())
	defer s.unregister(g, id)
	return l.serve(ctx, st, status{Address: addressOf(ln.Addr()), Listener: id})
}

// bind makes the listener at an address that is granted.
func (s *Service) bind(ctx context.Context, peer session.PeerID, a Address) (net.Listener, session.Permit, error) {
	targets := s.targets(peer, Listen)
	bind := func(at Address, admits func(Target) bool) (net.Listener, session.Permit, error) {
		permit, ok := s.permit(ctx, peer, Listen, targets, admits)
		if !ok {
			return nil, session.Permit{}, notGranted(Listen, a)
		}
		ln, err := listenAt(ctx, at)
		if err != nil {
			err = failed(Listen, a, err)
		}
		return ln, permit, err
	}
	if a.Network == Unix {
		return bind(a, func(t Target) bool { return t.path == a.Address })
	}
	host, port, err := a.split()
	if err != nil {
		return nil, session.Permit{}, err
	}
	addrs, err := listenAddrs(host)
	if err != nil {
		return nil, session.Permit{}, err
	}
	var refused error
	for _, addr := range addrs {
		ln, permit, err := bind(TCPAddress(addr.String(), port), func(t Target) bool { return t.admits("", addr, port) })
		if err == nil {
			return ln, permit, nil
		}
		// The first address is what was meant, if it is allowed.
		if refused == nil || ReasonOf(refused) == NotGranted {
			refused = err
		}
		if r := ReasonOf(err); r != NotGranted && r != Unreachable {
			break
		}
	}
	return nil, session.Permit{}, refused
}

// listenAddrs are the addresses that a host to listen on means, the best first.
func listenAddrs(host string) ([]netip.Addr, error) {
	if host == everywhere {
		return []netip.Addr{netip.IPv6Unspecified(), netip.IPv4Unspecified()}, nil
	}
	name, addr, err := parseHost(host)
	if name == localhost {
		return loopback, nil
	}
	if err == nil && !addr.IsValid() {
		err = session.Errorf(Listen, session.Invalid, "to listen, give an IP address, localhost or *, not %s", name)
	}
	return []netip.Addr{addr}, err
}

// listenAt listens on exactly one address. A socket is its owner's alone, and
// goes with the listener.
func listenAt(ctx context.Context, a Address) (net.Listener, error) {
	config := net.ListenConfig{}
	network := a.Network
	if network == Unix {
		config.Control = ownerOnly
	} else if strings.HasPrefix(a.Address, netip.IPv4Unspecified().String()+":") {
		network = "tcp4" // or it would be every IPv6 address as well
	}
	ln, err := config.Listen(ctx, network, a.Address)
	if err == nil && a.Network == Unix {
		if err = os.Chmod(a.Address, 0o600); err != nil {
			err = errors.Join(err, ln.Close())
		}
	}
	return ln, err
}

func (s *Service) register(g *guest, l *listener) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	g.listeners[s.last] = l
	return s.last
}

func (s *Service) unregister(g *guest, id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(g.listeners, id)
}

func (s *Service) listenerOf(g *guest, id uint64) *listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return g.listeners[id]
}

// endListener ends a listener that its guest has replaced.
func (s *Service) endListener(g *guest, id uint64) {
	if l := s.listenerOf(g, id); l != nil {
		l.stop(session.Errorf(Listen, session.Canceled, "another listener has taken its place"))
		<-l.ended
	}
}

// serve announces connections until the guest ends the stream or ctx does.
func (l *listener) serve(ctx context.Context, st session.Stream, first status) error {
	reset := context.AfterFunc(ctx, func() { _ = st.Reset(context.Cause(ctx)) }) // returns nil
	var accepting sync.WaitGroup
	err := writeMessage(st, first)
	if err == nil {
		accepting.Go(func() { l.accept(ctx, st) })
		var b [1]byte
		if _, err = io.ReadFull(st, b[:]); err == nil {
			err = violation("a listener's stream carries nothing to the host")
		}
	}
	reset()
	l.stop(nil)
	_ = l.Close()
	for _, w := range l.drain() {
		abort(w.Conn)
	}
	if errors.Is(err, io.EOF) {
		err = nil
		_ = st.Close() // there is nothing more to say
	} else {
		_ = st.Reset(err) // returns nil
	}
	accepting.Wait()
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return err
}

// accept announces each connection. It ends with the listener, the stream or
// ctx.
func (l *listener) accept(ctx context.Context, st session.Stream) {
	for {
		select {
		case l.room <- struct{}{}:
		case <-ctx.Done():
			return
		}
		conn, err := l.Accept()
		if err != nil {
			<-l.room
			if errors.Is(err, net.ErrClosed) {
				return
			}
			select {
			case <-time.After(acceptAgain): // out of files, most likely
				continue
			case <-ctx.Done():
				return
			}
		}
		id, ok := l.keep(conn)
		if !ok {
			return
		}
		if writeMessage(st, arrival{Conn: id, From: conn.RemoteAddr().String()}) != nil {
			return // serve sees the end of the stream
		}
	}
}

// keep lets a connection wait.
func (l *listener) keep(conn net.Conn) (id uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting == nil {
		abort(conn)
		return 0, false
	}
	l.last++
	id = l.last
	l.waiting[id] = &waiting{conn, time.AfterFunc(takeTimeout, func() {
		if conn := l.take(id); conn != nil {
			abort(conn)
		}
	})}
	return id, true
}

// take is the connection of that number, if it waits still.
func (l *listener) take(id uint64) net.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.waiting[id]
	if w == nil {
		return nil
	}
	delete(l.waiting, id)
	w.timer.Stop()
	<-l.room
	return w.Conn
}

// drain takes every connection, and lets no more wait.
func (l *listener) drain() map[uint64]*waiting {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.waiting
	l.waiting = nil
	for _, w := range all {
		w.timer.Stop()
	}
	return all
}

// hand gives a guest a connection of one of its listeners.
func (s *Service) hand(ctx context.Context, o session.Offer, g *guest, p params) error {
	var conn net.Conn
	l := s.listenerOf(g, p.Listener)
	if l != nil {
		conn = l.take(p.Conn)
	}
	if conn == nil {
		return session.Errorf(Listen, session.NotFound, "that connection has gone")
	}
	st, err := o.Accept()
	if err != nil {
		abort(conn)
		return err
	}
	ctx, done := s.during(ctx, l.permit)
	defer done()
	return splice(ctx, st, conn, new(traffic), nil)
}
