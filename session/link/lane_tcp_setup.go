package link

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"tandem/session"
)

const (
	// tcpShort is the longest least round trip, and hostCandidate the type of both
	// ends, of a path beside which a TCP lane is worth while.
	tcpShort      = 3 * time.Millisecond
	hostCandidate = "host"
	// tcpListen bounds how long somebody listens, tcpDial how long a firewall may keep
	// the other one from being answered, and tcpHandshake how long TLS may take, of
	// tcpHandshakes connections at once.
	tcpListen     = 2 * time.Second
	tcpDial       = 300 * time.Millisecond
	tcpHandshake  = time.Second
	tcpHandshakes = 4
	// tcpHeadStart is how long bulk data does without packet lanes while a TCP lane is
	// set up, and tcpPause how long it does without another try after one in vain: twice
	// as long after each further one, up to tcpMostPause.
	tcpHeadStart  = 100 * time.Millisecond
	tcpPause      = time.Second
	tcpMostPause  = time.Minute
	tcpLossyPause = 5 * time.Minute
	// tcpRate and tcpBurst bound how often a peer may have us try.
	tcpRate  = 0.5
	tcpBurst = 4

	tcpProtocol = "tandem-lane/1"
)

// The steps of a TCP lane's set-up.
const (
	stepAsk  = "ask"  // the trunk's answerer would like an offer
	stepTurn = "turn" // the answerer listens instead
)

// tcpLanes are a session's set-ups of TCP lanes and the lane that came of the last.
// Guarded by lanes.mu.
type tcpLanes struct {
	live   *tcpLane
	setup  *tcpSetup
	since  time.Time // when the last set-up began, ours or one we asked for
	retry  time.Time
	failed int // set-ups in a row
	number uint64
	rate   *rate.Limiter
	start  func(*tcpSetup)
	ask    func()
}

// tcpSetup is one attempt at a TCP lane.
type tcpSetup struct {
	number        uint64
	trunk         *conn
	local, remote netip.Addr
	offer         envelope // the peer's; zero where we offer
	in            chan envelope
}

// allowsTCP says whether TCP lanes are possible at all: never where the peer is to see
// no address of ours.
func (c *Config) allowsTCP() bool { return c.onLane != nil && !c.RelayOnly && c.network.tcp }

func (ls *lanes) beginTCP(ctx context.Context) {
	t := &ls.tcp
	t.rate = rate.NewLimiter(tcpRate, tcpBurst)
	t.start = func(s *tcpSetup) { ls.work.Go(func() { ls.runTCP(ctx, s) }) }
	t.ask = func() {
		ls.work.Go(func() { _ = ls.trunk.send(envelope{Type: typeTCP, Step: stepAsk}) }) // fails only with the trunk
	}
}

// wantTCP sees to it that there is a TCP lane, if that is worth while, and reports
// whether packet lanes may wait for it; ls.mu is held.
func (ls *lanes) wantTCP(now time.Time) (wait bool) {
	t := &ls.tcp
	if t.live != nil {
		return true
	}
	if t.setup == nil && now.After(t.retry) {
		local, remote, ok := ls.tcpPath()
		if !ok || local != remote && !ls.short() {
			return false
		}
		t.since, t.retry = now, now.Add(tcpPause)
		if ls.link.role == answerer {
			t.ask()
		} else {
			t.number++
			ls.setTCP(&tcpSetup{number: t.number, local: local, remote: remote})
		}
	}
	return now.Sub(t.since) < tcpHeadStart
}

func (ls *lanes) setTCP(s *tcpSetup) {
	s.trunk, s.in = ls.trunk, make(chan envelope, 2)
	ls.tcp.setup = s
	ls.tcp.start(s)
}

// short says whether the trunk's path is known to be short; ls.mu is held.
func (ls *lanes) short() bool {
	rtt := 2 * ls.trunk.governor.halfRTT()
	return rtt != 0 && rtt <= ls.trunk.config.tcpShort
}

// tcpPath is between which addresses a TCP lane would run beside the trunk; ls.mu is
// held.
func (ls *lanes) tcpPath() (local, remote netip.Addr, ok bool) {
	if !ls.trunk.tcp {
		return local, remote, false
	}
	p := ls.trunk.path()
	ok = p.Kind == session.Direct && p.Local.Type == hostCandidate && p.Remote.Type == hostCandidate &&
		p.Local.Addr.IsValid() && p.Remote.Addr.IsValid()
	return p.Local.Addr.Addr(), p.Remote.Addr.Addr(), ok
}

// tcpEnvelope takes an envelope of a TCP lane's set-up; what fits nothing, or is too
// much, is dropped.
func (ls *lanes) tcpEnvelope(e envelope) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	t := &ls.tcp
	if ls.trunk == nil || ls.ended {
		return
	}
	switch {
	case e.Step == stepAnswer || e.Step == stepTurn:
		if t.setup != nil && t.setup.number == e.Number {
			select {
			case t.setup.in <- e:
			default: // one of each is all there is
			}
		}
	case t.setup != nil || t.live != nil || (e.Step == stepAsk) != (ls.link.role == offerer) || !t.rate.Allow():
	default:
		local, remote, ok := ls.tcpPath()
		if !ok {
			return
		}
		t.since, t.retry = time.Now(), time.Now().Add(tcpPause)
		t.number++
		s := &tcpSetup{number: t.number, local: local, remote: remote}
		if e.Step == stepOffer {
			s.number, s.offer = e.Number, e
		}
		ls.setTCP(s)
	}
}

// runTCP is a TCP lane from its first envelope to its end.
func (ls *lanes) runTCP(ctx context.Context, s *tcpSetup) {
	connect := s.invite
	if s.offer.Step != "" {
		connect = s.accept
	}
	c, err := connect(ctx)
	connected := err == nil
	if connected {
		err = ls.carryTCP(ctx, newTCPLane(ls, c, s))
	}
	if err != nil {
		s.trunk.log.Debug("no TCP lane", "number", s.number, "error", err)
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.tcp.setup = nil
	if ls.tcp.failed++; connected {
		ls.tcp.failed = 0 // the path may have changed, and be as good
	}
	switch {
	case err == nil:
		ls.tcp.retry = time.Time{} // it was idle
	case errors.Is(err, errTCPLossy):
		ls.tcp.retry = time.Now().Add(tcpLossyPause)
	default:
		ls.tcp.retry = time.Now().Add(min(tcpPause<<min(ls.tcp.failed, 8), tcpMostPause))
	}
}

// beside says whether p is still the path that the lane was made for.
func (s *tcpSetup) beside(p session.Path) bool {
	return p.Kind == session.Direct && p.Local.Addr.Addr() == s.local && p.Remote.Addr.Addr() == s.remote
}

// invite listens for the peer and, if it can't come, goes there.
func (s *tcpSetup) invite(ctx context.Context) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, tcpListen)
	defer cancel()
	cert, err := newCertificate(time.Now())
	if err != nil {
		return nil, err
	}
	listener, err := s.listen(ctx, stepOffer, cert)
	if err != nil {
		return nil, err
	}
	defer func() { _ = listener.Close() }() // it has been, most likely
	answer, err := s.receive(ctx, stepAnswer)
	if err != nil {
		return nil, err
	}
	config := tcpTLS(cert, fingerprint(answer.Print))
	accepting, stop := context.WithCancel(ctx)
	defer stop()
	turned := make(chan envelope, 1)
	var work sync.WaitGroup
	work.Go(func() {
		if e, err := s.receive(accepting, stepTurn); err == nil {
			turned <- e
			stop()
		}
	})
	c, err := s.await(accepting, listener, config)
	stop()
	work.Wait()
	if err == nil {
		return c, nil
	}
	select {
	case e := <-turned:
		_ = listener.Close() // the peer can't reach it
		return s.dial(ctx, e.Port, config)
	default:
		return nil, err
	}
}

// accept goes to the peer that has offered and, if that does not work, has it come
// here.
func (s *tcpSetup) accept(ctx context.Context) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, tcpListen)
	defer cancel()
	cert, err := newCertificate(time.Now())
	if err != nil {
		return nil, err
	}
	config := tcpTLS(cert, fingerprint(s.offer.Print))
	if err := s.trunk.send(envelope{Type: typeTCP, Number: s.number, Step: stepAnswer, Print: cert.print[:]}); err != nil {
		return nil, err
	}
	if c, err := s.dial(ctx, s.offer.Port, config); err == nil {
		return c, nil
	}
	listener, err := s.listen(ctx, stepTurn, cert)
	if err != nil {
		return nil, err
	}
	defer func() { _ = listener.Close() }() // it has been, most likely
	return s.await(ctx, listener, config)
}

// receive waits for the peer's next step. Another one than step is dropped.
func (s *tcpSetup) receive(ctx context.Context, step string) (envelope, error) {
	for {
		select {
		case e := <-s.in:
			if e.Step == step {
				return e, nil
			}
		case <-ctx.Done():
			return envelope{}, ctx.Err()
		}
	}
}

// listen opens a port and tells the peer.
func (s *tcpSetup) listen(ctx context.Context, step string, cert *certificate) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", netip.AddrPortFrom(s.local, 0).String())
	if err != nil {
		return nil, err
	}
	port := listener.Addr().(*net.TCPAddr).AddrPort().Port()
	if err := s.trunk.send(envelope{Type: typeTCP, Number: s.number, Step: step, Port: port, Print: cert.print[:]}); err != nil {
		_ = listener.Close() // nobody knows of it
		return nil, err
	}
	return listener, nil
}

// await takes the first connection that is the peer's, and closes the listener and
// all others.
func (s *tcpSetup) await(ctx context.Context, listener net.Listener, config *tls.Config) (*tls.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
	verified, slots := make(chan *tls.Conn, 1), make(chan struct{}, tcpHandshakes)
	var work sync.WaitGroup
	for {
		raw, err := listener.Accept()
		if err != nil {
			break
		}
		if raw.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap() != s.remote {
			_ = raw.Close() // anybody may try
			continue
		}
		slots <- struct{}{} // a handshake has its deadline
		work.Go(func() {
			defer func() { <-slots }()
			c := tls.Server(batched(raw), config)
			if handshake(ctx, c) != nil {
				return
			}
			select {
			case verified <- c:
				cancel()
			default:
				_ = raw.Close() // of two, one is enough
			}
		})
	}
	cancel()
	work.Wait()
	select {
	case c := <-verified:
		return c, nil
	default:
		return nil, session.Errorf("lane", session.Timeout, "the peer did not connect")
	}
}

// dial connects to a port of the peer's.
func (s *tcpSetup) dial(ctx context.Context, port uint16, config *tls.Config) (*tls.Conn, error) {
	dialer := net.Dialer{Timeout: tcpDial, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.local, 0))}
	raw, err := dialer.DialContext(ctx, "tcp", netip.AddrPortFrom(s.remote, port).String())
	if err != nil {
		return nil, err
	}
	c := tls.Client(batched(raw), config)
	if err := handshake(ctx, c); err != nil {
		return nil, err
	}
	return c, nil
}

// handshake closes the connection if it fails.
func handshake(ctx context.Context, c *tls.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, tcpHandshake)
	defer cancel()
	err := c.HandshakeContext(ctx)
	if err != nil {
		_ = c.NetConn().Close() // it is of no use
	}
	return err
}

// tcpTLS is TLS between two certificates that were made for this one connection.
func tcpTLS(own *certificate, peer fingerprint) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{own.tls}, ClientAuth: tls.RequireAnyClientCert,
		MinVersion: tls.VersionTLS13, NextProtos: []string{tcpProtocol},
		CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256}, SessionTicketsDisabled: true,
		InsecureSkipVerify: true, // self-signed by design: the fingerprint decides, not a chain
		VerifyConnection: func(s tls.ConnectionState) error {
			if s.NegotiatedProtocol != tcpProtocol || len(s.PeerCertificates) == 0 || sha256.Sum256(s.PeerCertificates[0].Raw) != peer {
				return refused("the peer's certificate is not the one it named")
			}
			return nil
		},
		DynamicRecordSizingDisabled: true,
	}
}
