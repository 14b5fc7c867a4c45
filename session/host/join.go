package host

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"tandem/session"
	"tandem/session/grant"
	"tandem/session/identity"
	"tandem/session/link"
	"tandem/session/pairing"
)

// Joined is what came of a join.
type Joined struct {
	Session session.Session
	Entry   identity.Entry
	Rights  []grant.Right
	// Recorded is how the host says that it records what we do there: InviteConfig's.
	Recorded string
}

// join is one attempt of ours. Its letters arrive at inbox.
type join struct {
	inbox chan Letter
}

// receiveJoin hands a pairing letter to the join it belongs to, and reports
// whether there is one.
func (h *Host) receiveJoin(letter Letter) bool {
	id, err := pairing.AttemptOf(letter.Body[1:])
	if err != nil {
		return true // it belongs to nobody
	}
	h.mu.Lock()
	j := h.joins[id]
	h.mu.Unlock()
	if j == nil {
		return false
	}
	select {
	case j.inbox <- letter:
	default: // signaling is best effort
	}
	return true
}

// Where says at which hosts a join may knock. The zero value is all of them: the
// first to answer will do.
type Where struct {
	// Server is the only one to look at; empty means any.
	Server string
	// Not are mailboxes of hosts that are known to be others.
	Not []string
}

// Stranger is why a join has failed with a host that didn't prove to hold the
// secret: there may be another one with the same nameplate at another server.
type Stranger struct {
	Server, Mailbox string // where it was
	error
}

func (s *Stranger) Unwrap() error { return s.error }

// errNotAgain is why a join has ended that found only those hosts it was to
// leave alone.
var errNotAgain = session.Errorf("join", session.NotFound, "nobody else is waiting under that number")

// Join pairs with a ticket's host and connects to it. Met, if not nil, is
// told who the host is as soon as that is proved, while the host's person may
// still be thinking. After an error the attempt is over: another one with the
// same host is for the person to begin.
func (h *Host) Join(ctx context.Context, t *pairing.Ticket, where Where, met func(session.PeerID)) (*Joined, error) {
	g, err := pairing.NewGuest(h.cfg.Device, t)
	if err != nil {
		return nil, ownInvite(err)
	}
	a := &joining{
		host: h, guest: g, where: where, server: where.Server, join: &join{inbox: make(chan Letter, conversationQueue)},
		to: nameplatePrefix + t.Nameplate, dialed: make(chan dialResult), stopDial: func() {},
		result: make(chan joinResult, 1),
	}
	h.mu.Lock()
	h.joins[g.Attempt()] = a.join
	// The conversation outlives Join: restarts of the link need it.
	started := h.startLocked(func() {
		defer a.end()
		a.run(ctx, met)
		a.serve()
	})
	h.mu.Unlock()
	if !started {
		a.end()
		return nil, errClosing("join")
	}
	r := <-a.result
	return r.joined, r.err
}

// ownInvite gives kind Exists to the one thing that can be invalid about an
// invite that could be read: that it is our own.
func ownInvite(err error) error {
	var e *session.Error
	if errors.As(err, &e) && e.Kind == session.Invalid {
		own := *e
		own.Kind = session.Exists
		return &own
	}
	return err
}

// nameplatePrefix makes an address of a nameplate.
const nameplatePrefix = "nameplate/"

type joinResult struct {
	joined *Joined
	err    error
}

// joining is a join while it runs. Only its goroutine touches it.
type joining struct {
	host       *Host
	guest      *pairing.Guest
	join       *join
	where      Where
	server, to string
	meeting    *pairing.Meeting
	answer     *introduction
	round      int
	envelopes  *conversation // of the round
	dialed     chan dialResult
	stopDial   context.CancelFunc
	ready      *link.Link // made, while the answer is still on its way
	link       *link.Link // kept
	missing    time.Time  // since when the host has no mailbox open; zero if it has
	heard      time.Time  // when the host, once met, was heard last
	result     chan joinResult
}

type dialResult struct {
	round int
	link  *link.Link
	err   error
}

// run goes through the exchange until there is a session or an error.
func (a *joining) run(ctx context.Context, met func(session.PeerID)) {
	ctx, cancel := a.host.bound(ctx, nil)
	defer cancel()
	wait := a.host.cfg.patience
	err := a.send(ctx, a.guest.Last(), wait.answer)
	overall := time.NewTimer(wait.answer)
	defer overall.Stop()
	resend := time.NewTicker(wait.resend)
	defer resend.Stop()
	for err == nil && a.link == nil {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-overall.C:
			err = a.tooLate()
		case <-resend.C:
			err = a.again(ctx)
		case letter := <-a.join.inbox:
			answered := a.answer != nil
			err = a.receive(ctx, letter, met)
			if !answered && a.answer != nil {
				overall.Reset(wait.setup)
			}
		case d := <-a.dialed:
			err = a.dialEnded(ctx, d)
		}
	}
	if err != nil {
		a.fail(err)
	}
}

// fail tells the host, if it has been met, and our caller.
func (a *joining) fail(err error) {
	if message, declineErr := a.guest.Decline(err); declineErr == nil && a.meeting != nil {
		ctx, cancel := context.WithTimeout(context.Background(), a.host.cfg.patience.farewell)
		defer cancel()
		_ = a.send(ctx, message, a.host.cfg.patience.farewell) // it notices our absence otherwise
	}
	a.stopDial()
	if a.ready != nil {
		_ = a.ready.Close() // err says what matters
	}
	a.result <- joinResult{err: err}
}

// tooLate is what has not happened in time, or nil while a person may take
// theirs.
func (a *joining) tooLate() error {
	switch {
	case a.answer != nil:
		return &session.Error{
			Op: "join", Kind: session.Unavailable, Text: "the host let you in, but no path to it was found, direct or relayed",
			Hint: "`tandem doctor` on both sides says what the networks allow.",
		}
	case a.meeting == nil:
		return &session.Error{
			Op: "join", Kind: session.Timeout, Text: "no answer from the host",
			Hint: "Is tandem still running there? Ask for a new code.",
		}
	}
	return nil
}

// again sends our last message once more, in case it was lost; the host sees by
// it, too, that we still wait, and answers. A host that has no mailbox open for
// too long has gone, and so has one that is not heard.
func (a *joining) again(ctx context.Context) error {
	if a.answer != nil {
		return nil
	}
	wait := a.host.cfg.patience
	err := a.send(ctx, a.guest.Last(), wait.resend)
	if session.KindOf(err) != session.NotFound {
		a.missing = time.Time{}
		if a.meeting == nil || time.Since(a.heard) < wait.absence {
			return nil
		}
		return &session.Error{
			Op: "join", Kind: session.Unavailable, Text: "the host does not answer any more",
			Hint: "Is tandem still running there? Ask for a new code.",
		}
	}
	if a.missing.IsZero() {
		a.missing = time.Now()
	}
	if time.Since(a.missing) < wait.answer {
		return nil
	}
	return &session.Error{
		Op: "join", Kind: session.Unavailable, Text: "the host has gone",
		Hint: "Is tandem still running there? Ask for a new code.",
	}
}

// receive takes one message of the host.
func (a *joining) receive(ctx context.Context, letter Letter, met func(session.PeerID)) error {
	if a.meeting == nil {
		switch {
		case a.where.Server != "" && letter.Server != a.where.Server:
			return nil // nobody was asked there
		case slices.Contains(a.where.Not, letter.From):
			return errNotAgain
		}
	}
	step, err := a.guest.Handle(letter.Body[1:])
	switch {
	case err != nil && a.meeting == nil:
		return &Stranger{letter.Server, letter.From, ownInvite(err)}
	case err != nil:
		return err
	}
	if step.Reply != nil {
		a.server, a.to = letter.Server, letter.From
		// What is lost here is sent again.
		_ = a.send(ctx, step.Reply, a.host.cfg.patience.resend)
		return nil
	}
	if step.Met != nil || step.Payload != nil { // nobody else could have written it
		a.heard = time.Now()
	}
	if step.Met != nil {
		a.server, a.to, a.meeting = letter.Server, letter.From, step.Met
		if met != nil {
			met(step.Met.Peer)
		}
		return a.offer(ctx)
	}
	if step.Answered {
		return a.answered(ctx, step.Payload)
	}
	a.deliver(step)
	return nil
}

// deliver hands what came for the link to its round.
func (a *joining) deliver(step pairing.GuestStep) {
	var e roundEnvelope
	if step.Payload != nil && json.Unmarshal(step.Payload, &e) == nil && e.Round == a.round {
		a.envelopes.deliver(a.to, e.Link)
	}
}

// offer introduces us, and begins the link without waiting for approval.
func (a *joining) offer(ctx context.Context) error {
	intro, err := json.Marshal(introduction{Name: a.host.cfg.Device.Name(), Contact: a.host.cfg.Contact()})
	if err != nil {
		return err
	}
	message, err := a.guest.Offer(intro)
	if err != nil {
		return err
	}
	// S1 follows before the server has confirmed m3.
	a.host.post(a.server, a.to, encodePairing(message))
	a.dial(ctx, 1)
	return nil
}

// dial begins the link of a round.
func (a *joining) dial(ctx context.Context, round int) {
	a.stopDial()
	if a.envelopes != nil {
		a.envelopes.close()
	}
	h, sealer, server, to := a.host, a.meeting.Sealer, a.server, a.to
	c := newConversation()
	c.send = func(ctx context.Context, envelope []byte) error {
		return h.sendRound(ctx, sealer, server, to, round, envelope)
	}
	a.round, a.envelopes = round, c
	ctx, a.stopDial = context.WithCancel(ctx)
	cfg, peer := h.linkConfig(a.meeting.Context), a.meeting.Peer
	h.work.Go(func() {
		l, err := link.Dial(ctx, cfg, peer, c)
		select {
		case a.dialed <- dialResult{round, l, err}:
		case <-ctx.Done():
			if l != nil {
				_ = l.Close() // nobody waits for it any more
			}
		}
	})
}

// answered takes the host's approval.
func (a *joining) answered(ctx context.Context, payload []byte) error {
	var intro introduction
	if json.Unmarshal(payload, &intro) != nil || intro.Round < 1 || intro.Round > maxRounds {
		return session.Errorf("join", session.Invalid, "the host's answer makes no sense")
	}
	if err := intro.Contact.Check(); err != nil {
		return err
	}
	if err := checkRights(intro.Rights); err != nil {
		return err
	}
	if len(intro.Recorded) > maxRecorded {
		return session.Errorf("join", session.Invalid, "the host's answer makes no sense")
	}
	intro.Name = session.PrintableName(intro.Name)
	a.answer = &intro
	if intro.Round > a.round {
		a.dial(ctx, intro.Round)
	}
	return a.settle()
}

// dialEnded takes the link, or begins another round if the first one ended
// while a person was thinking.
func (a *joining) dialEnded(ctx context.Context, d dialResult) error {
	switch {
	case d.round != a.round:
		return nil
	case d.err == nil:
		a.ready = d.link
		return a.settle()
	case session.KindOf(d.err) == session.Integrity, session.KindOf(d.err) == session.Expired: // clocks do not mend themselves
		return d.err
	case a.answer == nil:
		return nil // it will name the next round
	case a.round == 1:
		a.dial(ctx, 2)
		return nil
	}
	return d.err
}

// settle ends the join once there are both the answer and the link.
func (a *joining) settle() error {
	if a.answer == nil || a.ready == nil {
		return nil
	}
	entry, err := a.host.cfg.Book.Add(identity.Entry{ID: a.meeting.Peer, Name: a.answer.Name, Contact: a.answer.Contact})
	if err != nil {
		_ = a.ready.Close() // the error matters more
		return err
	}
	a.link = a.ready
	a.host.keep(a.link, a.to, a.envelopes)
	a.result <- joinResult{joined: &Joined{Session: a.link, Entry: entry, Rights: a.answer.Rights, Recorded: a.answer.Recorded}}
	return nil
}

// serve carries the link's envelopes for as long as it lives.
func (a *joining) serve() {
	if a.link == nil {
		return
	}
	for {
		select {
		case <-a.link.Done():
			return
		case letter := <-a.join.inbox:
			if step, err := a.guest.Handle(letter.Body[1:]); err == nil {
				a.deliver(step)
			}
		}
	}
}

func (a *joining) end() {
	if a.envelopes != nil {
		a.envelopes.close()
	}
	a.host.mu.Lock()
	defer a.host.mu.Unlock()
	delete(a.host.joins, a.guest.Attempt())
}

func (a *joining) send(ctx context.Context, message []byte, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if strings.HasPrefix(a.to, nameplatePrefix) { // at another server it stands for somebody else
		return a.host.cfg.Post.Send(ctx, a.server, a.to, encodePairing(message))
	}
	return a.host.send(ctx, a.server, a.to, encodePairing(message))
}
