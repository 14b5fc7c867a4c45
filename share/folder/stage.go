package folder

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
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
)

// stage is a file under way: bytes gather in a partial file, and commit makes
// them visible at once or not at all.
type stage struct {
	tree *tree
	file *os.File
	name string // below partialDir
	key  string // what it can be found by later, or ""
	hash *blake3.Hasher
	size int64
}

// have is how many bytes lie staged under key.
func (t *tree) have(key string) int64 {
	t.mu.Lock()
	busy := t.staged[key]
	t.mu.Unlock()
	info, err := t.root.Lstat(local(join(partialDir, key)))
	if busy || err != nil || !info.Mode().IsRegular() {
		return 0
	}
	return info.Size()
}

// begin opens a stage. One with a key finds the bytes of an earlier one with
// the same key and can be kept for a later one; while another has the key, and
// without a key, it starts empty and can't be kept.
func (t *tree) begin(key string) (*stage, error) {
	t.mu.Lock()
	if key != "" && t.staged[key] {
		key = ""
	}
	s := &stage{tree: t, key: key, name: key, hash: blake3.New()}
	if key == "" {
		s.name = "tmp-" + rand.Text()
	}
	t.staged[s.name] = true
	t.mu.Unlock()

	err := s.open()
	if errors.Is(err, fs.ErrNotExist) {
		// The directory is made when needed and removed when empty.
		if err = t.root.Mkdir(partialDir, 0o700); err == nil || errors.Is(err, fs.ErrExist) {
			err = s.open()
		}
	}
	if err != nil {
		s.release()
		return nil, fileError("stage", "", err)
	}
	return s, nil
}

func (s *stage) open() error {
	info, err := s.tree.root.Lstat(partialDir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return session.Errorf("stage", session.Invalid, "%s is not a folder", partialDir)
	}
	f, err := s.tree.root.OpenFile(s.path(), os.O_RDWR|os.O_CREATE|openNonblock, 0o666)
	if err != nil {
		return err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, f.Close(), unsupported(s.path()))
	}
	s.file = f
	return nil
}

func (s *stage) path() string { return local(join(partialDir, s.name)) }

// resume keeps the first n staged bytes and hashes them.
func (s *stage) resume(ctx context.Context, n int64) error {
	s.hash.Reset()
	s.size = 0
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
	s.size = n
	return fileError("resume", "", s.file.Truncate(n))
}

// Write appends p.
func (s *stage) Write(p []byte) (int, error) {
	n, err := s.file.Write(p)
	s.size += int64(n)
	if n > 0 {
		_, _ = s.hash.Write(p[:n]) // a hash takes everything
	}
	return n, err
}

// zeros appends a hole of n bytes.
func (s *stage) zeros(ctx context.Context, n int64) error {
	if err := hashZeros(s.hash, n, ctx.Err); err != nil {
		return err
	}
	if _, err := s.file.Seek(n, io.SeekCurrent); err != nil {
		return err
	}
	s.size += n
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
func (s *stage) sum() chunk.Sum { return sum(s.hash) }

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
	old, err := s.replaces(ctx, to)
	if errors.Is(err, errSame) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if err := s.seal(to, old); err != nil {
		return false, fileError("put", to.path, err)
	}
	if to.exclusive { // of two at once, one comes second
		s.tree.creating.Lock()
		defer s.tree.creating.Unlock()
	}
	// What is there may have changed while ours was flushed.
	if _, err := s.replaces(ctx, to); err != nil && !errors.Is(err, errSame) {
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
	if err := s.file.Truncate(s.size); err != nil { // it may end in a hole
		return err
	}
	if err := setMode(s.file, old, to.exec && s.tree.exec); err != nil {
		return err
	}
	mtime := time.Unix(0, to.mtime)
	if err := s.tree.root.Chtimes(s.path(), mtime, mtime); err != nil {
		return err
	}
	if err := s.file.Sync(); err != nil {
		return err
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
	_ = s.tree.root.Remove(s.path()) // swept later if this fails
	s.release()
}

func (s *stage) release() {
	if s.file != nil {
		_ = s.file.Close() // what a later resume finds is verified
		s.file = nil
	}
	s.tree.mu.Lock()
	delete(s.tree.staged, s.name)
	s.tree.mu.Unlock()
}

// sweep removes unfinished files that nobody has touched for long.
func (t *tree) sweep(now time.Time) {
	d, err := t.root.Open(partialDir)
	if err != nil {
		return
	}
	names, _ := d.Readdirnames(MaxEntries) // as many as can be read
	_ = d.Close()                          // only read
	for _, name := range names {
		path := local(join(partialDir, name))
		info, err := t.root.Lstat(path)
		if err != nil || !info.Mode().IsRegular() || now.Sub(info.ModTime()) < keepPartial {
			continue
		}
		t.mu.Lock()
		if !t.staged[name] {
			_ = t.root.Remove(path) // the next sweep tries again
		}
		t.mu.Unlock()
	}
}

// tidy removes the directory of unfinished files if it is empty and nobody is
// about to use it.
func (t *tree) tidy() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.staged) == 0 {
		_ = t.root.Remove(partialDir) // fails where it holds something
	}
}
