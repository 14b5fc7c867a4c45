package mount

import (
	"context"
	"io"
	"maps"
	"strings"
	"sync"
	"time"

	"tandem/session"
	"tandem/share/folder"
)

const (
	// remembered is how long attributes and listings are good.
	remembered = time.Second
	// ours is how long what this mount has made is removed for good.
	ours    = time.Hour
	maxOurs = 1 << 16
	// maxRemembered bounds the entries that are remembered.
	maxRemembered = 1 << 16
)

// Folder is what a Tree needs of a *folder.Client.
type Folder interface {
	Stat(ctx context.Context, path string) (folder.Entry, error)
	List(ctx context.Context, path string) ([]folder.Entry, int, error)
	ReadRange(ctx context.Context, path string, p []byte, offset int64) (int, folder.Entry, error)
	Write(ctx context.Context, path string, r io.Reader, mtime int64, o folder.Options) (folder.Summary, error)
	Mkdir(ctx context.Context, path string) error
	Move(ctx context.Context, path, to string, force bool) error
	Remove(ctx context.Context, path string) (string, error)
	Purge(ctx context.Context, path string) error
	Set(ctx context.Context, path string, mtime int64, exec bool) (folder.Entry, error)
}

// Tree is a peer's folder as a file system sees it. Paths are those of package
// folder. Its methods can be called at once; their errors are package session's.
type Tree struct {
	folder   Folder
	base     string // of the share, what paths are relative to
	readOnly bool
	vigil    *vigil
	blocks   *blocks

	mu     sync.Mutex
	known  map[string]known
	made   map[string]time.Time // by this mount
	writes map[string]*spool    // what is open for writing
}

// known is what was found at a path a moment ago.
type known struct {
	entry folder.Entry
	err   error
	until time.Time
}

// New makes a tree of what is at base in a share.
func New(f Folder, base string, readOnly bool) *Tree {
	v := newVigil(func(ctx context.Context) error {
		_, err := f.Stat(ctx, base)
		return err
	})
	return &Tree{
		folder: f, base: base, readOnly: readOnly, vigil: v, blocks: newBlocks(f, v),
		known: make(map[string]known), made: make(map[string]time.Time), writes: make(map[string]*spool),
	}
}

// Close waits for what reads ahead, and forgets what was not written.
func (t *Tree) Close() {
	t.blocks.close()
	t.vigil.close()
	t.mu.Lock()
	writes := t.writes
	t.writes = make(map[string]*spool)
	t.mu.Unlock()
	for _, s := range writes {
		s.abandon()
	}
}

func (t *Tree) at(path string) string {
	if t.base == "" || path == "" {
		return t.base + path
	}
	return t.base + "/" + path
}

func (t *Tree) writable(op string) error {
	if t.readOnly {
		return session.Errorf(op, session.Denied, "it is mounted for reading only")
	}
	return nil
}

// Stat describes what is at path. A file that is being written has the size it
// will have.
func (t *Tree) Stat(ctx context.Context, path string) (folder.Entry, error) {
	t.mu.Lock()
	k, ok := t.known[path]
	t.mu.Unlock()
	if !ok || time.Now().After(k.until) {
		ctx, done := t.vigil.call(ctx)
		k.entry, k.err = t.folder.Stat(ctx, t.at(path))
		k.err = done(k.err)
		if k.err == nil || session.KindOf(k.err) == session.NotFound {
			t.remember(path, k)
		}
	}
	if k.err != nil {
		return folder.Entry{}, k.err
	}
	t.mu.Lock()
	s := t.writes[path]
	t.mu.Unlock()
	if s != nil {
		k.entry.Size, k.entry.MTime = s.stat(k.entry)
	}
	return k.entry, nil
}

func (t *Tree) remember(path string, k known) {
	k.until = time.Now().Add(remembered)
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.known) >= maxRemembered {
		clear(t.known)
	}
	t.known[path] = k
}

// forget drops what is known of a path and, as it may be a directory, of all
// others: rare enough.
func (t *Tree) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.known)
}

func (t *Tree) forgetOne(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.known, path)
}

// List is what is in the directory path.
func (t *Tree) List(ctx context.Context, path string) ([]folder.Entry, error) {
	ctx, done := t.vigil.call(ctx)
	entries, _, err := t.folder.List(ctx, t.at(path))
	if err = done(err); err != nil {
		return nil, err
	}
	for _, e := range entries {
		t.remember(join(path, e.Name), known{entry: e})
	}
	return entries, nil
}

// Mkdir makes a directory, and its parents.
func (t *Tree) Mkdir(ctx context.Context, path string) error {
	if err := t.writable("mkdir"); err != nil {
		return err
	}
	ctx, done := t.vigil.call(ctx)
	err := t.folder.Mkdir(ctx, t.at(path))
	err = done(err)
	t.forgetOne(path)
	if err == nil {
		t.own(path)
	}
	return err
}

// Remove removes a file, or a directory with what is in it.
func (t *Tree) Remove(ctx context.Context, path string) error {
	if err := t.writable("remove"); err != nil {
		return err
	}
	ctx, done := t.vigil.call(ctx)
	defer t.forget()
	err := t.remove(ctx, path)
	if err = done(err); err != nil {
		return err // what is being written there still has its place
	}
	t.drop(path)
	return nil
}

func (t *Tree) remove(ctx context.Context, path string) error {
	if t.owns(path) {
		switch err := t.folder.Purge(ctx, t.at(path)); {
		case err == nil:
			return nil
		case session.KindOf(err) == session.Exists: // something is in it
		default:
			return err
		}
	}
	_, err := t.folder.Remove(ctx, t.at(path))
	return err
}

// Move gives what is at path the path to, where a file is replaced.
func (t *Tree) Move(ctx context.Context, path, to string, force bool) error {
	if err := t.writable("move"); err != nil {
		return err
	}
	ctx, done := t.vigil.call(ctx)
	defer t.forget()
	err := t.folder.Move(ctx, t.at(path), t.at(to), force)
	if err = done(err); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.made, path) // under its new name it may be what counts
	if s := t.writes[to]; s != nil && path != to {
		s.orphan() // what is written to a file that was replaced goes nowhere
		delete(t.writes, to)
	}
	for at, s := range maps.Clone(t.writes) { // the file itself, or those below a directory
		if rest, below := strings.CutPrefix(at, path); below && (rest == "" || rest[0] == '/') {
			delete(t.writes, at)
			s.path = to + rest
			t.writes[s.path] = s
		}
	}
	return nil
}

// Set gives what is at path another time or executability.
func (t *Tree) Set(ctx context.Context, path string, mtime int64, exec bool) error {
	if err := t.writable("set"); err != nil {
		return err
	}
	t.mu.Lock()
	s := t.writes[path]
	t.mu.Unlock()
	if s != nil {
		s.set(mtime, exec)
		return nil
	}
	ctx, done := t.vigil.call(ctx)
	e, err := t.folder.Set(ctx, t.at(path), mtime, exec)
	err = done(err)
	if err == nil {
		t.remember(path, known{entry: e})
	}
	return err
}

// own notes that this mount has made what is at path.
func (t *Tree) own(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.made) >= maxOurs {
		clear(t.made)
	}
	t.made[path] = time.Now()
}

func (t *Tree) owns(path string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	when, ok := t.made[path]
	delete(t.made, path)
	return ok && time.Since(when) < ours
}

// drop ends the writing of what is removed: its bytes go nowhere.
func (t *Tree) drop(path string) {
	t.mu.Lock()
	s := t.writes[path]
	delete(t.writes, path)
	t.mu.Unlock()
	if s != nil {
		s.orphan()
	}
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
