package link

import (
	"crypto/sha256"
	"time"

	"tandem/session"
)

const (
	// offerLifetime is how long an S1 may be answered.
	offerLifetime = 60 * time.Second
	// clockSkew is by how much the peers' clocks may differ.
	clockSkew = 2 * time.Minute
	// kindTrunk is the first connection of a session. What kind a connection is
	// goes into every signature, so that none can pass for another.
	kindTrunk = "trunk"
)

func contextDigest(context []byte) [sha256.Size]byte { return sha256.Sum256(context) }

func sdpDigest(sdp string) [sha256.Size]byte { return sha256.Sum256([]byte(sdp)) }

// makeOffer signs S1. The offerer's half of t must be complete but for the
// description's digest and fingerprint.
func makeOffer(id Identity, t *transcript, d *description, sdp string) envelope {
	t.offerSDP, t.offerPrint = sdpDigest(sdp), d.print
	return envelope{
		Type: typeOffer, From: &t.offerer, To: &t.answerer, Nonce: t.offerNonce, Expires: t.expires, SDP: sdp,
		Sig: id.Sign(t.offer()),
	}
}

// verifyOffer checks S1 as the answerer and begins its transcript. It does not
// look at who the offerer is or whether the nonce was used. With an error of
// kind Expired comes the transcript of a refusal.
func verifyOffer(e *envelope, self session.PeerID, kind string, context [sha256.Size]byte, now time.Time) (*transcript, *description, error) {
	if e.Type != typeOffer {
		return nil, nil, malformed("%s where an offer belongs", e.Type)
	}
	if *e.To != self {
		return nil, nil, refused("an offer to somebody else")
	}
	if *e.From == self {
		return nil, nil, refused("an offer from ourselves")
	}
	t := &transcript{
		kind: kind, context: context, offerer: *e.From, answerer: self, expires: e.Expires,
		offerNonce: e.Nonce, offerSDP: sdpDigest(e.SDP),
	}
	if !t.offerer.Verify(t.offer(), e.Sig) {
		return nil, nil, refused("the offer is not signed by %s for this conversation", t.offerer.Short())
	}
	if expires := time.Unix(e.Expires, 0); now.After(expires.Add(clockSkew)) || expires.After(now.Add(offerLifetime+clockSkew)) {
		return t, nil, outOfDate(now.Sub(expires.Add(-offerLifetime)))
	}
	d, err := parseDescription(e.SDP, setupOffer)
	if err != nil {
		return nil, nil, err
	}
	t.offerPrint = d.print
	return t, d, nil
}

// clockHint is what to do about clocks that differ.
const clockHint = "check that the clocks of both machines are right"

// outOfDate refuses an offer that is as old as no honest server makes it, or not
// made yet: the clocks differ. The text is for both sides.
func outOfDate(age time.Duration) error {
	than := "behind"
	if age < 0 {
		than = "ahead of"
	}
	err := session.Errorf("link", session.Expired, "the two clocks differ: the caller's is about %v %s the other's", age.Abs().Round(time.Minute), than)
	err.Hint = clockHint
	return err
}

// makeAnswer signs S2 and completes t.
func makeAnswer(id Identity, t *transcript, nonce []byte, d *description, sdp string) envelope {
	t.answerNonce, t.answerSDP, t.answerPrint = nonce, sdpDigest(sdp), d.print
	return envelope{Type: typeAnswer, Nonce: nonce, SDP: sdp, Sig: id.Sign(t.answer())}
}

// verifyAnswer checks S2 as the offerer. It completes t only if all is well.
func verifyAnswer(e *envelope, t *transcript) (*description, error) {
	done := *t
	done.answerNonce, done.answerSDP = e.Nonce, sdpDigest(e.SDP)
	if !done.answerer.Verify(done.answer(), e.Sig) {
		return nil, refused("the answer is not signed by %s for this conversation", t.answerer.Short())
	}
	d, err := parseDescription(e.SDP, setupAnswer)
	if err != nil {
		return nil, err
	}
	done.answerPrint = d.print
	*t = done
	return d, nil
}

// makeRefusal signs what is sent instead of S2. Only the kind and public text
// of why leave.
func makeRefusal(id Identity, t *transcript, why error) envelope {
	kind, text := session.Public(why)
	text = truncate(text, session.MaxErrorText)
	return envelope{Type: typeRefuse, Kind: string(kind), Text: text, Sig: id.Sign(t.refuse(string(kind), text))}
}

// verifyRefusal returns the peer's refusal as an error, if it is the peer's.
func verifyRefusal(e *envelope, t *transcript) (refusal error, ok bool) {
	if !t.answerer.Verify(t.refuse(e.Kind, e.Text), e.Sig) {
		return nil, false
	}
	reason := session.FromWire("link", e.Kind, e.Text)
	if reason.Kind == session.Expired {
		reason.Hint = clockHint
	}
	return reason, true
}

// makeConfirm signs S3 on behalf of r.
func makeConfirm(id Identity, t *transcript, r role) envelope {
	return envelope{Type: typeConfirm, Sig: id.Sign(t.confirm(r)), Copies: true}
}

// verifyConfirm checks that S3 comes from the peer in role r.
func verifyConfirm(e *envelope, t *transcript, r role) error {
	if e.Type != typeConfirm {
		return refused("%s before the connection was confirmed", session.Printable(e.Type))
	}
	if !t.id(r).Verify(t.confirm(r), e.Sig) {
		return refused("the connection does not end at %s", t.id(r).Short())
	}
	return nil
}

// The steps of an ICE restart.
const (
	stepRequest = "request" // the answerer asks the offerer for one
	stepOffer   = "offer"
	stepAnswer  = "answer"
)

// makeRestart signs e, a restart envelope whose other fields are set.
func makeRestart(id Identity, t *transcript, r role, e envelope) envelope {
	e.Type = typeRestart
	e.Sig = id.Sign(t.restart(r, &e))
	return e
}

// verifyRestart checks that e comes from the peer in role r, in this session.
func verifyRestart(e *envelope, t *transcript, r role) error {
	if (e.Step == stepOffer) != (r == offerer) {
		return refused("a restart step from the wrong side")
	}
	if !t.id(r).Verify(t.restart(r, e), e.Sig) {
		return refused("the restart is not signed by %s for this session", t.id(r).Short())
	}
	return nil
}
