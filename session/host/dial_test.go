package host

import (
	"context"
	"sync"
	"testing"
	"time"

	"tandem/session"
	"tandem/session/grant"
	"tandem/session/identity"
)

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
	_ = joined.Session.Close()
	for range 3 {
		// Whoever finds the other's session first uses that, and its own comes later.
		eventually(t, "both are idle", func() bool {
			for _, s := range append(alice.Live(), bob.Live()...) {
				_ = s.Close()
			}
			return alice.empty() && bob.empty()
		})
		var both sync.WaitGroup
		for _, d := range []struct{ from, to *resident }{{alice, bob}, {bob, alice}} {
			both.Go(func() {
				s, err := d.from.Dial(context.Background(), d.to.device.ID())
				if err != nil {
					t.Error("dial: ", err)
					return
				}
				echo(t, s)
			})
		}
		both.Wait()
	}
}

// lost is a session whose path is gone, and perhaps its peer.
type lost struct {
	session.Session // nil: nobody may use it
	peer            session.Peer
	done            chan struct{}

	mu   sync.Mutex
	kind session.PathKind
	why  error // of Abandon
}

func (l *lost) Peer() session.Peer { return l.peer }

func (l *lost) Done() <-chan struct{} { return l.done }

func (l *lost) Rebind() {}

func (l *lost) Abandon(reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.why = reason
	close(l.done)
}

func (l *lost) Close() error { return nil }

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
	bob.keep(dark, "", newConversation())
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
	bob.keep(dark, "", newConversation())
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

// A session without a path ends when the servers go on saying that its peer
// isn't there, and not because of anything else.
func TestPeerHasGone(t *testing.T) {
	w := newTown()
	bob := settleIn(t, w, "bob", func(c *Config) { c.patience.gone = 50 * time.Millisecond })
	nobody := session.Errorf("send", session.NotFound, "nobody is there")
	alice := settleIn(t, w, "alice").device.ID()
	for _, c := range []struct {
		name  string
		path  session.PathKind
		sends []error
		ends  bool
	}{
		{"gone", session.NoPath, []error{nobody}, true},
		{"there and without a path", session.NoPath, []error{nil}, false},
		{"between two servers", session.NoPath, []error{nobody, nobody, nil}, false},
		{"no server", session.NoPath, []error{nobody, session.Errorf("send", session.Timeout, "no answer")}, false},
		{"only the servers don't know it", session.Direct, []error{nobody}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dark := &lost{peer: session.Peer{ID: alice}, done: make(chan struct{}), kind: c.path}
			talk := newConversation()
			sent := 0
			talk.send = func(context.Context, []byte) error { sent++; return c.sends[sent%len(c.sends)] }
			bob.keep(dark, "", talk)
			deadline := time.After(soon)
			for tries := 0; ; tries++ {
				_ = talk.Send(t.Context(), nil) // its outcome is what this is about
				select {
				case <-dark.done:
					if !c.ends || session.KindOf(dark.why) != session.Unavailable {
						t.Errorf("it was ended because of %v", dark.why)
					}
					return
				case <-time.After(5 * time.Millisecond):
				case <-deadline:
					t.Fatal("it has not ended")
				}
				if !c.ends && tries == 100 {
					dark.Abandon(nil)
					return
				}
			}
		})
	}
}
