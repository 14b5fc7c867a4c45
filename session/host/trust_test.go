package host

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tandem/session"
	"tandem/session/grant"
	"tandem/session/identity"
	"tandem/session/link"
	"tandem/session/pairing"
)

// Mallory runs the town. Whatever she does to its letters, nothing reaches a
// service but what an honest peer sent to it.

// hurried is for runs that are meant to fail.
var hurried = hasty(patience{
	setup: time.Second, resend: 100 * time.Millisecond, answer: 500 * time.Millisecond,
	proof: 300 * time.Millisecond, absence: time.Second, linger: 100 * time.Millisecond,
})

// untouched wants that no offer reached any of the residents' services.
func untouched(t *testing.T, residents ...*resident) {
	t.Helper()
	for _, r := range residents {
		if n := r.service.count(); n != 0 {
			t.Errorf("%d requests were delivered to %s", n, r.device.Name())
		}
		if live := r.Live(); len(live) != 0 {
			t.Errorf("%s has a session with %v", r.device.Name(), live[0].Peer())
		}
	}
}

func TestTrustHostSubstitutedWithoutTheCode(t *testing.T) {
	for _, form := range []string{"code", "link"} {
		t.Run(form, func(t *testing.T) {
			w := newTown()
			alice, bob, mallory := settleIn(t, w, "alice", hurried), settleIn(t, w, "bob", hurried), settleIn(t, w, "mallory", hurried)
			invite := alice.invite()
			fake := mallory.invite() // under the same number: everything goes to her now
			ticket := invite.Code()
			if form == "link" {
				var err error
				if ticket, err = invite.Link("https://town.example"); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := bob.join(ticket); session.KindOf(err) != session.Integrity {
				t.Errorf("bob hears %v", err)
			}
			// She tries her words on Alice at the same time.
			w.plate("4821", alice.box.name)
			if _, err := mallory.join(fake.Code()); session.KindOf(err) != session.Integrity && session.KindOf(err) != session.Exists {
				t.Errorf("mallory hears %v", err)
			}
			untouched(t, alice, bob, mallory)
		})
	}
}

// Every letter of an exchange is changed in turn, at several places.
func TestTrustLettersChanged(t *testing.T) {
	for nth := 1; nth <= 8; nth++ {
		for _, place := range []float64{0.01, 0.1, 0.5, 0.99} {
			t.Run(fmt.Sprintf("%d at %v", nth, place), func(t *testing.T) {
				t.Parallel()
				w := newTown()
				alice, bob := settleIn(t, w, "alice", hurried), settleIn(t, w, "bob", hurried)
				invite := alice.invite()
				n := 0
				w.carry(func(l letterOnItsWay) []letterOnItsWay {
					if n++; n == nth {
						l.Body[int(place*float64(len(l.Body)))] ^= 0x20
					}
					return []letterOnItsWay{l}
				})
				// A host says nothing more to a guest whose m3 was spoilt.
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				joined, err := bob.joinWithin(ctx, invite.Code())
				if err != nil {
					if n := alice.service.count(); n != 0 {
						t.Error("a request was delivered: ", n)
					}
					return
				}
				if joined.Session.Peer().ID != alice.device.ID() {
					t.Error("reached ", joined.Session.Peer())
				}
				echo(t, joined.Session)
			})
		}
	}
}

// Everything that was ever said is said again, to everybody.
func TestTrustReplay(t *testing.T) {
	w := newTown()
	var begun atomic.Int32
	counted := func(c *Config) { c.Sessions = func(session.Session) { begun.Add(1) } }
	alice, bob, carol := settleIn(t, w, "alice", counted, hurried), settleIn(t, w, "bob", counted, hurried), settleIn(t, w, "carol")
	var failed atomic.Int32
	invite := alice.invite(func(c *InviteConfig) {
		c.Options = pairing.Options{Uses: 2, Attempts: 2}
		c.Failed = func(int) { failed.Add(1) }
	})
	joined := bob.mustJoin(invite.Code())
	_ = joined.Session.Close()
	eventually(t, "both are idle", func() bool { return alice.empty() && bob.empty() })
	s, err := bob.Dial(context.Background(), alice.device.ID())
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	eventually(t, "both are idle", func() bool { return alice.empty() && bob.empty() })
	eventually(t, "four sessions were reported", func() bool { return begun.Load() == 4 })

	recorded := w.letters()
	played := len(recorded)
	for range 2 {
		for _, l := range recorded {
			for _, to := range []string{l.To, l.From} { // to its sender, too
				if err := w.inject(context.Background(), letterOnItsWay{l.From, to, l.Body}); err != nil {
					t.Fatal(err)
				}
			}
		}
		slices.Reverse(recorded)
	}
	// There is an attempt left for her, who comes after all that.
	echo(t, carol.mustJoin(invite.Code()).Session)
	if n := begun.Load(); n != 5 {
		t.Errorf("%d sessions began by themselves", n-5)
	}
	for _, l := range w.letters()[played:] {
		if l.Body[0] == letterSealed { // a guest's letters may be answered as before
			t.Error("an offer is answered twice")
		}
	}
	untouched(t, bob)
	if n := alice.service.count(); n != 1 {
		t.Errorf("%d requests were delivered", n)
	}
	if failed.Load() != 0 {
		t.Error("a replayed letter counted as an attempt")
	}
}

// introduced makes alice and bob know each other, with no session left.
func introduced(t *testing.T, w *town, options ...option) (alice, bob *resident) {
	t.Helper()
	alice, bob = settleIn(t, w, "alice", options...), settleIn(t, w, "bob", options...)
	joined := bob.mustJoin(alice.invite().Code())
	_ = joined.Session.Close()
	eventually(t, "both are idle", func() bool { return alice.empty() && bob.empty() })
	if _, err := bob.grants.Give(alice.device.ID(), []grant.Right{right}, 0); err != nil {
		t.Fatal(err)
	}
	return alice, bob
}

// impatient makes residents who do nothing at the moment give up soon: what they
// do next is meant to fail.
func impatient(residents ...*resident) {
	for _, r := range residents {
		r.cfg.patience.setup = 300 * time.Millisecond
	}
}

// The worst case: the town has the keys that letters are sealed with, and
// changes what is inside. What links sign still protects them.
func TestTrustSealsBroken(t *testing.T) {
	type envelope = map[string]any
	other := func(field string) func(t *testing.T, e, another envelope) {
		return func(_ *testing.T, e, another envelope) { e[field] = another[field] }
	}
	flip := func(field string) func(t *testing.T, e, another envelope) {
		return func(_ *testing.T, e, _ envelope) {
			s, ok := e[field].(string)
			if !ok {
				return
			}
			at := len(s) / 2
			for s[at] == '\r' || s[at] == '\n' {
				at++
			}
			c := byte('A')
			if s[at] == c {
				c = 'B'
			}
			e[field] = s[:at] + string(c) + s[at+1:]
		}
	}
	fingerprint := func(t *testing.T, e, _ envelope) {
		sdp := e["sdp"].(string)
		const name = "a=fingerprint:sha-256 "
		at := strings.Index(sdp, name)
		if at < 0 {
			t.Error("no fingerprint in ", sdp)
			return
		}
		at += len(name)
		forged := strings.Repeat("AB:", 31) + "AB"
		e["sdp"] = sdp[:at] + forged + sdp[at+len(forged):]
	}
	changes := []struct {
		name, kind string
		change     func(t *testing.T, e, another envelope)
	}{
		{"offer's fingerprint", "offer", fingerprint},
		{"offer's SDP", "offer", other("sdp")},
		{"offer's nonce", "offer", flip("nonce")},
		{"offer's sender", "offer", other("from")},
		{"offer's receiver", "offer", other("to")},
		{"offer's expiry", "offer", func(_ *testing.T, e, _ envelope) { e["expires"] = e["expires"].(float64) + 30 }},
		{"offer's signature", "offer", other("sig")},
		{"whole offer", "offer", func(_ *testing.T, e, another envelope) {
			for k, v := range another {
				e[k] = v
			}
		}},
		{"answer's fingerprint", "answer", fingerprint},
		{"answer's SDP", "answer", flip("sdp")},
		{"answer's nonce", "answer", flip("nonce")},
		{"answer's signature", "answer", flip("sig")},
		{"answer to another offer", "answer", func(_ *testing.T, e, another envelope) {
			e["sdp"], e["sig"], e["nonce"] = another["sdp"], another["sig"], another["nonce"]
		}},
	}
	// Another pair's envelopes, for swapping in.
	recorded := recordEnvelopes(t)
	for _, c := range changes {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newTown()
			alice, bob := introduced(t, w, hurried)
			impatient(alice, bob)
			changed := 0
			w.carry(unsealing(t, []*resident{alice, bob}, func(e envelope) envelope {
				if e["t"] == c.kind {
					c.change(t, e, recorded[c.kind])
					changed++
				}
				return e
			}))
			s, err := bob.Dial(context.Background(), alice.device.ID())
			if err == nil {
				t.Errorf("bob has a session with %v", s.Peer())
			}
			if changed == 0 {
				t.Error("nothing was changed")
			}
			eventually(t, "both give up", func() bool { return alice.empty() && bob.empty() })
			untouched(t, alice, bob)
		})
	}
	t.Run("nothing", func(t *testing.T) { // the harness itself does no harm
		w := newTown()
		alice, bob := introduced(t, w)
		w.carry(unsealing(t, []*resident{alice, bob}, func(e envelope) envelope { return e }))
		s, err := bob.Dial(context.Background(), alice.device.ID())
		if err != nil {
			t.Fatal(err)
		}
		echo(t, s)
	})
}

// unsealing carries sealed letters with their envelopes changed.
func unsealing(t *testing.T, residents []*resident, change func(map[string]any) map[string]any) func(letterOnItsWay) []letterOnItsWay {
	return func(l letterOnItsWay) []letterOnItsWay {
		for _, r := range residents {
			if l.Body[0] != letterSealed || l.To != r.box.name {
				continue
			}
			sealed, _, err := decodeSealed(r.device, l.Body)
			if err != nil {
				t.Error(err)
				return nil
			}
			var e map[string]any
			if err := json.Unmarshal(sealed.Body, &e); err != nil {
				t.Error(err)
				return nil
			}
			if sealed.Body, err = json.Marshal(change(e)); err != nil {
				t.Error(err)
				return nil
			}
			if l.Body, err = encodeSealed(r.cfg.Contact(), sealed); err != nil {
				t.Error(err)
				return nil
			}
		}
		return []letterOnItsWay{l}
	}
}

// recordEnvelopes are the offer and the answer of a meeting of two others.
func recordEnvelopes(t *testing.T) map[string]map[string]any {
	t.Helper()
	w := newTown()
	alice, bob := introduced(t, w)
	recorded := make(map[string]map[string]any)
	w.carry(unsealing(t, []*resident{alice, bob}, func(e map[string]any) map[string]any {
		recorded[e["t"].(string)] = e
		return e
	}))
	if _, err := bob.Dial(context.Background(), alice.device.ID()); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return recorded
}

// Mailboxes are swapped, and whoever gets another's letters is a host that both
// know.
func TestTrustMailboxesSwapped(t *testing.T) {
	w := newTown()
	alice, bob := introduced(t, w, hurried)
	mallory := settleIn(t, w, "mallory", hurried)
	impatient(alice, bob, mallory)
	for _, r := range []*resident{alice, bob} {
		if _, err := r.book.Add(identity.Entry{ID: mallory.device.ID(), Name: "mallory", Contact: mallory.cfg.Contact()}); err != nil {
			t.Fatal(err)
		}
		if _, err := mallory.book.Add(identity.Entry{ID: r.device.ID(), Contact: r.cfg.Contact()}); err != nil {
			t.Fatal(err)
		}
	}
	w.carry(func(l letterOnItsWay) []letterOnItsWay {
		switch l.To {
		case alice.box.name:
			l.To = mallory.box.name
		case mallory.box.name:
			l.To = alice.box.name
		}
		return []letterOnItsWay{l}
	})
	for _, peer := range []*resident{alice, mallory} {
		if s, err := bob.Dial(context.Background(), peer.device.ID()); err == nil {
			t.Errorf("dialling %s reaches %v", peer.device.Name(), s.Peer())
		}
	}
	untouched(t, alice, bob, mallory)
}

// impostor signs with a key of its own what it says in another's name.
type impostor struct {
	id  session.PeerID
	key ed25519.PrivateKey
}

func (i impostor) ID() session.PeerID { return i.id }

func (i impostor) Sign(message []byte) []byte { return ed25519.Sign(i.key, message) }

// Somebody who can read Bob's letters and write in his name, but does not have
// his key, dials Alice; and dials her in a third one's name over a conversation
// that Bob is to have begun.
func TestTrustImpostor(t *testing.T) {
	w := newTown()
	alice, bob := introduced(t, w, hurried)
	mallory := settleIn(t, w, "mallory")
	if _, err := alice.book.Add(identity.Entry{ID: mallory.device.ID(), Name: "mallory", Contact: mallory.cfg.Contact()}); err != nil {
		t.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for what, identity := range map[string]link.Identity{
		"with another key":       impostor{bob.device.ID(), key},
		"in her own name inside": mallory.device,
	} {
		t.Run(what, func(t *testing.T) {
			box := w.open("bob-as-mallory-has-it")
			defer box.leave()
			id := newConvID()
			c := newConversation()
			c.send = func(ctx context.Context, envelope []byte) error {
				b, err := encodeSealed(alice.cfg.Contact(), sealedLetter{Conv: id[:], From: bob.device.ID(), New: true, Body: envelope})
				if err != nil {
					return err
				}
				return box.Send(ctx, "", alice.box.name, b)
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			var reading sync.WaitGroup
			reading.Go(func() {
				for {
					l, err := box.Receive(ctx)
					if err != nil {
						return
					}
					if sealed, _, err := decodeSealed(bob.device, l.Body); err == nil {
						c.deliver(l.From, sealed.Body)
					}
				}
			})
			l, err := link.Dial(ctx, link.Config{Identity: identity}, alice.device.ID(), c)
			if err == nil {
				t.Error("alice takes her for bob")
				_ = l.Close()
			}
			cancel()
			reading.Wait()
			untouched(t, alice)
		})
	}
	eventually(t, "alice keeps nothing", alice.empty)
}

// A stranger who knows how to seal for Alice gets no answer.
func TestTrustStranger(t *testing.T) {
	w := newTown()
	alice, mallory := settleIn(t, w, "alice", hurried), settleIn(t, w, "mallory", hurried)
	if _, err := mallory.book.Add(identity.Entry{ID: alice.device.ID(), Name: "alice", Contact: alice.cfg.Contact()}); err != nil {
		t.Fatal(err)
	}
	impatient(alice, mallory)
	before := len(w.letters())
	if _, err := mallory.Dial(context.Background(), alice.device.ID()); session.KindOf(err) != session.Timeout {
		t.Errorf("a stranger hears %v", err)
	}
	for _, l := range w.letters()[before:] {
		if l.From == alice.box.name {
			t.Error("alice answers a stranger")
		}
	}
	for _, s1 := range offers(t, mallory, alice.device.ID(), 5) {
		id := newConvID()
		b, err := encodeSealed(alice.cfg.Contact(), sealedLetter{Conv: id[:], From: mallory.device.ID(), New: true, Body: s1})
		if err != nil {
			t.Fatal(err)
		}
		alice.receive(Letter{From: mallory.box.name, Body: b}, nil)
	}
	alice.mu.Lock()
	if len(alice.conversations) != 0 {
		t.Errorf("alice has %d conversations with a stranger", len(alice.conversations))
	}
	alice.mu.Unlock()
	untouched(t, alice)
}

// The attempt is on the disk before the answer that makes it worth something
// leaves, and a code is dead after a restart.
func TestTrustAttemptsAreDurable(t *testing.T) {
	w := newTown()
	device, err := identity.New("alice")
	if err != nil {
		t.Fatal(err)
	}
	dir := home(t)
	alice, bob := moveIn(t, w, device, dir, "alice-mailbox", hurried), settleIn(t, w, "bob", hurried)
	invite := alice.invite(func(c *InviteConfig) { c.Options = pairing.Options{Uses: 5} })
	const typeM2 = 4 // package pairing's message type, its second byte
	seen := false
	w.carry(func(l letterOnItsWay) []letterOnItsWay {
		if l.From == alice.box.name && l.Body[0] == letterPairing && l.Body[2] == typeM2 {
			seen = true
			files, err := filepath.Glob(filepath.Join(dir, "invites", "*.invite"))
			if err != nil || len(files) != 1 {
				t.Errorf("%d files of invites, %v", len(files), err)
				return nil
			}
			if record, err := os.ReadFile(files[0]); err != nil || !bytes.Contains(record, []byte("\nattempt ")) {
				t.Errorf("m2 leaves before the attempt is written down: %q, %v", record, err)
			}
		}
		return []letterOnItsWay{l}
	})
	bob.mustJoin(invite.Code())
	if !seen {
		t.Error("no m2 was seen")
	}
	alice.stop()
	again := moveIn(t, w, device, dir, "alice-mailbox", hurried)
	if _, err := bob.join(invite.Code()); session.KindOf(err) != session.NotFound {
		t.Errorf("a code after a restart: %v", err)
	}
	if err := again.cfg.Ledger.SpendUse(invite.ID(), time.Now()); session.KindOf(err) != session.Denied {
		t.Errorf("the ledger would let somebody in: %v", err)
	}
}
