package pairing

import (
	"crypto/rand"
	"fmt"
	"io"
	"sync"

	"tandem/session"
)

// Guest is the side that was invited: one attempt at one invite. It never
// begins a second one by itself, as each costs the invite an attempt.
type Guest struct {
	me      Signer
	ticket  *Ticket
	entropy io.Reader

	mu     sync.Mutex // guards what follows
	stage  stage
	terms  terms
	scalar []byte
	share  []byte
	x      *exchange
	last   []byte // what we sent last
}

type stage int

const (
	knocked stage = iota // waiting for hello
	sharing              // waiting for m2
	met                  // the host has been verified; our caller makes the offer
	offered              // waiting for m4
	settled              // answered
	over                 // failed
)

// GuestStep is what a message led to.
type GuestStep struct {
	// Reply goes back to the host, if it is not nil.
	Reply []byte
	// Met is the host, once, when it has been verified. Call Offer next.
	Met *Meeting
	// Answered says that the host has accepted; Payload is its answer.
	Answered bool
	// Payload is the answer, or the content of a further message.
	Payload []byte
}

// NewGuest begins an attempt of the device me with a ticket.
func NewGuest(me Signer, t *Ticket) (*Guest, error) { return newGuest(me, t, rand.Reader) }

func newGuest(me Signer, t *Ticket, entropy io.Reader) (*Guest, error) {
	if t.Host == me.ID() {
		return nil, errOwnInvite()
	}
	g := &Guest{
		me: me, ticket: t, entropy: entropy,
		terms: terms{kind: t.Kind, nameplate: t.Nameplate, password: t.password},
	}
	mustRead(entropy, g.terms.attempt[:])
	g.last = appendKnock(header(typeKnock, g.terms.attempt), t.Nameplate)
	return g, nil
}

// Attempt names the attempt.
func (g *Guest) Attempt() Attempt { return g.terms.attempt }

// Last is the message we sent last; the first one is the knock. Sending it
// again when nothing is heard costs no attempt.
func (g *Guest) Last() []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last
}

// Handle takes one message. An error ends the attempt. Messages that do not
// belong to it, or come again, lead to an empty step.
func (g *Guest) Handle(message []byte) (GuestStep, error) {
	t, id, body, err := split(message)
	g.mu.Lock()
	defer g.mu.Unlock()
	if id != g.terms.attempt || g.stage == over || err != nil && session.KindOf(err) != session.Unsupported {
		return GuestStep{}, nil
	}
	if err != nil {
		if g.stage != knocked {
			return GuestStep{}, nil
		}
		g.stage = over
		return GuestStep{}, err
	}
	var step GuestStep
	switch {
	case t == typeHello && g.stage == knocked:
		step, err = g.hello(body)
	case t == typeRefuse && g.stage <= sharing:
		err = g.refused(body)
	case t == typeM2 && g.stage == sharing:
		step, err = g.m2(message, body)
	case t == typeM4 && g.stage == offered, t == typeMore && g.stage >= met, t == typeDecline && g.stage >= met:
		step, err = g.opened(t, message, body)
	}
	if err != nil {
		g.stage, g.x = over, nil
	}
	return step, err
}

// Offer makes m3, with payload of at most MaxPayload bytes, after the host has
// been met.
func (g *Guest) Offer(payload []byte) ([]byte, error) {
	if len(payload) > MaxPayload {
		return nil, errPayload()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stage != met {
		return nil, session.Errorf(opJoin, session.Invalid, "there is nobody to make the offer to")
	}
	m := m3{tag: [tagSize]byte(g.x.tagG())}
	content := append(g.me.Sign(g.x.statement(roleGuest)), payload...)
	message, err := g.x.box(header(typeM3, g.terms.attempt), m.append(nil), content)
	if err != nil {
		return nil, err
	}
	g.stage, g.last = offered, message
	return message, nil
}

// Decline makes a message that tells a host that has been met why we end the
// attempt.
func (g *Guest) Decline(reason error) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stage != offered && g.stage != settled {
		return nil, session.Errorf(opJoin, session.Invalid, "there is nobody to decline")
	}
	message, err := g.x.box(header(typeDecline, g.terms.attempt), nil, appendReason(nil, reason))
	g.stage, g.x = over, nil
	return message, err
}

func (g *Guest) hello(body []byte) (step GuestStep, err error) {
	if g.terms.nonceH, err = parseHello(body); err != nil {
		return GuestStep{}, nil
	}
	mustRead(g.entropy, g.terms.nonceG[:])
	g.scalar = make([]byte, shareSize)
	mustRead(g.entropy, g.scalar)
	if g.share, err = g.terms.share(g.scalar); err != nil {
		return GuestStep{}, &session.Error{Op: opJoin, Kind: session.Internal, Err: err}
	}
	m := m1{
		nonceH: g.terms.nonceH, nonceG: g.terms.nonceG, share: [shareSize]byte(g.share),
		id: g.me.ID(), kind: g.terms.kind, nameplate: g.terms.nameplate,
	}
	g.stage, g.last = sharing, m.append(header(typeM1, g.terms.attempt))
	return GuestStep{Reply: g.last}, nil
}

// m2 judges the host, once: a second try would be a second guess for whoever
// is in the middle.
func (g *Guest) m2(message, body []byte) (GuestStep, error) {
	m, err := parseM2(body)
	if err != nil {
		return GuestStep{}, nil
	}
	if !g.ticket.Host.IsZero() && m.id != g.ticket.Host {
		return GuestStep{}, &session.Error{
			Op: opJoin, Kind: session.Integrity,
			Text: "another device answered than the one the link names", Hint: "ask for a new link",
		}
	}
	if g.x, err = g.terms.finish(g.scalar, g.me.ID(), g.share, m.id, m.share[:], false); err != nil {
		return GuestStep{}, err
	}
	if err := g.x.openM2(message[:headerSize], &m); err != nil {
		return GuestStep{}, err
	}
	g.stage, g.scalar = met, nil
	return GuestStep{Met: g.x.meeting(g.x.host)}, nil
}

// opened handles what comes in a box of its own. What does not open is not the
// host's, or not new.
func (g *Guest) opened(t messageType, message, body []byte) (GuestStep, error) {
	content, err := g.x.unbox(message[:headerSize], body)
	if err != nil {
		return GuestStep{}, nil
	}
	switch t {
	case typeM4:
		g.stage = settled
		return GuestStep{Answered: true, Payload: content}, nil
	case typeDecline:
		reason, err := parseReason(content)
		if err != nil {
			return GuestStep{}, err
		}
		reason.Op, reason.Hint = opJoin, hintNew
		return GuestStep{}, reason
	}
	return GuestStep{Payload: content}, nil
}

// refused puts a kind that anybody may have sent into our own words.
func (g *Guest) refused(body []byte) error {
	kind, err := parseKind(body)
	if err != nil {
		return nil
	}
	e := &session.Error{Op: opJoin, Kind: kind, Hint: hintNew}
	switch kind {
	case session.Invalid: // a host says so to itself only
		return errOwnInvite()
	case session.NotFound:
		e.Text, e.Hint = fmt.Sprintf("nobody is waiting under %s", g.ticket.Nameplate), "compare the number; or "+hintNew
	case session.Expired, session.Denied:
		e.Text = "the invite has expired or has been used up"
	case session.Changed:
		e.Text, e.Hint = "the host has restarted", "join again; if the code is refused then, "+hintNew
	case session.Unsupported:
		e.Text, e.Hint = "the host speaks another version of pairing", "install the same version of tandem on both sides"
	case session.NoSpace, session.Internal:
		e.Text, e.Hint = "the host can't accept anybody at the moment", "the host's own messages say why"
	default:
		e.Text = "the host refused the attempt"
	}
	return e
}

func errOwnInvite() error {
	return &session.Error{
		Op: opJoin, Kind: session.Invalid, Text: "this invite was made by this device",
		Hint: "join from another device; to try both sides on one machine, give one of them another TANDEM_HOME",
	}
}
