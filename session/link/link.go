package link

import (
	"context"
	"crypto/tls"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/sctp"
	"golang.org/x/time/rate"

	"tandem/session"
	"tandem/session/link/stream"
)

const (
	// MaxStreams is how many streams one peer may have open at once; we keep
	// to the same limit in the other direction.
	MaxStreams = 2000
	// openRate and openBurst bound how fast a peer may open streams.
	openRate  = 2000
	openBurst = MaxStreams
	// ourRate and ourBurst are how fast we open streams ourselves: under the
	// peer's rate, and few enough at once for pion's queue of 16 new streams.
	// What overflows that queue is lost and costs an RTO.
	ourRate  = 1500
	ourBurst = 10
	// headerTimeout is how long a new stream may stay without a header.
	headerTimeout = 10 * time.Second
	// handlerTimeout is how long Close waits for handlers, which were told to
	// stop by their context.
	handlerTimeout = 5 * time.Second

	defaultDeadAfter = 60 * time.Second
	relaysTimeout    = 2 * time.Second
)

// Relay is a TURN server, or with "stun:" URLs a STUN server, that both sides
// may use. It is not trusted.
type Relay struct {
	// URLs are RFC 7064 and RFC 7065 URIs, such as
	// "turn:relay.example:3478?transport=udp" or "turns:relay.example:443".
	URLs     []string
	Username string
	Password string
	// Expires is when the credentials do; zero means never.
	Expires time.Time
}

// Config says how to make links.
type Config struct {
	// Identity signs for this device. Required.
	Identity Identity
	// Relays returns the relays to use now. It is asked before each new path
	// and should answer from memory; after two seconds, the last answer is
	// used. Nil means none.
	Relays func(ctx context.Context) ([]Relay, error)
	// Observed returns the addresses that servers on the Internet see this device
	// at, from memory. Where a NAT keeps ports, a peer finds our sockets there
	// before a STUN server has said so. Nil means not known.
	Observed func() []netip.Addr
	// RelayTLS says how to trust relays, and proxies to them, that speak TLS.
	// Nil means by the system's certificates, which on most Unix systems
	// SSL_CERT_FILE and SSL_CERT_DIR can name.
	RelayTLS *tls.Config
	// Handler answers the peer's offers; nil refuses them. Each runs in a
	// goroutine of its own with a context that ends with the session. It must
	// not call the session's Close.
	Handler session.Handler
	// Context binds the session to something both sides know, such as a
	// pairing transcript. It is never sent.
	Context []byte
	// Nonces refuses offers that were answered before. A node shares one
	// between all its Accepts; nil means one for this call alone.
	Nonces *Nonces
	// Name is what to call a peer; nil means by its ID.
	Name func(session.PeerID) string
	// Logger gets debug lines; nil discards them.
	Logger *slog.Logger
	// OnPath is told each time the path changes. It must return quickly.
	OnPath func(session.Path)
	// RelayOnly uses relays even where a direct path exists.
	RelayOnly bool
	// DeadAfter is how long a session lives without hearing from its peer;
	// 0 means a minute.
	DeadAfter time.Duration

	// NoLanes keeps bulk data on the trunk.
	NoLanes bool

	onLane         func(envelope)      // takes the envelopes of lanes; nil on a lane, and without any
	directOnly     bool                // no relays at all
	onBulk         func(*conn, []byte) // takes the bulk packets of a lane; nil elsewhere
	network        *network
	wall           func() time.Time // what the clock on the wall says
	confirmTimeout time.Duration
	tcpShort       time.Duration // the longest least round trip beside which there are TCP lanes
	streams        *atomic.Int64
	cache          *relayCache
}

// prepared is a copy of c with defaults filled in, for one link.
func (c Config) prepared() *Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Nonces == nil {
		c.Nonces = new(Nonces)
	}
	if c.DeadAfter == 0 {
		c.DeadAfter = defaultDeadAfter
	}
	if c.network == nil {
		c.network = systemNetwork()
	}
	if c.wall == nil {
		c.wall = time.Now
	}
	if c.confirmTimeout == 0 {
		c.confirmTimeout = defaultConfirmTimeout
	}
	if c.tcpShort == 0 {
		c.tcpShort = tcpShort
	}
	c.streams = new(atomic.Int64)
	c.cache = new(relayCache)
	return &c
}

// observed are the addresses of ours that Config.Observed knows.
func (c *Config) observed() []netip.Addr {
	if c.Observed == nil {
		return nil
	}
	return c.Observed()
}

// active says whether there are streams.
func (c *Config) active() bool { return c.streams.Load() > 0 }

// relayCache keeps the last relays, for when there is no asking.
type relayCache struct {
	mu     sync.Mutex
	relays []Relay
}

// relays asks for the relays to use now.
func (c *Config) relays(ctx context.Context, log *slog.Logger) []Relay {
	if c.Relays == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, relaysTimeout)
	defer cancel()
	fresh, err := c.Relays(ctx)
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	if err != nil {
		log.Debug("relays unknown", "error", err)
		return c.cache.relays
	}
	c.cache.relays = fresh
	return fresh
}

// Link is an authenticated session with one peer, over WebRTC.
type Link struct {
	config *Config
	peer   session.Peer
	trunk  *conn
	lanes  *lanes
	role   role
	opens  *rate.Limiter // ours
	rates  *rate.Limiter // the peer's

	cancel context.CancelFunc // ends the handlers' context
	work   sync.WaitGroup

	sent, received atomic.Uint64

	done chan struct{}

	mu       sync.Mutex
	err      error                     // set once, before done is closed
	streams  map[uint16]*stream.Stream // nil for one that is being opened
	opened   int                       // streams we opened that live
	incoming int                       // streams of the peer that live, from before their header
	nextID   uint16
}

var _ session.Session = (*Link)(nil)

// Dial makes a link to peer: it sends S1 through sig and returns when both
// sides have confirmed each other. sig stays in use until the link ends. The
// kinds of error are Integrity when somebody tampers, Timeout when the peer
// does not answer or no path is found, Unavailable when the peer gives up, and
// whatever kind the peer refused with. ctx bounds only the set-up, as does a
// minute.
func Dial(ctx context.Context, cfg Config, peer session.PeerID, sig session.Signaler) (*Link, error) {
	config := cfg.prepared()
	if peer == config.Identity.ID() {
		return nil, session.Errorf("dial", session.Invalid, "that is this device itself")
	}
	return newLink(ctx, config, offerer, peer, nil, sig)
}

// Accept makes a link for a peer that dials: it receives S1 from sig, checks
// it, asks expect whether this peer is welcome, and answers. What expect
// returns as an error is sent to the peer, kind and text, and returned. The
// rest is as with Dial.
func Accept(ctx context.Context, cfg Config, expect func(session.PeerID) error, sig session.Signaler) (*Link, error) {
	config := cfg.prepared()
	offer, t, err := receiveOffer(ctx, config, kindTrunk, sig)
	if t == nil {
		return nil, err
	}
	if refusal := expect(t.offerer); refusal != nil {
		err = refusal
	}
	if err != nil {
		if b, encodeErr := makeRefusal(config.Identity, t, err).marshal(); encodeErr == nil {
			sendCtx, cancel := context.WithTimeout(ctx, sendTimeout)
			defer cancel()
			_ = sig.Send(sendCtx, b) // best effort: the peer times out otherwise
		}
		return nil, err
	}
	return newLink(ctx, config, answerer, t.offerer, offer, sig)
}

// receiveOffer takes S1 from sig and spends its nonce. With an error that its
// sender may be told comes the transcript of the refusal.
func receiveOffer(ctx context.Context, config *Config, kind string, sig session.Signaler) (*envelope, *transcript, error) {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	b, err := sig.Receive(ctx)
	if err != nil {
		return nil, nil, &session.Error{Op: "accept", Kind: session.KindOf(err), Text: "no offer arrived", Err: err}
	}
	e, err := parseEnvelope(b)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	t, _, err := verifyOffer(&e, config.Identity.ID(), kind, contextDigest(config.Context), now)
	if err != nil {
		return nil, t, err
	}
	if err := config.Nonces.use(t.offerer, e.Nonce, time.Unix(e.Expires, 0).Add(clockSkew), now); err != nil {
		return nil, nil, err
	}
	return &e, t, nil
}

func newLink(ctx context.Context, config *Config, r role, peer session.PeerID, offer *envelope, sig session.Signaler) (*Link, error) {
	l := &Link{
		config: config, peer: session.Peer{ID: peer}, role: r, opens: rate.NewLimiter(ourRate, ourBurst),
		rates:   rate.NewLimiter(openRate, openBurst),
		streams: make(map[uint16]*stream.Stream), done: make(chan struct{}), nextID: firstOffererID,
	}
	if config.Name != nil {
		l.peer.Name = session.PrintableName(config.Name(peer))
	}
	if r == answerer {
		l.nextID = firstAnswererID
	}
	handlers, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l.cancel = cancel
	l.lanes = newLanes(l, config)
	trunk, err := connect(ctx, config, kindTrunk, r, peer, offer, sig, func(c *conn, s *sctp.Stream) { l.accept(handlers, c, s) })
	l.trunk = trunk
	if err != nil {
		l.end(err)
		l.work.Wait()
		return nil, err
	}
	l.lanes.begin(handlers, trunk)
	l.work.Go(func() {
		<-trunk.done
		l.end(trunk.err)
	})
	return l, nil
}

// end fails every stream and tells that the session is over.
func (l *Link) end(err error) {
	l.lanes.end()
	l.cancel()
	l.mu.Lock()
	l.err = err
	streams := slices.Collect(maps.Values(l.streams))
	l.mu.Unlock()
	for _, s := range streams {
		if s != nil { // else Open has yet to register it, and will fail it
			s.Fail(err)
		}
	}
	close(l.done)
}

// Peer is the verified identity at the other end.
func (l *Link) Peer() session.Peer { return l.peer }

// Done is closed when the session has ended.
func (l *Link) Done() <-chan struct{} { return l.done }

// Err is why, once Done is closed.
func (l *Link) Err() error {
	select {
	case <-l.done:
		return l.err
	default:
		return nil
	}
}

// Path reports how the bytes travel at this moment.
func (l *Link) Path() session.Path {
	p := l.trunk.path()
	p.Sent, p.Received = l.sent.Load(), l.received.Load()
	return p
}

// Rebind tells the link that the network may have changed: it looks for a new
// path at once. The link notices changed addresses by itself within a second.
func (l *Link) Rebind() { l.trunk.roam.rebind("asked to") }

// Abandon ends the session for a reason that the peer will not hear: it is known
// to be gone. Done is closed soon after; Close still waits for the work.
func (l *Link) Abandon(reason error) { l.trunk.fail(reason) }

// Close ends the session: the peer learns that we closed it, streams on both
// sides fail, and the contexts of handlers end. It waits for everything the
// link has started, and for handlers at most five seconds.
func (l *Link) Close() error {
	l.trunk.close(&session.Error{Op: "link", Kind: session.Canceled, Text: "the session was closed here"})
	<-l.done
	l.lanes.wait()
	idle := make(chan struct{})
	go func() {
		l.work.Wait()
		close(idle)
	}()
	t := time.NewTimer(handlerTimeout)
	defer t.Stop()
	select {
	case <-idle:
		return nil
	case <-t.C:
		return session.Errorf("close", session.Timeout, "a handler did not stop when its session ended")
	}
}
