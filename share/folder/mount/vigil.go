package mount

import (
	"context"
	"errors"
	"sync"
	"time"

	"tandem/session"
)

const (
	// quiet is how long a call may wait before the peer is asked for a sign of
	// life, and patience how long it may take to give one: as long as a session
	// takes to find another path.
	quiet    = 2 * time.Second
	patience = 8 * time.Second
	// limit bounds a call to a peer that gives signs of life and no answer.
	limit = 2 * time.Minute
)

// errSilent is why calls fail while a peer does not answer.
var errSilent = session.Errorf("mount", session.Timeout, "the peer does not answer")

// vigil tells a peer that takes its time from one that has gone: while calls
// wait, it asks something small now and then. If that has no answer, all of them
// fail, and so does each new one at once, until the peer answers again.
type vigil struct {
	ask  func(context.Context) error
	life context.Context //nolint:containedctx // bounds what is asked, for no caller
	end  context.CancelFunc
	work sync.WaitGroup

	mu      sync.Mutex
	waiting map[*context.CancelCauseFunc]struct{}
	heard   time.Time // of the peer
	silent  bool
	looking bool
}

func newVigil(ask func(context.Context) error) *vigil {
	life, end := context.WithCancel(context.Background())
	return &vigil{ask: ask, life: life, end: end, waiting: make(map[*context.CancelCauseFunc]struct{})}
}

func (v *vigil) close() {
	v.mu.Lock() // nobody begins to look any more
	v.end()
	v.mu.Unlock()
	v.work.Wait()
}

// call is the context of a call to the peer. Done must be told how it ended, and
// returns that in the words for it.
func (v *vigil) call(ctx context.Context) (_ context.Context, done func(error) error) {
	ctx, release := context.WithTimeoutCause(ctx, limit, errSilent)
	ctx, ended := v.transfer(ctx)
	return ctx, func(err error) error {
		err = ended(err)
		release()
		return err
	}
}

// transfer is a call that may take longer.
func (v *vigil) transfer(ctx context.Context) (_ context.Context, done func(error) error) {
	ctx, cancel := context.WithCancelCause(ctx)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.silent {
		cancel(errSilent)
	} else {
		v.waiting[&cancel] = struct{}{}
	}
	if !v.looking && v.life.Err() == nil {
		v.looking = true
		v.work.Go(v.look)
	}
	return ctx, func(err error) error {
		if err != nil && errors.Is(context.Cause(ctx), errSilent) {
			err = errSilent
		}
		cancel(nil)
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.waiting, &cancel)
		if k := session.KindOf(err); err == nil || k != session.Timeout && k != session.Canceled {
			v.heard = time.Now()
		}
		return err
	}
}

// look looks after the peer until nobody waits for it.
func (v *vigil) look() {
	tick := time.NewTicker(quiet / 2)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-v.life.Done():
			return
		}
		v.mu.Lock()
		if !v.silent && len(v.waiting) == 0 {
			v.looking = false
			v.mu.Unlock()
			return
		}
		due := v.silent || time.Since(v.heard) >= quiet
		v.mu.Unlock()
		if due {
			v.listen()
		}
	}
}

// listen asks the peer, and gives up for all who wait if it does not answer.
func (v *vigil) listen() {
	ctx, cancel := context.WithTimeout(v.life, patience)
	defer cancel()
	err := v.ask(ctx)
	v.mu.Lock()
	defer v.mu.Unlock()
	// Any answer is one, also that there is no session any more.
	v.silent = err != nil && session.KindOf(err) == session.Timeout
	if !v.silent {
		v.heard = time.Now()
		return
	}
	for cancel := range v.waiting {
		(*cancel)(errSilent)
	}
	clear(v.waiting)
}
