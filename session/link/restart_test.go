package link

import "testing"

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
	for n, c := range []struct {
		silent uint32
		heeded bool
	}{{0, true}, {1, false}, {3, false}, {4, true}, {5, true}} {
		r.wanted = ""
		request := makeRestart(b.config.Identity, &b.trunk.transcript, answerer,
			envelope{Step: stepRequest, Generation: uint32(n) + 1, Silent: c.silent})
		r.receiveRestart(t.Context(), &request)
		if heeded := r.wanted != ""; heeded != c.heeded {
			t.Errorf("silent %d on generation %d: heeded %v", c.silent, r.current.generation, heeded)
		}
	}
}
