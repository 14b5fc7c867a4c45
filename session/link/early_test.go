package link

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	"tandem/session"
)

// Candidates that arrive before the offer of their generation are not lost:
// the path comes up in that generation. The relays see to it that nothing
// works without them.
func TestCandidatesOvertakeTheirOffer(t *testing.T) {
	t.Parallel()
	relay, _ := relayServer(t)
	w := newWire()
	var mu sync.Mutex
	offered := map[uint32]bool{}
	sigA, sigB := pipe(func(from role, b []byte) [][]byte {
		var e envelope
		if err := json.Unmarshal(b, &e); err != nil {
			t.Error(err)
		}
		if from != offerer || e.Type != typeRestart || e.Step != stepOffer {
			return [][]byte{b}
		}
		mu.Lock()
		offered[e.Generation] = true
		mu.Unlock()
		candidates, err := envelope{Type: typeCandidates, Generation: e.Generation, Candidates: e.Candidates}.marshal()
		if err != nil {
			t.Error(err)
		}
		e.Candidates = nil // they are not signed
		offer, err := e.marshal()
		if err != nil {
			t.Error(err)
		}
		return [][]byte{candidates, offer}
	})
	streams := make(chan session.Stream, 1)
	config := w.config(Config{Relays: relays(relay), RelayOnly: true})
	accept := config
	accept.Handler = accepted(streams)
	a, _ := meetOver(t, config, accept, sigA, sigB)
	c := count(t, a, streams)
	c.progress(t, 10*time.Second)
	w.cut()
	a.Rebind()
	c.progress(t, 30*time.Second)
	c.end()
	mu.Lock()
	defer mu.Unlock()
	if len(offered) != 1 {
		t.Errorf("generations offered: %v", offered)
	}
}

// What was sent while the server had lost a side is repeated whole: the offer
// with all candidates known by then, and the answer likewise.
func TestRepeatedOfferHasAllCandidates(t *testing.T) {
	for _, deaf := range []role{offerer, answerer} {
		t.Run(string(deaf)+" is deaf at first", func(t *testing.T) {
			t.Parallel()
			relay, _ := relayServer(t)
			w := newWire()
			var mu sync.Mutex
			offered := map[uint32]int{}
			sigA, sigB := pipe(func(from role, b []byte) [][]byte {
				mu.Lock()
				defer mu.Unlock()
				var e envelope
				if err := json.Unmarshal(b, &e); err != nil {
					t.Error(err)
				}
				if e.Type == typeRestart && e.Step == stepOffer {
					offered[e.Generation]++
				}
				switch {
				case e.Type == typeCandidates && e.Generation > 0:
					return nil // each is sent once, and may be lost
				case e.Type == typeRestart && offered[1] == 1 && from != deaf:
					return nil
				case e.Type == typeRestart && offered[1] == 1:
					// The first has none: they came later.
					e.Candidates = nil
					b, _ = e.marshal() // smaller than it was
				}
				return [][]byte{b}
			})
			streams := make(chan session.Stream, 1)
			config := w.config(Config{Relays: relays(relay), RelayOnly: true})
			accept := config
			accept.Handler = accepted(streams)
			a, _ := meetOver(t, config, accept, sigA, sigB)
			c := count(t, a, streams)
			c.progress(t, 10*time.Second)
			w.cut()
			a.Rebind()
			c.progress(t, 30*time.Second)
			c.end()
			mu.Lock()
			defer mu.Unlock()
			if len(offered) != 1 || offered[1] < 2 {
				t.Errorf("generations offered: %v", offered)
			}
		})
	}
}
