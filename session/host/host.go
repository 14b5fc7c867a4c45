package host

import (
	"context"
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
	// setupTimeout bounds the making of a link once both sides want it.
	setupTimeout = 30 * time.Second
	// postTimeout bounds the sending of one letter.
	postTimeout = 10 * time.Second
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
}

// Host is one device among its peers. Run must be running for anything to
// happen.
type Host struct {
	cfg     Config
	pairing *pairing.Host
	work    sync.WaitGroup // links being made and sessions being watched
	life    chan struct{}  // closed when the host closes

	mu            sync.Mutex
	closed        bool
	sessions      map[session.PeerID][]*link.Link // newest last
	dials         map[session.PeerID]*dial
	conversations map[convID]*conversation
	inbound       map[session.PeerID]int // conversations a peer has begun
	invites       map[string]*Invite     // by nameplate
	guests        map[pairing.Attempt]*guest
	joins         map[pairing.Attempt]*join
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
	return &Host{
		cfg: cfg, pairing: pairing.NewHost(cfg.Device, cfg.Ledger), life: make(chan struct{}),
		sessions:      make(map[session.PeerID][]*link.Link),
		dials:         make(map[session.PeerID]*dial),
		conversations: make(map[convID]*conversation),
		inbound:       make(map[session.PeerID]int),
		invites:       make(map[string]*Invite),
		guests:        make(map[pairing.Attempt]*guest),
		joins:         make(map[pairing.Attempt]*join),
	}
}

// Run reads letters until ctx ends or the post closes.
func (h *Host) Run(ctx context.Context) error {
	for {
		letter, err := h.cfg.Post.Receive(ctx)
		if err != nil {
			return err
		}
		h.receive(letter)
	}
}

// receive routes one letter. It never blocks and never answers a bad letter.
func (h *Host) receive(letter Letter) {
	if len(letter.Body) == 0 || len(letter.Body) > MaxLetter {
		return
	}
	switch letter.Body[0] {
	case letterPairing:
		h.receivePairing(letter, letter.Body[1:])
	case letterSealed:
		sealed, id, err := decodeSealed(h.cfg.Device, letter.Body)
		if err != nil {
			h.cfg.Log.Debug("letter", "error", err)
			return
		}
		h.receiveSealed(letter, sealed, id)
	}
}

// receiveSealed hands a sealed letter to its conversation, or begins one.
func (h *Host) receiveSealed(letter Letter, sealed sealedLetter, id convID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.conversations[id]; c != nil {
		c.deliver(sealed.Body)
		return
	}
	entry, known, err := h.cfg.Book.Get(sealed.From)
	if err != nil {
		h.cfg.Log.Warn("known peers", "error", err)
	}
	if !sealed.New || !known || h.closed ||
		len(h.conversations) >= maxConversations || h.inbound[sealed.From] >= maxPerPeer {
		return
	}
	c := newConversation(h.letterTo(entry.Contact, letter.Server, letter.From, id, false))
	h.conversations[id] = c
	h.inbound[sealed.From]++
	c.deliver(sealed.Body)
	h.work.Go(func() {
		defer func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.inbound[sealed.From]--; h.inbound[sealed.From] == 0 {
				delete(h.inbound, sealed.From)
			}
		}()
		h.answer(sealed.From, id, c)
	})
}

// answer accepts the link that a known peer began and keeps it until it ends.
func (h *Host) answer(peer session.PeerID, id convID, c *conversation) {
	defer h.forget(id, c)
	ctx, cancel := h.whileOpen(setupTimeout)
	defer cancel()
	l, err := link.Accept(ctx, h.linkConfig(nil), only(peer), c)
	if err != nil {
		h.cfg.Log.Info("a peer could not connect", "peer", peer.Short(), "error", err)
		return
	}
	h.keep(l)
	<-l.Done()
}

// letterTo makes the sending half of a conversation with a known peer.
func (h *Host) letterTo(contact identity.Contact, server, mailbox string, id convID, isNew bool) func(context.Context, []byte) error {
	return func(ctx context.Context, envelope []byte) error {
		body, err := encodeSealed(contact, sealedLetter{
			Conv: id[:], From: h.cfg.Device.ID(), New: isNew, Body: envelope,
		})
		if err != nil {
			return err
		}
		return h.send(ctx, server, mailbox, body)
	}
}

// send posts a letter through server, or through any other if that one can't.
func (h *Host) send(ctx context.Context, server, mailbox string, body []byte) error {
	err := h.cfg.Post.Send(ctx, server, mailbox, body)
	if err != nil && server != "" && ctx.Err() == nil {
		return h.cfg.Post.Send(ctx, "", mailbox, body)
	}
	return err
}

func (h *Host) linkConfig(binding []byte) link.Config {
	cfg := h.cfg.Link
	cfg.Identity = h.cfg.Device
	cfg.Handler = h.cfg.Handler
	cfg.Context = binding
	return cfg
}

// post sends a letter in the background. Signaling is best effort: what is
// lost, its receiver asks for again.
func (h *Host) post(server, mailbox string, body []byte) {
	h.work.Go(func() {
		ctx, cancel := h.bound(context.Background(), nil)
		defer cancel()
		ctx, cancelTimeout := context.WithTimeout(ctx, postTimeout)
		defer cancelTimeout()
		if err := h.send(ctx, server, mailbox, body); err != nil {
			h.cfg.Log.Debug("post", "error", err)
		}
	})
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

// keep records a live session and forgets it when it ends.
func (h *Host) keep(l *link.Link) {
	peer := l.Peer().ID
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		_ = l.Close() // nobody is left to care
		return
	}
	h.sessions[peer] = append(h.sessions[peer], l)
	h.work.Go(func() {
		<-l.Done()
		h.mu.Lock()
		defer h.mu.Unlock()
		live := h.sessions[peer]
		for i := range live {
			if live[i] == l {
				h.sessions[peer] = append(live[:i:i], live[i+1:]...)
			}
		}
		if len(h.sessions[peer]) == 0 {
			delete(h.sessions, peer)
		}
	})
	h.mu.Unlock()
	if h.cfg.Sessions != nil {
		h.cfg.Sessions(l)
	}
}

func (h *Host) forget(id convID, c *conversation) {
	c.close()
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conversations, id)
}

// Session is the newest live session with peer, or nil.
func (h *Host) Session(peer session.PeerID) session.Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	if live := h.sessions[peer]; len(live) > 0 {
		return live[len(live)-1]
	}
	return nil
}

// Live lists the newest live session of each peer.
func (h *Host) Live() []session.Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	var live []session.Session
	for _, links := range h.sessions {
		live = append(live, links[len(links)-1])
	}
	return live
}

// Rebind makes every link look for new paths at once: the network changed.
func (h *Host) Rebind() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, links := range h.sessions {
		for _, l := range links {
			l.Rebind()
		}
	}
}

// Close ends every session and conversation and waits for their work.
func (h *Host) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	var open []*link.Link
	for _, links := range h.sessions {
		open = append(open, links...)
	}
	h.mu.Unlock()
	close(h.life)
	for _, l := range open {
		h.work.Go(func() { _ = l.Close() }) // its streams' errors have reached their readers
	}
	h.work.Wait()
	return nil
}
