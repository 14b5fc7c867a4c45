package folder

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/zeebo/blake3"

	"tandem/session"
	"tandem/share/chunk"
)

const (
	// keepPartial is how long an unfinished file waits to be resumed.
	keepPartial = 7 * 24 * time.Hour
	// worthKeeping is the least an unfinished file must hold to be kept.
	worthKeeping = 64 << 10
	// lettingGo is how long one who goes on with a file waits for the one before to end.
	lettingGo = time.Second
	// nameless is how the names of unfinished files begin that nobody goes on with.
	nameless = "tmp-"
	// flushEvery is how much gathers before the disk begins to store it, so that less
	// is left for the commit to wait for.
	flushEvery = 16 << 20
)

// stage is a file under way: bytes gather in a partial file, and commit makes
// them visible at once or not at all.
type stage struct {
	tree  *tree
	dir   *os.Root // partialDir
	file  *os.File
	name  string // in dir
	key   string // what it can be found by later, or ""
	at    string // the path that it is to have
	hash  *blake3.Hasher
	whole chunk.Sum // the hash, if it was known before
	size  int64
	holes bool
	// flushed is up to where the disk was told to store the bytes.
	flushed int64
}

// use is what a file under way is to others who would go on with it.
type use struct {
	over chan struct{} // closed when it is in use no more
	by   session.PeerID
	end  func() // ends it, if it can be ended
}

// have is how many bytes lie staged under key of a file of size bytes, for a peer that would go on
// with it; its zero value is the person here.
//
// If it is under way still, have waits a little for that to end. A peer that was killed and comes again
// is here before the session it had is known to be dead: what nothing comes to any more of
// the same peer's is ended.
func (t *tree) have(ctx context.Context, key string, size int64, by session.PeerID) int64 {
	if size < worthKeeping {
		return 0
	}
	before := t.stagedSize(key)
	if t.vacant(ctx, key, nil) {
		return t.stagedSize(key)
	}
	stalled := func(u *use) bool { return u.end != nil && u.by == by && before == t.stagedSize(key) }
	if t.vacant(ctx, key, stalled) {
		return t.stagedSize(key)
	}
	return 0
}

// stagedSize is the size of what lies under key.
func (t *tree) stagedSize(key string) int64 {
	info, err := t.root.Lstat(local(join(partialDir, key)))
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	return info.Size()
}

// vacant waits until nobody uses key, and reports whether that is so. It ends the use of who does if that
// is what end wants.
func (t *tree) vacant(ctx context.Context, key string, end func(*use) bool) bool {
	t.mu.Lock()
	u := t.staged[key]
	t.mu.Unlock()
	if u == nil {
		return true
	}
	if end != nil {
		if !end(u) {
			return false
		}
		u.end()
	}
	late := time.NewTimer(lettingGo)
	defer late.Stop()
	select {
	case <-u.over:
		return true
	case <-late.C:
	case <-ctx.Done():
	}
	return false
}

// errTaken says that another process writes the same file.
var errTaken = errors.New("in use")

// begin opens a stage. One with a key finds the bytes of an earlier one with
// the same key and can be kept for a later one; while another has the key, here or in
// another process, and without a key, it starts empty and can't be kept.
func (t *tree) begin(key, at string) (*stage, error) { return t.beginFor(key, at, use{}) }

func (t *tree) beginFor(key, at string, u use) (*stage, error) {
	u.over = make(chan struct{})
	t.mu.Lock()
	if t.staged[key] != nil {
		key = ""
	}
	s := &stage{tree: t, key: key, name: key, at: at}
	if key == "" {
		s.name = nameless + rand.Text()
	}
	t.staged[s.name] = &u
	t.mu.Unlock()

	err := s.open(false)
	if errors.Is(err, fs.ErrNotExist) {
		// The directory is made when needed and removed when empty.
		if err = t.root.Mkdir(partialDir, 0o700); err == nil || errors.Is(err, fs.ErrExist) {
			err = s.open(true)
		}
	}
	if err == nil {
		return s, nil
	}
	s.release()
	if errors.Is(err, errTaken) {
		return t.begin("", at)
	}
	return nil, fileError("stage", "", err)
}

func (s *stage) open(anew bool) (err error) {
	if s.dir, err = s.tree.partials(anew); err != nil {
		return err
	}
	if s.key == "" {
		s.file, err = s.dir.OpenFile(s.name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		return err
	}
	for {
		f, err := s.dir.OpenFile(s.name, os.O_RDWR|os.O_CREATE|openNonblock, 0o666)
		if err != nil {
			return err
		}
		info, err := f.Stat()
		if err != nil || !info.Mode().IsRegular() {
			return errors.Join(err, f.Close(), unsupported(s.path()))
		}
		if held, err := tryLock(f, true); err == nil && !held {
			return errors.Join(f.Close(), errTaken)
		}
		if now, err := s.dir.Lstat(s.name); err == nil && os.SameFile(info, now) {
			s.file = f
			return nil
		}
		if err := f.Close(); err != nil { // it has just become whole
			return err
		}
	}
}

// partials is the directory of unfinished files. One that is held open may have been
// removed by another tandem: then it is to be opened anew.
func (t *tree) partials(anew bool) (*os.Root, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.partial != nil && !anew {
		return t.partial, nil
	}
	info, err := t.root.Lstat(partialDir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, session.Errorf("stage", session.Invalid, "%s is not a folder", partialDir)
	}
	dir, err := t.root.OpenRoot(partialDir)
	if err != nil {
		return nil, err
	}
	lock, err := dir.Open(".")
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	t.letGo()
	t.partial, t.lock = dir, lock // who still has the one before uses it up
	for {
		// Who sweeps has it alone, for a moment.
		if held, err := tryLock(lock, false); held || err != nil {
			return dir, nil
		}
		time.Sleep(time.Millisecond)
	}
}

// letGo says that nothing of ours is in the directory of unfinished files any more;
// t.mu is held.
func (t *tree) letGo() {
	if t.lock != nil {
		_ = t.lock.Close() // only a lock
		t.lock = nil
	}
}

func (s *stage) path() string { return local(join(partialDir, s.name)) }

// resume keeps the first n staged bytes and hashes them.
func (s *stage) resume(ctx context.Context, n int64) error {
	s.hash = blake3.New()
	s.size = 0
	if s.key == "" && n == 0 {
		return nil // it is new
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return fileError("resume", "", err)
	}
	if n > 0 {
		if err := hashFile(ctx, s.hash, s.file, n); err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				err = session.Errorf("resume", session.Changed, "the unfinished file is gone")
			}
			return fileError("resume", "", err)
		}
	}
	s.size, s.flushed = n, n
	return fileError("resume", "", s.file.Truncate(n))
}

// Write appends p. After an error the stage can only be given up or kept.
func (s *stage) Write(p []byte) (n int, err error) {
	if s.hash == nil {
		s.hash = blake3.New()
	}
	err = hashBeside(s.hash, p, func() error {
		n, err = s.file.Write(p)
		return err
	})
	s.size += int64(n)
	if s.size-s.flushed >= flushEvery {
		startFlush(s.file, s.flushed, s.size-s.flushed)
		s.flushed = s.size
	}
	return n, err
}

// write makes p, whose hash is name unless that is zero, all that is staged.
func (s *stage) write(p []byte, name chunk.Sum) error {
	if s.whole = name; name == (chunk.Sum{}) {
		s.whole = chunk.SumOf(p)
	}
	s.size = int64(len(p))
	_, err := s.file.Write(p)
	return err
}

func (s *stage) spot() spot { return spot{path: s.at, stage: s.name, offset: s.size} }

// zeros appends a hole of n bytes.
func (s *stage) zeros(ctx context.Context, n int64) error {
	if err := hashZeros(s.hash, n, ctx.Err); err != nil {
		return err
	}
	if _, err := s.file.Seek(n, io.SeekCurrent); err != nil {
		return err
	}
	s.size += n
	s.holes = true
	return nil
}

// target is what a stage becomes.
type target struct {
	path  string
	mtime int64
	exec  bool
	force bool // replace a file with other content

	exclusive bool // not even one with the same content may be there
}

// sum is the hash of everything staged.
func (s *stage) sum() chunk.Sum {
	if s.hash == nil {
		return s.whole
	}
	return sum(s.hash)
}

// commit makes what was staged, verified by the caller, the file at to.path.
// It reports whether the same content was there already; then that stays.
// Whatever it returns, the stage is over.
func (s *stage) commit(ctx context.Context, to target) (same bool, err error) {
	defer func() {
		if err != nil || same {
			s.discard()
			return
		}
		s.release()
	}()
	var old fs.FileMode
	if to.force || s.size > smallFile { // of others it is found out in time
		old, err = s.replaces(ctx, to)
		if errors.Is(err, errSame) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
	if err := s.seal(to, old); err != nil {
		return false, fileError("put", to.path, err)
	}
	if to.exclusive { // of two at once, one comes second
		s.tree.creating.Lock()
		defer s.tree.creating.Unlock()
	}
	// What is there may have changed while ours was flushed.
	_, err = s.replaces(ctx, to)
	if errors.Is(err, errSame) && !to.force {
		return true, nil
	}
	if err != nil && !errors.Is(err, errSame) {
		return false, err
	}
	err = s.tree.take("put", to.path, "", func() error { return s.tree.root.Rename(s.path(), local(to.path)) })
	if isCrossDevice(err) {
		err = s.copyOver(ctx, to, old)
	}
	if err == nil {
		dir, _ := split(to.path)
		err = s.tree.syncDir(dir)
	}
	return false, fileError("put", to.path, err)
}

// errSame says that there is nothing to do.
var errSame = errors.New("same content")

// replaces looks at what the commit would replace: the mode of a file, or 0 if
// there is none.
func (s *stage) replaces(ctx context.Context, to target) (fs.FileMode, error) {
	if err := s.tree.changeable("put", to.path, false); err != nil {
		return 0, err
	}
	dir, _ := split(to.path)
	if err := s.tree.folder("put", dir); err != nil {
		return 0, err
	}
	info, err := s.tree.root.Lstat(local(to.path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	case err != nil:
		return 0, fileError("put", to.path, err)
	case !info.Mode().IsRegular():
		return 0, session.Errorf("put", session.Exists, "%s is there already and is not a file", session.Printable(to.path))
	case to.exclusive:
		return 0, session.Errorf("put", session.Exists, "%s is there already", session.Printable(to.path))
	}
	if info.Size() == s.size {
		if h, _, err := s.tree.hashOf(ctx, to.path); err == nil && h == s.sum() {
			return 0, errSame
		}
	}
	if !to.force {
		return 0, session.Errorf("put", session.Exists, "%s is there already with other content", session.Printable(to.path))
	}
	return info.Mode(), nil
}

// seal gives the staged file its final mode and time and flushes it.
func (s *stage) seal(to target, old fs.FileMode) error {
	if s.holes {
		if err := s.file.Truncate(s.size); err != nil { // it may end in one
			return err
		}
	}
	if err := setMode(s.file, old, to.exec && s.tree.exec); err != nil {
		return err
	}
	mtime := time.Unix(0, to.mtime)
	if err := s.dir.Chtimes(s.name, mtime, mtime); err != nil {
		return err
	}
	if err := s.file.Sync(); err != nil {
		return err
	}
	if renamesOpen {
		return nil // until its name is gone nobody else may have it
	}
	f := s.file
	s.file = nil
	return f.Close()
}

// copyOver commits where another file system is mounted inside the tree: it
// stages the bytes once more next to the target.
func (s *stage) copyOver(ctx context.Context, to target, old fs.FileMode) error {
	from, err := s.tree.root.Open(s.path())
	if err != nil {
		return err
	}
	defer from.Close()
	dir, _ := split(to.path)
	name := local(join(dir, partialDir+"-"+rand.Text()))
	f, err := s.tree.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = copyContext(ctx, f, from)
	if err == nil {
		err = setMode(f, old, to.exec && s.tree.exec)
	}
	if err == nil {
		mtime := time.Unix(0, to.mtime)
		err = s.tree.root.Chtimes(name, mtime, mtime)
	}
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = s.tree.take("put", to.path, "", func() error { return s.tree.root.Rename(name, local(to.path)) })
	}
	if err != nil {
		return errors.Join(err, s.tree.root.Remove(name))
	}
	return s.tree.root.Remove(s.path())
}

// keep leaves what is staged for a later begin, if that is worth it.
func (s *stage) keep() {
	if s.key == "" || s.size < worthKeeping {
		s.discard()
		return
	}
	s.release()
}

// discard removes what is staged.
func (s *stage) discard() {
	if s.file != nil {
		_ = s.file.Close() // it is about to go
		s.file = nil
	}
	_ = s.dir.Remove(s.name) // swept later if this fails
	s.release()
}

func (s *stage) release() {
	if s.file != nil {
		_ = s.file.Close() // what a later resume finds is verified
		s.file = nil
	}
	s.tree.mu.Lock()
	if u := s.tree.staged[s.name]; u != nil {
		close(u.over)
		delete(s.tree.staged, s.name)
	}
	s.tree.mu.Unlock()
}

// sweep removes unfinished files that nobody has touched for long, and those that
// somebody has left behind who was killed.
func (t *tree) sweep(now time.Time) {
	if !t.hasPartials() {
		return
	}
	d, err := t.root.Open(partialDir)
	if err != nil {
		return
	}
	names, _ := d.Readdirnames(MaxEntries) // as many as can be read
	if alone, err := tryLock(d, true); err == nil && alone {
		for _, name := range names {
			if strings.HasPrefix(name, nameless) {
				_ = t.root.Remove(local(join(partialDir, name))) // the next sweep tries again
			}
		}
	}
	_ = d.Close() // only read
	for _, name := range names {
		path := local(join(partialDir, name))
		info, err := t.root.Lstat(path)
		if err != nil || !info.Mode().IsRegular() || now.Sub(info.ModTime()) < keepPartial {
			continue
		}
		t.mu.Lock()
		if t.staged[name] == nil {
			_ = t.root.Remove(path) // the next sweep tries again
		}
		t.mu.Unlock()
	}
}

// hasPartials reports whether the directory of unfinished files is there, and one.
func (t *tree) hasPartials() bool {
	info, err := t.root.Lstat(partialDir)
	return err == nil && info.IsDir()
}

// tidy removes the directory of unfinished files if it is empty and nobody is
// about to use it.
func (t *tree) tidy() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.staged) > 0 {
		return
	}
	if t.hasPartials() {
		_ = t.root.Remove(partialDir) // fails where it holds something
	}
	t.letGo()
	if t.partial != nil {
		_ = t.partial.Close() // nothing in it is open
		t.partial = nil
	}
}
