package node

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"tandem/session"
	"tandem/session/host"
	"tandem/session/link"
	"tandem/signaling"
)

// post is the host.Post of a node: one signaling client for each server, all
// with the same mailbox. Servers join while it runs, as links name them.
type post struct {
	key     ed25519.PrivateKey
	trust   *tls.Config
	log     *slog.Logger
	letters chan host.Letter
	done    chan struct{} // closed by Close
	work    sync.WaitGroup

	mu      sync.Mutex
	clients []*carrier    // in the order they came
	more    chan struct{} // closed and replaced when one has come
	closed  bool
}

// carrier is the client of one server.
type carrier struct {
	server string
	*signaling.Client
}

func newPost(key ed25519.PrivateKey, roots *x509.CertPool, log *slog.Logger) *post {
	trust := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return &post{key: key, trust: trust, log: log, letters: make(chan host.Letter), done: make(chan struct{}), more: make(chan struct{})}
}

// use adds servers that aren't in use yet. Insecure permits plain HTTP
// anywhere: a person who holds a link or is on the same network has chosen so,
// and a server is not trusted anyway.
func (p *post) use(insecure bool, servers ...string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errClosing()
	}
	for _, s := range servers {
		url, err := signaling.ServerURL(s, insecure)
		if err != nil {
			return fromSignaling(err)
		}
		if slices.ContainsFunc(p.clients, func(c *carrier) bool { return c.server == url }) {
			continue
		}
		if len(p.clients) >= maxServers {
			return session.Errorf("signaling", session.Busy, "tandem is connected to %d servers already", maxServers)
		}
		client, err := signaling.New(signaling.Config{
			Servers: []string{url}, Key: p.key, Logger: p.log, AllowInsecure: insecure, EagerRelays: true,
			TLS: p.trust,
		})
		if err != nil {
			return fromSignaling(err)
		}
		c := &carrier{url, client}
		p.clients = append(p.clients, c)
		close(p.more)
		p.more = make(chan struct{})
		p.work.Go(func() { p.collect(c) })
	}
	return nil
}

func errClosing() error { return session.Errorf("signal", session.Canceled, "tandem is closing") }

// start runs work n times at once, in goroutines that Close waits for, and
// then done. Once the post is closing it runs only done and reports false.
func (p *post) start(n int, done func(), work func(n int)) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		done()
		return false
	}
	p.work.Go(func() {
		defer done()
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() { work(i) })
		}
		all.Wait()
	})
	return true
}

// collect moves what one server brings to Receive.
func (p *post) collect(c *carrier) {
	for {
		e, err := c.Receive(context.Background())
		if err != nil {
			return // closed
		}
		select {
		case p.letters <- host.Letter{Server: c.server, From: e.From, Body: e.Body}:
		case <-p.done:
			return
		}
	}
}

// pick is the client of server, or all of them for "".
func (p *post) pick(server string) []*carrier {
	p.mu.Lock()
	defer p.mu.Unlock()
	if server == "" {
		return slices.Clone(p.clients)
	}
	i := slices.IndexFunc(p.clients, func(c *carrier) bool { return c.server == server })
	if i < 0 {
		return nil
	}
	return p.clients[i : i+1 : i+1]
}

// troubles says, one for each, why servers can't be reached, and how far their
// clocks are from ours: zero if one agrees, or if none has told.
func (p *post) troubles() (unreachable []string, skew time.Duration) {
	told := false
	for _, c := range p.pick("") {
		for _, s := range c.Status() {
			switch {
			case !s.Connected && s.Err != nil:
				unreachable = append(unreachable, trouble(s.Err))
			case s.Connected && (!told || s.ClockSkew.Abs() < skew.Abs()):
				told, skew = true, s.ClockSkew
			}
		}
	}
	return unreachable, skew
}

// status is how we stand with each server.
func (p *post) status() []ServerStatus {
	list := []ServerStatus{}
	for _, c := range p.pick("") {
		st := ServerStatus{URL: c.server}
		for _, s := range c.Status() {
			if st.Connected = st.Connected || s.Connected; s.Err != nil && !st.Connected {
				st.Reason = session.Printable(trouble(s.Err))
			}
		}
		list = append(list, st)
	}
	return list
}

// trouble is an error of a server for people: what it is and why.
func trouble(err error) string {
	var e *signaling.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	return e.Text
}

// connected are the servers that answer now.
func (p *post) connected() (urls []string) {
	for _, c := range p.pick("") {
		if slices.ContainsFunc(c.Status(), func(s signaling.ServerStatus) bool { return s.Connected }) {
			urls = append(urls, c.server)
		}
	}
	return urls
}

// servers are those in use.
func (p *post) servers() []string {
	var urls []string
	for _, c := range p.pick("") {
		urls = append(urls, c.server)
	}
	return urls
}

// since are the clients behind the first n, and a channel that is closed when
// there are more.
func (p *post) since(n int) ([]*carrier, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.clients[n:]), p.more
}

// Send implements host.Post. Without a server all are tried at once, those that
// come meanwhile too, and the first that can deliver decides.
func (p *post) Send(ctx context.Context, server, to string, body []byte) error {
	if server == "" {
		return p.sendAnywhere(ctx, to, body)
	}
	clients := p.pick(server)
	if len(clients) == 0 {
		return errNoServer()
	}
	return fromSignaling(clients[0].Send(ctx, "", to, body))
}

func (p *post) sendAnywhere(ctx context.Context, to string, body []byte) error {
	// A server that doesn't answer must not delay one that does, and one that
	// says it has delivered need not have: the others go on for as long as ctx
	// was to last.
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(serverTimeout)
	}
	results := make(chan error, maxServers)
	var failed error
	var late <-chan time.Time
	for asked, answered := 0, 0; ; {
		clients, more := p.since(asked)
		if len(clients) > 0 {
			others, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
			if !p.start(len(clients), cancel, func(n int) { results <- clients[n].Send(others, "", to, body) }) {
				return errClosing()
			}
			asked += len(clients)
		}
		switch {
		case asked == 0:
			return errNoServer()
		case answered == asked:
			return fromSignaling(failed)
		}
		select {
		case err := <-results:
			if err == nil {
				return nil
			}
			answered++
			// "Not found" says more than "can't be reached".
			if signaling.KindOf(err) == signaling.KindNotFound {
				failed = err
				if late == nil {
					timer := time.NewTimer(laggard)
					defer timer.Stop()
					late = timer.C
				}
			} else if failed == nil {
				failed = err
			}
		case <-more:
		case <-late:
			return fromSignaling(failed)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func errNoServer() error {
	return &session.Error{
		Op: "signal", Kind: session.Unavailable, Text: "no signaling server is known",
		Hint: "Name one with --server, or in the configuration.",
	}
}

// Receive implements host.Post.
func (p *post) Receive(ctx context.Context) (host.Letter, error) {
	select {
	case l := <-p.letters:
		return l, nil
	case <-ctx.Done():
		return host.Letter{}, ctx.Err()
	case <-p.done:
		return host.Letter{}, errClosing()
	}
}

// online waits until a server, or any if it is empty, is connected and returns its
// client.
func (p *post) online(ctx context.Context, server string) (*carrier, error) {
	clients := p.pick(server)
	if len(clients) == 0 {
		return nil, errNoServer()
	}
	ctx, cancel := context.WithCancel(ctx)
	type result struct {
		c   *carrier
		err error
	}
	results := make(chan result, len(clients))
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	for _, c := range clients {
		asking.Go(func() { results <- result{c, c.Online(ctx)} })
	}
	var errs []error
	for range clients {
		r := <-results
		if r.err == nil {
			return r.c, nil
		}
		errs = append(errs, fromSignaling(r.err))
	}
	return nil, errors.Join(errs...)
}

// nameplate gets a number at a server, or at the first one that answers if that is
// empty.
func (p *post) nameplate(ctx context.Context, server string) (*signaling.Nameplate, error) {
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	c, err := p.online(ctx, server)
	if err != nil {
		return nil, err
	}
	n, err := c.Nameplate(ctx)
	return n, fromSignaling(err)
}

// relayPatience is how long a server has to name its relays once another has.
const relayPatience = 300 * time.Millisecond

// relays are those of every server that answers. One that is down delays nobody.
func (p *post) relays(ctx context.Context) ([]link.Relay, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	clients := p.pick("")
	answers, errs := make([][]signaling.Relay, len(clients)), make([]error, len(clients))
	var asking sync.WaitGroup
	for i, c := range clients {
		asking.Go(func() {
			if answers[i], errs[i] = c.Relays(ctx); len(answers[i]) > 0 {
				time.AfterFunc(relayPatience, cancel)
			}
		})
	}
	asking.Wait()
	var relays []link.Relay
	for _, r := range slices.Concat(answers...) {
		lr := link.Relay{URLs: r.URLs, Username: r.Username, Password: r.Password}
		if r.TTL > 0 {
			lr.Expires = time.Now().Add(time.Duration(r.TTL) * time.Second)
		}
		relays = append(relays, lr)
	}
	if len(relays) > 0 {
		return relays, nil
	}
	return nil, errors.Join(errs...)
}

// observed are the addresses that servers see us at.
func (p *post) observed() (addrs []netip.Addr) {
	for _, c := range p.pick("") {
		for _, s := range c.Status() {
			at, err := netip.ParseAddrPort(s.Observed)
			if err == nil && s.Connected && !slices.Contains(addrs, at.Addr()) {
				addrs = append(addrs, at.Addr())
			}
		}
	}
	return addrs
}

// rebind connects anew everywhere: the network changed.
func (p *post) rebind() {
	for _, c := range p.pick("") {
		c.Rebind()
	}
}

// Close ends every connection and waits.
func (p *post) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	clients := p.clients
	p.mu.Unlock()
	close(p.done)
	var errs []error
	for _, c := range clients {
		errs = append(errs, c.Close())
	}
	p.work.Wait()
	return errors.Join(errs...)
}

// maxServers is how many servers one node is connected to: its own, and those
// of the peers it has met.
const maxServers = 32

// laggard is how long the other servers may take when one has said that nobody
// is there.
const laggard = 3 * time.Second

// serverTimeout is how long a person waits for a server before hearing that it
// can't be reached.
const serverTimeout = 10 * time.Second

// fromSignaling makes signaling's error one of ours; the kinds have the same
// names, but for one that only signaling has.
func fromSignaling(err error) error {
	var se *signaling.Error
	if err == nil || !errors.As(err, &se) {
		return err
	}
	kind := session.Kind(se.Kind)
	if !kind.Known() {
		kind = session.Unavailable
	}
	return &session.Error{Op: se.Op, Kind: kind, Text: se.Text, Hint: se.Hint, Err: se.Err}
}
