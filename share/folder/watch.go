package folder

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"tandem/session"
)

// MaxWatched is how many entries a watch remembers at most.
const MaxWatched = 1 << 18

// watchTiming is when a watch looks.
type watchTiming struct {
	settle time.Duration // after a hint, for others to come with it
	rescan time.Duration // everything, in case hints were lost
	poll   time.Duration // everything, where there are no hints
}

func usualTiming() watchTiming {
	return watchTiming{settle: 50 * time.Millisecond, rescan: time.Minute, poll: 2 * time.Second}
}

// ChangeKind is what happened to an entry.
type ChangeKind string

// The kinds of change. The removal of a directory stands for all below it.
const (
	Created ChangeKind = "created"
	Changed ChangeKind = "changed"
	Removed ChangeKind = "removed"
)

// Change is one change below a directory that is watched.
type Change struct {
	Path string     `json:"path"` // in the share
	Kind ChangeKind `json:"kind"`
	// Entry is what is there now, or was removed.
	Entry Entry `json:"entry"`
}

// watcher finds changes by comparing directories with what they were. What the
// operating system tells of changes are hints where to look: a path in them is
// never used but through the tree.
type watcher struct {
	tree      *tree
	base      string // of the request
	recursive bool
	only      string // the one name of interest; "" is all
	hints     *fsnotify.Watcher
	known     map[string]map[string]Entry // by directory and name
	count     int
	dirty     map[string]bool // directories to look at
	ignores   bool            // what is ignored may have changed
	found     []Change
}

// watch answers with changes until the client ends the stream.
func (c *conversation) watch(ctx context.Context, req request) error {
	w, err := c.tree.watcher(req.Path, req.Recursive)
	if err == nil {
		defer w.close()
		err = w.scan(ctx, w.base)
	}
	if err != nil {
		return c.send(req, reply{}, err)
	}
	w.found = nil // it was so before
	if err := c.send(req, reply{Body: true}, nil); err != nil {
		return err
	}
	if err := c.w.Flush(); err != nil {
		return err
	}
	err = w.run(ctx, c.heard, func(found []Change) error {
		raw, err := json.Marshal(changes{Changes: found})
		if err != nil {
			return err
		}
		if err := writeUnit(c.w, raw); err != nil {
			return err
		}
		return c.w.Flush()
	})
	if _, public := session.Public(err); public != "" {
		return writeTrailer(c.w, trailer{Error: toWire(err)})
	}
	if err != nil {
		return err
	}
	return writeTrailer(c.w, trailer{})
}

func (t *tree) watcher(path string, recursive bool) (*watcher, error) {
	e, err := t.stat(path)
	if err != nil {
		return nil, err
	}
	w := &watcher{
		tree: t, base: path, recursive: recursive,
		known: make(map[string]map[string]Entry), dirty: make(map[string]bool),
	}
	if !e.Dir {
		w.base, w.only = split(path)
		w.recursive = false
	}
	if !t.deaf {
		w.hints, _ = fsnotify.NewBufferedWatcher(1024) // without hints it polls
	}
	return w, nil
}

func (w *watcher) close() {
	if w.hints != nil {
		_ = w.hints.Close() // nothing depends on it
	}
}

// silence gives up hints: the system has no more of them to give.
func (w *watcher) silence() {
	w.close()
	w.hints = nil
}

// place is a directory as the operating system names it.
func (w *watcher) place(dir string) string { return filepath.Join(w.tree.root.Name(), local(dir)) }

// run reports changes until over is closed, or ctx ends.
func (w *watcher) run(ctx context.Context, over <-chan struct{}, report func([]Change) error) error {
	settled := time.NewTimer(0)
	settled.Stop()
	defer settled.Stop()
	all := time.NewTimer(w.pause())
	defer all.Stop()
	waiting := false
	for {
		var events chan fsnotify.Event
		var errs chan error
		if w.hints != nil {
			events, errs = w.hints.Events, w.hints.Errors
		}
		select {
		case <-over:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case e := <-events:
			w.hint(e.Name)
			if w.ignores { // it counts soon
				w.ignores = false
				all.Reset(2 * trustIgnores)
			}
			if !waiting && len(w.dirty) > 0 {
				waiting = true
				settled.Reset(w.tree.timing.settle)
			}
			continue
		case err := <-errs:
			if err != nil { // hints were lost
				w.everything()
			}
		case <-all.C:
			w.everything()
			all.Reset(w.pause())
		case <-settled.C:
		}
		waiting = false
		if err := w.look(ctx); err != nil {
			return err
		}
		if events != nil && w.hints == nil {
			all.Reset(w.pause())
		}
		for len(w.found) > 0 {
			n := min(len(w.found), MaxPage/4) // paths are long
			if err := report(w.found[:n]); err != nil {
				return err
			}
			w.found = w.found[n:]
		}
		w.found = nil
	}
}

// pause is how long to wait before everything is looked at: never in step with
// other watchers.
func (w *watcher) pause() time.Duration {
	d := w.tree.timing.rescan
	if w.hints == nil {
		d = w.tree.timing.poll
	}
	return d - d/8 + rand.N(d/4+1)
}

// hint marks the directory of a path that the system named, and the path
// itself if it is a directory.
func (w *watcher) hint(name string) {
	rel, err := filepath.Rel(w.tree.root.Name(), name)
	if err != nil {
		return
	}
	path := filepath.ToSlash(rel)
	if path == "." {
		path = ""
	}
	dir, base := split(path)
	if base == ignoreFile {
		w.ignores = true
	}
	for _, d := range []string{dir, path} {
		if _, ok := w.known[d]; ok {
			w.dirty[d] = true
		}
	}
}

func (w *watcher) everything() {
	for dir := range w.known {
		w.dirty[dir] = true
	}
}

// look compares what is marked, parents first.
func (w *watcher) look(ctx context.Context) error {
	dirs := slices.SortedFunc(maps.Keys(w.dirty), func(a, b string) int {
		return cmp.Or(cmp.Compare(strings.Count(a, "/"), strings.Count(b, "/")), strings.Compare(a, b))
	})
	clear(w.dirty)
	for _, dir := range dirs {
		if _, ok := w.known[dir]; !ok {
			continue // it went with its parent
		}
		if err := w.scan(ctx, dir); err != nil {
			return err
		}
	}
	return nil
}

// scan compares one directory with what is known of it, and goes into those
// that are new. Of one that can't be read any more everything is gone; its
// parent says why.
func (w *watcher) scan(ctx context.Context, dir string) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	before, again := w.known[dir]
	if !again && w.hints != nil {
		// First, so that nothing changes between looking and being told.
		if err := w.hints.Add(w.place(dir)); err != nil {
			w.silence()
		}
	}
	now, err := w.read(ctx, dir)
	if err != nil && (dir == w.base && w.only == "" || ctx.Err() != nil || session.KindOf(err) == session.TooLarge) {
		return err
	}
	w.known[dir] = now
	w.count += len(now) - len(before)
	if w.count > MaxWatched {
		return w.tooMany()
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		old := before[name]
		if e, ok := now[name]; !ok || e.Dir != old.Dir {
			if old.Dir {
				w.forget(join(dir, name))
			}
			w.found = append(w.found, Change{join(dir, name), Removed, old})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		e := now[name]
		old, ok := before[name]
		switch {
		case !ok || e.Dir != old.Dir:
			w.found = append(w.found, Change{join(dir, name), Created, e})
			if e.Dir && w.recursive {
				if err := w.scan(ctx, join(dir, name)); err != nil {
					return err
				}
			}
		case !e.Dir && e != old: // a directory's time says what its entries say better
			w.found = append(w.found, Change{join(dir, name), Changed, e})
		}
	}
	return nil
}

// read is what is in a directory.
func (w *watcher) read(ctx context.Context, dir string) (map[string]Entry, error) {
	d, err := w.tree.directory(dir)
	if err != nil {
		return nil, err
	}
	defer d.close()
	now := make(map[string]Entry)
	if w.only != "" {
		if e, err := d.entry(w.only); err == nil {
			now[w.only] = e
		}
		return now, nil
	}
	err = d.entries(ctx, func(e Entry, err error) error {
		if err == nil {
			now[e.Name] = e
		}
		if len(now) > MaxWatched {
			return w.tooMany()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return now, nil
}

func (w *watcher) tooMany() error {
	return session.Errorf("watch", session.TooLarge, "more than %d entries can't be watched", MaxWatched)
}

// forget drops what is known of a directory and those below.
func (w *watcher) forget(dir string) {
	for d, entries := range w.known {
		if d == dir || within(d, dir) {
			w.count -= len(entries)
			delete(w.known, d)
			if w.hints != nil {
				_ = w.hints.Remove(w.place(d)) // it may know already
			}
		}
	}
}
