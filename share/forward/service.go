package forward

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"

	"tandem/session"
)

// Limits for one guest; see the package comment.
const (
	maxStreams   = 4096
	maxDialling  = 256
	maxListeners = 32
	maxWaiting   = 128 // connections of one listener that nobody has taken
)

// Grants are the rights of guests.
type Grants interface {
	// Authorizer decides about each target by itself.
	session.Authorizer
	// Targets are the resources of this service on which peer has been granted
	// the action.
	Targets(peer session.PeerID, action string) []string
}

// Resolver looks up names; a *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Dialer makes connections; a *net.Dialer is one.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Config is what a host decides.
type Config struct {
	// Grants say who may connect and listen where.
	Grants Grants
	// Resolver looks up the names that guests ask for; nil is the system's.
	Resolver Resolver
	// Dialer makes the connections; nil is the system's.
	Dialer Dialer
	// Logger is told what guests do; nil is nobody.
	Logger *slog.Logger
}

// Service connects and listens for guests. It is a session.Service.
type Service struct {
	config  Config
	log     *slog.Logger
	serving sync.WaitGroup
	closing chan struct{}

	mu     sync.Mutex
	closed bool
	guests map[session.PeerID]*guest
	last   uint64 // listener that was made
}

// guest is what one peer has going on. Service.mu guards it.
type guest struct {
	streams   int
	listening int // listeners, those included that are being made
	listeners map[uint64]*listener
	dialling  chan struct{} // has a token for each connection that is being made
}

var _ session.Service = (*Service)(nil)

// New makes a service. Close it.
func New(config Config) *Service {
	if config.Resolver == nil {
		config.Resolver = net.DefaultResolver
	}
	if config.Dialer == nil {
		config.Dialer = &net.Dialer{}
	}
	log := config.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Service{config: config, log: log, closing: make(chan struct{}), guests: make(map[session.PeerID]*guest)}
}

// Name is ServiceName.
func (s *Service) Name() string { return ServiceName }

// Close ends every connection and listener and waits for them.
func (s *Service) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
	}
	s.mu.Unlock()
	s.serving.Wait()
	return nil
}

// Serve answers one stream.
func (s *Service) Serve(ctx context.Context, o session.Offer) error {
	p, err := parseHeader(o.Header())
	if err != nil {
		return err
	}
	g, err := s.enter(o.Peer().ID)
	if err != nil {
		return err
	}
	defer s.leave(o.Peer().ID, g)
	switch {
	case p.Listener != 0:
		return s.hand(ctx, o, g, p)
	case o.Header().Action == Listen:
		return s.listen(ctx, o, g, p)
	}
	return s.connect(ctx, o, g, p)
}

// enter counts a stream of peer.
func (s *Service) enter(peer session.PeerID) (*guest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, session.Errorf("forward", session.Canceled, "the host has ended its forwards")
	}
	g := s.guests[peer]
	if g == nil {
		g = &guest{listeners: make(map[uint64]*listener), dialling: make(chan struct{}, maxDialling)}
		s.guests[peer] = g
	}
	if g.streams >= maxStreams {
		return nil, session.Errorf("forward", session.Busy, "%d connections are open already", g.streams)
	}
	g.streams++
	s.serving.Add(1)
	return g, nil
}

func (s *Service) leave(peer session.PeerID, g *guest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.streams--; g.streams == 0 {
		delete(s.guests, peer)
	}
	s.serving.Done()
}

// begin counts a listener of g's, and the result counts it no more.
func (s *Service) begin(g *guest) (func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.listening >= maxListeners {
		return nil, session.Errorf(Listen, session.Busy, "%d listeners are open already", g.listening)
	}
	g.listening++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		g.listening--
	}, nil
}

// during is ctx, ended as well when the permission does or the service closes.
// Its cause is a *session.Error. The result must be called.
func (s *Service) during(ctx context.Context, permit session.Permit) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-permit.Revoked:
			cancel(session.Errorf("forward", session.Revoked, "the permission was taken back"))
		case <-s.closing:
			cancel(session.Errorf("forward", session.Canceled, "the host has ended its forwards"))
		case <-ctx.Done():
		}
	})
	return ctx, func() { cancel(nil); watch.Wait() }
}

// connect serves one connection that a guest wants made.
func (s *Service) connect(ctx context.Context, o session.Offer, g *guest, p params) error {
	st, err := o.Accept()
	if err != nil {
		return err
	}
	conn, door, err := s.reach(ctx, o.Peer().ID, g, p)
	if err != nil {
		return refuse(st, err)
	}
	err = writeMessage(st, status{Address: door.address})
	if p.Probe {
		return errors.Join(err, st.Close())
	}
	if err != nil {
		abort(conn)
		return errors.Join(err, st.Reset(err))
	}
	s.log.Debug("connected", "peer", o.Peer().ID.Short(), "to", door.address)
	ctx, done := s.during(ctx, door.permit)
	defer done()
	return splice(ctx, st, conn, new(traffic), nil)
}

// refuse tells a guest why there is no connection or listener, and returns it.
func refuse(st session.Stream, why error) error {
	if err := writeMessage(st, status{Error: toWire(why)}); err != nil {
		_ = st.Reset(why) // returns nil
		return why
	}
	_ = st.Close() // what was written still leaves
	return why
}
