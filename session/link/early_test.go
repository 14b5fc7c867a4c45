package link

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"

	"tandem/session"
)

// replacements is a log that notes which generations have become the path. On a
// machine under load there may be more of them than a test asks for.
type replacements struct {
	mu   sync.Mutex
	seen map[uint32]bool
}

func newReplacements() *replacements { return &replacements{seen: make(map[uint32]bool)} }

func (r *replacements) Enabled(context.Context, slog.Level) bool { return true }
func (r *replacements) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *replacements) WithGroup(string) slog.Handler            { return r }

func (r *replacements) Handle(_ context.Context, record slog.Record) error {
	if record.Message == pathReplaced {
		record.Attrs(func(a slog.Attr) bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			if generation, ok := a.Value.Any().(uint64); ok {
				r.seen[uint32(generation)] = true
			}
			return true
		})
	}
	return nil
}

// had reports whether a generation was ever the path.
func (r *replacements) had(generation uint32) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[generation]
}

// Candidates that arrive before the offer of their generation are not lost:
// the path comes up in that generation. The relays see to it that nothing
// works without them.
func TestCandidatesOvertakeTheirOffer(t *testing.T) {
	t.Parallel()
	relay, _ := relayServer(t)
	w := newWire()
	sigA, sigB := pipe(func(from role, b []byte) [][]byte {
		var e envelope
		if err := json.Unmarshal(b, &e); err != nil {
			t.Error(err)
		}
		if from != offerer || e.Type != typeRestart || e.Step != stepOffer {
			return [][]byte{b}
		}
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
	paths := newReplacements()
	config.Logger = slog.New(paths)
	a, _ := meetOver(t, config, accept, sigA, sigB)
	c := count(t, a, streams)
	c.progress(t, 10*time.Second)
	w.cut()
	a.Rebind()
	c.progress(t, 30*time.Second)
	c.end()
	if !paths.had(1) {
		t.Errorf("the first generation did not come up, but %v", paths.seen)
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
				case e.Type == typeCandidates && e.Generation == 1 && offered[1] == 1:
					return nil // each is sent once
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
			paths := newReplacements()
			config.Logger = slog.New(paths)
			a, _ := meetOver(t, config, accept, sigA, sigB)
			c := count(t, a, streams)
			c.progress(t, 10*time.Second)
			w.cut()
			a.Rebind()
			c.progress(t, 30*time.Second)
			c.end()
			mu.Lock()
			defer mu.Unlock()
			if !paths.had(1) || offered[1] < 2 {
				t.Errorf("generations offered: %v; come up: %v", offered, paths.seen)
			}
		})
	}
}
