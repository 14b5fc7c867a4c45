package link

import (
	"crypto/rand"
	mathrand "math/rand/v2"
	"strings"
	"testing"
	"time"

	"tandem/session"
)

// side is one honest party of S1 to S3 at the level of messages, with nothing
// underneath: what it sends, what it believes.
type side struct {
	id    *device
	role  role
	t     transcript
	print fingerprint
	peer  session.PeerID
	ctx   string

	described bool // S1 or S2 was accepted
	believes  bool // S3 was accepted
}

func someDescription(t testing.TB, setup string) (*description, string) {
	t.Helper()
	d := &description{setup: setup, ufrag: "abcd", password: "abcdefghijklmnopqrstuv", maxMessageSize: maxMessageSize}
	if _, err := rand.Read(d.print[:]); err != nil {
		t.Fatal(err)
	}
	return d, d.marshal(1)
}

func randomNonce() []byte {
	b := make([]byte, nonceSize)
	_, _ = rand.Read(b)
	return b
}

// offers makes the offerer's side and its S1.
func offers(t testing.TB, id *device, to session.PeerID, context string) (*side, envelope) {
	d, sdp := someDescription(t, setupOffer)
	s := &side{id: id, role: offerer, print: d.print, peer: to, ctx: context}
	s.t = transcript{
		kind: kindTrunk, context: contextDigest([]byte(context)), offerer: id.ID(), answerer: to,
		expires: time.Now().Add(offerLifetime).Unix(), offerNonce: randomNonce(),
	}
	return s, makeOffer(id, &s.t, d, sdp)
}

// answers lets id answer e, as Accept does.
func answers(t testing.TB, id *device, e envelope, context string, nonces *Nonces) (*side, envelope, error) {
	tr, _, err := verifyOffer(&e, id.ID(), kindTrunk, contextDigest([]byte(context)), time.Now())
	if err != nil {
		return nil, envelope{}, err
	}
	if err := nonces.use(tr.offerer, e.Nonce, time.Unix(e.Expires, 0).Add(clockSkew), time.Now()); err != nil {
		return nil, envelope{}, err
	}
	d, sdp := someDescription(t, setupAnswer)
	s := &side{id: id, role: answerer, t: *tr, print: d.print, peer: tr.offerer, ctx: context, described: true}
	return s, makeAnswer(id, &s.t, randomNonce(), d, sdp), nil
}

func (s *side) receiveAnswer(e envelope) error {
	_, err := verifyAnswer(&e, &s.t)
	s.described = s.described || err == nil
	return err
}

func (s *side) confirm() envelope { return makeConfirm(s.id, &s.t, s.role) }

func (s *side) receiveConfirm(e envelope) error {
	err := verifyConfirm(&e, &s.t, s.role.other())
	s.believes = s.believes || err == nil
	return err
}

func flip(b []byte) []byte {
	c := append([]byte(nil), b...)
	c[len(c)/2] ^= 1
	return c
}

func wantKind(t *testing.T, what string, err error, kind session.Kind) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: accepted", what)
	} else if session.KindOf(err) != kind {
		t.Errorf("%s: kind %s (%v), want %s", what, session.KindOf(err), err, kind)
	}
}

// Every field of S1, changed by whoever carries it, is refused.
func TestOfferTampered(t *testing.T) {
	alice, bob, mallory := newDevice(t), newDevice(t), newDevice(t)
	_, honest := offers(t, alice, bob.ID(), "ctx")
	if _, _, err := answers(t, bob, honest, "ctx", new(Nonces)); err != nil {
		t.Fatal(err)
	}
	m, b := mallory.ID(), bob.ID()
	_, otherSDP := someDescription(t, setupOffer)
	for what, change := range map[string]func(e *envelope){
		"other sender":    func(e *envelope) { e.From = &m },
		"other addressee": func(e *envelope) { e.To = &m },
		"reflected":       func(e *envelope) { e.From = &b },
		"nonce":           func(e *envelope) { e.Nonce = flip(e.Nonce) },
		"later expiry":    func(e *envelope) { e.Expires++ },
		"other SDP":       func(e *envelope) { e.SDP = otherSDP },
		"one more line":   func(e *envelope) { e.SDP += "a=x\r\n" },
		"signature":       func(e *envelope) { e.Sig = flip(e.Sig) },
		"short signature": func(e *envelope) { e.Sig = e.Sig[:63] },
		"fingerprint": func(e *envelope) {
			e.SDP = strings.Replace(e.SDP, e.SDP[strings.Index(e.SDP, "sha-256 ")+8:][:2], "00", 1)
		},
	} {
		e := honest
		change(&e)
		_, _, err := answers(t, bob, e, "ctx", new(Nonces))
		wantKind(t, what, err, session.Integrity)
	}
	_, _, err := answers(t, bob, honest, "other", new(Nonces))
	wantKind(t, "other context", err, session.Integrity)
	_, _, err = verifyOffer(&honest, bob.ID(), "lane", contextDigest([]byte("ctx")), time.Now())
	wantKind(t, "other kind", err, session.Integrity)
	var nonces Nonces
	if _, _, err := answers(t, bob, honest, "ctx", &nonces); err != nil {
		t.Fatal(err)
	}
	_, _, err = answers(t, bob, honest, "ctx", &nonces)
	wantKind(t, "replayed", err, session.Integrity)
	_, _, err = verifyOffer(&honest, bob.ID(), kindTrunk, contextDigest([]byte("ctx")), time.Now().Add(offerLifetime+clockSkew+2*time.Second))
	wantKind(t, "expired", err, session.Expired)
	_, _, err = verifyOffer(&honest, bob.ID(), kindTrunk, contextDigest([]byte("ctx")), time.Now().Add(-clockSkew-2*time.Second))
	wantKind(t, "from the future", err, session.Expired)
}

// Every field of S2, changed or taken from another session, is refused.
func TestAnswerTampered(t *testing.T) {
	alice, bob, mallory := newDevice(t), newDevice(t), newDevice(t)
	a, s1 := offers(t, alice, bob.ID(), "ctx")
	_, honest, err := answers(t, bob, s1, "ctx", new(Nonces))
	if err != nil {
		t.Fatal(err)
	}
	_, otherSDP := someDescription(t, setupAnswer)
	for what, change := range map[string]func(e *envelope){
		"nonce":     func(e *envelope) { e.Nonce = flip(e.Nonce) },
		"SDP":       func(e *envelope) { e.SDP = otherSDP },
		"signature": func(e *envelope) { e.Sig = flip(e.Sig) },
	} {
		e := honest
		change(&e)
		wantKind(t, what, a.receiveAnswer(e), session.Integrity)
	}
	_, again := offers(t, alice, bob.ID(), "ctx")
	_, replay, err := answers(t, bob, again, "ctx", new(Nonces))
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, "an answer to another offer", a.receiveAnswer(replay), session.Integrity)
	forged := &side{t: a.t}
	d, sdp := someDescription(t, setupAnswer)
	wantKind(t, "somebody else's answer", a.receiveAnswer(makeAnswer(mallory, &forged.t, randomNonce(), d, sdp)), session.Integrity)
	if err := a.receiveAnswer(honest); err != nil {
		t.Errorf("the honest answer after all that: %v", err)
	}
}

// S3 is bound to role, identities, nonces and both certificates.
func TestConfirmTampered(t *testing.T) {
	alice, bob := newDevice(t), newDevice(t)
	a, s1 := offers(t, alice, bob.ID(), "ctx")
	b, s2, err := answers(t, bob, s1, "ctx", new(Nonces))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.receiveAnswer(s2); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "reflected to the offerer", a.receiveConfirm(a.confirm()), session.Integrity)
	wantKind(t, "reflected to the answerer", b.receiveConfirm(b.confirm()), session.Integrity)
	bye := b.confirm()
	bye.Type = typeBye
	wantKind(t, "another type", a.receiveConfirm(bye), session.Integrity)
	for what, change := range map[string]func(tr *transcript){
		"offer nonce":        func(tr *transcript) { tr.offerNonce = flip(tr.offerNonce) },
		"answer nonce":       func(tr *transcript) { tr.answerNonce = flip(tr.answerNonce) },
		"offer certificate":  func(tr *transcript) { tr.offerPrint[3] ^= 1 },
		"answer certificate": func(tr *transcript) { tr.answerPrint[3] ^= 1 },
		"offerer":            func(tr *transcript) { tr.offerer[3] ^= 1 },
		"kind":               func(tr *transcript) { tr.kind = "lane" },
		"context":            func(tr *transcript) { tr.context[3] ^= 1 },
	} {
		forged := b.t
		change(&forged)
		wantKind(t, what, a.receiveConfirm(makeConfirm(bob, &forged, answerer)), session.Integrity)
	}
	if err := a.receiveConfirm(b.confirm()); err != nil {
		t.Error(err)
	}
	if err := b.receiveConfirm(a.confirm()); err != nil {
		t.Error(err)
	}
}

// A restart is bound to its session, its sender's side and its own fields.
func TestRestartTampered(t *testing.T) {
	alice, bob := newDevice(t), newDevice(t)
	a, s1 := offers(t, alice, bob.ID(), "ctx")
	b, s2, err := answers(t, bob, s1, "ctx", new(Nonces))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.receiveAnswer(s2); err != nil {
		t.Fatal(err)
	}
	honest := makeRestart(alice, &a.t, offerer, envelope{Step: stepOffer, Generation: 3, Ufrag: "abcd", Password: "abcdefghijklmnopqrstuv"})
	if err := verifyRestart(&honest, &b.t, offerer); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "reflected", verifyRestart(&honest, &a.t, answerer), session.Integrity)
	for what, change := range map[string]func(e *envelope){
		"generation": func(e *envelope) { e.Generation++ },
		"ufrag":      func(e *envelope) { e.Ufrag = "abce" },
		"password":   func(e *envelope) { e.Password = strings.Repeat("x", 22) },
		"direct":     func(e *envelope) { e.DirectOnly = true },
		"step":       func(e *envelope) { e.Step = stepAnswer },
		"signature":  func(e *envelope) { e.Sig = flip(e.Sig) },
	} {
		e := honest
		change(&e)
		wantKind(t, what, verifyRestart(&e, &b.t, offerer), session.Integrity)
	}
	own := makeRestart(bob, &b.t, answerer, envelope{Step: stepOffer, Generation: 3, Ufrag: "abcd", Password: "abcdefghijklmnopqrstuv"})
	wantKind(t, "an offer by the answerer", verifyRestart(&own, &a.t, answerer), session.Integrity)
	c, _ := offers(t, alice, bob.ID(), "ctx")
	wantKind(t, "another session", verifyRestart(&honest, &c.t, offerer), session.Integrity)
}

func TestRefusalTampered(t *testing.T) {
	alice, bob, mallory := newDevice(t), newDevice(t), newDevice(t)
	a, s1 := offers(t, alice, bob.ID(), "ctx")
	b, _, err := answers(t, bob, s1, "ctx", new(Nonces))
	if err != nil {
		t.Fatal(err)
	}
	honest := makeRefusal(bob, &b.t, session.Errorf("x", session.Denied, "no"))
	refusal, ok := verifyRefusal(&honest, &a.t)
	if !ok || session.KindOf(refusal) != session.Denied || refusal.Error() != "link: no" {
		t.Errorf("refusal %v, %v", refusal, ok)
	}
	forged := makeRefusal(mallory, &b.t, session.Errorf("x", session.Denied, "no"))
	changed := honest
	changed.Text = "yes"
	for what, e := range map[string]envelope{"forged": forged, "changed": changed} {
		if _, ok := verifyRefusal(&e, &a.t); ok {
			t.Errorf("%s refusal was believed", what)
		}
	}
}

func TestNonces(t *testing.T) {
	now := time.Now()
	var n Nonces
	peer, other := newDevice(t).ID(), newDevice(t).ID()
	for range maxNoncesPerPeer {
		if err := n.use(peer, randomNonce(), now.Add(time.Minute), now); err != nil {
			t.Fatal(err)
		}
	}
	wantKind(t, "one too many", n.use(peer, randomNonce(), now.Add(time.Minute), now), session.Busy)
	if err := n.use(other, randomNonce(), now.Add(time.Minute), now); err != nil {
		t.Errorf("another peer: %v", err)
	}
	if err := n.use(peer, randomNonce(), now.Add(3*time.Minute), now.Add(2*time.Minute)); err != nil {
		t.Errorf("after expiry: %v", err)
	}
	if len(n.expires) != 1 {
		t.Errorf("%d nonces kept", len(n.expires))
	}
}

// TestDolevYao plays S1 to S3 over a network that belongs to the attacker. It
// sees every message, drops, replays, reorders, splices and reflects them, and
// has an identity of its own that honest peers may talk to. Certificates are as
// strong as DTLS: a party can use only its own. This is bounded random testing,
// not a proof.
func TestDolevYao(t *testing.T) {
	runs := 400
	if testing.Short() {
		runs = 100
	}
	believing := 0
	for seed := range runs {
		believing += dolevYao(t, uint64(seed))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if believing < runs/10 {
		t.Errorf("only %d sides in %d runs got through: the attacker leaves nothing to check", believing, runs)
	}
}

// dolevYao is one run. It returns how many honest sides believe in a session.
func dolevYao(t *testing.T, seed uint64) (believing int) {
	r := mathrand.New(mathrand.NewPCG(seed, 7))
	alice, bob, mallory := newDevice(t), newDevice(t), newDevice(t)
	honest := []*device{alice, bob}
	nonces := map[*device]*Nonces{alice: {}, bob: {}, mallory: {}}
	contexts := []string{"x", "y"}
	var sides []*side
	var seen []envelope
	// What the attacker knows how to make: its own certificates' fingerprints.
	owned := make(map[fingerprint]bool)
	pick := func(kind string) (envelope, bool) {
		for range 20 {
			if len(seen) == 0 {
				break
			}
			if e := seen[r.IntN(len(seen))]; e.Type == kind {
				return e, true
			}
		}
		return envelope{}, false
	}
	mangle := func(e envelope) envelope {
		other, ok := pick(e.Type)
		if !ok {
			other = e
		}
		m := mallory.ID()
		switch r.IntN(8) {
		case 0:
			e.SDP = other.SDP
		case 1:
			e.Nonce = other.Nonce
		case 2:
			e.Sig = other.Sig
		case 3:
			e.From = other.From
		case 4:
			e.To = other.To
		case 5: // make it the attacker's own
			if e.Type == typeOffer {
				e.From = &m
				tr := transcript{
					kind: kindTrunk, context: contextDigest([]byte(contexts[r.IntN(2)])), offerer: m, answerer: *e.To,
					expires: e.Expires, offerNonce: e.Nonce, offerSDP: sdpDigest(e.SDP),
				}
				e.Sig = mallory.Sign(tr.offer())
			}
		}
		return e
	}
	for range 40 {
		switch r.IntN(7) {
		case 0: // an honest peer dials
			from := honest[r.IntN(2)]
			to := []*device{alice, bob, mallory}[r.IntN(3)]
			if to == from {
				continue
			}
			s, e := offers(t, from, to.ID(), contexts[r.IntN(2)])
			sides, seen = append(sides, s), append(seen, e)
		case 1: // an honest peer gets some S1
			if e, ok := pick(typeOffer); ok {
				who := honest[r.IntN(2)]
				s, answer, err := answers(t, who, mangle(e), contexts[r.IntN(2)], nonces[who])
				if err == nil {
					sides, seen = append(sides, s), append(seen, answer)
				}
			}
		case 2: // an honest offerer gets some S2
			if e, ok := pick(typeAnswer); ok && len(sides) > 0 {
				if s := sides[r.IntN(len(sides))]; s.role == offerer && !s.described {
					_ = s.receiveAnswer(mangle(e))
				}
			}
		case 3: // the attacker answers an S1 that is for it, as itself
			if e, ok := pick(typeOffer); ok && *e.To == mallory.ID() {
				if s, answer, err := answers(t, mallory, e, contexts[r.IntN(2)], nonces[mallory]); err == nil {
					owned[s.print] = true
					if other, ok := pick(typeAnswer); ok && r.IntN(2) == 0 {
						// reusing somebody's certificate
						answer = envelope{Type: typeAnswer, Nonce: answer.Nonce, SDP: other.SDP}
						s.t.answerSDP = sdpDigest(other.SDP)
						answer.Sig = mallory.Sign(s.t.answer())
					}
					seen = append(seen, answer)
				}
			}
		case 4: // the attacker dials
			s, e := offers(t, mallory, honest[r.IntN(2)].ID(), contexts[r.IntN(2)])
			owned[s.print] = true
			seen = append(seen, e)
		case 5, 6: // some S3 arrives inside some DTLS connection
			if len(sides) == 0 {
				continue
			}
			to := sides[r.IntN(len(sides))]
			if !to.described {
				continue
			}
			// DTLS delivers from whoever has the other certificate.
			far := to.t.print(to.role.other())
			for _, s := range sides {
				if s.print == far && s.described && s.t.print(s.role.other()) == to.print {
					seen = append(seen, s.confirm())
					_ = to.receiveConfirm(s.confirm())
				}
			}
			if owned[far] {
				if e, ok := pick(typeConfirm); ok && r.IntN(2) == 0 {
					_ = to.receiveConfirm(e)
				} else {
					_ = to.receiveConfirm(makeConfirm(mallory, &to.t, to.role.other()))
				}
			}
		}
	}
	checkAgreement(t, sides, mallory)
	for _, s := range sides {
		if s.believes {
			believing++
		}
	}
	return believing
}

// checkAgreement asserts what S1 to S3 promise about honest sides.
func checkAgreement(t *testing.T, sides []*side, mallory *device) {
	for i, s := range sides {
		if !s.believes || s.peer == mallory.ID() {
			continue
		}
		partners := 0
		for j, p := range sides {
			if i == j || p.id.ID() != s.peer || p.print != s.t.print(s.role.other()) {
				continue
			}
			if p.peer != s.id.ID() || p.role == s.role || p.ctx != s.ctx || string(p.t.offer()) != string(s.t.offer()) ||
				string(p.t.answer()) != string(s.t.answer()) {
				t.Errorf("side %d believes in %s, who sees another session", i, s.peer.Short())
			}
			partners++
		}
		if partners != 1 {
			t.Errorf("side %d believes in %s, but %d sides match", i, s.peer.Short(), partners)
		}
	}
	// No unknown key share: nobody confirmed with the attacker ends at a
	// certificate of an honest side.
	for i, s := range sides {
		if !s.believes || s.peer != mallory.ID() {
			continue
		}
		for _, p := range sides {
			if p.print == s.t.print(s.role.other()) {
				t.Errorf("side %d believes to talk to the attacker and talks to %s", i, p.id.ID().Short())
			}
		}
	}
	nonces := make(map[string]bool)
	for _, s := range sides {
		if s.role == answerer && s.believes {
			key := s.t.offerer.String() + string(s.t.offerNonce)
			if nonces[key] {
				t.Error("one offer made two sessions")
			}
			nonces[key] = true
		}
	}
}
