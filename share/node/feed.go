package node

import (
	"context"
	"sync"
)

// maxFeed is how many events wait for one reader; the newest are lost.
const maxFeed = 512

// feed hands every event to whoever listens.
type feed struct {
	mu      sync.Mutex
	closed  bool
	readers map[*reader]struct{}
	work    sync.WaitGroup
}

// reader is one who listens: what waits for it.
type reader struct {
	out   chan Event
	wake  chan struct{} // has a token when there is something in queue
	gone  chan struct{} // closed by leave
	queue []Event       // guarded by feed.mu
}

// listen is a channel of all events from now on, until ctx ends or the feed
// closes.
func (f *feed) listen(ctx context.Context) (<-chan Event, error) {
	r := &reader{out: make(chan Event), wake: make(chan struct{}, 1), gone: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errEnding
	}
	if f.readers == nil {
		f.readers = make(map[*reader]struct{})
	}
	f.readers[r] = struct{}{}
	f.work.Go(func() {
		defer close(r.out)
		defer f.leave(r)
		f.pass(ctx, r)
	})
	return r.out, nil
}

// pass hands a reader what waits for it.
func (f *feed) pass(ctx context.Context, r *reader) {
	for {
		e, ok := f.next(r)
		if !ok {
			select {
			case <-r.wake:
				continue
			case <-r.gone:
				return
			case <-ctx.Done():
				return
			}
		}
		select {
		case r.out <- e:
		case <-r.gone:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (f *feed) next(r *reader) (Event, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(r.queue) == 0 {
		return Event{}, false
	}
	e := r.queue[0]
	r.queue = r.queue[1:]
	return e, true
}

func (f *feed) leave(r *reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, there := f.readers[r]; there {
		delete(f.readers, r)
		close(r.gone)
	}
}

// send gives an event to every reader. It waits for nobody: where a reader has
// too much to read already, the last thing it will find is how much it has lost.
func (f *feed) send(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for r := range f.readers {
		last := len(r.queue) - 1
		switch {
		case last+1 < maxFeed:
			r.queue = append(r.queue, e)
		case r.queue[last].Event == EventLost:
			r.queue[last].Unreported++
		default:
			r.queue[last] = Event{Event: EventLost, Time: e.Time, Unreported: 2}
		}
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// Close ends every channel.
func (f *feed) Close() {
	f.mu.Lock()
	f.closed = true
	for r := range f.readers {
		delete(f.readers, r)
		close(r.gone)
	}
	f.mu.Unlock()
	f.work.Wait()
}
