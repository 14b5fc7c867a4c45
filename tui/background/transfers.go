package background

import (
	"context"
	"fmt"
	"sync"
	"time"

	"tandem/share/folder"
)

// Job is what to copy: items of one folder into another.
type Job struct {
	// Peer is whose shared folder it is about, for a Backend; Alias for people.
	Peer, Alias string
	Share       string
	// Put copies to the peer; otherwise from it.
	Put bool
	// From and To are folders: the peer's is a path in the share, ours a path here.
	From, To string
	// Items are names in From.
	Items []string
}

// Stage is where a job is.
type Stage int

// The stages of a job.
const (
	Waiting Stage = iota // for others to end
	Running
	Asking // a person has to decide about what is in its way
	Paused
	Failed
	Stopped // for good
	Done
)

// Ended reports whether a job does nothing any more, and has nothing left to do.
func (s Stage) Ended() bool { return s == Done || s == Stopped }

// Conflict is something that a copy would replace.
type Conflict struct {
	Path       string // below From
	There, New Entry  // without names
}

// Decision is what becomes of a Conflict.
type Decision int

// The decisions.
const (
	Keep Decision = iota
	Replace
	KeepAll // in this job
	ReplaceAll
)

// Copying is how one item is copied.
type Copying struct {
	// Decide waits for a person's decision.
	Decide   func(context.Context, Conflict) (Decision, error)
	Progress func(folder.Progress)
}

// Copier copies one item of a job.
type Copier func(ctx context.Context, j Job, item string, c Copying) (folder.Summary, error)

// Status is a job and how far it is.
type Status struct {
	Job
	ID       int
	Stage    Stage
	Progress folder.Progress
	// Item is how many items have been copied.
	Item int
	// Total is what the items copied so far did.
	Total    folder.Summary
	Conflict Conflict // while Asking
	Err      error    // of Failed
	// Rates are the bytes of each of the last seconds, oldest first.
	Rates []int64
	// Rate is how many bytes come in a second at the moment; 0 if that can't be told.
	Rate float64
	// Left is how long it takes at that rate; 0 if that can't be told.
	Left    time.Duration
	Elapsed time.Duration // running
}

const (
	// atOnce is how many jobs run at the same time: more of them only get slower.
	atOnce = 2
	// seconds is how far Rates goes back.
	seconds = 60
	// recent is how many seconds Rate looks back.
	recent = 4
)

// Transfers are the copies that a person has asked for. They go on whatever
// page is shown. Run and Next wait; the others may be called from Update.
type Transfers struct {
	copier Copier
	now    func() time.Time

	mu      sync.Mutex
	changed *sync.Cond
	version uint64 // of what Status tells
	jobs    []*job
	last    int
}

// job is a Job that is being done. Its fields are guarded by Transfers.mu.
type job struct {
	Status
	cancel    context.CancelFunc // while a goroutine works on it
	want      Stage              // what it is canceled for: Paused or Stopped
	answer    *Decision          // to its Conflict
	always    *Decision          // to any
	before    int64              // bytes of items that have been copied
	wire      int64              // bytes that have travelled for those, and before it was resumed
	began     time.Time          // while it runs
	counted   int64              // bytes that Rates knows of
	buckets   [seconds]int64     // bytes, by second
	newest    int64              // the second of the newest bucket
	moved     bool               // something has been counted
	firstSeen int64              // the second when it began
}

// NewTransfers is an empty list of copies.
func NewTransfers(c Copier) *Transfers {
	t := &Transfers{copier: c, now: time.Now}
	t.changed = sync.NewCond(&t.mu)
	return t
}

// Run does what there is to do until ctx ends, and returns when it has stopped.
func (t *Transfers) Run(ctx context.Context) {
	wake := context.AfterFunc(ctx, func() { t.update(func() {}) })
	defer wake()
	var work sync.WaitGroup
	defer work.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	for ctx.Err() == nil {
		j := t.next()
		if j == nil {
			t.changed.Wait()
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		j.Stage, j.cancel, j.want, j.Err = Running, cancel, Failed, nil
		j.began = t.now()
		j.counted, j.before, j.wire, j.Item, j.Progress, j.Total = 0, 0, j.Progress.Wire, 0, folder.Progress{}, folder.Summary{}
		t.touch()
		work.Go(func() {
			defer cancel()
			t.work(ctx, j)
		})
	}
}

// next is a job that can begin. It is called with mu held.
func (t *Transfers) next() *job {
	running := 0
	var next *job
	for _, j := range t.jobs {
		switch {
		case j.cancel != nil:
			running++
		case j.Stage == Waiting && next == nil:
			next = j
		}
	}
	if running >= atOnce {
		return nil
	}
	return next
}

// work copies a job's items one after the other. What was copied before an
// interruption is found there and does not travel again.
func (t *Transfers) work(ctx context.Context, j *job) {
	var failed error
	for _, item := range j.Items {
		summary, err := t.copier(ctx, j.Job, item, Copying{
			Decide:   func(ctx context.Context, c Conflict) (Decision, error) { return t.decide(ctx, j, c) },
			Progress: func(p folder.Progress) { t.progress(j, p) },
		})
		t.update(func() {
			j.Total = sum(j.Total, summary)
			if ctx.Err() != nil {
				return // the item goes on another time
			}
			j.Item++
			j.before += j.Progress.BytesDone
			j.wire += j.Progress.Wire
			j.Progress.BytesDone, j.Progress.Bytes, j.Progress.Wire = 0, 0, 0
		})
		if err != nil && failed == nil {
			failed = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	t.update(func() {
		canceled := ctx.Err() != nil
		j.Elapsed += t.now().Sub(j.began)
		j.cancel, j.answer = nil, nil
		j.Progress.BytesDone += j.before
		j.Progress.Bytes += j.before
		j.Progress.Wire += j.wire
		switch {
		case canceled && j.want != Failed:
			j.Stage = j.want
		case failed != nil:
			j.Stage, j.Err = Failed, failed
		default:
			j.Stage = Done
		}
	})
}

func sum(a, b folder.Summary) folder.Summary {
	a.Files += b.Files
	a.Dirs += b.Dirs
	a.Bytes += b.Bytes
	a.Sent += b.Sent
	a.Resumed += b.Resumed
	a.Same += b.Same
	a.Wire += b.Wire
	a.Kept += b.Kept
	a.Skipped += b.Skipped
	a.Failed += b.Failed
	if room := maxFailures - len(a.Failures); room > 0 {
		a.Failures = append(a.Failures, b.Failures[:min(room, len(b.Failures))]...)
	}
	return a
}

// maxFailures is how many failures of a job are kept.
const maxFailures = 100

func (t *Transfers) progress(j *job, p folder.Progress) {
	t.update(func() {
		travelled := p.Wire > j.Progress.Wire
		j.Progress = p
		done := j.before + p.BytesDone
		second := t.now().Unix()
		if !j.moved { // what had arrived before says nothing about the rate
			j.moved, j.newest, j.firstSeen, j.counted = true, second, second, done
			return
		}
		j.advance(second)
		if done > j.counted && travelled { // what is found there says nothing either
			j.buckets[second%seconds] += done - j.counted
		}
		j.counted = done
	})
}

// advance empties the buckets of the seconds in which nothing has come.
func (j *job) advance(second int64) {
	if second-j.newest >= seconds {
		j.buckets = [seconds]int64{}
		j.newest = second
	}
	for j.newest < second {
		j.newest++
		j.buckets[j.newest%seconds] = 0
	}
}

// decide waits until a person has decided.
func (t *Transfers) decide(ctx context.Context, j *job, c Conflict) (Decision, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if j.always != nil {
		return *j.always, nil
	}
	wake := context.AfterFunc(ctx, func() { t.update(func() {}) })
	defer wake()
	j.Stage, j.Conflict, j.answer = Asking, c, nil
	t.touch()
	for j.answer == nil && ctx.Err() == nil {
		t.changed.Wait()
	}
	j.Stage, j.Conflict = Running, Conflict{}
	t.touch()
	if ctx.Err() != nil {
		return Keep, context.Cause(ctx)
	}
	return *j.answer, nil
}

// touch says that something has changed. It is called with mu held.
func (t *Transfers) touch() {
	t.version++
	t.changed.Broadcast()
}

func (t *Transfers) update(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
	t.touch()
}

// with changes the job of that number.
func (t *Transfers) with(id int, f func(*job)) {
	t.update(func() {
		for _, j := range t.jobs {
			if j.ID == id {
				f(j)
			}
		}
	})
}

// Add puts a job at the end of the list, and returns its number.
func (t *Transfers) Add(j Job) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	t.jobs = append(t.jobs, &job{Status: Status{Job: j, ID: t.last}})
	t.touch()
	return t.last
}

// Pause stops a job so that it can go on; what has arrived stays.
func (t *Transfers) Pause(id int) { t.with(id, func(j *job) { j.halt(Paused) }) }

// Stop stops a job for good.
func (t *Transfers) Stop(id int) { t.with(id, func(j *job) { j.halt(Stopped) }) }

func (j *job) halt(at Stage) {
	switch {
	case j.cancel != nil:
		j.want = at
		j.cancel()
	case !j.Stage.Ended():
		j.Stage = at
	}
}

// Resume goes on with a job that was paused, stopped or has failed.
func (t *Transfers) Resume(id int) {
	t.with(id, func(j *job) {
		if j.cancel == nil && (j.Stage == Paused || j.Stage == Failed || j.Stage == Stopped) {
			j.Stage, j.moved = Waiting, false
		}
	})
}

// Answer decides about a job's Conflict.
func (t *Transfers) Answer(id int, d Decision) {
	t.with(id, func(j *job) {
		if j.Stage != Asking {
			return
		}
		switch d {
		case KeepAll:
			d = Keep
			j.always = &d
		case ReplaceAll:
			d = Replace
			j.always = &d
		}
		j.answer = &d
	})
}

// Clear takes the jobs that have ended off the list.
func (t *Transfers) Clear() {
	t.update(func() {
		kept := t.jobs[:0]
		for _, j := range t.jobs {
			if !j.Stage.Ended() || j.cancel != nil {
				kept = append(kept, j)
			}
		}
		clear(t.jobs[len(kept):])
		t.jobs = kept
	})
}

// Next waits until something is different from version, at most a few times a
// second, and returns the new version; false when ctx has ended.
func (t *Transfers) Next(ctx context.Context, version uint64) (uint64, bool) {
	wake := context.AfterFunc(ctx, func() { t.update(func() {}) })
	defer wake()
	select {
	case <-time.After(100 * time.Millisecond):
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.version == version && ctx.Err() == nil {
		t.changed.Wait()
	}
	return t.version, ctx.Err() == nil
}

// List is all jobs, in the order they were added.
func (t *Transfers) List() []Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	list := make([]Status, len(t.jobs))
	for i, j := range t.jobs {
		list[i] = j.status(now)
	}
	return list
}

func (j *job) status(now time.Time) Status {
	s := j.Status
	if j.cancel != nil {
		s.Elapsed += now.Sub(j.began)
		s.Progress.BytesDone += j.before
		s.Progress.Bytes += j.before
		s.Progress.Wire += j.wire
	}
	if !j.moved {
		return s
	}
	if j.cancel != nil {
		j.advance(now.Unix())
	}
	// The present second is not over yet.
	for second := max(j.newest-seconds+1, j.firstSeen); second < j.newest; second++ {
		s.Rates = append(s.Rates, j.buckets[second%seconds])
	}
	if n := min(len(s.Rates), recent); n > 0 && j.Stage == Running {
		var moved int64
		for _, bytes := range s.Rates[len(s.Rates)-n:] {
			moved += bytes
		}
		s.Rate = float64(moved) / float64(n)
	}
	if left := s.Progress.Bytes - s.Progress.BytesDone; s.Rate > 0 && left > 0 && s.Item+1 >= len(s.Items) {
		s.Left = time.Duration(float64(left) / s.Rate * float64(time.Second))
	}
	return s
}

// Keeping says what quitting would cut off; "" if nothing.
func (t *Transfers) Keeping() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, j := range t.jobs {
		if j.cancel != nil || j.Stage == Waiting {
			n++
		}
	}
	switch n {
	case 0:
		return ""
	case 1:
		return "One copy is under way. It goes on where it stopped when you start it again."
	}
	return fmt.Sprintf("%d copies are under way. They go on where they stopped when you start them again.", n)
}
