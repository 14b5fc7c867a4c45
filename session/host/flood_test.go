package host

import (
	"context"
	"runtime"
	"testing"
	"time"

	"tandem/session"
	"tandem/session/link"
	"tandem/session/pairing"
)

// A flood of letters of every kind leaves nothing behind, and somebody honest
// gets through.
func TestFlood(t *testing.T) {
	w := newTown()
	alice, bob, mallory := settleIn(t, w, "alice"), settleIn(t, w, "bob"), settleIn(t, w, "mallory")
	invite := alice.invite()
	sealed := func(from session.PeerID, n int) []byte {
		id := newConvID()
		b, err := encodeSealed(alice.cfg.Contact(), sealedLetter{Conv: id[:], From: from, New: n%2 == 0, Body: []byte("{}")})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ticket, err := pairing.Parse("4821-abandon-ability-able")
	if err != nil {
		t.Fatal(err)
	}
	knock := func() []byte {
		g, err := pairing.NewGuest(mallory.device, ticket)
		if err != nil {
			t.Fatal(err)
		}
		return encodePairing(g.Last())
	}
	large := make([]byte, MaxLetter+1)
	large[0] = letterSealed
	total := 100_000
	if testing.Short() {
		total = 10_000
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for n := range total {
		var body []byte
		switch n % 100 {
		case 0:
			body = sealed(mallory.device.ID(), n)
		case 1:
			body = knock()
		case 2:
			body = large
		case 3:
			body = nil
		default:
			body = append([]byte{byte(n)}, large[1:200]...)
			if n%2 == 0 {
				body[0] = letterPairing
			}
		}
		if err := w.inject(ctx, letterOnItsWay{mallory.box.name, alice.box.name, body}); err != nil {
			t.Fatal(err)
		}
	}
	echo(t, bob.mustJoin(invite.Code()).Session)
	alice.mu.Lock()
	if len(alice.guests) != 1 || len(alice.conversations) != 0 || len(alice.inbound) != 0 || len(alice.joins) != 0 {
		t.Errorf("kept: %d guests, %d conversations", len(alice.guests), len(alice.conversations))
	}
	alice.mu.Unlock()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 32<<20 {
		t.Errorf("%d bytes of heap are left", grown)
	}
}

// offers are S1s that really are bob's: each begins a conversation that lives
// until it is given up.
func offers(t *testing.T, bob *resident, to session.PeerID, n int) (envelopes [][]byte) {
	t.Helper()
	for range n {
		ctx, cancel := context.WithCancel(context.Background())
		c := newConversation()
		c.send = func(_ context.Context, envelope []byte) error {
			envelopes = append(envelopes, envelope)
			cancel()
			return nil
		}
		if _, err := link.Dial(ctx, link.Config{Identity: bob.device}, to, c); err == nil {
			t.Fatal("a link to nobody")
		}
		cancel()
	}
	return envelopes
}

// Somebody we know, or who claims to be, begins conversations without end.
func TestFloodOfConversations(t *testing.T) {
	w := newTown()
	alice, bob := settleIn(t, w, "alice"), settleIn(t, w, "bob")
	joined := bob.mustJoin(alice.invite().Code())
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	most := 0
	begin := func(body []byte) {
		t.Helper()
		id := newConvID()
		b, err := encodeSealed(alice.cfg.Contact(), sealedLetter{Conv: id[:], From: bob.device.ID(), New: true, Body: body})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.inject(ctx, letterOnItsWay{"mallory", alice.box.name, b}); err != nil {
			t.Fatal(err)
		}
		alice.mu.Lock()
		defer alice.mu.Unlock()
		most = max(most, alice.inbound[bob.device.ID()])
	}
	for range 2000 {
		begin([]byte("{}"))
	}
	for _, s1 := range offers(t, bob, alice.device.ID(), 2*maxPerPeer) {
		begin(s1)
	}
	eventually(t, "alice has read them all", func() bool {
		alice.mu.Lock()
		defer alice.mu.Unlock()
		most = max(most, alice.inbound[bob.device.ID()])
		return len(alice.box.letters) == 0
	})
	if most > maxPerPeer {
		t.Errorf("%d conversations of one peer", most)
	}
	echo(t, joined.Session)
}
