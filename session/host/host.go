package host

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"tandem/session"
	"tandem/session/identity"
	"tandem/session/link"
	"tandem/session/pairing"
)

// Limits on what peers can make a host keep.
const (
	maxConversations = 512
	maxPerPeer       = 16
	// pairingQueue is how many pairing letters wait while attempts are being
	// written to the disk; more are dropped.
	pairingQueue = 64
)

// Config is what a Host works with.
type Config struct {
	Device *identity.Device
	// Contact is where peers can reach this device later, as of now.
	Contact func() identity.Contact
	Book    *identity.Book
	Post    Post
	// Ledger counts the attempts at invites; nil if this host never invites.
	Ledger *pairing.Ledger
	// Link is the template for every link: relays and policy. Identity,
	// Handler and Context are filled in by the host.
	Link link.Config
	// Handler takes the offers of every session.
	Handler session.Handler
	// Sessions, if set, is told of every session that begins.
	Sessions func(session.Session)
	Log      *slog.Logger

	// patience replaces the usual waits where it is not zero.
	patience patience
}

// Host is one device among its peers. Run must be running for anything to
// happen.
type Host struct {
	cfg     Config
	pairing *pairing.Host
	work    sync.WaitGroup // what start has started
	life    chan struct{}  // closed when the host closes

	mu            sync.Mutex
	closed        bool
	sessions      map[session.PeerID][]live // newest last
	heard         map[session.PeerID]string // the mailbox of a peer's latest session
	dials         map[session.PeerID]*dial
	conversations map[convID]*conversation
	inbound       map[session.PeerID]int // conversations a peer has begun
	invites       map[string]*Invite     // by nameplate
	guests        map[pairing.Attempt]*guest
	joins         map[pairing.Attempt]*join
	servers       map[string]time.Duration // how long each took to confirm a letter; 0 if another was faster
}

// New makes a host. Run it, and Close it when done.
func New(cfg Config) *Host {
	if cfg.Link.Nonces == nil {
		cfg.Link.Nonces = new(link.Nonces)
	}
	cfg.Link.Name = func(id session.PeerID) string {
		entry, _, err := cfg.Book.Get(id)
		if err != nil {
			cfg.Log.Warn("known peers", "error", err)
		}
		return entry.Name
	}
	cfg.patience = cfg.patience.orUsual()
	return &Host{
		cfg: cfg, pairing: pairing.NewHost(cfg.Device, cfg.Ledger), life: make(chan struct{}),
		sessions:      make(map[session.PeerID][]live),
		heard:         make(map[session.PeerID]string),
		dials:         make(map[session.PeerID]*dial),
		conversations: make(map[convID]*conversation),
		inbound:       make(map[session.PeerID]int),
		invites:       make(map[string]*Invite),
		guests:        make(map[pairing.Attempt]*guest),
		joins:         make(map[pairing.Attempt]*join),
		servers:       make(map[string]time.Duration),
	}
}

// Run reads letters until ctx ends or the post closes.
func (h *Host) Run(ctx context.Context) error {
	// Judging a guest waits for the disk; everybody else's letters do not.
	guests := make(chan Letter, pairingQueue)
	var judging sync.WaitGroup
	judging.Go(func() {
		for letter := range guests {
			h.receiveGuest(letter)
		}
	})
	defer judging.Wait()
	defer close(guests)
	for {
		letter, err := h.cfg.Post.Receive(ctx)
		if err != nil {
			return err
		}
		h.receive(letter, guests)
	}
}

// receive routes one letter. It never blocks and never answers a bad letter.
func (h *Host) receive(letter Letter, guests chan<- Letter) {
	if len(letter.Body) == 0 || len(letter.Body) > MaxLetter {
		return
	}
	switch letter.Body[0] {
	case letterPairing:
		if h.receiveJoin(letter) {
			return
		}
		select {
		case guests <- letter:
		default: // signaling is best effort: a guest asks again
		}
	case letterSealed:
		h.receiveSealed(letter)
	}
}

// start runs work in a goroutine that Close waits for. Once the host is
// closing it does nothing and reports false.
func (h *Host) start(work func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.startLocked(work)
}

// startLocked is start for those who hold mu.
func (h *Host) startLocked(work func()) bool {
	if !h.closed {
		h.work.Go(work)
	}
	return !h.closed
}

// post sends a letter in the background. Signaling is best effort: what is
// lost, its receiver asks for again.
func (h *Host) post(server, mailbox string, body []byte) {
	h.start(func() { h.postNow(server, mailbox, body) })
}

func (h *Host) postNow(server, mailbox string, body []byte) {
	ctx, cancel := h.whileOpen(h.cfg.patience.post)
	defer cancel()
	if err := h.send(ctx, server, mailbox, body); err != nil {
		h.cfg.Log.Debug("post", "error", err)
	}
}

func (h *Host) linkConfig(binding []byte) link.Config {
	cfg := h.cfg.Link
	cfg.Identity = h.cfg.Device
	cfg.Handler = h.cfg.Handler
	cfg.Context = binding
	return cfg
}

// bound is ctx, ended as well when the host closes or when also does.
func (h *Host) bound(ctx context.Context, also <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-h.life:
		case <-also:
		case <-ctx.Done():
		}
		cancel()
	}()
	return ctx, func() { cancel(); <-stopped }
}

// whileOpen is a context that ends after timeout or when the host closes.
func (h *Host) whileOpen(timeout time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancelTimeout := context.WithTimeout(context.Background(), timeout)
	ctx, cancel := h.bound(ctx, nil)
	return ctx, func() { cancel(); cancelTimeout() }
}

// Close ends every session, conversation and invite and waits for their work.
// The codes of its invites are dead for good.
func (h *Host) Close() error {
	h.mu.Lock()
	if !h.closed {
		h.closed = true
		close(h.life)
	}
	var open []live
	for _, links := range h.sessions {
		open = append(open, links...)
	}
	invites := make([]*Invite, 0, len(h.invites))
	for _, i := range h.invites {
		invites = append(invites, i)
	}
	h.mu.Unlock()

	errs := make([]error, len(open))
	var closing sync.WaitGroup
	for n, l := range open {
		closing.Go(func() { errs[n] = l.Close() })
	}
	closing.Wait()
	h.work.Wait()
	for _, i := range invites {
		errs = append(errs, i.Close())
	}
	return errors.Join(errs...)
}
