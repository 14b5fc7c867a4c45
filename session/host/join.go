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
	// resendAfter is how long a guest waits for an answer before it sends its
	// last message again, which costs no attempt.
	resendAfter = 3 * time.Second
	// answerTimeout bounds everything up to the host's proof of the code; what
	// follows may wait for a person.
	answerTimeout = 15 * time.Second
)

// Joined is what came of a join.
type Joined struct {
	Session session.Session
	Entry   identity.Entry
	Rights  []grant.Right
}

// join is one attempt of ours. Letters for it arrive at inbox.
type join struct {
	inbox chan pairingLetter
}

type pairingLetter struct {
	server, from string
	message      []byte
}

func (j *join) deliver(server, from string, message []byte) {
	select {
	case j.inbox <- pairingLetter{server, from, message}:
	default: // signaling is best effort
	}
}

// Join pairs with a ticket's host and connects to it. Met, if not nil, is
// told who the host is as soon as that is proved, while the host's person may
// still be thinking. After an error the attempt is over: another one is for
// the person to begin.
func (h *Host) Join(ctx context.Context, t *pairing.Ticket, met func(session.PeerID)) (*Joined, error) {
	g, err := pairing.NewGuest(h.cfg.Device, t)
	if err != nil {
		return nil, err
	}
	j := &join{inbox: make(chan pairingLetter, conversationQueue)}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, session.Errorf("join", session.Canceled, "tandem is closing")
	}
	h.joins[g.Attempt()] = j
	a := &joining{host: h, guest: g, join: j, to: "nameplate/" + t.Nameplate, result: make(chan joinResult, 1)}
	h.work.Add(1)
	h.mu.Unlock()
	// The conversation outlives Join: restarts of the link need it.
	go func() {
		defer h.work.Done()
		defer a.end()
		ctx, cancel := h.bound(ctx, nil)
		a.run(ctx, met)
		cancel()
		a.serve()
	}()
	r := <-a.result
	return r.joined, r.err
}

type joinResult struct {
	joined *Joined
	err    error
}

// joining is a join while it runs. Only its goroutine touches it.
type joining struct {
	host       *Host
	guest      *pairing.Guest
	join       *join
	server, to string
	meeting    *pairing.Meeting
	answer     *introduction
	round      int
	envelopes  *conversation // of the round
	dialed     chan dialResult
	stopDial   context.CancelFunc
	ready      *link.Link // made, while the answer is still on its way
	link       *link.Link // kept
	result     chan joinResult
}

type dialResult struct {
	round int
	link  *link.Link
	err   error
}

// run goes through the exchange until there is a session or an error.
func (a *joining) run(ctx context.Context, met func(session.PeerID)) {
	a.dialed = make(chan dialResult)
	a.stopDial = func() {}
	err := a.send(ctx, a.guest.Last())
	overall := time.NewTimer(answerTimeout)
	defer overall.Stop()
	resend := time.NewTicker(resendAfter)
	defer resend.Stop()
	for err == nil && a.link == nil {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-overall.C:
			switch {
			case a.answer != nil:
				err = &session.Error{
					Op: "join", Kind: session.Unavailable, Text: "the host let you in, but no path to it was found, direct or relayed",
					Hint: "`tandem doctor` on both sides says what the networks allow.",
				}
			case a.meeting == nil:
				err = &session.Error{
					Op: "join", Kind: session.Timeout, Text: "no answer from the host",
					Hint: "Is tandem still running there? Ask for a new code.",
				}
			}
		case <-resend.C:
			if a.answer == nil { // a lost message; an error will show at the next
				_ = a.send(ctx, a.guest.Last())
			}
		case letter := <-a.join.inbox:
			err = a.receive(ctx, letter, met)
			if a.answer != nil {
				overall.Reset(setupTimeout)
			}
		case d := <-a.dialed:
			err = a.dialEnded(ctx, d)
		}
	}
	if err != nil {
		if message, declineErr := a.guest.Decline(err); declineErr == nil && a.meeting != nil {
			a.host.post(a.server, a.to, encodePairing(message))
		}
		a.stopDial()
		if a.ready != nil {
			_ = a.ready.Close() // err says what matters
		}
		a.result <- joinResult{err: err}
	}
}

// receive takes one message of the host.
func (a *joining) receive(ctx context.Context, letter pairingLetter, met func(session.PeerID)) error {
	step, err := a.guest.Handle(letter.message)
	if err != nil {
		return err
	}
	if step.Reply != nil {
		a.server, a.to = letter.server, letter.from
		return a.send(ctx, step.Reply)
	}
	if step.Met != nil {
		a.server, a.to, a.meeting = letter.server, letter.from, step.Met
		if met != nil {
			met(step.Met.Peer)
		}
		return a.offer(ctx)
	}
	if step.Answered {
		return a.answered(ctx, step.Payload)
	}
	var e roundEnvelope
	if step.Payload != nil && json.Unmarshal(step.Payload, &e) == nil && e.Round == a.round {
		a.envelopes.deliver(e.Link)
	}
	return nil
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
	c := newConversation(func(ctx context.Context, envelope []byte) error {
		return h.sendRound(ctx, sealer, server, to, round, envelope)
	})
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
	case session.KindOf(d.err) == session.Integrity:
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
	a.host.keep(a.link)
	a.result <- joinResult{joined: &Joined{Session: a.link, Entry: entry, Rights: a.answer.Rights}}
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
			step, err := a.guest.Handle(letter.message)
			var e roundEnvelope
			if err == nil && json.Unmarshal(step.Payload, &e) == nil && e.Round == a.round {
				a.envelopes.deliver(e.Link)
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

func (a *joining) send(ctx context.Context, message []byte) error {
	return a.host.send(ctx, a.server, a.to, encodePairing(message))
}
