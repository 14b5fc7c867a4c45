package link

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/datachannel"
	"github.com/pion/sctp"

	"tandem/session"
)

// witness counts the offers that reach an application. In an attack there must
// be none.
type witness struct{ offers atomic.Int32 }

func (w *witness) handle(context.Context, session.Offer) { w.offers.Add(1) }

func (w *witness) want(t *testing.T) {
	t.Helper()
	if n := w.offers.Load(); n != 0 {
		t.Errorf("%d offers were delivered to the application", n)
	}
}

// attacked runs Dial and Accept over a hostile Signaler and wants both to fail
// without a frame delivered. It returns how they failed.
func attacked(t *testing.T, mangle func(from role, b []byte) [][]byte) (dial, accept error) {
	t.Helper()
	var w witness
	sigA, sigB := pipe(mangle)
	alice, bob := newDevice(t), newDevice(t)
	ctx, cancel := context.WithTimeout(t.Context(), 1200*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		l, err := Accept(ctx, Config{Identity: bob, Handler: w.handle}, anyone, sigB)
		if err == nil {
			t.Error("the answerer accepted")
			_ = l.Close()
		}
		accept = err
	})
	l, dial := Dial(ctx, Config{Identity: alice, Handler: w.handle}, bob.ID(), sigA)
	if dial == nil {
		t.Error("the offerer connected")
		_, _ = l.Open(ctx, session.Header{Service: "secret/1"})
		_ = l.Close()
	}
	wg.Wait()
	w.want(t)
	return dial, accept
}

// edit makes a mangle that changes envelopes of one type.
func edit(t *testing.T, kind string, change func(e *envelope)) func(role, []byte) [][]byte {
	return func(_ role, b []byte) [][]byte {
		e, err := parseEnvelope(b)
		if err != nil {
			t.Error(err)
		}
		if e.Type == kind {
			change(&e)
			if b, err = e.marshal(); err != nil {
				t.Error(err)
			}
		}
		return [][]byte{b}
	}
}

// swapFingerprint puts another certificate's fingerprint into an SDP.
func swapFingerprint(sdp string) string {
	const name = "a=fingerprint:sha-256 "
	at := strings.Index(sdp, name) + len(name)
	return sdp[:at] + fingerprint{1, 2, 3}.String() + sdp[at+95:]
}

func TestSignalerSwapsOffer(t *testing.T) {
	_, accept := attacked(t, edit(t, typeOffer, func(e *envelope) { e.SDP = swapFingerprint(e.SDP) }))
	wantKind(t, "answerer", accept, session.Integrity)
}

func TestSignalerSwapsAnswer(t *testing.T) {
	dial, _ := attacked(t, edit(t, typeAnswer, func(e *envelope) { e.SDP = swapFingerprint(e.SDP) }))
	wantKind(t, "offerer", dial, session.Integrity)
}

func TestSignalerReflects(t *testing.T) {
	sigA, _ := pipe(nil)
	sigA.carry = sigA.deliver // everything comes back to its sender
	alice, bob := newDevice(t), newDevice(t)
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	_, err := Dial(ctx, Config{Identity: alice}, bob.ID(), sigA)
	wantKind(t, "reflected", err, session.Timeout)
}

// An S1 that was answered once is recorded and played to the same node again.
func TestSignalerReplaysOffer(t *testing.T) {
	var mu sync.Mutex
	var recorded []byte
	sigA, sigB := pipe(func(_ role, b []byte) [][]byte {
		mu.Lock()
		defer mu.Unlock()
		if recorded == nil {
			recorded = b
		}
		return [][]byte{b}
	})
	bob, nonces := newDevice(t), new(Nonces)
	meetOver(t, Config{}, Config{Identity: bob, Nonces: nonces}, sigA, sigB)
	_, again := pipe(nil)
	again.deliver(recorded)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := Accept(ctx, Config{Identity: bob, Nonces: nonces}, anyone, again)
	wantKind(t, "replayed", err, session.Integrity)
}

// Mallory, whom both Alice and Bob are willing to talk to, introduces Alice's
// certificate to Bob as its own and Bob's to Alice (RFC 8844). DTLS comes up
// between Alice and Bob; S3 must not.
func TestUnknownKeyShare(t *testing.T) {
	var w witness
	alice, bob, mallory := newDevice(t), newDevice(t), newDevice(t)
	var aliceSays, bobHears transcript
	sigA, sigB := pipe(func(from role, b []byte) [][]byte {
		e, err := parseEnvelope(b)
		if err != nil {
			t.Error(err)
		}
		switch e.Type {
		case typeOffer:
			aliceSays = transcript{
				kind: kindTrunk, context: contextDigest(nil), offerer: alice.ID(), answerer: mallory.ID(),
				expires: e.Expires, offerNonce: e.Nonce, offerSDP: sdpDigest(e.SDP),
			}
			bobHears = aliceSays
			bobHears.offerer, bobHears.answerer = mallory.ID(), bob.ID()
			e.From, e.To = &bobHears.offerer, &bobHears.answerer
			e.Sig = mallory.Sign(bobHears.offer())
		case typeAnswer:
			aliceSays.answerNonce, aliceSays.answerSDP = e.Nonce, sdpDigest(e.SDP)
			e.Sig = mallory.Sign(aliceSays.answer())
		}
		b, err = e.marshal()
		if err != nil {
			t.Error(err)
		}
		return [][]byte{b}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := Accept(ctx, Config{Identity: bob, Handler: w.handle}, anyone, sigB)
		wantKind(t, "Bob", err, session.Integrity)
	})
	if _, err := Dial(ctx, Config{Identity: alice, Handler: w.handle}, mallory.ID(), sigA); err == nil {
		t.Error("Alice took Bob for Mallory")
	}
	wg.Wait()
	w.want(t)
}

// hostile dials an honest answerer as a peer with a true identity that goes
// through S1 and S2 and then does as it likes: prepare runs before DTLS,
// misbehave after it. hostile returns how the answerer fared.
func hostile(t *testing.T, accept Config, prepare, misbehave func(*conn)) error {
	t.Helper()
	var w witness
	bob := newDevice(t)
	accept.Identity, accept.Handler = bob, w.handle
	sigA, sigB := pipe(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	result := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		l, err := Accept(ctx, accept, anyone, sigB)
		if err == nil {
			<-l.Done()
			err = l.Err()
			_ = l.Close()
		}
		result <- err
	}()
	config := Config{Identity: newDevice(t)}.prepared()
	c, runCtx, err := begin(ctx, config, kindTrunk, offerer, bob.ID(), nil, sigA, func(*conn, *sctp.Stream) {})
	if err != nil {
		t.Fatal(err)
	}
	// If the answerer notices nothing, the attack ends all the same.
	defer context.AfterFunc(ctx, func() { c.fail(ctx.Err()) })()
	prepare(c)
	err = c.raise(ctx, runCtx)
	if err == nil {
		misbehave(c)
	}
	close(c.settled)
	outcome := <-result
	c.fail(errors.New("over"))
	<-c.finished
	w.want(t)
	return outcome
}

func nothing(*conn) {}

// untilOver waits until the other side has ended the connection.
func (c *conn) untilOver() {
	select {
	case <-c.ending:
	case <-c.done:
	}
}

// The right ICE password and S1, but another certificate than the signed one.
func TestWrongCertificate(t *testing.T) {
	err := hostile(t, Config{}, func(c *conn) {
		other, err := newCertificate(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		c.cert = other
	}, func(p *conn) {
		if err := p.confirm(); err == nil {
			t.Error("the answerer confirmed")
		}
	})
	wantKind(t, "answerer", err, session.Integrity)
}

// A stream that is opened, with a header, before anything was confirmed.
func TestApplicationFrameBeforeConfirm(t *testing.T) {
	err := hostile(t, Config{}, nothing, func(p *conn) {
		dc, err := datachannel.Dial(p.sctp, 1, channelConfig(false, p.log))
		if err != nil {
			t.Fatal(err)
		}
		header := append([]byte{1}, `{"service":"secret/1"}`...)
		_, _ = dc.Write(header) // fails if the answerer has noticed already
		p.untilOver()
	})
	wantKind(t, "answerer", err, session.Integrity)
}

func TestConfirmMissing(t *testing.T) {
	err := hostile(t, Config{confirmTimeout: 300 * time.Millisecond}, nothing, func(p *conn) { p.untilOver() })
	wantKind(t, "answerer", err, session.Timeout)
}

func TestConfirmForged(t *testing.T) {
	err := hostile(t, Config{}, nothing, func(p *conn) {
		if err := p.send(makeConfirm(newDevice(t), &p.transcript, offerer)); err != nil {
			t.Fatal(err)
		}
		p.untilOver()
	})
	wantKind(t, "answerer", err, session.Integrity)
}

// A ping, or anything else, in the place of S3.
func TestConfirmSkipped(t *testing.T) {
	err := hostile(t, Config{}, nothing, func(p *conn) {
		if err := p.send(envelope{Type: typeReady}); err != nil {
			t.Fatal(err)
		}
		p.untilOver()
	})
	wantKind(t, "answerer", err, session.Integrity)
}

// After S3 the peer is who it is, and still may not break the protocol.
func TestControlViolation(t *testing.T) {
	err := hostile(t, Config{}, nothing, func(p *conn) {
		if err := p.confirm(); err != nil {
			t.Fatal(err)
		}
		if _, err := p.control.Write([]byte(`{"v":1,"t":"confirm","sig":"AAAA"}`)); err != nil {
			t.Fatal(err)
		}
		p.untilOver()
	})
	wantKind(t, "answerer", err, session.Invalid)
}

func TestRefused(t *testing.T) {
	sigA, sigB := pipe(nil)
	bob := newDevice(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := Accept(t.Context(), Config{Identity: bob}, func(session.PeerID) error {
			return session.Errorf("expect", session.Denied, "not today")
		}, sigB)
		wantKind(t, "answerer", err, session.Denied)
	})
	_, err := Dial(t.Context(), Config{Identity: newDevice(t)}, bob.ID(), sigA)
	wantKind(t, "offerer", err, session.Denied)
	if err == nil || !strings.Contains(err.Error(), "not today") {
		t.Errorf("reason lost: %v", err)
	}
	wg.Wait()
}

// An offer from a computer whose clock is off is refused, and both sides hear
// why: the offerer, too, and at once.
func TestClockIsOff(t *testing.T) {
	alice, bob := newDevice(t), newDevice(t)
	for off, says := range map[time.Duration]string{
		time.Hour:  "the caller's is about 1h0m0s ahead of the other's",
		-time.Hour: "the caller's is about 1h0m0s behind the other's",
	} {
		sigA, sigB := pipe(func(from role, b []byte) [][]byte {
			e, err := parseEnvelope(b)
			if err != nil {
				t.Error(err)
			}
			if e.Type == typeOffer {
				e.Expires += int64(off / time.Second)
				offered := transcript{
					kind: kindTrunk, context: contextDigest(nil), offerer: alice.ID(), answerer: bob.ID(),
					expires: e.Expires, offerNonce: e.Nonce, offerSDP: sdpDigest(e.SDP),
				}
				e.Sig = alice.Sign(offered.offer())
			}
			if b, err = e.marshal(); err != nil {
				t.Error(err)
			}
			return [][]byte{b}
		})
		var wg sync.WaitGroup
		check := func(who string, err error) {
			wantKind(t, who, err, session.Expired)
			if !strings.Contains(err.Error(), says) || session.Hint(err) == "" {
				t.Errorf("%s hears %v", who, err)
			}
		}
		wg.Go(func() {
			_, err := Accept(t.Context(), Config{Identity: bob}, anyone, sigB)
			check("answerer", err)
		})
		_, err := Dial(t.Context(), Config{Identity: alice}, bob.ID(), sigA)
		check("offerer", err)
		wg.Wait()
	}
}

// Strangers aren't told what our clock says.
func TestClockOfStrangers(t *testing.T) {
	alice, bob := newDevice(t), newDevice(t)
	d, sdp := someDescription(t, setupOffer)
	tr := transcript{
		kind: kindTrunk, context: contextDigest(nil), offerer: alice.ID(), answerer: bob.ID(),
		expires: time.Now().Add(-time.Hour).Unix(), offerNonce: randomNonce(),
	}
	b, err := makeOffer(alice, &tr, d, sdp).marshal()
	if err != nil {
		t.Fatal(err)
	}
	var refusal envelope
	sigA, sigB := pipe(func(_ role, b []byte) [][]byte {
		if e, err := parseEnvelope(b); err != nil || e.Type == typeRefuse {
			refusal = e
		}
		return [][]byte{b}
	})
	if err := sigA.Send(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	stranger := func(session.PeerID) error { return session.Errorf("expect", session.Denied, "who are you?") }
	_, err = Accept(t.Context(), Config{Identity: bob}, stranger, sigB)
	wantKind(t, "answerer", err, session.Denied)
	if refusal.Kind != string(session.Denied) {
		t.Errorf("a stranger hears %q: %q", refusal.Kind, refusal.Text)
	}
}

func TestWrongContext(t *testing.T) {
	sigA, sigB := pipe(nil)
	bob := newDevice(t)
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := Accept(ctx, Config{Identity: bob, Context: []byte("one")}, anyone, sigB)
		wantKind(t, "answerer", err, session.Integrity)
	})
	_, err := Dial(ctx, Config{Identity: newDevice(t), Context: []byte("two")}, bob.ID(), sigA)
	wantKind(t, "offerer", err, session.Timeout)
	wg.Wait()
}
