package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/turn/v5"
	"golang.org/x/time/rate"
)

// Server is a running TURN server.
type Server struct {
	cfg      Config
	log      *slog.Logger
	policy   policy
	verifier verifier
	answers  *answerLimit
	conns    *connLimit
	total    *rate.Limiter // nil: no limit
	stats    stats
	bind     map[string]netip.Addr // where allocations of "udp4" and "udp6" listen
	udp      []*udpFront
	streams  []*streamFront
	turns    []*turn.Server
	pumps    sync.WaitGroup // allocations' ReadFrom and Close
	closing  sync.Once
	started  time.Time
	runs     sync.Pool // of *[]byte with room for maxRun bytes

	mu          sync.RWMutex
	draining    bool
	empty       chan struct{} // closed when draining and without allocations
	allocations map[netip.AddrPort]*allocation
	users       map[string]*user
}

// user is who owns at least one allocation.
type user struct {
	name        string
	allocations int           // guarded by Server.mu
	limiter     *rate.Limiter // nil: no limit
}

// front is what clients connect to, as pion/turn's events need it.
type front interface {
	// gateOf is the gate that a request from src has just passed.
	gateOf(src netip.AddrPort) *gate
	// attach makes a the allocation of the client at src.
	attach(src netip.AddrPort, a *allocation)
}

// New starts a server.
func New(config Config) (_ *Server, err error) {
	cfg, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, log: cfg.Logger, started: time.Now(),
		verifier:    verifier{realm: cfg.Realm, secrets: cfg.Secrets},
		answers:     newAnswerLimit(cfg.Limits.AnswersPerIP),
		conns:       newConnLimit(cfg.Limits.Conns, cfg.Limits.ConnsPerIP),
		total:       newLimiter(cfg.Limits.TotalRate, 64<<10),
		bind:        make(map[string]netip.Addr),
		empty:       make(chan struct{}),
		allocations: make(map[netip.AddrPort]*allocation),
		users:       make(map[string]*user),
		runs: sync.Pool{New: func() any {
			b := make([]byte, 0, maxRun)
			return &b
		}},
	}
	var opened []func() error
	defer func() {
		if err != nil {
			for _, undo := range opened {
				_ = undo()
			}
		}
	}()
	if err := s.listen(&opened); err != nil {
		return nil, err
	}
	if err := s.applyPolicy(); err != nil {
		return nil, err
	}
	if cfg.Metrics != nil {
		if err := s.stats.register(cfg.Metrics, s); err != nil {
			return nil, fmt.Errorf("relay: %w", err)
		}
		opened = append(opened, func() error { s.stats.unregister(cfg.Metrics); return nil })
	}
	if err := s.serve(); err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	return s, nil
}

// listen opens what the configuration names. What it adds to opened is to be
// undone if New fails.
func (s *Server) listen(opened *[]func() error) error {
	for _, addr := range s.cfg.UDP {
		conns, err := listenUDP(addr, s.cfg.UDPSockets)
		if err != nil {
			return fmt.Errorf("relay: %w", err)
		}
		for _, conn := range conns {
			*opened = append(*opened, conn.Close)
			s.udp = append(s.udp, newUDPFront(s, conn))
		}
	}
	for _, conn := range s.cfg.UDPConns {
		s.udp = append(s.udp, newUDPFront(s, conn))
	}
	listenStreams := func(addrs []netip.AddrPort, given []net.Listener, secure bool) error {
		listeners := append([]net.Listener(nil), given...)
		for _, addr := range addrs {
			l, err := net.Listen("tcp", addr.String())
			if err != nil {
				return fmt.Errorf("relay: %w", err)
			}
			*opened = append(*opened, l.Close)
			listeners = append(listeners, l)
		}
		for _, l := range listeners {
			front := newStreamFront(s, l, nil)
			if secure {
				front.tls = s.cfg.TLSConfig
			}
			s.streams = append(s.streams, front)
		}
		return nil
	}
	if err := listenStreams(s.cfg.TCP, s.cfg.TCPListeners, false); err != nil {
		return err
	}
	return listenStreams(s.cfg.TLS, s.cfg.TLSListeners, true)
}

// applyPolicy works out which addresses are the relay's own, and where its
// allocations listen.
func (s *Server) applyPolicy() error {
	p := policy{
		unreachable: unreachable(), global6: global6(),
		allow: s.cfg.AllowPeers, deny: s.cfg.DenyPeers,
		public: make(map[netip.Addr]bool), own: make(map[netip.Addr]bool),
		minPort: s.cfg.MinPort, maxPort: s.cfg.MaxPort, listening: make(map[uint16]bool),
	}
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	for _, ifaddr := range interfaces {
		if prefix, err := netip.ParsePrefix(ifaddr.String()); err == nil {
			p.own[prefix.Addr().Unmap()] = true
		}
	}
	for _, addr := range s.cfg.Public {
		network, listen := "udp4", netip.IPv4Unspecified()
		if addr.Is6() {
			network, listen = "udp6", netip.IPv6Unspecified()
		}
		if p.own[addr] || addr.IsLoopback() {
			listen = addr
		}
		if _, ok := s.bind[network]; !ok {
			s.bind[network] = listen
		}
		p.own[addr], p.public[addr] = true, true
	}
	for _, f := range s.udp {
		p.listening[addrPort(f.LocalAddr()).Port()] = true
	}
	for _, f := range s.streams {
		p.listening[addrPort(f.Addr()).Port()] = true
	}
	s.policy = p
	s.discover()
	return nil
}

// serve starts one pion/turn server per front, so that its events say which
// front they are about.
func (s *Server) serve() error {
	ipv4 := slices.ContainsFunc(s.cfg.Public, func(a netip.Addr) bool { return a.Unmap().Is4() })
	start := func(f front, config turn.ServerConfig) error {
		config.Realm = s.cfg.Realm
		config.StrictAddressFamily = ipv4
		config.LoggerFactory = logFactory{s.log}
		config.QuotaHandler = func(name, _ string, _ net.Addr) bool { return s.hasRoom(name) }
		config.EventHandler = s.events(f)
		config.AuthHandler = func(ra *turn.RequestAttributes) (string, []byte, bool) {
			g := f.gateOf(addrPort(ra.SrcAddr))
			if g == nil || g.identity.username != ra.Username {
				return "", nil, false
			}
			return g.identity.user, g.identity.key, true
		}
		server, err := turn.NewServer(config)
		if err == nil {
			s.turns = append(s.turns, server)
		}
		return err
	}
	for _, f := range s.udp {
		if err := start(f, turn.ServerConfig{PacketConnConfigs: []turn.PacketConnConfig{
			{PacketConn: f, RelayAddressGenerator: ports{s}, PermissionHandler: s.mayPermit(f.allocationOf)},
		}}); err != nil {
			return err
		}
	}
	for _, f := range s.streams {
		of := func(src netip.AddrPort) *allocation {
			if c := f.connOf(src); c != nil {
				return c.allocation.Load()
			}
			return nil
		}
		if err := start(f, turn.ServerConfig{ListenerConfigs: []turn.ListenerConfig{
			{Listener: f, RelayAddressGenerator: ports{s}, PermissionHandler: s.mayPermit(of)},
		}}); err != nil {
			return err
		}
	}
	return nil
}

// mayPermit is the first check of the policy, before pion/turn answers.
func (s *Server) mayPermit(of func(netip.AddrPort) *allocation) turn.PermissionHandler {
	return func(src net.Addr, ip net.IP) bool {
		addr, ok := netip.AddrFromSlice(ip)
		addr = addr.Unmap()
		a := of(addrPort(src))
		if ok && s.policy.permits(addr) && a != nil && a.mayAdd(addr) {
			return true
		}
		s.stats.refusedPeers.Add(1)
		return false
	}
}

// events keeps our tables in step with pion/turn's.
func (s *Server) events(f front) turn.EventHandler {
	return turn.EventHandler{
		OnAllocationCreated: func(src, _ net.Addr, _, _, _ string, relayed net.Addr, _ int) {
			if a := s.allocationAt(addrPort(relayed)); a != nil {
				f.attach(addrPort(src), a)
			}
		},
		OnPermissionCreated: func(_, _ net.Addr, _, _, _ string, relayed net.Addr, ip net.IP) {
			addr, ok := netip.AddrFromSlice(ip)
			if a := s.allocationAt(addrPort(relayed)); a != nil && ok {
				a.permit(addr.Unmap())
			}
		},
		OnPermissionDeleted: func(_, _ net.Addr, _, _, _ string, relayed net.Addr, ip net.IP) {
			addr, _ := netip.AddrFromSlice(ip)
			if a := s.allocationAt(addrPort(relayed)); a != nil {
				a.forbid(addr.Unmap())
			}
		},
		OnChannelCreated: func(_, _ net.Addr, _, _, _ string, relayed, to net.Addr, channel uint16) {
			if a := s.allocationAt(addrPort(relayed)); a != nil {
				a.bind(channel, addrPort(to))
			}
		},
		OnChannelDeleted: func(_, _ net.Addr, _, _, _ string, relayed, _ net.Addr, channel uint16) {
			if a := s.allocationAt(addrPort(relayed)); a != nil {
				a.unbind(channel)
			}
		},
	}
}

// uptime is a clock that nobody sets.
func (s *Server) uptime() time.Duration { return time.Since(s.started) }

func (s *Server) allocationAt(addr netip.AddrPort) *allocation {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.allocations[addr]
}

// account reports whether n payload bytes of u fit the limits now.
func (s *Server) account(u *user, n int) bool {
	if u.limiter != nil || s.total != nil {
		now := time.Now()
		if u.limiter != nil && !u.limiter.AllowN(now, n) || s.total != nil && !s.total.AllowN(now, n) {
			s.stats.dropped.Add(1)
			return false
		}
	}
	return true
}

func (s *Server) hasRoom(name string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	u := s.users[name]
	ok := u == nil || u.allocations < s.cfg.Limits.UserAllocations
	if !ok {
		s.stats.refusedAllocations.Add(1)
	}
	return ok
}

var errNoRoom = errors.New("no room for another allocation")

// claim counts one more allocation for name.
func (s *Server) claim(name string) (*user, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[name]
	if u == nil {
		u = &user{name: name, limiter: newLimiter(s.cfg.Limits.UserRate, 64<<10)}
	}
	if s.draining || len(s.allocations) >= s.cfg.Limits.Allocations || u.allocations >= s.cfg.Limits.UserAllocations {
		s.stats.refusedAllocations.Add(1)
		return nil, errNoRoom
	}
	u.allocations++
	s.users[name] = u
	return u, nil
}

// disclaim undoes claim. It needs mu.
func (s *Server) disclaim(u *user) {
	if u.allocations--; u.allocations == 0 {
		delete(s.users, u.name)
	}
	s.checkEmpty()
}

// checkEmpty needs mu.
func (s *Server) checkEmpty() {
	if !s.draining || len(s.users) > 0 {
		return
	}
	select {
	case <-s.empty:
	default:
		close(s.empty)
	}
}

// release forgets an allocation that has ended.
func (s *Server) release(a *allocation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.allocations, a.public)
	s.disclaim(a.owner)
}

// allocate opens a relayed address of the network "udp4" or "udp6" for a user.
func (s *Server) allocate(network, name string) (*allocation, error) {
	listen, ok := s.bind[network]
	if !ok || name == "" {
		return nil, fmt.Errorf("no relayed address on %s", network)
	}
	owner, err := s.claim(name)
	if err != nil {
		return nil, err
	}
	conn, err := listenInRange(network, listen, s.cfg.MinPort, s.cfg.MaxPort)
	if err != nil {
		s.mu.Lock()
		s.disclaim(owner)
		s.mu.Unlock()
		return nil, err
	}
	a := &allocation{
		server: s, owner: owner, conn: newSocket(conn, relayBuffer),
		public:      netip.AddrPortFrom(s.publicFor(network), addrPort(conn.LocalAddr()).Port()),
		permissions: make(map[netip.Addr]struct{}),
		byNumber:    make(map[uint16]peer),
		byAddr:      make(map[netip.AddrPort]peer),
	}
	s.mu.Lock()
	s.allocations[a.public] = a
	s.mu.Unlock()
	s.stats.allocations.Add(1)
	s.pumps.Add(2) // pion/turn reads from and closes every allocation it was given
	return a, nil
}

func (s *Server) publicFor(network string) netip.Addr {
	for _, addr := range s.cfg.Public {
		if addr.Is4() == (network == "udp4") {
			return addr
		}
	}
	return netip.Addr{}
}

// listenInRange opens a UDP socket on a port that can't be guessed from others.
func listenInRange(network string, addr netip.Addr, low, high uint16) (*net.UDPConn, error) {
	span := int(high) - int(low) + 1
	first := rand.IntN(span)
	for i := range min(span, 512) {
		port := low + uint16((first+i)%span)
		conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, port)))
		if err == nil {
			return conn, nil
		}
		if !errors.Is(err, errInUse) {
			return nil, err
		}
	}
	return nil, errNoRoom
}

// ports hands allocations to pion/turn.
type ports struct{ server *Server }

// Validate implements turn.RelayAddressGenerator.
func (p ports) Validate() error { return nil }

// AllocatePacketConn implements turn.RelayAddressGenerator. A requested port is
// one of EVEN-PORT's, which we don't serve.
func (p ports) AllocatePacketConn(c turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	if c.RequestedPort != 0 {
		return nil, nil, errNoRoom
	}
	a, err := p.server.allocate(c.Network, c.UserID)
	if err != nil {
		return nil, nil, err
	}
	return a, net.UDPAddrFromAddrPort(a.public), nil
}

var errTCP = errors.New("TCP allocations (RFC 6062) are not served")

// AllocateListener implements turn.RelayAddressGenerator by refusing.
func (p ports) AllocateListener(turn.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	return nil, nil, errTCP
}

// AllocateConn implements turn.RelayAddressGenerator by refusing.
func (p ports) AllocateConn(turn.AllocateConnConfig) (net.Conn, error) { return nil, errTCP }

// Credentials makes credentials for this server, as Issuer.Credentials does.
func (s *Server) Credentials(user string, now time.Time) (username, password string, ttl time.Duration) {
	return Issuer{Secret: s.cfg.Secrets[0], TTL: s.cfg.TTL}.Credentials(user, now)
}

// Addrs are the addresses listened on.
func (s *Server) Addrs() (udp, tcp, tls []netip.AddrPort) {
	for _, f := range s.udp {
		if addr := addrPort(f.LocalAddr()); len(udp) == 0 || udp[len(udp)-1] != addr {
			udp = append(udp, addr)
		}
	}
	for _, f := range s.streams {
		if f.tls == nil {
			tcp = append(tcp, addrPort(f.Addr()))
		} else {
			tls = append(tls, addrPort(f.Addr()))
		}
	}
	return udp, tcp, tls
}

// silence is how long a client that uses its allocation never is silent: ICE
// asks for consent at least every 6 s (RFC 7675, section 5.1), and some requests
// are lost. A client that vanished leaves an allocation for up to an hour.
const silence = 8 * time.Second

// Drain refuses new allocations and new connections, serves the allocations
// there are until the last has ended, none was used for 8 s, or ctx has ended,
// and closes the server. The error is the context's if it ended first.
func (s *Server) Drain(ctx context.Context) error {
	return s.drain(ctx, silence)
}

func (s *Server) drain(ctx context.Context, silence time.Duration) error {
	s.mu.Lock()
	s.draining = true
	s.checkEmpty()
	s.mu.Unlock()
	for _, f := range s.streams {
		f.stopListening()
	}
	return errors.Join(s.awaitClients(ctx, silence), s.Close())
}

// awaitClients returns when a server that drains has nobody to serve any more.
func (s *Server) awaitClients(ctx context.Context, silence time.Duration) error {
	s.sent() // what came before doesn't count
	tick := time.NewTicker(silence)
	defer tick.Stop()
	for {
		select {
		case <-s.empty:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if !s.sent() {
				s.log.Info("the allocations that are left have no users", "allocations", s.Allocations())
				return nil
			}
		}
	}
}

// sent reports whether a client has sent its peers anything since the last call.
func (s *Server) sent() (any bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, a := range s.allocations {
		any = a.sent.Swap(false) || any
	}
	return any
}

// Close ends every allocation and connection at once and returns when nothing
// works for them any more.
func (s *Server) Close() error {
	s.closing.Do(func() {
		s.mu.Lock()
		s.draining = true
		s.mu.Unlock()
		// Connections go before listeners: pion/turn closes the allocations of
		// a listener it has lost, whatever its connections are doing.
		for _, f := range s.streams {
			f.hangUp()
		}
		for _, t := range s.turns {
			_ = t.Close()
		}
		for _, f := range s.udp {
			<-f.closed
		}
		s.pumps.Wait()
		if s.cfg.Metrics != nil {
			s.stats.unregister(s.cfg.Metrics)
		}
	})
	return nil
}
