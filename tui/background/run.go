package background

import (
	"bytes"
	"context"
	"sync"
	"time"

	"tandem/share/command"
	"tandem/share/node"
)

const (
	// runsAtOnce is on how many peers a program runs at the same time.
	runsAtOnce = 16
	// maxOutput is how much of a program's output is kept, in bytes: the last.
	maxOutput = 256 << 10
)

// Target is a peer to run something on: for a Backend, and for people.
type Target struct{ Ref, Alias string }

// Run is one program on several peers. Wait waits; the others may be called from
// Update.
type Run struct {
	Argv    []string
	backend node.Backend
	stop    context.CancelFunc
	stopped <-chan struct{}

	mu      sync.Mutex
	results []Result
}

// Result is what has come of it on one peer so far.
type Result struct {
	Target
	Begun, Ended bool
	Exit         command.Exit
	Err          error // instead of Exit
	// Output is what it has printed, its errors among it; the beginning is missing
	// if Cut.
	Output []byte
	Cut    bool
	Took   time.Duration
}

// NewRun is a program that is to run on peers.
func NewRun(backend node.Backend, argv []string, on []Target) *Run {
	ctx, stop := context.WithCancel(context.Background())
	r := &Run{Argv: argv, backend: backend, stop: stop, stopped: ctx.Done(), results: make([]Result, len(on))}
	for i, t := range on {
		r.results[i].Target = t
	}
	return r
}

// Stop ends the program wherever it still runs.
func (r *Run) Stop() { r.stop() }

// Results are those so far, in the order of the peers.
func (r *Run) Results() []Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	results := make([]Result, len(r.results))
	for i := range r.results {
		results[i] = r.results[i]
		results[i].Output = bytes.Clone(r.results[i].Output)
	}
	return results
}

// Wait runs the program, and returns when it has ended everywhere.
func (r *Run) Wait(ctx context.Context) {
	defer r.stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() {
		select {
		case <-r.stopped:
			cancel()
		case <-ctx.Done():
		}
	})
	room := make(chan struct{}, runsAtOnce)
	var running sync.WaitGroup
	for i := range r.results {
		select {
		case room <- struct{}{}:
			running.Go(func() {
				defer func() { <-room }()
				r.on(ctx, i)
			})
		case <-ctx.Done():
			r.update(i, func(res *Result) { res.Ended, res.Err = true, ctx.Err() })
		}
	}
	running.Wait()
	cancel()
}

func (r *Run) update(i int, change func(*Result)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.results[i])
}

// on runs the program on one peer.
func (r *Run) on(ctx context.Context, i int) {
	begun := time.Now()
	r.update(i, func(res *Result) { res.Begun = true })
	exit, err := r.program(ctx, i)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	r.update(i, func(res *Result) { res.Ended, res.Exit, res.Err, res.Took = true, exit, err, time.Since(begun) })
}

func (r *Run) program(ctx context.Context, i int) (command.Exit, error) {
	peer := node.Bound{Backend: r.backend, Peer: r.results[i].Ref}
	c, err := command.Start(ctx, peer, command.Request{Argv: r.Argv})
	if err != nil {
		return command.Exit{}, err
	}
	away := context.AfterFunc(ctx, func() { _ = c.Close() }) // its host ends it
	defer away()
	if err := c.End(); err != nil {
		_ = c.Close()
		return command.Exit{}, err
	}
	out := &output{run: r, i: i}
	return c.Wait(out, out)
}

// output keeps the end of what a program prints.
type output struct {
	run *Run
	i   int
}

func (o *output) Write(p []byte) (int, error) {
	o.run.update(o.i, func(res *Result) {
		res.Output = append(res.Output, p...)
		if over := len(res.Output) - maxOutput; over > 0 {
			res.Output, res.Cut = append([]byte(nil), res.Output[over:]...), true
		}
	})
	return len(p), nil
}
