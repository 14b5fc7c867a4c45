package link

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"tandem/session"
)

const (
	sendTimeout    = 5 * time.Second
	signalBackoff  = 100 * time.Millisecond
	signalSlowest  = 2 * time.Second
	receiveBackoff = 200 * time.Millisecond
	// sendsAtOnce is how many envelopes may be on their way to the server. Each
	// takes a round trip to be confirmed, and candidates should not wait for
	// that of the description.
	sendsAtOnce = 4
)

// outbox is what waits to leave by the Signaler: the newest main envelope, and
// the candidates of the newest generation. Signaling may be down for a while;
// nothing obsolete queues up meanwhile.
type outbox struct {
	wake chan struct{}

	mu         sync.Mutex
	main       []byte
	generation uint32
	candidates []string
	backoff    time.Duration // how long to wait after the next failure
}

func newOutbox() *outbox { return &outbox{wake: make(chan struct{}, 1), backoff: signalBackoff} }

// put replaces the main envelope.
func (o *outbox) put(e envelope) error {
	b, err := e.marshal()
	if err != nil {
		return err
	}
	o.mu.Lock()
	o.main = b
	o.mu.Unlock()
	o.signal()
	return nil
}

// trickle adds candidates that don't wait already; those of an older generation
// are forgotten.
func (o *outbox) trickle(generation uint32, candidates []string) {
	if len(candidates) == 0 {
		return
	}
	o.mu.Lock()
	if o.generation != generation {
		o.generation, o.candidates = generation, nil
	}
	o.add(candidates)
	o.mu.Unlock()
	o.signal()
}

// add is trickle for who holds the lock.
func (o *outbox) add(candidates []string) {
	for _, c := range candidates {
		if !slices.Contains(o.candidates, c) {
			o.candidates = append(o.candidates, c)
		}
	}
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// take returns the next envelope to send, and how to put it back if that fails.
func (o *outbox) take() (b []byte, restore func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if b = o.main; b != nil {
		o.main = nil
		return b, func() {
			o.mu.Lock()
			defer o.mu.Unlock()
			if o.main == nil {
				o.main = b
			}
		}
	}
	if len(o.candidates) == 0 {
		return nil, nil
	}
	sent, generation := o.candidates, o.generation
	o.candidates = nil
	b, err := envelope{Type: typeCandidates, Generation: generation, Candidates: sent}.marshal()
	if err != nil {
		return nil, nil // over the limit: as lost as in the network
	}
	return b, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.generation == generation {
			o.add(sent)
		}
	}
}

// run sends until ctx ends, and tries again whatever fails. The first envelope
// is sent alone: an answerer takes nothing before S1.
func (o *outbox) run(ctx context.Context, sig session.Signaler, log *slog.Logger) {
	var sending sync.WaitGroup
	defer sending.Wait()
	first := true
	slots := make(chan struct{}, sendsAtOnce)
	for {
		select {
		case <-o.wake:
		case <-ctx.Done():
			return
		}
		for b, restore := o.take(); b != nil; b, restore = o.take() {
			if first {
				first = !o.send(ctx, sig, b, restore, log)
				continue
			}
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			sending.Go(func() {
				o.send(ctx, sig, b, restore, log)
				<-slots
			})
		}
	}
}

// send sends one envelope. If that fails, it waits a little and has the
// envelope tried again.
func (o *outbox) send(ctx context.Context, sig session.Signaler, b []byte, restore func(), log *slog.Logger) bool {
	sendCtx, cancel := context.WithTimeout(ctx, sendTimeout)
	err := sig.Send(sendCtx, b)
	cancel()
	o.mu.Lock()
	wait := o.backoff
	if err == nil {
		o.backoff = signalBackoff
	} else {
		o.backoff = min(2*o.backoff, signalSlowest)
	}
	o.mu.Unlock()
	if err == nil {
		return true
	}
	log.Debug("signaling failed", "error", err)
	if sleep(ctx, wait) {
		restore()
		o.signal()
	}
	return false
}

// receiveEnvelopes hands what arrives by sig to deliver until ctx ends.
func receiveEnvelopes(ctx context.Context, sig session.Signaler, log *slog.Logger, deliver func(envelope)) {
	backoff := receiveBackoff
	for ctx.Err() == nil {
		b, err := sig.Receive(ctx)
		if err != nil {
			if !sleep(ctx, backoff) {
				return
			}
			backoff = min(2*backoff, signalSlowest)
			continue
		}
		backoff = receiveBackoff
		e, err := parseEnvelope(b)
		if err != nil {
			log.Debug("envelope dropped", "error", err)
			continue
		}
		deliver(e)
	}
}

// sleep waits for d and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
