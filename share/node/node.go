package node

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tandem/session"
	"tandem/session/audit"
	"tandem/session/grant"
	"tandem/session/host"
	"tandem/session/identity"
	"tandem/session/link"
	"tandem/session/pairing"
	"tandem/share/terminal"
	"tandem/signaling"
	"tandem/signaling/lan"
)

// errRunning says that another process is the node of this home.
var errRunning = errors.New("another tandem runs under this home")

// Config is what a node starts from.
type Config struct {
	Home Home
	// Name is what the device calls itself; empty keeps what it was.
	Name string
	// Servers are the signaling servers to register with. A node without any
	// can still share on the local network and join by link.
	Servers []string
	// Insecure allows plain HTTP to servers outside the local network.
	Insecure bool
	// Roots vouch for servers and relays that speak TLS; nil means the
	// system's.
	Roots *x509.CertPool
	// RelayOnly uses no direct path.
	RelayOnly bool
	// nearby finds who on the local network holds a nameplate; nil is lan.Find.
	nearby func(ctx context.Context, nameplate string) ([]string, error)
	// temporary keeps the device in a folder that ends with the node.
	temporary string
	// Term is TERM for the terminal of a share; empty means a common one.
	Term string
	// Recording records every terminal here; nil records none. An empty path is
	// the home's folder for recordings.
	Recording *terminal.Recording
	// Subsystems are programs that guests who may run any program find under
	// these names: what their ssh needs here besides a shell.
	Subsystems map[string][]string
	// Version is this program's, for Self.
	Version string
	// Events is told what happens, one event at a time; nil tells nobody.
	Events func(Event)
	Log    *slog.Logger
}

// Node is one running tandem.
type Node struct {
	cfg      Config
	device   *identity.Device
	book     *identity.Book
	ledger   *pairing.Ledger
	audit    *audit.Log
	grants   *grant.Table
	services *services
	post     *post
	host     *host.Host
	own      *own
	control  *control // nil if another process owns the home
	lock     *os.File // nil likewise
	requests *requests
	shares   *shares
	door     *door
	feed     *feed
	clock    sync.Once // a clock that is off is reported once

	embedding sync.Mutex               // held while a signaling server is started
	embedded  atomic.Pointer[embedded] // nil unless this node runs a signaling server

	work   sync.WaitGroup
	stop   context.CancelFunc
	events sync.Mutex // held while Config.Events runs
	once   sync.Once
	err    error // of Close
}

// Start makes the node of a home. It fails with errRunning if another process
// already is.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	held, err := lockHome(cfg.Home)
	if err != nil {
		return nil, err
	}
	n, err := build(cfg, held)
	if err != nil {
		_ = held.Close()
		return nil, err
	}
	n.control, err = listenControl(socketPath(cfg.Home), n)
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	if err := ctx.Err(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// Serve makes the node of a home, or a second one beside the node that
// already runs: the same device, with a mailbox of its own. A share is a node of
// its own so that it ends with its program. The first node finds it by its control
// socket, and shows, answers and ends what it shares.
func Serve(ctx context.Context, cfg Config) (*Node, error) {
	n, err := Start(ctx, cfg)
	if !errors.Is(err, errRunning) {
		return n, err
	}
	if n, err = build(cfg, nil); err != nil {
		return nil, err
	}
	if n.control, err = listenControl(besidePath(cfg.Home), n); err != nil {
		n.cfg.Log.Warn("other windows don't see what is shared here", "error", err)
	}
	return n, nil
}

// StartGuest makes a node that is nobody in particular: a device that ends
// with it. It is how one machine tries both sides of a share.
func StartGuest(ctx context.Context, cfg Config) (*Node, error) {
	dir, err := os.MkdirTemp("", "tandem-guest-")
	if err != nil {
		return nil, &session.Error{Op: "make a temporary home", Err: err}
	}
	cfg.Home, cfg.temporary = Home{Config: dir, State: dir}, dir
	n, err := Start(ctx, cfg)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return n, nil
}

func lockHome(home Home) (*os.File, error) {
	if err := os.MkdirAll(home.State, 0o700); err != nil {
		return nil, &session.Error{Op: "make " + home.State, Err: err, Hint: "Set TANDEM_HOME to a folder that can be written."}
	}
	held, err := lock(filepath.Join(home.State, "lock"))
	if err != nil && !errors.Is(err, errRunning) {
		return nil, &session.Error{Op: "lock " + home.State, Err: err}
	}
	return held, err
}

// build assembles everything. A node without the home's lock gets a random
// mailbox.
func build(cfg Config, held *os.File) (*Node, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.nearby == nil {
		cfg.nearby = lan.Find
	}
	if cfg.Name != "" {
		if err := identity.SetName(filepath.Join(cfg.Home.State, "identity"), cfg.Name); err != nil {
			return nil, err
		}
	}
	device, err := identity.Open(filepath.Join(cfg.Home.State, "identity"))
	if err != nil {
		return nil, err
	}
	book, err := identity.OpenBook(filepath.Join(cfg.Home.State, "peers"))
	if err != nil {
		return nil, err
	}
	ledger, err := pairing.OpenLedger(filepath.Join(cfg.Home.State, "invites"))
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, device: device, book: book, ledger: ledger, audit: audit.New(cfg.Home.auditLog()), grants: &grant.Table{}, lock: held,
		requests: newRequests(), shares: new(shares), door: new(door), feed: new(feed),
	}
	key := device.MailboxKey()
	if held == nil {
		if _, key, err = ed25519.GenerateKey(nil); err != nil {
			return nil, err
		}
	}
	n.services = newServices(cfg.Subsystems, n.recording(cfg.Recording), targets{device.ID(), n.grants}, n.asked, n.allowed, cfg.Log)
	n.post = newPost(key, cfg.Roots, cfg.Log)
	if err := n.post.use(cfg.Insecure, cfg.Servers...); err != nil {
		return nil, errors.Join(err, n.post.Close())
	}
	dispatcher := host.NewDispatcher(host.DispatcherConfig{
		Authorizer: knowing{n.grants}, Services: n.services.list(), Observe: n.observe, Audit: n.audit, Detail: requested, Log: cfg.Log,
	})
	n.host = host.New(host.Config{
		Device: device, Contact: n.contact, Book: book, Post: n.post, Ledger: ledger,
		Link: link.Config{
			Relays: n.post.relays, Observed: n.post.observed, RelayTLS: &tls.Config{RootCAs: cfg.Roots, MinVersion: tls.VersionTLS12},
			RelayOnly: cfg.RelayOnly, Logger: cfg.Log,
		},
		Handler:  dispatcher.Handle,
		Sessions: n.sessionBegan,
		Log:      cfg.Log,
	})
	n.own = newOwn(session.Peer{ID: device.ID(), Name: device.Name()}, host.NewDispatcher(host.DispatcherConfig{
		Authorizer: everything{}, Services: n.services.desk(), Observe: n.observeOwn, Log: cfg.Log,
	}))
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.work.Go(func() {
		if err := n.host.Run(ctx); err != nil && ctx.Err() == nil {
			cfg.Log.Error("signaling ended", "error", err)
		}
	})
	n.work.Go(func() { watchNetwork(ctx, net.InterfaceAddrs, n.networkChanged) })
	return n, nil
}

// networkChanged connects signaling anew; links notice by themselves, and need
// it to tell their peers.
func (n *Node) networkChanged(why string) {
	n.cfg.Log.Info("connecting again", "reason", why)
	n.post.rebind()
}

// contact is where peers can reach this device later: at its own mailbox, even
// while a second node uses another.
func (n *Node) contact() identity.Contact {
	servers := n.post.servers()
	if e := n.embedded.Load(); e != nil {
		if local, err := e.addresses(); err == nil {
			servers = local
		}
	}
	mailbox := signaling.MailboxOf(n.device.MailboxKey().Public().(ed25519.PublicKey))
	return n.device.Contact(mailbox, servers)
}

// emit reports an event.
func (n *Node) emit(e Event) {
	e = e.printable()
	e.Time = time.Now()
	n.events.Lock()
	defer n.events.Unlock()
	n.feed.send(e)
	if n.cfg.Events != nil {
		n.cfg.Events(e)
	}
}

// Events is a channel of everything that happens from now on. It is closed when
// ctx ends or the node does; until then it has to be read. A reader that is slow
// loses events, and finds an EventLost in their place.
func (n *Node) Events(ctx context.Context) (<-chan Event, error) { return n.feed.listen(ctx) }

// Open starts a request to a peer named as people name it, or to this node.
func (n *Node) Open(ctx context.Context, peer string, h session.Header) (session.Stream, error) {
	if peer == Own {
		return n.own.Open(h)
	}
	s, err := n.dial(ctx, peer)
	if err != nil {
		return nil, err
	}
	return s.Open(ctx, h)
}

// Ended waits until the session with a peer is over, and says why it ended.
func (n *Node) Ended(ctx context.Context, peer string) error {
	entry, err := n.book.Find(peer)
	if err != nil {
		return err
	}
	s := n.host.Session(entry.ID)
	if s == nil {
		return session.Errorf("wait", session.Unavailable, "there is no session with %s", entry.Alias)
	}
	select {
	case <-s.Done():
		return s.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *Node) dial(ctx context.Context, peer string) (session.Session, error) {
	entry, err := n.book.Find(peer)
	if err != nil {
		return nil, err
	}
	if s := n.host.Session(entry.ID); s != nil && s.Path().Kind != session.NoPath {
		return s, nil
	}
	defer n.complain(ctx)()
	if err := n.reach(ctx, entry.Contact.Servers); err != nil {
		if session.KindOf(err) == session.Unavailable {
			err = &session.Error{
				Op: "dial", Kind: session.Unavailable, Err: err, Text: entry.Alias + " can't be asked for, as its server doesn't answer",
				Hint: "Is tandem running there? A share that ran its own server needs a new code.",
			}
		}
		return nil, err
	}
	s, err := n.host.Dial(ctx, entry.ID)
	if err != nil {
		return nil, n.aboutClocks(err)
	}
	return s, nil
}

// reach makes sure that a server is connected, and if possible one of those
// that a peer registers with.
func (n *Node) reach(ctx context.Context, servers []string) error {
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	ours := n.post.servers()
	shared := slices.ContainsFunc(servers, func(s string) bool { return slices.Contains(ours, s) })
	if !shared && len(servers) > 0 {
		// Ours may still do if theirs can't be reached.
		if _, err := n.useOneOf(ctx, servers); err != nil && len(ours) == 0 {
			return err
		}
	}
	_, err := n.post.online(ctx, "")
	return err
}

// Peers lists the known peers, connected ones with their path.
func (n *Node) Peers(context.Context) ([]PeerStatus, error) {
	entries, err := n.book.List()
	if err != nil {
		return nil, err
	}
	live := make(map[session.PeerID]session.Session)
	for _, s := range n.host.Live() {
		live[s.Peer().ID] = s
	}
	peers := make([]PeerStatus, 0, len(entries))
	for _, e := range entries {
		peers = append(peers, status(e, live[e.ID]))
	}
	return peers, nil
}

func status(e identity.Entry, s session.Session) PeerStatus {
	p := PeerStatus{Peer: session.Peer{ID: e.ID, Name: e.Name}, Alias: e.Alias, Words: identity.Words(e.ID)}
	if s != nil {
		p.Connected, p.Path = true, s.Path()
	} else {
		p.Path.Kind = session.NoPath
	}
	return p
}

// Why reports the path to a peer, dialling it if needed.
func (n *Node) Why(ctx context.Context, peer string) (PeerStatus, error) {
	entry, err := n.book.Find(peer)
	if err != nil {
		return PeerStatus{}, err
	}
	s := n.host.Session(entry.ID)
	if s == nil { // one that is looking for a path says so
		if s, err = n.dial(ctx, peer); err != nil {
			return PeerStatus{}, err
		}
	}
	told := status(entry, s)
	if c, ok := s.(session.Candidater); ok {
		tried := c.Candidates()
		told.Candidates = &tried
	}
	if l, ok := s.(session.Laner); ok {
		told.Lanes = l.Lanes()
	}
	return told, nil
}

// Close ends every share, grant and session, and waits for their work. What
// guests have started here ends first, before anything that the network could
// delay.
func (n *Node) Close() error {
	n.once.Do(func() {
		n.grants.Close()
		n.feed.Close()
		errs := []error{n.services.terminal.Close()} // its viewers hear how they ended
		n.own.end()                                  // the services wait for those they serve
		errs = append(errs, n.services.Close())
		if n.control != nil {
			errs = append(errs, n.control.Close())
		}
		n.own.Close()
		errs = append(errs, n.host.Close())
		n.stop()
		errs = append(errs, n.post.Close())
		if e := n.embedded.Load(); e != nil {
			errs = append(errs, e.Close())
		}
		n.work.Wait()
		for _, r := range n.shares.all() {
			n.emit(Event{Event: EventEnded, Share: r.id})
		}
		errs = append(errs, n.audit.Close())
		if n.lock != nil {
			errs = append(errs, n.lock.Close())
		}
		if n.cfg.temporary != "" {
			errs = append(errs, os.RemoveAll(n.cfg.temporary))
		}
		n.err = errors.Join(errs...)
	})
	return n.err
}
