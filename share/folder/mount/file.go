package mount

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"tandem/session"
	"tandem/share/folder"
)

// File is a file open for reading, or for writing too.
type File struct {
	tree  *Tree
	state state  // of what is read
	spool *spool // where it is written; nil if it isn't

	mu   sync.Mutex
	next int64 // where reading in order goes on
}

// Open opens the file at path for reading.
func (t *Tree) Open(ctx context.Context, path string) (*File, error) {
	t.mu.Lock()
	s := t.writes[path]
	if s != nil {
		s.users++
	}
	t.mu.Unlock()
	if s != nil { // what is written and read at once is read as it is written
		return &File{tree: t, spool: s}, nil
	}
	t.forgetOne(path)
	e, err := t.Stat(ctx, path)
	if err != nil {
		return nil, err
	}
	if e.Dir {
		return nil, session.Errorf("open", session.Invalid, "%s is a folder", session.Printable(path))
	}
	return &File{tree: t, state: stateOf(t.at(path), e)}, nil
}

// Create makes an empty file at path, which must not be there.
func (t *Tree) Create(ctx context.Context, path string, exec bool) (*File, error) {
	if err := t.writable("create"); err != nil {
		return nil, err
	}
	ctx, done := t.vigil.call(ctx)
	now := time.Now().UnixNano()
	o := folder.Options{Exclusive: true, Exec: exec}
	_, err := t.folder.Write(ctx, t.at(path), io.LimitReader(nil, 0), now, o)
	if err = done(err); err != nil {
		return nil, err
	}
	t.own(path)
	t.forgetOne(path)
	return t.write(path, folder.Entry{MTime: now, Exec: exec}, nil)
}

// OpenWrite opens the file at path for reading and writing; truncate empties it.
func (t *Tree) OpenWrite(ctx context.Context, path string, truncate bool) (*File, error) {
	if err := t.writable("open"); err != nil {
		return nil, err
	}
	t.mu.Lock()
	s := t.writes[path]
	if s != nil {
		s.users++
	}
	t.mu.Unlock()
	if s != nil {
		return emptied(&File{tree: t, spool: s}, truncate)
	}
	old, err := t.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	if old.spool != nil { // somebody was quicker
		return emptied(old, truncate)
	}
	e, err := t.Stat(ctx, path)
	if err != nil {
		return nil, err
	}
	if truncate {
		return t.write(path, e, func(*os.File) error { return nil })
	}
	return t.write(path, e, func(f *os.File) error {
		_, err := io.Copy(f, io.NewSectionReader(readerAt{ctx, old}, 0, old.state.size))
		return err
	})
}

// emptied truncates f if so asked. After an error f is closed.
func emptied(f *File, truncate bool) (*File, error) {
	if truncate {
		if err := f.Truncate(0); err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}

// readerAt reads a File for as long as a context lives.
type readerAt struct {
	ctx  context.Context //nolint:containedctx // io.ReaderAt has no place for it; it lives as long as one call
	file *File
}

func (r readerAt) ReadAt(p []byte, offset int64) (int, error) {
	n, err := r.file.ReadAt(r.ctx, p, offset)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// write opens a spool for path. Fill, if not nil, fills it with other than
// nothing; then it differs from what is there.
func (t *Tree) write(path string, e folder.Entry, fill func(*os.File) error) (*File, error) {
	f, err := os.CreateTemp("", "tandem-mount-*")
	if err != nil {
		return nil, localError("open", err)
	}
	_ = os.Remove(f.Name()) // where that can't be done before it is closed, it is done after that
	s := &spool{tree: t, path: path, file: f, mtime: e.MTime, exec: e.Exec, users: 1}
	if fill != nil {
		if err := fill(f); err != nil {
			s.abandon()
			return nil, localError("open", err)
		}
		s.dirty = s.size() != e.Size
	}
	t.mu.Lock()
	other := t.writes[path]
	if other == nil {
		t.writes[path] = s
	} else {
		other.users++
	}
	t.mu.Unlock()
	if other != nil {
		s.abandon()
		s = other
	}
	return &File{tree: t, spool: s}, nil
}

// localError is an error of the temporary file.
func localError(op string, err error) error {
	var se *session.Error
	if errors.As(err, &se) {
		return err
	}
	kind := session.Internal
	if isFull(err) {
		kind = session.NoSpace
	}
	return &session.Error{Op: op, Kind: kind, Text: "the temporary file on this machine", Err: err}
}

// Size is how long the file is.
func (f *File) Size() int64 {
	if f.spool != nil {
		return f.spool.size()
	}
	return f.state.size
}

// ReadAt reads what there is from offset on; at the end it reads nothing,
// without an error.
func (f *File) ReadAt(ctx context.Context, p []byte, offset int64) (int, error) {
	if f.spool != nil {
		n, err := f.spool.file.ReadAt(p, offset)
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return n, err
	}
	f.mu.Lock()
	ahead := offset == f.next
	f.next = offset + int64(len(p))
	f.mu.Unlock()
	return f.tree.blocks.read(ctx, f.state, p, offset, ahead)
}

// WriteAt writes p at offset.
func (f *File) WriteAt(p []byte, offset int64) (int, error) {
	if f.spool == nil {
		return 0, session.Errorf("write", session.Denied, "it was opened for reading")
	}
	return f.spool.writeAt(p, offset)
}

// Truncate makes the file size bytes long.
func (f *File) Truncate(size int64) error {
	if f.spool == nil {
		return session.Errorf("write", session.Denied, "it was opened for reading")
	}
	return f.spool.truncate(size)
}

// Sync sends what was written. After an error the file there is as it was.
func (f *File) Sync(ctx context.Context) error {
	if f.spool == nil {
		return nil
	}
	return f.spool.send(ctx)
}

// Discard forgets what was written since the last Sync, if nobody else writes.
func (f *File) Discard() {
	if f.spool != nil {
		f.spool.orphan()
	}
}

// Close ends the use of the file. It does not Sync.
func (f *File) Close() {
	if f.spool == nil {
		return
	}
	t, s := f.tree, f.spool
	t.mu.Lock()
	s.users--
	last := s.users == 0
	if last && t.writes[s.path] == s {
		delete(t.writes, s.path)
	}
	t.mu.Unlock()
	if last {
		s.abandon()
	}
}

// spool is a file that is being written, on this machine.
type spool struct {
	tree  *Tree
	file  *os.File
	users int    // guarded by Tree.mu
	path  string // guarded by Tree.mu

	sending sync.Mutex // one at a time

	mu    sync.Mutex
	mtime int64
	exec  bool
	dirty bool
	gone  bool // it was removed: nothing is sent any more
}

func (s *spool) size() int64 {
	info, err := s.file.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

func (s *spool) stat(e folder.Entry) (size, mtime int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dirty {
		return s.size(), max(e.MTime, s.mtime)
	}
	return s.size(), s.mtime
}

func (s *spool) touchLocked() {
	s.dirty, s.mtime = true, time.Now().UnixNano()
}

func (s *spool) writeAt(p []byte, offset int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touchLocked()
	n, err := s.file.WriteAt(p, offset)
	if err != nil {
		err = localError("write", err)
	}
	return n, err
}

func (s *spool) truncate(size int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.size() == size {
		return nil
	}
	s.touchLocked()
	if err := s.file.Truncate(size); err != nil {
		return localError("write", err)
	}
	return nil
}

func (s *spool) set(mtime int64, exec bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mtime, s.exec, s.dirty = mtime, exec, true
}

func (s *spool) orphan() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone, s.dirty = true, false
}

// abandon frees the temporary file.
func (s *spool) abandon() {
	_ = s.file.Close()           // nothing in it is of use
	_ = os.Remove(s.file.Name()) // where it has a name still
}

// send makes what was written the file at its path.
func (s *spool) send(ctx context.Context) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	s.tree.mu.Lock()
	path := s.path
	s.tree.mu.Unlock()
	s.mu.Lock()
	if !s.dirty || s.gone {
		s.mu.Unlock()
		return nil
	}
	s.dirty = false // what is written from now on goes the next time
	mtime, exec, size := s.mtime, s.exec, s.size()
	s.mu.Unlock()
	err := s.write(ctx, path, size, mtime, exec)
	s.tree.forgetOne(path)
	if err != nil {
		s.mu.Lock()
		s.dirty = true
		s.mu.Unlock()
	}
	return err
}

// write sends the first size bytes. It may take as long as it makes progress.
func (s *spool) write(ctx context.Context, path string, size, mtime int64, exec bool) (err error) {
	ctx, done := s.tree.vigil.transfer(ctx)
	defer func() { err = done(err) }()
	stalled, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alive := time.AfterFunc(limit, func() { cancel(errSilent) }) // which the folder's client passes on
	defer alive.Stop()
	o := folder.Options{Force: true, Exec: exec, Progress: func(folder.Progress) { alive.Reset(limit) }}
	summary, err := s.tree.folder.Write(stalled, s.tree.at(path), io.NewSectionReader(s.file, 0, size), mtime, o)
	if err == nil && summary.Same > 0 { // the content was; the rest may not be
		_, err = s.tree.folder.Set(stalled, s.tree.at(path), mtime, exec)
	}
	return err
}
