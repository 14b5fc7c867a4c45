package background

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"tandem/share/forward"
	"tandem/share/node"
)

// Forwards are the forwards that a person has asked for. They last until they are
// removed, or the program ends. Run waits; the others may be called from
// Update.
type Forwards struct {
	backend node.Backend
	now     func() time.Time

	mu      sync.Mutex
	changed *sync.Cond
	list    []*forwarding
	last    int
}

// ForwardStatus is a forward and how it does.
type ForwardStatus struct {
	ID     int
	Target // the peer
	forward.Forward
	// At is where it listens in fact; zero until it does.
	At forward.Address
	// Err is why it doesn't work, or why a connection didn't; ErrAt is when that was.
	Err   error
	ErrAt time.Time
	// Ended says that it listens no more, because of Err.
	Ended bool
	// Open is how many connections there are now, Totals what has been.
	Open int
	forward.Totals
}

// forwarding is a forward that was asked for. Its fields are guarded by
// Forwards.mu.
type forwarding struct {
	ForwardStatus
	begun   bool
	removed bool
	cancel  context.CancelFunc // while it runs
}

// NewForwards is an empty list of forwards.
func NewForwards(backend node.Backend) *Forwards {
	f := &Forwards{backend: backend, now: time.Now}
	f.changed = sync.NewCond(&f.mu)
	return f
}

func (f *Forwards) update(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	f.changed.Broadcast()
}

// Add asks for a forward to or from a peer.
func (f *Forwards) Add(peer Target, what forward.Forward) {
	f.update(func() {
		f.last++
		f.list = append(f.list, &forwarding{ForwardStatus: ForwardStatus{ID: f.last, Target: peer, Forward: what}})
	})
}

// Again starts one that has ended anew.
func (f *Forwards) Again(id int) {
	f.update(func() {
		if w := f.find(id); w != nil && w.Ended {
			w.Ended, w.begun, w.Err, w.At = false, false, nil, forward.Address{}
		}
	})
}

// Remove ends a forward, and every connection through it.
func (f *Forwards) Remove(id int) {
	f.update(func() {
		if w := f.find(id); w != nil {
			w.removed = true
			if w.cancel != nil {
				w.cancel()
			}
			f.list = slices.DeleteFunc(f.list, func(o *forwarding) bool { return o == w })
		}
	})
}

func (f *Forwards) find(id int) *forwarding {
	for _, w := range f.list {
		if w.ID == id {
			return w
		}
	}
	return nil
}

// List are the forwards, in the order they were asked for.
func (f *Forwards) List() []ForwardStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]ForwardStatus, len(f.list))
	for i, w := range f.list {
		list[i] = w.ForwardStatus
	}
	return list
}

// Keeping says in a few words what would end with the program, or nothing.
func (f *Forwards) Keeping() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, w := range f.list {
		if !w.Ended {
			n++
		}
	}
	switch n {
	case 0:
		return ""
	case 1:
		return "1 forward"
	}
	return strconv.Itoa(n) + " forwards"
}

// Run forwards until ctx ends, and returns when everything has ended.
func (f *Forwards) Run(ctx context.Context) {
	wake := context.AfterFunc(ctx, func() { f.update(func() {}) })
	defer wake()
	var work sync.WaitGroup
	defer work.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	for ctx.Err() == nil {
		i := slices.IndexFunc(f.list, func(w *forwarding) bool { return !w.begun })
		if i < 0 {
			f.changed.Wait()
			continue
		}
		w := f.list[i]
		ctx, cancel := context.WithCancel(ctx)
		w.begun, w.cancel = true, cancel
		work.Go(func() {
			defer cancel()
			f.work(ctx, w)
		})
	}
}

// work is one forward, from its beginning to its end.
func (f *Forwards) work(ctx context.Context, w *forwarding) {
	plan := forward.Plan{Forwards: []forward.Forward{w.Forward}, Events: func(e forward.Event) { f.update(func() { f.note(w, e) }) }}
	_, err := forward.Run(ctx, node.Bound{Backend: f.backend, Peer: w.Ref}, plan)
	f.update(func() {
		w.cancel, w.Open, w.Ended = nil, 0, true
		if err != nil {
			w.Err, w.ErrAt = err, f.now()
		}
	})
}

// note takes down what has happened to a forward.
func (f *Forwards) note(w *forwarding, e forward.Event) {
	switch e.Event {
	case forward.Ready:
		w.At, w.Err = e.Address, nil
	case forward.Opened:
		w.Open++
		w.Connections++
	case forward.Closed:
		w.Open = max(0, w.Open-1)
		w.Sent += e.Sent
		w.Received += e.Received
	case forward.Lost, forward.Failed:
		w.Err, w.ErrAt = e.Err, f.now()
		if e.Event == forward.Failed && !e.Address.IsZero() {
			w.Failed++
		}
	}
}

// Verb is the command that does the same as a forward.
func (s ForwardStatus) Verb() string {
	letter := map[forward.Kind]string{forward.Local: "-L", forward.Remote: "-R", forward.Dynamic: "-D"}[s.Kind]
	return "tandem forward " + cmp.Or(s.Alias, s.Ref) + " " + letter + " " + s.String()
}
