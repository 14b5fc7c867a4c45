package signaling

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Config says which servers a Client uses, as whom, and how.
type Config struct {
	// Servers are the servers' addresses, as ServerURL takes them; at least one.
	Servers []string
	// Key is the mailbox key: whoever has it has the mailbox. Probe needs none.
	Key ed25519.PrivateKey
	// Logger receives what happens to the connections; nil means nobody.
	Logger *slog.Logger
	// HTTPClient makes the connections if it is set; its redirects are never
	// followed. Otherwise the proxy is the environment's (none for nearby
	// servers) and TLS configures TLS.
	HTTPClient *http.Client
	TLS        *tls.Config
	// AllowInsecure permits plain http to servers anywhere. See ServerURL.
	AllowInsecure bool
	// EagerRelays asks each server for relays together with the claim, which
	// saves a round trip to whoever will need them.
	EagerRelays bool
	// Queue is how many received envelopes wait for Receive, for each server;
	// more are dropped. 0 means 64.
	Queue int
}

// Envelope is what a mailbox received. Nothing in it is authenticated.
type Envelope struct {
	Server string // which server brought it
	From   string // the sender's mailbox, if the server is honest
	Body   []byte
}

// Client keeps a connection to each of its servers, with the same mailbox at
// all of them. It connects again by itself, claims its mailbox and nameplates
// again, and survives whatever a server does. Its methods may be called at
// once from several goroutines.
type Client struct {
	mailbox string
	log     *slog.Logger
	http    *http.Client
	ownHTTP bool
	queue   int
	eager   bool

	servers []*upstream
	cancel  context.CancelCauseFunc
	done    <-chan struct{} // closed once Close has been called
	work    sync.WaitGroup

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever a connection comes or goes
	waiting chan struct{} // has a token while an inbox may hold something
	next    int           // the inbox to look at first
	plates  map[string]*Nameplate
	watched map[string]struct{}
	version uint64 // of what Presence reports
}

// errClosed is why everything ends after Close.
var errClosed = &Error{Op: "signaling", Kind: KindCanceled, Text: "the client has been closed"}

// New makes a client and starts connecting to all its servers at once.
func New(cfg Config) (*Client, error) {
	if len(cfg.Key) != ed25519.PrivateKeySize {
		return nil, &Error{Op: "signaling", Kind: KindInvalid, Text: "there is no mailbox key"}
	}
	if len(cfg.Servers) == 0 {
		return nil, &Error{Op: "signaling", Kind: KindInvalid, Text: "there is no server", Hint: "name one with --server"}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	c := &Client{
		mailbox: MailboxOf(cfg.Key.Public().(ed25519.PublicKey)),
		log:     cfg.Logger,
		http:    newHTTPClient(cfg.HTTPClient, cfg.TLS),
		ownHTTP: cfg.HTTPClient == nil,
		queue:   cfg.Queue,
		eager:   cfg.EagerRelays,
		cancel:  cancel,
		done:    ctx.Done(),
		changed: make(chan struct{}),
		waiting: make(chan struct{}, 1),
		plates:  make(map[string]*Nameplate),
		watched: make(map[string]struct{}),
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.queue == 0 {
		c.queue = 64
	}
	for _, server := range cfg.Servers {
		a, err := parseAddress(server, cfg.AllowInsecure)
		if err != nil {
			cancel(errClosed)
			return nil, err
		}
		if slices.ContainsFunc(c.servers, func(u *upstream) bool { return u.addr.String() == a.String() }) {
			continue
		}
		c.servers = append(c.servers, newUpstream(c, a, cfg.Key))
	}
	for _, u := range c.servers {
		c.work.Go(func() { u.run(ctx) })
	}
	return c, nil
}

// Mailbox is the name under which others write to us.
func (c *Client) Mailbox() string { return c.mailbox }

// Close ends the connections and returns when the client's work has ended.
// Whatever waits in other methods fails with KindCanceled.
func (c *Client) Close() error {
	c.cancel(errClosed)
	c.work.Wait()
	if c.ownHTTP {
		c.http.CloseIdleConnections()
	}
	return nil
}

// Rebind drops all connections and connects anew at once: the network has
// changed, and nothing is known of the old connections' fate.
func (c *Client) Rebind() {
	for _, u := range c.servers {
		u.rebind()
	}
}

// Online waits until at least one server is connected. It fails at once if
// no server will do without somebody's help: none is a tandem server, none can
// be verified.
func (c *Client) Online(ctx context.Context) error {
	_, err := c.online(ctx, "connect")
	return err
}

// online is the connections there are, once there is one.
func (c *Client) online(ctx context.Context, op string) ([]*conn, error) {
	for {
		c.mu.Lock()
		changed := c.changed
		c.mu.Unlock()
		var conns []*conn
		var errs []error
		hopeless := true
		for _, u := range c.servers {
			live, err := u.connection()
			if live != nil {
				conns = append(conns, live)
			}
			if err != nil {
				errs = append(errs, err)
			}
			hopeless = hopeless && permanent(err)
		}
		if len(conns) > 0 {
			return conns, nil
		}
		if hopeless {
			return nil, because(op, KindOf(errs[0]), errs)
		}
		select {
		case <-c.done:
			return nil, errClosed
		case <-ctx.Done():
			if len(errs) == 0 {
				errs = []error{ctx.Err()}
			}
			kind := KindUnavailable
			if errors.Is(ctx.Err(), context.Canceled) {
				kind = KindCanceled
			}
			return nil, because(op, kind, errs)
		case <-changed:
		}
	}
}

// because makes one error of the reasons of several servers.
func because(op, kind string, errs []error) error {
	e := &Error{Op: op, Kind: kind, Text: "no server", Err: errors.Join(errs...)}
	var first *Error
	if errors.As(errs[0], &first) {
		e.Hint = first.Hint
		if len(errs) == 1 {
			e.Text = first.Text
			e.Err = first.Err
		}
	}
	return e
}

// permanent reports whether waiting will not help.
func permanent(err error) bool {
	switch KindOf(err) {
	case KindUnsupported, KindIntegrity, KindInvalid, KindDenied:
		return true
	}
	return false
}

// notify wakes whoever waits for a change of connections or of presence.
func (c *Client) notify() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.changed)
	c.changed = make(chan struct{})
}

// Send hands body to whoever holds address to, a mailbox or PlateAddress,
// at the given server, or, if server is "", at the connected ones in
// turn until one knows the address. It waits for a connection as long as ctx
// allows, and has one tried at once. Success means that a server says it has passed body on; an error of
// kind KindNotFound that no connected server knows the address. A body may arrive
// twice if a connection breaks.
func (c *Client) Send(ctx context.Context, server, to string, body []byte) error {
	if len(body) > MaxBody {
		return &Error{Op: "send", Kind: KindTooLarge, Text: "the body is too large"}
	}
	request := Message{Type: TypeSend, To: to, Body: body}
	if _, why := request.check(); why != "" {
		return &Error{Op: "send", Kind: KindInvalid, Text: why}
	}
	for _, u := range c.servers {
		if server == "" || u.addr.String() == server {
			u.hurry()
		}
	}
	for {
		conns, err := c.pick(ctx, "send", server)
		if err != nil {
			return err
		}
		again := false
		var worst error
		for _, live := range conns {
			reply, err := live.request(ctx, request)
			if err == nil && reply.Type == TypeSent {
				return nil
			}
			if errors.Is(err, errLost) {
				again = true
				live.u.hurry() // what was lost should not wait for the usual pause
			}
			worst = weigh(worst, err)
		}
		if !again || ctx.Err() != nil {
			return worst
		}
	}
}

// weigh keeps the error that says more: anything but not-found.
func weigh(a, b error) error {
	if a == nil || KindOf(a) == KindNotFound && b != nil {
		return b
	}
	return a
}

// pick is the connection to the named server, or all of them.
func (c *Client) pick(ctx context.Context, op, server string) ([]*conn, error) {
	if server == "" {
		return c.online(ctx, op)
	}
	i := slices.IndexFunc(c.servers, func(u *upstream) bool { return u.addr.String() == server })
	if i < 0 {
		return nil, &Error{Op: op, Kind: KindInvalid, Text: printable(server) + " is not one of our servers"}
	}
	for {
		c.mu.Lock()
		changed := c.changed
		c.mu.Unlock()
		live, err := c.servers[i].connection()
		if live != nil {
			return []*conn{live}, nil
		}
		if permanent(err) {
			return nil, err
		}
		select {
		case <-c.done:
			return nil, errClosed
		case <-ctx.Done():
			if err == nil {
				err = ctx.Err()
			}
			return nil, because(op, KindUnavailable, []error{err})
		case <-changed:
		}
	}
}

// Receive is the next envelope from any server. No server can keep another
// one's envelopes from coming: each has a queue of its own and they take turns.
func (c *Client) Receive(ctx context.Context) (Envelope, error) {
	for {
		if e, ok := c.takeEnvelope(); ok {
			return e, nil
		}
		select {
		case <-c.waiting:
		case <-c.done:
			return Envelope{}, errClosed
		case <-ctx.Done():
			kind := KindCanceled
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				kind = KindTimeout
			}
			return Envelope{}, &Error{Op: "receive", Kind: kind, Err: ctx.Err()}
		}
	}
}

func (c *Client) takeEnvelope() (Envelope, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range c.servers {
		u := c.servers[c.next]
		c.next = (c.next + 1) % len(c.servers)
		if len(u.inbox) > 0 {
			e := u.inbox[0]
			u.inbox = u.inbox[1:]
			c.ring() // there may be more, for another Receive
			return e, true
		}
	}
	return Envelope{}, false
}

// ring leaves a token for one Receive. c.mu is held.
func (c *Client) ring() {
	select {
	case c.waiting <- struct{}{}:
	default:
	}
}

// ServerStatus is how we stand with one server.
type ServerStatus struct {
	URL       string
	Connected bool
	RTT       time.Duration // of the last ping, or of connecting; 0 if unknown
	ClockSkew time.Duration // the server's clock minus ours; see ClockWarning
	Observed  string        // our address and port as the server says it sees them
	Err       error         // why it is not connected; nil if it is or has not been tried
	Dropped   uint64        // envelopes lost because nobody called Receive
}

// Status reports on all servers, in the order of Config.
func (c *Client) Status() []ServerStatus {
	all := make([]ServerStatus, len(c.servers))
	for i, u := range c.servers {
		all[i] = u.status()
	}
	return all
}
