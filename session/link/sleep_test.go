package link

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tandem/session"
)

// wallClock is a clock that a test sets.
type wallClock struct{ ahead atomic.Int64 }

func (c *wallClock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *wallClock) set(by time.Duration) { c.ahead.Add(int64(by)) }

// A device wakes: it makes a new path at once, although nothing says that the
// old one does not work, and the streams go on. Nor does a clock that is set
// end a session, however far.
func TestWake(t *testing.T) {
	for _, who := range []role{offerer, answerer} {
		for _, by := range []time.Duration{clockJump + time.Second, -time.Hour, 24 * time.Hour} {
			t.Run(string(who)+" "+by.String(), func(t *testing.T) {
				t.Parallel()
				var clock wallClock
				streams := make(chan session.Stream, 1)
				dial, accept := Config{wall: clock.now}, Config{Handler: accepted(streams)}
				if who == answerer {
					dial.wall, accept.wall = nil, clock.now
				}
				a, b := meet(t, dial, accept)
				n := count(t, a, streams)
				n.progress(t, 10*time.Second)
				clock.set(by)
				for began := time.Now(); a.Path().Changes == 0; n.progress(t, 10*time.Second) {
					if time.Since(began) > 10*time.Second {
						t.Fatal("the path is still the old one")
					}
				}
				n.progress(t, 10*time.Second)
				n.end()
				if a.Err() != nil || b.Err() != nil {
					t.Error(a.Err(), b.Err())
				}
			})
		}
	}
}

// One side sleeps for longer than the other waits: both end, and each says why.
func TestOversleep(t *testing.T) {
	t.Parallel()
	var clock wallClock
	w := newWire()
	var asleep atomic.Bool
	sigA, sigB := pipe(func(_ role, b []byte) [][]byte {
		if asleep.Load() {
			return nil
		}
		return [][]byte{b}
	})
	streams := make(chan session.Stream, 1)
	sleeper, other := meetOver(t, w.config(Config{wall: clock.now, DeadAfter: 1500 * time.Millisecond}),
		Config{Handler: accepted(streams), DeadAfter: time.Second}, sigA, sigB)
	asleep.Store(true)
	w.cut()
	clock.set(time.Hour)
	<-other.Done()
	wantEnd(t, "the other", other.Err(), "nothing was heard from the peer for 1s")
	<-sleeper.Done()
	wantEnd(t, "the sleeper", sleeper.Err(), "this device slept for 1h0m") // and whatever a busy machine adds
}

func wantEnd(t *testing.T, who string, err error, text string) {
	t.Helper()
	wantKind(t, who, err, session.Unavailable)
	if err != nil && !strings.Contains(err.Error(), text) {
		t.Errorf("%s: %v, want %q", who, err, text)
	}
}

// A process that was stopped has not run its own timers either: the monotonic
// clock is ahead as well.
func TestStoppedProcess(t *testing.T) {
	start := time.Now()
	r := &roamer{ticked: start, wall: start}
	r.watchSleep(start.Add(tick), start.Add(tick))
	if r.wanted != "" {
		t.Errorf("after a tick: %s", r.wanted)
	}
	later := start.Add(tick + clockJump + time.Second)
	r.watchSleep(later, start.Add(2*tick)) // with a wall clock that was set back meanwhile
	if r.wanted == "" || r.woke != later {
		t.Errorf("not noticed: %q, %v", r.wanted, r.woke)
	}
}

// After a sleep of any length, a peer that is heard again is alive.
func TestHeardAfterSleep(t *testing.T) {
	c := &conn{config: &Config{DeadAfter: time.Minute}, carrier: newCarrier()}
	r := &roamer{conn: c, woke: time.Now().Add(-wakeGrace - time.Second), slept: time.Hour}
	c.carrier.began = time.Now().Add(-time.Hour) // and nothing heard since
	wantEnd(t, "unheard", r.dead(time.Now()), "has not waited")
	c.carrier.prove()
	if err := r.dead(time.Now()); err != nil || !r.woke.IsZero() {
		t.Errorf("heard: %v", err)
	}
}
