package cast

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"tandem/session"
)

const (
	// maxQueue is how much may wait for the disk, in bytes, and eventCost what
	// an event counts besides its data.
	maxQueue  = 4 << 20
	eventCost = 64
	// maxBatch is how much is written at once, before encoding.
	maxBatch = 256 << 10
	// syncEvery is how long what was written may wait for the disk itself.
	syncEvery = 5 * time.Second
)

// Options say how a Recorder works.
type Options struct {
	// Required makes Output and Input wait until they are in the file, and fail
	// if they can't be. Without it nobody waits: what the disk is too slow for is
	// missing in the recording, which says so.
	Required bool
	// Failed is told, once and from a goroutine of the Recorder, that the
	// recording has ended because it can't be written. It may be nil, and must
	// not call Close.
	Failed func(error)
}

// file is as much of an *os.File as a recording needs.
type file interface {
	io.Writer
	Truncate(size int64) error
	Sync() error
	Close() error
}

// Recorder writes a recording while it happens. Its methods may be called from
// any goroutine. A nil *Recorder records nothing.
type Recorder struct {
	file    file
	began   time.Time
	options Options
	wake    chan struct{} // holds one request
	done    chan struct{} // closed when the writer has ended

	// The writer's own.
	encoder encoder
	size    int64 // of the whole lines in the file

	mu      sync.Mutex
	changed *sync.Cond // put, written, closed or err has changed
	queue   []Event
	queued  int
	put     uint64 // how many events were ever queued
	written uint64 // how many of them are in the file
	lost    int    // bytes that the queue had no room for since then
	resized *Event // the newest size among what was lost
	closed  bool
	err     error
}

// Create makes a recording in a new file. It fails with Exists if there is one of
// that name already, and if not even the header can be written.
func Create(path string, h Header, options Options) (*Recorder, error) {
	// O_EXCL follows no symbolic link either.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fileError(path, err)
	}
	r, err := record(f, h, options)
	if err != nil {
		_ = os.Remove(path) // it holds nothing
		return nil, fileError(path, err)
	}
	return r, nil
}

// fileError says what is wrong with a recording's file.
func fileError(path string, err error) error {
	e := &session.Error{
		Op: "record", Kind: failureKind(err), Err: err, Text: "the recording can't be written",
		Hint: "Name another place for recordings, or make room on the disk.",
	}
	if errors.Is(err, os.ErrExist) {
		e.Kind = session.Exists
		e.Text, e.Hint = filepath.Base(path)+" exists already", "Recordings never replace a file: name another one, or a folder."
	}
	return e
}

// failureKind is the kind of an error of ours: a full disk, or anything else.
func failureKind(err error) session.Kind {
	if kind := session.FileKind(err); kind == session.NoSpace {
		return kind
	}
	return session.Internal
}

// record begins a recording in an empty file.
func record(f file, h Header, options Options) (*Recorder, error) {
	r := &Recorder{
		file: f, began: time.Now(), options: options, wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	r.changed = sync.NewCond(&r.mu)
	h.Began = r.began
	if err := r.write(appendHeader(nil, h)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	go r.run()
	return r, nil
}

// Output records what a program has printed. It fails only if the recording is
// required.
func (r *Recorder) Output(p []byte) error { return r.event(Event{Kind: Output, Data: p}) }

// Input records what was typed. It fails only if the recording is required.
func (r *Recorder) Input(p []byte) error { return r.event(Event{Kind: Input, Data: p}) }

// Resize records a new size. It never waits.
func (r *Recorder) Resize(cols, rows int) {
	r.add(Event{Kind: Resize, Cols: cols, Rows: rows})
}

// Mark records a remark. It never waits.
func (r *Recorder) Mark(text string) { r.add(Event{Kind: Marker, Data: []byte(text)}) }

// event adds an event and waits for it if it has to.
func (r *Recorder) event(ev Event) error {
	if r == nil || len(ev.Data) == 0 {
		return nil
	}
	number := r.add(ev)
	if !r.options.Required {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.written < number && r.err == nil {
		r.changed.Wait()
	}
	return r.err
}

// add queues an event and returns its number.
func (r *Recorder) add(ev Event) uint64 {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.err != nil {
		return r.put + 1 // never written
	}
	ev.At = time.Since(r.began)
	if !r.hasRoom(len(ev.Data)) {
		r.lost += len(ev.Data)
		if ev.Kind == Resize {
			r.resized = &ev
		}
		return r.put + 1
	}
	r.queueLocked(ev)
	return r.put
}

// hasRoom reports whether n more bytes fit. A required recording has room for
// everything: there is nothing more until it is written. After a loss the queue
// has to be half empty, so that few gaps are long rather than many short.
func (r *Recorder) hasRoom(n int) bool {
	limit := maxQueue
	if r.lost > 0 || r.resized != nil {
		limit /= 2
	}
	return r.options.Required || r.queued+n+eventCost <= limit
}

// queueLocked queues an event that there is room for, and in front of it what
// is to be said of those that there was none for.
func (r *Recorder) queueLocked(ev Event) {
	r.settle(ev.At)
	ev.Data = bytes.Clone(ev.Data)
	r.queue = append(r.queue, ev)
	r.queued += len(ev.Data) + eventCost
	r.put++
	r.wakeUp()
}

func (r *Recorder) settle(at time.Duration) {
	n, size := r.lost, r.resized
	r.lost, r.resized = 0, nil
	if n > 0 {
		r.queueLocked(Event{At: at, Kind: Marker, Data: []byte(lostText(n))})
	}
	if size != nil {
		size.At = at
		r.queueLocked(*size)
	}
}

func (r *Recorder) wakeUp() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run writes until the recorder is closed or can't write any more.
func (r *Recorder) run() {
	defer close(r.done)
	unsynced := time.NewTimer(syncEvery)
	unsynced.Stop()
	dirty := false
	defer unsynced.Stop()
	for {
		batch, last, closed := r.take()
		var lines []byte
		for _, ev := range batch {
			lines = r.encoder.append(lines, ev)
		}
		if closed {
			lines = r.encoder.flush(lines)
		}
		err := r.write(lines)
		if err == nil && closed {
			err = r.file.Sync()
		}
		if err != nil {
			r.fail(err)
			return
		}
		r.mu.Lock()
		r.written = last
		r.mu.Unlock()
		r.changed.Broadcast()
		switch {
		case closed:
			return
		case len(lines) > 0 && !dirty:
			dirty = true
			unsynced.Reset(syncEvery)
		}
		if len(batch) > 0 {
			continue // there may be more
		}
		select {
		case <-r.wake:
		case <-unsynced.C:
			dirty = false
			if err := r.file.Sync(); err != nil {
				r.fail(err)
				return
			}
		}
	}
}

// take is what to write next, and the number of its last event. closed reports
// that nothing comes after it.
func (r *Recorder) take() (batch []Event, last uint64, closed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		r.settle(time.Since(r.began))
	}
	n, size := 0, 0
	for n < len(r.queue) && size < maxBatch {
		size += len(r.queue[n].Data) + eventCost
		n++
	}
	batch, r.queue = r.queue[:n:n], r.queue[n:]
	r.queued -= size
	return batch, r.put - uint64(len(r.queue)), r.closed && len(r.queue) == 0
}

// write appends whole lines, or nothing.
func (r *Recorder) write(lines []byte) error {
	if len(lines) == 0 {
		return nil
	}
	if _, err := r.file.Write(lines); err != nil {
		return errors.Join(err, r.file.Truncate(r.size))
	}
	r.size += int64(len(lines))
	return nil
}

// fail ends the recording.
func (r *Recorder) fail(err error) {
	err = &session.Error{
		Op: "record", Kind: failureKind(err), Err: err, Text: "the recording can't be written any more",
		Hint: "Make room on the disk, or record somewhere else.",
	}
	r.mu.Lock()
	r.err = err
	r.queue, r.queued, r.lost = nil, 0, 0
	r.mu.Unlock()
	r.changed.Broadcast()
	if r.options.Failed != nil {
		r.options.Failed(err)
	}
}

// Close writes what is left, forces it to the disk and returns when nothing is
// written any more. It says what went wrong first.
func (r *Recorder) Close() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	first := !r.closed
	r.closed = true
	r.mu.Unlock()
	r.wakeUp()
	<-r.done
	var err error
	if first {
		err = r.file.Close()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	return err
}

func lostText(n int) string {
	return fmt.Sprintf("%d bytes are missing here: the disk was too slow for them", n)
}
