package host

import (
	"context"
	"testing"
	"time"

	"tandem/session"
	"tandem/session/grant"
	"tandem/session/link"
	"tandem/session/pairing"
)

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
			alice.keep(l, "", ours)
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

// Letters that are lost, come twice or overtake each other cost time only. The
// weather clears up in the end: a link sends its S1 again more and more seldom,
// so that endless bad luck could outlast any patience.
func TestUnreliableTown(t *testing.T) {
	for seed := range 8 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			w := newTown()
			quick := hasty(patience{resend: 100 * time.Millisecond})
			alice, bob := settleIn(t, w, "alice", quick), settleIn(t, w, "bob", quick)
			invite := alice.invite()
			n, sent, held := seed, 0, []letterOnItsWay(nil)
			w.carry(func(l letterOnItsWay) []letterOnItsWay {
				n = n*1103515245 + 12345 // a fixed series for each seed
				weather := (n >> 16) & 7
				if sent++; sent > 24 {
					weather = 7
				}
				switch weather {
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
