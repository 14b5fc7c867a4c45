package host

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"tandem/session"
	"tandem/session/grant"
	"tandem/session/identity"
	"tandem/session/link"
	"tandem/session/pairing"
)

const (
	// freshOffer is how old a guest's S1 may be when approval comes: younger
	// than its life of a minute by enough for the answer's way back.
	freshOffer = 30 * time.Second
	// maxRounds bounds how often a guest may begin its link anew.
	maxRounds = 8
	// maxEarly is how many messages of an unfinished attempt wait for the one
	// they have overtaken.
	maxEarly = 8
	// patience is how long a counted attempt may take before it is reported
	// as failed.
	patience = 10 * time.Second
)

// The sealed JSON objects of the package comment.
type (
	// introduction is the content of m3 and m4.
	introduction struct {
		Name    string           `json:"name"`
		Contact identity.Contact `json:"contact"`
		Rights  []grant.Right    `json:"rights,omitempty"`
		Round   int              `json:"round,omitempty"`
	}
	// roundEnvelope is the content of every further message.
	roundEnvelope struct {
		Round int    `json:"round"`
		Link  []byte `json:"link"`
	}
)

// InviteConfig says what an invite is for.
type InviteConfig struct {
	Nameplate string
	Options   pairing.Options
	// Admit decides about a guest whose key has been verified, and grants what
	// it is let in for. It may take as long as a person takes; ctx ends with
	// the host or the invite.
	Admit func(ctx context.Context, guest session.Peer) ([]grant.Right, error)
	// Failed is told that an attempt came to nothing, and how many are left.
	Failed func(left int)
}

// Invite is an invite that guests can use until it is closed.
type Invite struct {
	*pairing.Invite
	cfg  InviteConfig
	host *Host
	once sync.Once
	life chan struct{} // closed with the invite
}

// Invite opens an invite under a nameplate that a server has given out.
func (h *Host) Invite(cfg InviteConfig) (*Invite, error) {
	made, err := pairing.NewInvite(cfg.Nameplate, h.cfg.Device.ID(), time.Now(), cfg.Options)
	if err != nil {
		return nil, err
	}
	if err := h.cfg.Ledger.Create(made); err != nil {
		return nil, err
	}
	i := &Invite{Invite: made, cfg: cfg, host: h, life: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, session.Errorf("invite", session.Canceled, "tandem is closing")
	}
	if err := h.pairing.Add(made); err != nil {
		return nil, err
	}
	h.invites[made.Nameplate()] = i
	return i, nil
}

// Owns reports whether an open invite of this host has the nameplate.
func (h *Host) Owns(nameplate string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.invites[nameplate] != nil
}

// Close ends the invite: its code is dead for good, and guests who wait for
// approval are refused. Sessions that came of it go on.
func (i *Invite) Close() error {
	i.host.mu.Lock()
	delete(i.host.invites, i.Nameplate())
	i.host.mu.Unlock()
	i.once.Do(func() { close(i.life) })
	i.host.pairing.Remove(i.Nameplate())
	return i.host.cfg.Ledger.Kill(i.ID(), time.Now())
}

// guest is one attempt at an invite, from its first counted message to the end
// of the session that came of it. Its fields are guarded by Host.mu.
type guest struct {
	server, mailbox string
	met             chan struct{}         // closed when the guest has been verified
	meeting         *pairing.Meeting      // set then
	early           [][]byte              // messages that came before that
	round           int                   // the first round to be answered; 0 before approval
	rounds          map[int]*conversation // open ones
	begun           int                   // the highest round there was
}

// receivePairing routes a pairing message to the join or the guest it belongs
// to, or to package pairing.
func (h *Host) receivePairing(letter Letter, message []byte) {
	id, err := pairing.AttemptOf(message)
	if err != nil {
		return
	}
	h.mu.Lock()
	join, g := h.joins[id], h.guests[id]
	h.mu.Unlock()
	if join != nil {
		join.deliver(letter.Server, letter.From, message)
		return
	}
	if g != nil && g.meeting != nil {
		if content, err := g.meeting.Sealer.Open(message); err == nil {
			h.receiveRound(id, g, content)
			return
		}
	}
	h.handleGuest(letter, id, message)
}

// handleGuest lets package pairing judge a message and does what it says.
func (h *Host) handleGuest(letter Letter, id pairing.Attempt, message []byte) {
	step, err := h.pairing.Handle(time.Now(), message)
	if step.Reply != nil {
		h.post(letter.Server, letter.From, encodePairing(step.Reply))
	}
	if err != nil {
		h.cfg.Log.Debug("pairing", "attempt", id, "error", err)
		h.stashEarly(id, message)
		return
	}
	h.mu.Lock()
	invite := h.invites[step.Nameplate]
	g := h.guests[id]
	if step.Counted && invite != nil && !h.closed {
		g = &guest{server: letter.Server, mailbox: letter.From, met: make(chan struct{}), rounds: make(map[int]*conversation)}
		h.guests[id] = g
		h.work.Go(func() { h.awaitGuest(invite, id, g, step.Left) })
	}
	if step.Met == nil || g == nil || invite == nil {
		h.mu.Unlock()
		return
	}
	var intro introduction
	if err = json.Unmarshal(step.Payload, &intro); err == nil {
		err = intro.Contact.Check()
	}
	g.meeting = step.Met
	early := g.early
	g.early = nil
	close(g.met)
	h.mu.Unlock()
	for _, m := range early {
		if content, err := g.meeting.Sealer.Open(m); err == nil {
			h.receiveRound(id, g, content)
		}
	}
	if err != nil {
		h.decline(id, g, session.Errorf("pair", session.Invalid, "the introduction makes no sense"))
		return
	}
	h.work.Go(func() { h.admit(invite, id, g, intro) })
}

// stashEarly keeps a message that may have overtaken the one that makes sense
// of it.
func (h *Host) stashEarly(id pairing.Attempt, message []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if g := h.guests[id]; g != nil && g.meeting == nil && len(g.early) < maxEarly {
		g.early = append(g.early, message)
	}
}

// awaitGuest reports an attempt that comes to nothing.
func (h *Host) awaitGuest(i *Invite, id pairing.Attempt, g *guest, left int) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-g.met:
		return
	case <-i.life:
	case <-h.life:
	case <-timer.C:
		if i.cfg.Failed != nil {
			i.cfg.Failed(left)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if g.meeting == nil {
		delete(h.guests, id)
	}
}

// admit asks for approval, answers, and accepts the guest's link.
func (h *Host) admit(i *Invite, id pairing.Attempt, g *guest, intro introduction) {
	asked := time.Now()
	peer := session.Peer{ID: g.meeting.Peer, Name: session.PrintableName(intro.Name)}
	ctx, cancel := h.bound(context.Background(), i.life)
	defer cancel()
	rights, err := i.cfg.Admit(ctx, peer)
	if err == nil {
		_, err = h.cfg.Book.Add(identity.Entry{ID: peer.ID, Name: peer.Name, Contact: intro.Contact})
	}
	if err != nil {
		h.decline(id, g, err)
		return
	}
	round := 1
	if time.Since(asked) > freshOffer {
		round = 2
	}
	answer, err := json.Marshal(introduction{
		Name: h.cfg.Device.Name(), Contact: h.cfg.Contact(), Rights: rights, Round: round,
	})
	if err != nil {
		h.decline(id, g, err)
		return
	}
	message, err := h.pairing.Answer(id, answer)
	if err != nil {
		h.cfg.Log.Debug("pairing", "attempt", id, "error", err)
		return
	}
	h.post(g.server, g.mailbox, encodePairing(message))
	h.mu.Lock()
	g.round = round
	g.begun = max(g.begun, round)
	for n := round; n <= g.begun; n++ {
		h.acceptRound(id, g, n)
	}
	h.mu.Unlock()
}

func (h *Host) decline(id pairing.Attempt, g *guest, reason error) {
	message, err := h.pairing.Decline(id, reason)
	if err == nil {
		h.post(g.server, g.mailbox, encodePairing(message))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.guests, id)
}

// receiveRound delivers an envelope of the guest's link to its round.
func (h *Host) receiveRound(id pairing.Attempt, g *guest, content []byte) {
	var e roundEnvelope
	if json.Unmarshal(content, &e) != nil || e.Round < 1 || e.Round > maxRounds {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	c := g.rounds[e.Round]
	if c == nil {
		if e.Round <= g.begun && g.round != 0 {
			return // that round is over
		}
		c = h.newRound(g, e.Round)
		g.begun = max(g.begun, e.Round)
		if g.round != 0 && e.Round >= g.round {
			h.acceptRound(id, g, e.Round)
		}
	}
	c.deliver(e.Link)
}

// newRound makes the conversation of a round. Host.mu is held.
func (h *Host) newRound(g *guest, n int) *conversation {
	sealer, server, mailbox := g.meeting.Sealer, g.server, g.mailbox
	c := newConversation(func(ctx context.Context, envelope []byte) error {
		return h.sendRound(ctx, sealer, server, mailbox, n, envelope)
	})
	g.rounds[n] = c
	return c
}

func (h *Host) sendRound(ctx context.Context, sealer *pairing.Sealer, server, mailbox string, n int, envelope []byte) error {
	content, err := json.Marshal(roundEnvelope{Round: n, Link: envelope})
	if err != nil {
		return err
	}
	message, err := sealer.Seal(content)
	if err != nil {
		return err
	}
	return h.send(ctx, server, mailbox, encodePairing(message))
}

// acceptRound accepts the guest's link of one round and keeps it until it
// ends. Host.mu is held.
func (h *Host) acceptRound(id pairing.Attempt, g *guest, n int) {
	if h.closed {
		return
	}
	c := g.rounds[n]
	if c == nil {
		c = h.newRound(g, n)
	}
	h.work.Go(func() {
		defer func() {
			c.close()
			h.mu.Lock()
			defer h.mu.Unlock()
			delete(g.rounds, n)
			if len(g.rounds) == 0 {
				delete(h.guests, id)
			}
		}()
		ctx, cancel := h.whileOpen(setupTimeout)
		defer cancel()
		l, err := link.Accept(ctx, h.linkConfig(g.meeting.Context), only(g.meeting.Peer), c)
		if err != nil {
			h.cfg.Log.Info("a guest could not connect", "peer", g.meeting.Peer.Short(), "error", err)
			return
		}
		h.keep(l)
		<-l.Done()
	})
}

// only expects one peer and no other.
func only(peer session.PeerID) func(session.PeerID) error {
	return func(verified session.PeerID) error {
		if verified != peer {
			return session.Errorf("accept", session.Integrity, "another device answers than the one that was met")
		}
		return nil
	}
}
