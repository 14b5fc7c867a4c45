package link

import (
	"testing"
	"time"

	"github.com/pion/ice/v4"
)

// A request because of a path that has been replaced since is ignored: the
// answerer sent it before it knew. Any other makes a new path.
func TestStaleRequest(t *testing.T) {
	a, b := meet(t, Config{}, Config{})
	for _, l := range []*Link{a, b} {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// The goroutine that owns these has ended.
	r := a.trunk.roam
	r.current.generation, r.started = 3, true
	next := &attempt{generation: 4}
	next.conn.Store(&ice.Conn{}) // it has been answered
	for n, c := range []struct {
		silent uint32
		next   *attempt
		heeded bool
	}{
		{0, nil, true},
		{1, nil, false},
		{3, nil, false},
		{4, nil, true},
		{4, next, false},
		{0, next, true},
	} {
		r.wanted, r.next = "", c.next
		request := makeRestart(b.config.Identity, &b.trunk.transcript, answerer,
			envelope{Step: stepRequest, Generation: uint32(n) + 1, Silent: c.silent})
		r.receiveRestart(t.Context(), &request)
		if heeded := r.wanted != ""; heeded != c.heeded {
			t.Errorf("silent %d on generation %d, next %v: heeded %v", c.silent, r.current.generation, c.next != nil, heeded)
		}
	}
}

// When we did not run for a while, nothing was heard, and that is not the path's
// fault.
func TestStallIsNoSilence(t *testing.T) {
	a, b := meet(t, Config{}, Config{})
	for _, l := range []*Link{a, b} {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// The goroutine that owns these has ended.
	r, now := a.trunk.roam, time.Now()
	r.up, r.next, r.started, r.wanted = true, nil, true, ""
	r.lastBegin = now.Add(time.Hour) // so that a new path is only wanted
	r.current.onState(ice.ConnectionStateDisconnected)
	r.ticked = now.Add(-2 * time.Second)
	r.watch(now)
	r.step(t.Context(), now)
	if r.wanted != "" {
		t.Error("a new path is wanted because we did not run")
	}
	now = now.Add(stalled)
	r.step(t.Context(), now)
	if r.wanted != pathSilent {
		t.Error("no new path is wanted of a path that stays silent")
	}
	r.wanted, r.resumed = "", now
	r.current.onState(ice.ConnectionStateFailed)
	r.step(t.Context(), now)
	if r.wanted != pathSilent {
		t.Error("no new path is wanted where ICE has given up")
	}
}

// What was wrong with the path before is no reason to leave the one that has
// just replaced it.
func TestNewPathIsNotTheOld(t *testing.T) {
	a, b := meet(t, Config{}, Config{})
	for _, l := range []*Link{a, b} {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// The goroutine that owns these has ended.
	r, now := a.trunk.roam, time.Now()
	next := &attempt{generation: 1, wake: make(chan struct{}, 1)}
	next.onState(ice.ConnectionStateConnected)
	r.up, r.next, r.started, r.wanted = true, next, true, ""
	r.lastBegin = now.Add(time.Hour) // so that a new path is only wanted
	r.current.onState(ice.ConnectionStateDisconnected)
	r.step(t.Context(), now)
	r.retired.Wait()
	if r.current != next || r.wanted != "" {
		t.Errorf("replaced %v, and a new path is wanted because %q", r.current == next, r.wanted)
	}
}
