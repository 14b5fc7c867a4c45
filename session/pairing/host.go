package pairing

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"io"
	"sync"
	"time"

	"tandem/session"
)

// Counter takes attempts and uses of invites away, durably; *Ledger is one.
type Counter interface {
	SpendAttempt(id InviteID, now time.Time) (left int, err error)
	SpendUse(id InviteID, now time.Time) error
}

// Host is the side that made invites. It answers any number of guests, at the
// same time if need be. What it keeps is bounded by its invites' attempts.
type Host struct {
	me      Signer
	counter Counter
	entropy io.Reader
	key     [sha256.Size]byte // of the hellos

	mu       sync.Mutex // guards what follows
	invites  map[string]*Invite
	attempts map[Attempt]*attempt
}

// attempt is one attempt that has been counted.
type attempt struct {
	invite *Invite
	x      *exchange // nil once the attempt has failed
	met    bool      // the guest has been verified
	ended  bool      // the answer or a decline has been made

	m1, m2, m3, last []byte // what was received and sent, for repetitions
}

// HostStep is what a message led to. Most steps have only a reply.
type HostStep struct {
	// Attempt is the one the message belongs to.
	Attempt Attempt
	// Nameplate is that of the attempt's invite, if an attempt was counted.
	Nameplate string
	// Reply goes back to whoever sent the message, if it is not nil.
	Reply []byte
	// Counted says that an attempt has just been spent, and Left how many are.
	Counted bool
	Left    int
	// Met is the guest, once, when it has been verified; Payload is its offer.
	// Ask the person, and then call Answer or Decline.
	Met *Meeting
	// Payload is the offer, or the content of a further message.
	Payload []byte
	// Farewell says that the guest has taken its leave; the error says why.
	Farewell bool
}

// NewHost answers for the device me, with the invites added to it.
func NewHost(me Signer, counter Counter) *Host { return newHost(me, counter, rand.Reader) }

func newHost(me Signer, counter Counter, entropy io.Reader) *Host {
	h := &Host{
		me: me, counter: counter, entropy: entropy,
		invites: map[string]*Invite{}, attempts: map[Attempt]*attempt{},
	}
	mustRead(entropy, h.key[:])
	return h
}

// Add opens an invite that the counter knows. The error's kind is Exists if
// there is one under its nameplate, Invalid if it is another device's.
func (h *Host) Add(i *Invite) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i.host != h.me.ID() {
		return session.Errorf(opInvite, session.Invalid, "the invite is another device's")
	}
	if _, taken := h.invites[i.nameplate]; taken {
		return session.Errorf(opInvite, session.Exists, "there is an invite under nameplate %s", i.nameplate)
	}
	h.invites[i.nameplate] = i
	return nil
}

// Remove closes an invite and forgets its attempts. The Sealers of meetings
// that came of it go on working, but Handle no longer opens their messages.
func (h *Host) Remove(nameplate string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.invites, nameplate)
	for id, a := range h.attempts {
		if a.invite.nameplate == nameplate {
			delete(h.attempts, id)
		}
	}
}

// Handle takes one message. An error concerns that message and its sender
// only; there may be a reply all the same.
func (h *Host) Handle(now time.Time, message []byte) (HostStep, error) {
	t, id, body, err := split(message)
	step := HostStep{Attempt: id}
	if err != nil {
		if session.KindOf(err) == session.Unsupported {
			step.Reply = refusal(id, session.Unsupported)
		}
		return step, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch t {
	case typeKnock:
		err = h.knock(&step, now, body)
	case typeM1:
		err = h.m1(&step, now, message, body)
	case typeM3:
		err = h.m3(&step, now, message, body)
	case typeMore, typeDecline:
		err = h.more(&step, t, message, body)
	default:
		err = errMalformed()
	}
	return step, err
}

// Answer accepts a guest that has been met: its message carries payload, at
// most MaxPayload bytes, and ends the exchange on the guest's side.
func (h *Host) Answer(id Attempt, payload []byte) ([]byte, error) {
	if len(payload) > MaxPayload {
		return nil, errPayload()
	}
	return h.end(id, typeM4, payload)
}

// Decline refuses a guest that has been met. The kind and public text of
// reason reach it.
func (h *Host) Decline(id Attempt, reason error) ([]byte, error) {
	return h.end(id, typeDecline, appendReason(nil, reason))
}

func (h *Host) end(id Attempt, t messageType, content []byte) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.attempts[id]
	if a == nil || !a.met || a.ended {
		return nil, session.Errorf(opPair, session.NotFound, "nobody is waiting for that answer")
	}
	message, err := a.x.box(header(t, id), nil, content)
	if err != nil {
		return nil, err
	}
	a.ended, a.last = true, message
	return message, nil
}

// knock answers without keeping anything.
func (h *Host) knock(step *HostStep, now time.Time, body []byte) error {
	nameplate, err := parseKnock(body)
	if err != nil {
		return err
	}
	i, err := h.open(nameplate, now)
	if err != nil {
		step.Reply = refusal(step.Attempt, session.KindOf(err))
		return err
	}
	nonce := h.nonce(i, step.Attempt)
	step.Reply = append(header(typeHello, step.Attempt), nonce[:]...)
	return nil
}

// m1 counts an attempt and answers it.
func (h *Host) m1(step *HostStep, now time.Time, message, body []byte) error {
	m, err := parseM1(body)
	if err != nil {
		return err
	}
	if a := h.attempts[step.Attempt]; a != nil {
		// Whoever repeats m1 gets the same m2; another m1 gets nothing.
		if bytes.Equal(a.m1, message) {
			step.Nameplate, step.Reply = a.invite.nameplate, a.m2
			return nil
		}
		return session.Errorf(opPair, session.Integrity, "two guests claim the same attempt")
	}
	i, err := h.open(m.nameplate, now)
	if err == nil {
		if nonce := h.nonce(i, step.Attempt); !hmac.Equal(nonce[:], m.nonceH[:]) {
			err = session.Errorf(opPair, session.Changed, "the attempt was begun with another host")
		} else if m.id == h.me.ID() {
			err = session.Errorf(opPair, session.Invalid, "a device can't join itself")
		}
	}
	if err == nil {
		step.Left, err = h.counter.SpendAttempt(i.id, now)
	}
	if err != nil {
		step.Reply = refusal(step.Attempt, session.KindOf(err))
		return err
	}
	step.Counted, step.Nameplate = true, i.nameplate
	a := &attempt{invite: i, m1: bytes.Clone(message)}
	h.attempts[step.Attempt] = a
	if a.m2, err = h.answer(a, step.Attempt, &m); err != nil {
		a.x, a.m2 = nil, refusal(step.Attempt, session.KindOf(err))
	}
	step.Reply = a.m2
	return err
}

// answer makes m2.
func (h *Host) answer(a *attempt, id Attempt, m *m1) ([]byte, error) {
	terms := terms{
		attempt: id, kind: m.kind, nameplate: m.nameplate, password: a.invite.password(m.kind),
		nonceH: m.nonceH, nonceG: m.nonceG,
	}
	scalar := make([]byte, shareSize)
	mustRead(h.entropy, scalar)
	share, err := terms.share(scalar)
	if err != nil {
		return nil, &session.Error{Op: opPair, Kind: session.Internal, Err: err}
	}
	if a.x, err = terms.finish(scalar, m.id, m.share[:], h.me.ID(), share, true); err != nil {
		return nil, err
	}
	reply := m2{share: [shareSize]byte(share), id: h.me.ID(), tag: [tagSize]byte(a.x.tagH())}
	return a.x.box(header(typeM2, id), reply.append(nil), h.me.Sign(a.x.statement(roleHost)))
}

// m3 judges a guest, once.
func (h *Host) m3(step *HostStep, now time.Time, message, body []byte) error {
	m, err := parseM3(body)
	if err != nil {
		return err
	}
	a := h.attempts[step.Attempt]
	switch {
	case a == nil:
		return session.Errorf(opPair, session.NotFound, "there is no such attempt")
	case a.m3 != nil && bytes.Equal(a.m3, message):
		step.Nameplate, step.Reply = a.invite.nameplate, a.last
		return nil
	case a.m3 != nil || a.x == nil:
		return session.Errorf(opPair, session.Integrity, "the attempt is over")
	}
	step.Nameplate, a.m3 = a.invite.nameplate, bytes.Clone(message)
	offer, err := a.x.openM3(message[:headerSize], &m)
	if err != nil {
		a.x = nil
		return err
	}
	if err := h.spendUse(a, now); err != nil {
		step.Reply, _ = a.x.box(header(typeDecline, step.Attempt), nil, appendReason(nil, err))
		a.x, a.last = nil, step.Reply
		return err
	}
	a.met = true
	step.Met, step.Payload = a.x.meeting(a.x.guest), offer
	return nil
}

func (h *Host) spendUse(a *attempt, now time.Time) error {
	if a.invite.expired(now) {
		return errExpired()
	}
	return h.counter.SpendUse(a.invite.id, now)
}

// more opens a further message, or a guest's farewell.
func (h *Host) more(step *HostStep, t messageType, message, body []byte) error {
	a := h.attempts[step.Attempt]
	if a == nil || !a.met {
		return session.Errorf(opPair, session.NotFound, "there is no such attempt")
	}
	step.Nameplate = a.invite.nameplate
	content, err := a.x.unbox(message[:headerSize], body)
	if err != nil {
		return err
	}
	if t == typeDecline {
		reason, err := parseReason(content)
		if err != nil {
			return err
		}
		a.ended, step.Farewell = true, true
		return reason
	}
	step.Payload = content
	return nil
}

// open finds an invite that can still be used, as far as is known without the
// counter.
func (h *Host) open(nameplate string, now time.Time) (*Invite, error) {
	i := h.invites[nameplate]
	if i == nil {
		return nil, session.Errorf(opPair, session.NotFound, "there is no invite under nameplate %s", nameplate)
	}
	if i.expired(now) {
		return nil, errExpired()
	}
	return i, nil
}

// nonce is the nH of an attempt.
func (h *Host) nonce(i *Invite, id Attempt) [nonceSize]byte {
	mac := hmac.New(sha256.New, h.key[:])
	mac.Write(i.id[:])
	mac.Write(id[:])
	return [nonceSize]byte(mac.Sum(nil))
}

// refusal tells a guest that has no key yet. It carries no text: anybody could
// have written it.
func refusal(id Attempt, kind session.Kind) []byte {
	return appendText(header(typeRefuse, id), string(kind))
}

// mustRead fills b from a source that does not fail; crypto/rand ends the
// process instead of failing.
func mustRead(entropy io.Reader, b []byte) {
	if _, err := io.ReadFull(entropy, b); err != nil {
		panic(err)
	}
}
