package host

import (
	"context"
	"encoding/json"
	"time"

	"tandem/session"
	"tandem/session/grant"
	"tandem/session/identity"
	"tandem/session/link"
	"tandem/session/pairing"
)

const (
	// maxRounds bounds how often a guest may begin its link anew.
	maxRounds = 8
	// maxEarly is how many messages of an unfinished attempt wait for the one
	// they have overtaken.
	maxEarly = 8
)

// The sealed JSON objects of the package comment.
type (
	// introduction is the content of m3 and m4.
	introduction struct {
		Name    string           `json:"name"`
		Contact identity.Contact `json:"contact"`
		Rights  []grant.Right    `json:"rights,omitempty"`
		Round   int              `json:"round,omitempty"`
		// Recorded is InviteConfig's.
		Recorded string `json:"recorded,omitempty"`
	}
	// roundEnvelope is the content of every further message.
	roundEnvelope struct {
		Round int    `json:"round"`
		Link  []byte `json:"link"`
	}
)

// guest is one attempt at an invite, from its first counted message to the end
// of the session that came of it.
type guest struct {
	id              pairing.Attempt
	server, mailbox string
	left            int           // attempts at the invite after this one
	met             chan struct{} // closed when the guest has proved to hold the invite
	gone            chan struct{} // closed when it has taken its leave

	// Set before met is closed, and not changed after that:
	meeting *pairing.Meeting
	offer   []byte

	// Guarded by Host.mu:
	departed     bool      // gone is closed
	early        [][]byte  // messages that came before it was met
	heard        time.Time // when a message came last
	round        int       // the newest; 0 before the first
	conversation *conversation
	turn         chan struct{} // has a token when a round has begun
	settled      bool          // there is a session: no more rounds
}

// receiveGuest routes a pairing message to the guest it belongs to, or to
// package pairing.
func (h *Host) receiveGuest(letter Letter) {
	message := letter.Body[1:]
	id, err := pairing.AttemptOf(message)
	if err != nil {
		return
	}
	h.mu.Lock()
	g := h.guests[id]
	met := g != nil && g.meeting != nil
	h.mu.Unlock()
	if met && h.receiveRound(g, message) {
		return
	}
	h.judge(letter, g, message)
}

// judge lets package pairing judge a message and does what it says.
func (h *Host) judge(letter Letter, g *guest, message []byte) {
	step, err := h.pairing.Handle(time.Now(), message)
	if step.Reply != nil {
		h.post(letter.Server, letter.From, encodePairing(step.Reply))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case step.Farewell:
		if g != nil && !g.departed {
			g.departed = true
			close(g.gone)
		}
		return
	case err != nil:
		h.cfg.Log.Debug("pairing", "attempt", step.Attempt, "error", err)
		if g != nil && g.meeting == nil && len(g.early) < maxEarly {
			g.early = append(g.early, message) // it may have overtaken what makes sense of it
		}
		return
	}
	if step.Counted || step.Met != nil && g == nil { // it may have been given up before its proof came
		g = h.welcome(letter, step)
	}
	if g == nil {
		return
	}
	g.heard = time.Now()
	switch {
	case g.meeting != nil && step.Reply == nil:
		h.reassure(g)
		return
	case step.Met == nil || g.meeting != nil:
		return
	}
	g.meeting, g.offer = step.Met, step.Payload
	close(g.met)
	for _, m := range g.early {
		h.deliverRound(g, m)
	}
	g.early = nil
}

// reassure tells a guest who asks again that a person has not decided yet.
// Host.mu is held.
func (h *Host) reassure(g *guest) {
	content, err := json.Marshal(roundEnvelope{})
	if err != nil {
		return
	}
	message, err := g.meeting.Sealer.Seal(content)
	if err != nil {
		return
	}
	server, mailbox := g.server, g.mailbox
	h.startLocked(func() { h.postNow(server, mailbox, encodePairing(message)) })
}

// welcome begins to attend to a guest. Host.mu is held.
func (h *Host) welcome(letter Letter, step pairing.HostStep) *guest {
	invite := h.invites[step.Nameplate]
	if invite == nil {
		return nil
	}
	g := &guest{
		id: step.Attempt, server: letter.Server, mailbox: letter.From, left: step.Left,
		met: make(chan struct{}), gone: make(chan struct{}), turn: make(chan struct{}, 1),
	}
	if !h.startLocked(func() { h.attend(invite, g) }) {
		return nil
	}
	h.guests[g.id] = g
	invite.enter(step)
	return g
}

// attend sees to a guest until it has gone.
func (h *Host) attend(i *Invite, g *guest) {
	defer h.dismiss(g)
	peer, admitted, err := h.approve(i, g)
	h.mu.Lock()
	i.leave()
	h.mu.Unlock()
	if err == nil && admitted {
		var l *link.Link
		if l, err = h.connectGuest(g); err == nil {
			h.keep(l, g.mailbox, g.conversation)
			<-l.Done()
			return
		}
	}
	if admitted {
		h.cfg.Log.Info("a guest could not connect", "peer", peer.ID.Short(), "error", err)
		if i.cfg.Missed != nil {
			i.cfg.Missed(peer, err)
		}
	}
}

// dismiss forgets a guest.
func (h *Host) dismiss(g *guest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.guests[g.id] == g {
		delete(h.guests, g.id)
	}
	if g.conversation != nil {
		g.conversation.close()
	}
}

// approve waits for a guest's proof, asks for approval, and answers. An error
// has been told to the guest.
func (h *Host) approve(i *Invite, g *guest) (peer session.Peer, admitted bool, err error) {
	if !h.awaitProof(i, g) {
		return peer, false, nil
	}
	defer func() {
		if err != nil {
			h.decline(g, err)
		}
	}()
	h.mu.Lock()
	i.meet()
	h.mu.Unlock()
	var intro introduction
	if json.Unmarshal(g.offer, &intro) != nil || intro.Contact.Check() != nil {
		return peer, false, session.Errorf("pair", session.Invalid, "the introduction makes no sense")
	}
	peer = session.Peer{ID: g.meeting.Peer, Name: session.PrintableName(intro.Name)}
	asked := time.Now()
	rights, err := h.ask(i, g, peer)
	if err != nil {
		return peer, false, err
	}
	if _, err := h.cfg.Book.Add(identity.Entry{ID: peer.ID, Name: peer.Name, Contact: intro.Contact}); err != nil {
		return peer, true, &session.Error{
			Op: "pair", Kind: session.KindOf(err), Text: "the host can't write down whom it lets in", Err: err,
		}
	}
	return peer, true, h.accept(g, i, rights, time.Since(asked) > h.cfg.patience.fresh)
}

// awaitProof waits until a guest has proved that it holds the invite, and
// reports an attempt that comes to nothing.
func (h *Host) awaitProof(i *Invite, g *guest) bool {
	timer := time.NewTimer(h.cfg.patience.proof)
	defer timer.Stop()
	select {
	case <-g.met:
		return true
	case <-i.done:
	case <-h.life:
	case <-timer.C:
		if i.cfg.Failed != nil {
			i.cfg.Failed(g.left)
		}
	}
	return false
}

// ask asks for approval for as long as there is somebody to let in.
func (h *Host) ask(i *Invite, g *guest, peer session.Peer) ([]grant.Right, error) {
	ctx, away := context.WithCancelCause(context.Background())
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if err := h.awaitDeparture(ctx, i, g); err != nil {
			away(err)
		}
	}()
	rights, err := i.cfg.Admit(ctx, peer)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	away(nil)
	<-watched
	return rights, err
}

// awaitDeparture returns once there is nobody to let in any more, and why, or
// when ctx has ended.
func (h *Host) awaitDeparture(ctx context.Context, i *Invite, g *guest) error {
	ticker := time.NewTicker(h.cfg.patience.absence / 4)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-i.done:
			return session.Errorf("pair", session.Canceled, "the invite has been withdrawn")
		case <-h.life:
			return session.Errorf("pair", session.Canceled, "the share has ended")
		case <-g.gone:
			return session.Errorf("pair", session.Canceled, "the guest has left")
		case <-ticker.C:
			h.mu.Lock()
			absence := time.Since(g.heard)
			h.mu.Unlock()
			if absence > h.cfg.patience.absence {
				return session.Errorf("pair", session.Canceled, "nothing was heard from the guest for %v", absence.Round(time.Second))
			}
		}
	}
}

// accept tells a guest that it may come in, and in which round: the first, if
// its S1 is still good.
func (h *Host) accept(g *guest, i *Invite, rights []grant.Right, stale bool) error {
	round := 1
	if stale {
		round = 2
	}
	answer, err := json.Marshal(introduction{
		Name: h.cfg.Device.Name(), Contact: h.cfg.Contact(), Rights: rights, Round: round, Recorded: i.cfg.Recorded,
	})
	if err != nil {
		return err
	}
	message, err := h.pairing.Answer(g.id, answer)
	if err != nil {
		return err
	}
	h.mu.Lock()
	if g.round < round {
		h.beginRound(g, round)
	}
	h.mu.Unlock()
	h.post(g.server, g.mailbox, encodePairing(message))
	return nil
}

// decline tells a guest why it is not let in, unless it has gone itself. It
// does so even while the host closes. A guest who does not hear it asks again.
func (h *Host) decline(g *guest, reason error) {
	message, err := h.pairing.Decline(g.id, reason)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), h.cfg.patience.farewell)
	defer cancel()
	if err := h.send(ctx, g.server, g.mailbox, encodePairing(message)); err != nil {
		h.cfg.Log.Debug("post", "error", err)
	}
}

// receiveRound delivers a message of a guest who has been met to its round, and
// reports whether it was one.
func (h *Host) receiveRound(g *guest, message []byte) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.deliverRound(g, message)
}

// deliverRound is receiveRound for those who hold mu.
func (h *Host) deliverRound(g *guest, message []byte) bool {
	content, err := g.meeting.Sealer.Open(message)
	if err != nil {
		return false
	}
	g.heard = time.Now()
	var e roundEnvelope
	if json.Unmarshal(content, &e) != nil || e.Round < max(g.round, 1) || e.Round > maxRounds {
		return true
	}
	if e.Round > g.round {
		if g.settled {
			return true
		}
		h.beginRound(g, e.Round)
	}
	g.conversation.deliver(g.mailbox, e.Link)
	return true
}

// beginRound ends the round there was: its guest has given it up. Host.mu is
// held.
func (h *Host) beginRound(g *guest, n int) {
	if g.conversation != nil {
		g.conversation.close()
	}
	sealer, server, mailbox := g.meeting.Sealer, g.server, g.mailbox
	g.round, g.conversation = n, newConversation()
	g.conversation.send = func(ctx context.Context, envelope []byte) error {
		return h.sendRound(ctx, sealer, server, mailbox, n, envelope)
	}
	select {
	case g.turn <- struct{}{}:
	default:
	}
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

// connectGuest accepts the link of a guest who has been let in, in whichever
// round it comes about.
func (h *Host) connectGuest(g *guest) (*link.Link, error) {
	for {
		h.mu.Lock()
		n, c := g.round, g.conversation
		h.mu.Unlock()
		l, err := h.acceptRound(g, c)
		h.mu.Lock()
		g.settled = err == nil
		h.mu.Unlock()
		if err == nil || n == maxRounds || !h.awaitRound(g, n) {
			return l, err
		}
	}
}

// awaitRound waits until a guest has begun another round than n, or no longer.
func (h *Host) awaitRound(g *guest, n int) bool {
	timer := time.NewTimer(h.cfg.patience.linger)
	defer timer.Stop()
	for {
		h.mu.Lock()
		begun := g.round > n
		h.mu.Unlock()
		if begun {
			return true
		}
		select {
		case <-g.turn:
		case <-timer.C:
			return false
		case <-g.gone:
			return false
		case <-h.life:
			return false
		}
	}
}

// acceptRound accepts a guest's link in one round. What arrives before its S1
// doesn't matter: envelopes overtake each other.
func (h *Host) acceptRound(g *guest, c *conversation) (*link.Link, error) {
	ctx, cancel := h.whileOpen(h.cfg.patience.setup)
	defer cancel()
	ctx, cancelRound := h.bound(ctx, c.closed)
	defer cancelRound()
	for {
		verified := false
		l, err := link.Accept(ctx, h.linkConfig(g.meeting.Context), func(peer session.PeerID) error {
			verified = true
			return only(g.meeting.Peer)(peer)
		}, c)
		select {
		case <-c.closed:
			return l, err
		default:
		}
		if err == nil || verified || ctx.Err() != nil {
			return l, err
		}
		h.cfg.Log.Debug("not an offer", "peer", g.meeting.Peer.Short(), "error", err)
	}
}
