package host

import (
	"sync"

	"golang.org/x/time/rate"

	"tandem/session"
	"tandem/session/audit"
)

// Audit is the record that is kept of what peers ask for. An *audit.Log is one.
type Audit interface {
	Append(e audit.Entry) (seq uint64, err error)
}

// Each peer's refused requests are recorded at this rate; more are counted.
const deniedRate, deniedBurst = 5, 100

// record keeps the Audit of what a Dispatcher does. A nil one keeps none.
type record struct {
	audit  Audit
	detail func(session.Header) string

	mu     sync.Mutex
	denied map[session.PeerID]*deniedPeer // known peers only, so as many as the book holds
}

type deniedPeer struct {
	limit *rate.Limiter
	count int // of those that are not recorded
}

func (r *record) entry(outcome audit.Outcome, o session.Offer) audit.Entry {
	h := o.Header()
	e := audit.Entry{
		Outcome: outcome, Peer: o.Peer().ID, Name: o.Peer().Name,
		Service: h.Service, Resource: h.Resource, Action: h.Action,
	}
	if r.detail != nil {
		e.Detail = r.detail(h)
	}
	return e
}

// allow records that a request is about to be served. What can't be recorded
// must not be served.
func (r *record) allow(o session.Offer) (seq uint64, err error) {
	if r == nil {
		return 0, nil
	}
	if seq, err = r.audit.Append(r.entry(audit.Allowed, o)); err != nil {
		err = ErrUnrecorded(err)
	}
	return seq, err
}

// ErrUnrecorded is what a peer hears when the record can't be written; why is
// not its business.
func ErrUnrecorded(why error) error {
	return &session.Error{
		Op: "dispatch", Kind: session.Unavailable, Err: why, Hint: session.Hint(why),
		Text: "the host can't keep its audit log, and does nothing without it",
	}
}

// end records what came of what allow has recorded.
func (r *record) end(seq uint64, o *revocableOffer, why error) error {
	if r == nil {
		return nil
	}
	e := r.entry(audit.Ended, o)
	noted := o.noted()
	switch kind := session.KindOf(why); {
	case why == nil, noted.Exit != nil && kind == session.Canceled:
	case noted.Exit != nil, kind == session.Canceled, kind == session.Unavailable: // the peer has left
		e.Reason = reason(why)
	default:
		e.Outcome, e.Reason = audit.Failed, reason(why)
	}
	e.Of, e.Sent, e.Received = seq, o.sent.Load(), o.received.Load()
	e.Exit, e.Recording, e.Detail = noted.Exit, noted.Recording, ""
	_, err := r.audit.Append(e)
	return err
}

// reason is why, as the record has it.
func reason(err error) string {
	if _, text := session.Public(err); text != "" {
		return text
	}
	return err.Error()
}

// deny records a request that was refused, unless its peer floods.
func (r *record) deny(o session.Offer, why error) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	p := r.denied[o.Peer().ID]
	if p == nil {
		p = &deniedPeer{limit: rate.NewLimiter(deniedRate, deniedBurst)}
		r.denied[o.Peer().ID] = p
	}
	if !p.limit.Allow() {
		p.count++
		r.mu.Unlock()
		return nil
	}
	count := p.count
	p.count = 0
	r.mu.Unlock()
	e := r.entry(audit.Denied, o)
	e.Reason, e.Count = reason(why), count
	_, err := r.audit.Append(e)
	return err
}
