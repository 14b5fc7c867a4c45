package signaling

import (
	"context"
	"crypto/ed25519"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// The client's patience.
const (
	dialTimeout  = 15 * time.Second // to connect and claim
	writeTimeout = 10 * time.Second // for one message
	replyTimeout = 15 * time.Second // from a request to its reply
	pingInterval = 20 * time.Second
	pingTimeout  = 10 * time.Second
	firstRetry   = 100 * time.Millisecond
	longestRetry = 30 * time.Second
	yieldRetry   = 10 * time.Second // after another process took the mailbox
	healthyAfter = 10 * time.Second // a connection that lasted so long was a good one
	hurryPause   = 2 * time.Second  // between tries that did not wait because somebody has something to send
	sendQueue    = 16               // requests waiting for the writer
)

// errLost is why requests fail whose connection ended under them.
var errLost = &Error{Kind: KindUnavailable, Text: "the connection to the server was lost"}

// errRebind is why Rebind ends a connection.
var errRebind = &Error{Kind: KindUnavailable, Text: "connecting again"}

// upstream is one server and our relation to it, over all connections.
type upstream struct {
	c    *Client
	addr address
	key  ed25519.PrivateKey
	wake chan struct{} // has a token when the next connection should not wait
	want chan struct{} // likewise, because somebody has something to send

	inbox   []Envelope      // guarded by c.mu, as are:
	dropped uint64          // envelopes that found the inbox full
	present map[string]bool // of the watched mailboxes, those online here

	mu       sync.Mutex
	tried    time.Time // when the last attempt at a connection began
	live     *conn
	drop     context.CancelCauseFunc // ends the attempt or connection there is
	err      error                   // why there is no connection
	rtt      time.Duration
	skew     time.Duration
	observed string
	yield    bool // another process holds the mailbox
	relays   relayCache
}

func newUpstream(c *Client, a address, key ed25519.PrivateKey) *upstream {
	return &upstream{
		c: c, addr: a, key: key, wake: make(chan struct{}, 1), want: make(chan struct{}, 1), present: make(map[string]bool),
	}
}

// connection is the live one, or nil and why there is none yet.
func (u *upstream) connection() (*conn, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.live, u.err
}

func (u *upstream) status() ServerStatus {
	u.c.mu.Lock()
	dropped := u.dropped
	u.c.mu.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	return ServerStatus{
		URL: u.addr.String(), Connected: u.live != nil, RTT: u.rtt, ClockSkew: u.skew,
		Observed: u.observed, Err: u.err, Dropped: dropped,
	}
}

func (u *upstream) rebind() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.yield, u.err = false, nil
	if u.drop != nil {
		u.drop(errRebind)
	}
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// hurry has the next try come at once if there is no connection, but not more
// often than once in hurryPause.
func (u *upstream) hurry() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.live != nil && !u.live.over() || time.Since(u.tried) < hurryPause {
		return
	}
	select {
	case u.want <- struct{}{}:
	default:
	}
}

// run keeps a connection to the server until ctx ends.
func (u *upstream) run(ctx context.Context) {
	delay := firstRetry
	for {
		began := time.Now()
		wait, err := u.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > healthyAfter {
			delay = firstRetry
		}
		if wait == 0 {
			wait = delay/2 + rand.N(delay)
			delay = min(2*delay, longestRetry)
		}
		u.c.log.Debug("signaling: disconnected", "server", u.addr.String(), "err", err, "again_in", wait)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-u.want:
		case <-u.wake:
			delay = firstRetry
		}
		timer.Stop()
	}
}

// connect makes a connection and serves it until it ends. The wait is how
// long to stay away, or 0 for as long as usual.
func (u *upstream) connect(parent context.Context) (wait time.Duration, err error) {
	ctx, drop := context.WithCancelCause(parent)
	defer drop(nil)
	began := time.Now()
	u.mu.Lock()
	u.drop, u.tried = drop, began
	yield := u.yield
	u.mu.Unlock()

	live, err := u.dial(ctx, yield)
	if err == nil {
		u.set(live, nil)
		u.c.log.Debug("signaling: connected", "server", u.addr.String())
		err = live.serve(ctx)
		if time.Since(began) > healthyAfter { // so that no server has us come and go all the time
			wait = live.comeBack()
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if kind := KindOf(err); kind == KindReplaced || kind == KindExists && yield {
		u.mu.Lock()
		u.yield = true
		u.mu.Unlock()
		wait = yieldRetry + rand.N(yieldRetry)
		err = &Error{
			Op: "connect", Kind: KindExists, Text: "another process on this device uses the mailbox at " + u.addr.String(),
			Hint: "stop the other tandem, or let it do the work", Err: err,
		}
	}
	if errors.Is(err, errRebind) {
		u.set(nil, nil)
	} else {
		u.set(nil, err)
	}
	return wait, err
}

// set says how we stand now, and tells whoever waits.
func (u *upstream) set(live *conn, err error) {
	u.mu.Lock()
	u.live, u.err = live, err
	if live != nil {
		u.yield = false
		u.rtt, u.skew, u.observed = live.rtt, live.skew, live.observed
	}
	u.mu.Unlock()
	if live == nil {
		u.c.forget(u)
	}
	u.c.notify()
}

// dial connects and claims the mailbox.
func (u *upstream) dial(ctx context.Context, yield bool) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	start := time.Now()
	ws, resp, err := websocket.Dial(ctx, u.addr.at("/v1/ws"), &websocket.DialOptions{HTTPClient: u.c.http}) //nolint:bodyclose // Dial says it never needs closing
	if err != nil {
		if ctx.Err() != nil {
			err, resp = ctx.Err(), nil
		}
		return nil, dialError("connect", u.addr, err, resp)
	}
	ws.SetReadLimit(MaxFrame)
	live, err := u.claim(ctx, ws, start, yield)
	if err != nil {
		_ = ws.CloseNow() // the claim's error says what matters
		return nil, err
	}
	return live, nil
}

func (u *upstream) claim(ctx context.Context, ws *websocket.Conn, start time.Time, yield bool) (*conn, error) {
	welcome, err := readMessage(ctx, ws)
	if err != nil {
		return nil, u.strange(ctx, err)
	}
	rtt := time.Since(start)
	if welcome.Type != TypeWelcome {
		return nil, u.strange(ctx, fromServer("connect", welcome))
	}
	if err := checkVersion("connect", u.addr, welcome.Version, welcome.MinVersion); err != nil {
		return nil, err
	}
	if welcome.Host != u.addr.host() {
		return nil, &Error{
			Op: "connect", Kind: KindDenied,
			Text: u.addr.String() + " takes itself for " + printable(welcome.Host),
			Hint: "if it is behind a reverse proxy, that has to pass on the Host header",
		}
	}
	claim := Message{
		Type: TypeClaim, Version: min(Version, welcome.Version), Key: u.key.Public().(ed25519.PublicKey),
		Signature: ed25519.Sign(u.key, ClaimBytes(welcome.Nonce, u.addr.host())), Yield: yield,
	}
	first := []Message{claim}
	if u.c.eager {
		first = append(first, Message{Type: TypeRelay, ID: eagerID})
	}
	for _, m := range first {
		data, err := Encode(m)
		if err == nil {
			err = ws.Write(ctx, websocket.MessageText, data)
		}
		if err != nil {
			return nil, u.strange(ctx, err)
		}
	}
	claimed, err := readMessage(ctx, ws)
	if err != nil {
		return nil, u.strange(ctx, err)
	}
	switch {
	case claimed.Type == TypeError:
		return nil, fromServer("connect", claimed)
	case claimed.Type != TypeClaimed || claimed.Mailbox != u.c.mailbox:
		return nil, u.strange(ctx, fromServer("connect", claimed))
	}
	k := &conn{
		u: u, ws: ws, out: make(chan []byte, sendQueue), pending: make(map[uint64]chan Message), ended: make(chan struct{}),
		rtt: rtt, skew: skew(welcome.Time, start, rtt), observed: printable(welcome.Observed),
	}
	if u.c.eager {
		k.eager, k.last = make(chan struct{}), eagerID
	}
	return k, nil
}

// strange is an error for a server that connected but does not keep to the protocol.
func (u *upstream) strange(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return dialError("connect", u.addr, ctx.Err(), nil)
	}
	var e *Error
	if errors.As(err, &e) && e.Kind != KindInvalid && e.Kind != KindInternal {
		return err
	}
	return &Error{
		Op: "connect", Kind: KindUnavailable, Text: u.addr.String() + " does not keep to the protocol",
		Hint: "check that it is a tandem server, and its version", Err: err,
	}
}

// readMessage reads and checks one message.
func readMessage(ctx context.Context, ws *websocket.Conn) (Message, error) {
	kind, data, err := ws.Read(ctx)
	if err != nil {
		return Message{}, err
	}
	if kind != websocket.MessageText {
		return Message{}, &Error{Kind: KindInvalid, Text: "a binary message"}
	}
	return Decode(data)
}

// fromServer makes an error of what a server answered.
func fromServer(op string, m Message) *Error {
	if m.Type != TypeError {
		return &Error{Op: op, Kind: KindInternal, Text: "an unexpected answer: " + printable(m.Type)}
	}
	e := &Error{Op: op, Kind: knownKind(m.Kind), Text: printable(m.Text)}
	switch e.Kind {
	case KindNotFound:
		e.Hint = "the other side may be offline, or the code may be mistyped"
	case KindBusy:
		e.Hint = "wait a moment and try again"
	}
	return e
}
