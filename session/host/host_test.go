package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tandem/session"
	"tandem/session/grant"
	"tandem/session/identity"
	"tandem/session/pairing"
)

// short makes waiting for what never comes quick.
var short = hasty(patience{
	setup: 3 * time.Second, post: time.Second, resend: 100 * time.Millisecond, answer: time.Second,
	proof: 500 * time.Millisecond, absence: 500 * time.Millisecond, linger: 300 * time.Millisecond, farewell: time.Second,
	recovery: 100 * time.Millisecond,
})

func TestInviteAndJoin(t *testing.T) {
	for _, form := range []string{"code", "link"} {
		t.Run(form, func(t *testing.T) {
			w := newTown()
			alice, bob := settleIn(t, w, "alice"), settleIn(t, w, "bob")
			invite := alice.invite()
			ticket := invite.Code()
			if form == "link" {
				var err error
				if ticket, err = invite.Link("https://town.example"); err != nil {
					t.Fatal(err)
				}
			}
			joined := bob.mustJoin(ticket)
			if joined.Session.Peer().ID != alice.device.ID() || joined.Entry.Alias != "alice" || len(joined.Rights) != 1 {
				t.Fatalf("joined %+v", joined)
			}
			_ = echo(t, joined.Session).Close()
			if entry, known, err := alice.book.Get(bob.device.ID()); err != nil || !known || entry.Name != "bob" {
				t.Fatalf("alice knows %+v, %v, %v", entry, known, err)
			}
			if err := joined.Session.Close(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "both forget the session", func() bool { return alice.empty() && bob.empty() })
		})
	}
}

func TestOwnInvite(t *testing.T) {
	w := newTown()
	alice := settleIn(t, w, "alice")
	second := moveIn(t, w, alice.device, home(t), "second")
	invite := alice.invite()
	ticket, err := pairing.Parse(invite.Code())
	if err != nil || !alice.Owns(ticket) || second.Owns(ticket) {
		t.Fatal("who owns the invite: ", err)
	}
	other, err := pairing.Parse("4821-abandon-ability-able")
	if err != nil || alice.Owns(other) {
		t.Fatal("another invite under the same number: ", err)
	}
	link, err := invite.Link("https://town.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, invite := range []string{invite.Code(), link} {
		if _, err := second.join(invite); session.KindOf(err) != session.Exists {
			t.Errorf("a second node of the same device: %v", err)
		}
	}
}

func TestWrongCode(t *testing.T) {
	w := newTown()
	alice, bob := settleIn(t, w, "alice", short), settleIn(t, w, "bob", short)
	failed := make(chan int, 8)
	invite := alice.invite(func(c *InviteConfig) { c.Failed = func(left int) { failed <- left } })
	wrong := "4821-abandon-ability-able"
	if _, err := bob.join(wrong); session.KindOf(err) != session.Integrity {
		t.Fatalf("a wrong code: %v", err)
	}
	if left := <-failed; left != 2 {
		t.Fatalf("%d attempts are left, not 2", left)
	}
	if _, known, _ := alice.book.Get(bob.device.ID()); known {
		t.Error("alice knows somebody with a wrong code")
	}
	bob.mustJoin(invite.Code())
}

func TestAttemptsRunOut(t *testing.T) {
	w := newTown()
	alice, bob := settleIn(t, w, "alice", short), settleIn(t, w, "bob", short)
	spent := make(chan error, 8)
	invite := alice.invite(func(c *InviteConfig) { c.Spent = func(why error) { spent <- why } })
	for range 3 {
		if _, err := bob.join("4821-abandon-ability-able"); session.KindOf(err) != session.Integrity {
			t.Fatalf("a wrong code: %v", err)
		}
	}
	if why := <-spent; session.KindOf(why) != session.Denied {
		t.Errorf("spent: %v", why)
	}
	if _, err := bob.join(invite.Code()); session.KindOf(err) != session.Denied {
		t.Errorf("the right code after three wrong ones: %v", err)
	}
}

func TestRefusal(t *testing.T) {
	w := newTown()
	alice, bob := settleIn(t, w, "alice"), settleIn(t, w, "bob")
	invite := alice.invite(func(c *InviteConfig) {
		c.Admit = func(context.Context, session.Peer) ([]grant.Right, error) {
			return nil, session.Errorf("approve", session.Denied, "the person said no")
		}
	})
	_, err := bob.join(invite.Code())
	var e *session.Error
	if !errors.As(err, &e) || e.Kind != session.Denied || e.Text != "the person said no" {
		t.Fatalf("a refusal: %#v", err)
	}
	if _, known, _ := alice.book.Get(bob.device.ID()); known {
		t.Error("alice keeps somebody she refused")
	}
	eventually(t, "nothing is kept", func() bool { return alice.empty() && bob.empty() })
}

// A first S1 that has become stale while a person thought is not answered: the
// guest begins another round.
func TestSlowApproval(t *testing.T) {
	w := newTown()
	slow := func(c *Config) { c.patience.fresh = time.Nanosecond }
	alice, bob := settleIn(t, w, "alice", slow), settleIn(t, w, "bob")
	thought := make(chan struct{})
	invite := alice.invite(func(c *InviteConfig) {
		admit := c.Admit
		c.Admit = func(ctx context.Context, p session.Peer) ([]grant.Right, error) {
			<-thought
			return admit(ctx, p)
		}
	})
	before := len(w.letters())
	go func() {
		for len(w.letters()) < before+6 { // knock, hello, m1, m2, m3, S1
			time.Sleep(time.Millisecond)
		}
		close(thought)
	}()
	joined := bob.mustJoin(invite.Code())
	echo(t, joined.Session)
	eventually(t, "a session that came about in round 2", func() bool {
		alice.mu.Lock()
		defer alice.mu.Unlock()
		for _, g := range alice.guests {
			if g.round != 2 || !g.settled {
				return false
			}
		}
		return true
	})
}

func TestHundredJoinsOfOneUse(t *testing.T) {
	w := newTown()
	alice := settleIn(t, w, "alice")
	spent := make(chan error, 8)
	invite := alice.invite(func(c *InviteConfig) {
		c.Options = pairing.Options{Uses: 1, Attempts: 200}
		c.Spent = func(why error) { spent <- why }
	})
	const guests = 100
	quick := hasty(patience{resend: 200 * time.Millisecond, answer: 20 * time.Second})
	results := make(chan error, guests)
	for range guests {
		g := settleIn(t, w, "guest", quick)
		w.mu.Lock() // each has a mailbox of its own
		delete(w.boxes, g.box.name)
		g.box.name = g.device.ID().String()
		w.boxes[g.box.name] = g.box
		w.mu.Unlock()
		go func() {
			_, err := g.join(invite.Code())
			results <- err
		}()
	}
	in := 0
	for range guests {
		switch err := <-results; session.KindOf(err) {
		case session.Denied:
		default:
			if err != nil {
				t.Errorf("a join failed with %v", err)
				continue
			}
			in++
		}
	}
	if in != 1 {
		t.Fatalf("%d of %d came in with one use", in, guests)
	}
	if why := <-spent; session.KindOf(why) != session.Denied {
		t.Errorf("spent: %v", why)
	}
}

func TestInviteExpires(t *testing.T) {
	w := newTown()
	alice, bob := settleIn(t, w, "alice"), settleIn(t, w, "bob")
	spent := make(chan error, 8)
	invite := alice.invite(func(c *InviteConfig) {
		c.Options.Lifetime = 50 * time.Millisecond
		c.Spent = func(why error) { spent <- why }
	})
	if why := <-spent; session.KindOf(why) != session.Expired {
		t.Errorf("spent: %v", why)
	}
	<-invite.Done()
	switch _, err := bob.join(invite.Code()); session.KindOf(err) {
	case session.Expired, session.NotFound: // it may already be forgotten
	default:
		t.Errorf("an expired code: %v", err)
	}
}

// Somebody who came in time is let in after the invite's time.
func TestInviteExpiresWhileAPersonThinks(t *testing.T) {
	w := newTown()
	alice, bob := settleIn(t, w, "alice"), settleIn(t, w, "bob")
	spent := make(chan error, 8)
	invite := alice.invite(func(c *InviteConfig) {
		c.Options = pairing.Options{Lifetime: 300 * time.Millisecond, Uses: 2}
		c.Spent = func(why error) { spent <- why }
		admit := c.Admit
		c.Admit = func(ctx context.Context, p session.Peer) ([]grant.Right, error) {
			if why := <-spent; session.KindOf(why) != session.Expired {
				t.Errorf("spent: %v", why)
			}
			return admit(ctx, p)
		}
	})
	echo(t, bob.mustJoin(invite.Code()).Session)
	<-invite.Done()
}

func TestSpentInviteRefuses(t *testing.T) {
	w := newTown()
	alice, bob, carol := settleIn(t, w, "alice"), settleIn(t, w, "bob"), settleIn(t, w, "carol")
	spent := make(chan error, 8)
	invite := alice.invite(func(c *InviteConfig) { c.Spent = func(why error) { spent <- why } })
	bob.mustJoin(invite.Code())
	if why := <-spent; session.KindOf(why) != session.Denied {
		t.Errorf("spent: %v", why)
	}
	if _, err := carol.join(invite.Code()); session.KindOf(err) != session.Denied {
		t.Errorf("a second guest: %v", err)
	}
	if err := invite.Close(); err != nil {
		t.Fatal(err)
	}
	<-invite.Done()
}

// A host that can't write down whom it lets in lets nobody in, and both sides
// hear why.
func TestBookCannotBeWritten(t *testing.T) {
	w := newTown()
	device, err := identity.New("alice")
	if err != nil {
		t.Fatal(err)
	}
	at := home(t)
	alice, bob := moveIn(t, w, device, at, "alice-mailbox"), settleIn(t, w, "bob")
	missed := make(chan error, 1)
	invite := alice.invite(func(c *InviteConfig) { c.Missed = func(_ session.Peer, err error) { missed <- err } })
	peers := filepath.Join(at, "peers")
	if err := errors.Join(os.RemoveAll(peers), os.MkdirAll(filepath.Join(peers, "in the way"), 0o700)); err != nil {
		t.Fatal(err)
	}
	_, err = bob.join(invite.Code())
	for who, err := range map[string]error{"bob": err, "alice": <-missed} {
		if _, why := session.Public(err); why != "the host can't write down whom it lets in" {
			t.Errorf("%s hears %v", who, err)
		}
	}
}
