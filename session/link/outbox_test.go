package link

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// postbox is the sending half of a Signaler that takes its time.
type postbox struct {
	takes time.Duration

	mu    sync.Mutex
	fail  int // how many sends fail first
	began []sentEnvelope
}

type sentEnvelope struct {
	kind string
	at   time.Duration
}

func (p *postbox) Send(_ context.Context, b []byte) error {
	e, err := parseEnvelope(b)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.began = append(p.began, sentEnvelope{e.Type, time.Since(synctestEpoch)})
	p.fail--
	failed := p.fail >= 0
	p.mu.Unlock()
	time.Sleep(p.takes)
	if failed {
		return errors.New("no server")
	}
	return nil
}

func (p *postbox) Receive(ctx context.Context) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() }

// synctestEpoch is when a bubble begins.
var synctestEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func runOutbox(t *testing.T, p *postbox, act func(o *outbox)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			o.run(ctx, p, slog.New(slog.DiscardHandler))
		}()
		act(o)
		time.Sleep(time.Minute)
		cancel()
		<-ended
	})
}

var candidateLine = []string{"1 1 udp 1 192.0.2.1 1 typ host"}

// TestOutboxSendsAtOnce: candidates follow the description without waiting for
// each other's confirmations, but never overtake the first envelope.
func TestOutboxSendsAtOnce(t *testing.T) {
	p := &postbox{takes: 100 * time.Millisecond}
	runOutbox(t, p, func(o *outbox) {
		if err := o.put(envelope{Type: typePing}); err != nil { // stands for S1
			t.Error(err)
		}
		time.Sleep(time.Millisecond)
		for range 3 {
			o.trickle(0, candidateLine)
			time.Sleep(50 * time.Millisecond)
		}
	})
	want := []sentEnvelope{
		{typePing, 0},
		{typeCandidates, 100 * time.Millisecond}, // two of them
		{typeCandidates, 101 * time.Millisecond},
	}
	if len(p.began) != len(want) {
		t.Fatalf("sent %v, want %v", p.began, want)
	}
	for i, got := range p.began {
		if got != want[i] {
			t.Errorf("sent %v, want %v", p.began, want)
		}
	}
}

// TestOutboxTriesAgain: nothing is lost while there is no server, and the first
// envelope stays the first.
func TestOutboxTriesAgain(t *testing.T) {
	p := &postbox{fail: 4}
	runOutbox(t, p, func(o *outbox) {
		if err := o.put(envelope{Type: typePing}); err != nil {
			t.Error(err)
		}
		o.trickle(0, candidateLine)
	})
	if len(p.began) != 6 {
		t.Fatalf("sent %v, want the first envelope five times and the candidates once", p.began)
	}
	for i, got := range p.began[:5] {
		if got.kind != typePing {
			t.Errorf("envelope %d is %s", i, got.kind)
		}
	}
	if p.began[5].kind != typeCandidates {
		t.Errorf("sent %v", p.began)
	}
}
