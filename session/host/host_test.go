package host

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"tandem/session"
	"tandem/session/grant"
	"tandem/session/identity"
	"tandem/session/link"
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
	alice.mu.Lock()
	defer alice.mu.Unlock()
	for _, g := range alice.guests {
		if g.round != 2 || !g.settled {
			t.Errorf("the session came about in round %d", g.round)
		}
	}
}

// What overtakes a guest's S1 does not end its round.
func TestOvertakenOffer(t *testing.T) {
	w := newTown()
	alice, bob := settleIn(t, w, "alice"), settleIn(t, w, "bob")
	ours, theirs := newConversation(), newConversation()
	ours.send = func(_ context.Context, b []byte) error { theirs.deliver("alice", b); return nil }
	theirs.send = func(_ context.Context, b []byte) error { ours.deliver("bob", b); return nil }
	ours.deliver("bob", []byte(`{"v":1,"t":"candidates","cand":[]}`))
	ours.deliver("bob", []byte(`no envelope`))
	g := &guest{meeting: &pairing.Meeting{Peer: bob.device.ID(), Context: []byte("an exchange")}}
	accepted := make(chan error, 1)
	go func() {
		l, err := alice.acceptRound(g, ours)
		if err == nil {
			alice.keep(l, "")
		}
		accepted <- err
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	l, err := link.Dial(ctx, link.Config{Identity: bob.device, Context: g.meeting.Context}, alice.device.ID(), theirs)
	if err != nil {
		t.Error("dial: ", err)
		ours.close()
	} else {
		defer func() { _ = l.Close() }()
	}
	if err := <-accepted; err != nil {
		t.Error("accept: ", err)
	}
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

// Whoever vanishes without a word, at whichever step, leaves nothing behind,
// and the other side hears of it.
func TestVanishing(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for absences")
	}
	for _, who := range []string{"guest", "host"} {
		for step := 1; step <= 6; step++ {
			t.Run(who+string(rune('0'+step)), func(t *testing.T) {
				t.Parallel()
				w := newTown()
				soonOver := func(c *Config) { c.patience.setup = 500 * time.Millisecond }
				alice, bob := settleIn(t, w, "alice", short, soonOver), settleIn(t, w, "bob", short, soonOver)
				invite := alice.invite(func(c *InviteConfig) {
					c.Options = pairing.Options{Uses: 5}
					c.Admit = func(ctx context.Context, p session.Peer) ([]grant.Right, error) {
						select { // a person needs longer than any letter
						case <-time.After(20 * time.Millisecond):
						case <-ctx.Done():
							return nil, ctx.Err()
						}
						_, err := alice.grants.Give(p.ID, []grant.Right{right}, 0)
						return []grant.Right{right}, err
					}
				})
				vanishing := bob
				if who == "host" {
					vanishing = alice
				}
				sent := 0
				gone := make(chan struct{})
				w.carry(func(l letterOnItsWay) []letterOnItsWay {
					if l.From == vanishing.box.name {
						if sent++; sent == step {
							delete(w.boxes, vanishing.box.name)
							close(gone)
						}
						if sent > step {
							return nil
						}
					}
					return []letterOnItsWay{l}
				})
				ctx, cancel := context.WithTimeout(context.Background(), soon)
				defer cancel()
				joined := make(chan error, 1)
				go func() {
					_, err := bob.joinWithin(ctx, invite.Code())
					joined <- err
				}()
				select {
				case <-gone:
				case err := <-joined: // it was over before that step
					t.Logf("in after %d letters: %v", sent, err)
					return
				}
				if who == "guest" {
					cancel()
					<-joined
					eventually(t, "alice keeps nothing", alice.empty)
					return
				}
				switch err := <-joined; session.KindOf(err) {
				case session.Timeout, session.Unavailable:
				default:
					if err == nil { // the link needed no more letters
						break
					}
					t.Errorf("bob hears %v", err)
				}
			})
		}
	}
}

// Letters that are lost, come twice or overtake each other cost time only.
func TestUnreliableTown(t *testing.T) {
	for seed := range 8 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			w := newTown()
			quick := hasty(patience{resend: 100 * time.Millisecond})
			alice, bob := settleIn(t, w, "alice", quick), settleIn(t, w, "bob", quick)
			invite := alice.invite()
			n, held := seed, []letterOnItsWay(nil)
			w.carry(func(l letterOnItsWay) []letterOnItsWay {
				n = n*1103515245 + 12345 // a fixed series for each seed
				switch (n >> 16) & 7 {
				case 0, 1:
					return nil
				case 2:
					return []letterOnItsWay{l, l}
				case 3, 4:
					held = append(held, l)
					return nil
				}
				out := append([]letterOnItsWay{l}, held...)
				held = nil
				return out
			})
			echo(t, bob.mustJoin(invite.Code()).Session)
		})
	}
}

func TestDialKnownPeer(t *testing.T) {
	w := newTown()
	alice, bob := settleIn(t, w, "alice"), settleIn(t, w, "bob")
	joined := bob.mustJoin(alice.invite().Code())
	if s, err := bob.Dial(context.Background(), alice.device.ID()); err != nil || s != joined.Session {
		t.Fatalf("Dial = %v, %v, not the session there is", s, err)
	}
	_ = joined.Session.Close()
	eventually(t, "both are idle", func() bool { return alice.empty() && bob.empty() })

	// All who dial at once share one session.
	sessions := make(chan session.Session, 5)
	for range cap(sessions) {
		go func() {
			s, err := bob.Dial(context.Background(), alice.device.ID())
			if err != nil {
				t.Error("dial: ", err)
			}
			sessions <- s
		}()
	}
	first := <-sessions
	for range cap(sessions) - 1 {
		if s := <-sessions; s != first {
			t.Error("two sessions were made")
		}
	}
	if first != nil {
		echo(t, first)
	}

	stranger := settleIn(t, w, "stranger")
	if _, err := bob.Dial(context.Background(), stranger.device.ID()); session.KindOf(err) != session.NotFound {
		t.Errorf("dialling a stranger: %v", err)
	}
}

func TestDialSomebodyWhoIsAway(t *testing.T) {
	w := newTown()
	alice, bob := settleIn(t, w, "alice"), settleIn(t, w, "bob")
	joined := bob.mustJoin(alice.invite().Code())
	_ = joined.Session.Close()
	eventually(t, "bob is idle", bob.empty)
	alice.stop()
	if _, err := bob.Dial(context.Background(), alice.device.ID()); session.KindOf(err) != session.Unavailable {
		t.Fatalf("dialling somebody away: %v", err)
	}
	eventually(t, "bob keeps nothing", bob.empty)
}

// Two who dial each other at the same time may have two sessions; both work.
func TestGlare(t *testing.T) {
	w := newTown()
	alice, bob := settleIn(t, w, "alice"), settleIn(t, w, "bob")
	joined := bob.mustJoin(alice.invite().Code())
	if _, err := bob.grants.Give(alice.device.ID(), []grant.Right{right}, 0); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_ = joined.Session.Close()
		eventually(t, "both are idle", func() bool { return alice.empty() && bob.empty() })
		var both sync.WaitGroup
		sessions := make([]session.Session, 2)
		for n, d := range []struct{ from, to *resident }{{alice, bob}, {bob, alice}} {
			both.Go(func() {
				s, err := d.from.Dial(context.Background(), d.to.device.ID())
				if err != nil {
					t.Error("dial: ", err)
					return
				}
				echo(t, s)
				sessions[n] = s
			})
		}
		both.Wait()
		for _, s := range sessions {
			if s != nil {
				_ = s.Close()
			}
		}
	}
}

// lost is a session whose path is gone, and perhaps its peer.
type lost struct {
	session.Session // nil: nobody may use it
	peer            session.Peer
	done            chan struct{}

	mu   sync.Mutex
	kind session.PathKind
}

func (l *lost) Peer() session.Peer    { return l.peer }
func (l *lost) Done() <-chan struct{} { return l.done }
func (l *lost) Rebind()               {}
func (l *lost) Close() error          { return nil }
func (l *lost) Path() session.Path {
	l.mu.Lock()
	defer l.mu.Unlock()
	return session.Path{Kind: l.kind}
}

func TestSessionWithoutPathGivesWay(t *testing.T) {
	w := newTown()
	alice, bob := settleIn(t, w, "alice"), settleIn(t, w, "bob")
	joined := bob.mustJoin(alice.invite().Code())
	_ = joined.Session.Close()
	eventually(t, "bob is idle", bob.empty)

	dark := &lost{peer: session.Peer{ID: alice.device.ID()}, done: make(chan struct{}), kind: session.NoPath}
	bob.keep(dark, "")
	defer close(dark.done)
	s, err := bob.Dial(context.Background(), alice.device.ID())
	if err != nil {
		t.Fatal(err)
	}
	if s == session.Session(dark) {
		t.Fatal("Dial hands out a session without a path")
	}
	echo(t, s)
	if bob.Session(alice.device.ID()) != s || len(bob.Live()) != 1 || bob.Live()[0] != s {
		t.Error("the session that works is not preferred")
	}
}

func TestSessionThatFindsItsPathAgain(t *testing.T) {
	w := newTown()
	alice, bob := settleIn(t, w, "alice"), settleIn(t, w, "bob", short)
	joined := bob.mustJoin(alice.invite().Code())
	_ = joined.Session.Close()
	eventually(t, "bob is idle", bob.empty)

	dark := &lost{peer: session.Peer{ID: alice.device.ID()}, done: make(chan struct{}), kind: session.NoPath}
	bob.keep(dark, "")
	defer close(dark.done)
	w.mu.Lock()
	w.down = true
	w.mu.Unlock()
	dialled := make(chan session.Session, 1)
	go func() {
		s, err := bob.Dial(context.Background(), alice.device.ID())
		if err != nil {
			t.Error("dial: ", err)
		}
		dialled <- s
	}()
	eventually(t, "another one is being made", func() bool {
		bob.mu.Lock()
		defer bob.mu.Unlock()
		return len(bob.dials) > 0
	})
	dark.mu.Lock()
	dark.kind = session.Direct
	dark.mu.Unlock()
	if s := <-dialled; s != session.Session(dark) {
		t.Errorf("Dial = %v, not the session that has a path again", s)
	}
}

// A share may be a second node of its device, which has a mailbox of its own
// and other grants than the first.
func TestDialFindsTheNodeThatWasMet(t *testing.T) {
	w := newTown()
	alice, bob := settleIn(t, w, "alice"), settleIn(t, w, "bob")
	dir := home(t)
	second := moveIn(t, w, alice.device, dir, "random", func(c *Config) {
		c.Contact = func() identity.Contact { return alice.device.Contact(alice.box.name, nil) }
	})
	joined := bob.mustJoin(second.invite().Code())
	_ = joined.Session.Close()
	eventually(t, "bob is idle", bob.empty)
	s, err := bob.Dial(context.Background(), alice.device.ID())
	if err != nil {
		t.Fatal(err)
	}
	echo(t, s)
	if second.service.count() != 1 || alice.service.count() != 0 {
		t.Error("another node answered than the one that was met")
	}
	_ = s.Close()
	eventually(t, "bob is idle", bob.empty)

	// When it has ended, the one in the book is there.
	second.stop()
	if _, err := alice.book.Add(identity.Entry{ID: bob.device.ID(), Contact: bob.cfg.Contact()}); err != nil {
		t.Fatal(err)
	}
	if s, err = bob.Dial(context.Background(), alice.device.ID()); err != nil {
		t.Fatal(err)
	}
	if s.Peer().ID != alice.device.ID() {
		t.Error("reached ", s.Peer())
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

// waiting is an invite whose guest waits for approval that never comes; asked
// is closed once it does, and decided is why that ended.
func (r *resident) waiting() (invite *Invite, asked chan struct{}, decided chan error) {
	asked, decided = make(chan struct{}), make(chan error, 1)
	return r.invite(func(c *InviteConfig) {
		c.Admit = func(ctx context.Context, _ session.Peer) ([]grant.Right, error) {
			close(asked)
			<-ctx.Done()
			decided <- context.Cause(ctx)
			return nil, ctx.Err()
		}
	}), asked, decided
}

func TestCloseRefusesThoseWhoWait(t *testing.T) {
	for what, end := range map[string]func(*resident, *Invite){
		"the host":   func(r *resident, _ *Invite) { r.stopPolitely() },
		"the invite": func(_ *resident, i *Invite) { _ = i.Close() },
	} {
		t.Run(what, func(t *testing.T) {
			w := newTown()
			alice, bob := settleIn(t, w, "alice"), settleIn(t, w, "bob")
			invite, asked, _ := alice.waiting()
			joined := make(chan error, 1)
			go func() {
				_, err := bob.join(invite.Code())
				joined <- err
			}()
			<-asked
			end(alice, invite)
			if err := <-joined; session.KindOf(err) != session.Canceled {
				t.Errorf("bob hears %v", err)
			}
		})
	}
}

func TestGuestLeavesWhileAPersonThinks(t *testing.T) {
	for _, how := range []string{"saying so", "in silence"} {
		t.Run(how, func(t *testing.T) {
			w := newTown()
			alice, bob := settleIn(t, w, "alice", short), settleIn(t, w, "bob")
			invite, asked, decided := alice.waiting()
			ctx, cancel := context.WithCancel(context.Background())
			joined := make(chan error, 1)
			go func() {
				_, err := bob.joinWithin(ctx, invite.Code())
				joined <- err
			}()
			<-asked
			if how == "in silence" {
				w.carry(func(letterOnItsWay) []letterOnItsWay { return nil })
			}
			cancel()
			<-joined
			why := <-decided
			if want := map[string]string{"saying so": "the guest has left", "in silence": "nothing was heard from the guest for 1s"}; why.(*session.Error).Text != want[how] {
				t.Errorf("the prompt ends because %v", why)
			}
			eventually(t, "alice keeps nothing", alice.empty)
		})
	}
}

// A guest who was let in and does not connect is missed.
func TestGuestDoesNotConnect(t *testing.T) {
	w := newTown()
	soonOver := func(c *Config) { c.patience.setup = 500 * time.Millisecond }
	alice, bob := settleIn(t, w, "alice", short, soonOver), settleIn(t, w, "bob", short, soonOver)
	missed := make(chan session.Peer, 1)
	invite := alice.invite(func(c *InviteConfig) {
		c.Missed = func(p session.Peer, err error) {
			if err == nil {
				t.Error("missed for no reason")
			}
			missed <- p
		}
		admit := c.Admit
		c.Admit = func(ctx context.Context, p session.Peer) ([]grant.Right, error) {
			w.carry(func(letterOnItsWay) []letterOnItsWay { return nil })
			return admit(ctx, p)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	go func() { _, _ = bob.joinWithin(ctx, invite.Code()) }()
	if p := <-missed; p.ID != bob.device.ID() {
		t.Error("missed ", p)
	}
	eventually(t, "alice keeps nothing", alice.empty)
}

func TestHostVanishesWhileAPersonThinks(t *testing.T) {
	w := newTown()
	alice, bob := settleIn(t, w, "alice"), settleIn(t, w, "bob", short)
	invite, asked, _ := alice.waiting()
	go func() {
		<-asked
		alice.box.leave()
	}()
	if _, err := bob.join(invite.Code()); session.KindOf(err) != session.Unavailable {
		t.Errorf("bob hears %v", err)
	}
}

// A host that knows nothing of its guest, as after a spoilt m3, is not waited
// for without end.
func TestHostForgetsItsGuest(t *testing.T) {
	w := newTown()
	alice, bob := settleIn(t, w, "alice", short), settleIn(t, w, "bob", short)
	invite := alice.invite()
	n := 0
	w.carry(func(l letterOnItsWay) []letterOnItsWay {
		const m3 = 5 // package pairing's message type, its second byte
		if l.Body[0] == letterPairing && l.Body[2] == m3 {
			n++
			l.Body[len(l.Body)-1] ^= 1
		}
		return []letterOnItsWay{l}
	})
	if _, err := bob.join(invite.Code()); session.KindOf(err) != session.Unavailable {
		t.Errorf("bob hears %v after %d letters", err, n)
	}
}

// A guest waits for as long as a person thinks.
func TestLongThought(t *testing.T) {
	w := newTown()
	alice, bob := settleIn(t, w, "alice", short), settleIn(t, w, "bob", short)
	invite := alice.invite(func(c *InviteConfig) {
		admit := c.Admit
		c.Admit = func(ctx context.Context, p session.Peer) ([]grant.Right, error) {
			select { // three times as long as either would bear silence
			case <-time.After(1500 * time.Millisecond):
			case <-ctx.Done():
			}
			return admit(ctx, p)
		}
	})
	echo(t, bob.mustJoin(invite.Code()).Session)
}

func TestClosedHost(t *testing.T) {
	w := newTown()
	alice, bob := settleIn(t, w, "alice"), settleIn(t, w, "bob")
	invite := alice.invite()
	bob.mustJoin(invite.Code())
	bob.stop()
	if _, err := bob.join(invite.Code()); session.KindOf(err) != session.Canceled {
		t.Errorf("join: %v", err)
	}
	if _, err := bob.Dial(context.Background(), alice.device.ID()); session.KindOf(err) != session.Canceled {
		t.Errorf("dial: %v", err)
	}
	if _, err := bob.Invite(InviteConfig{Nameplate: "1234"}); session.KindOf(err) != session.Canceled {
		t.Errorf("invite: %v", err)
	}
	if bob.start(func() { t.Error("work began after the end") }) {
		t.Error("work is said to have begun after the end")
	}
	if err := bob.Close(); err != nil {
		t.Errorf("a second close: %v", err)
	}
}

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
