package folder

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	pathpkg "path"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/zeebo/blake3"

	"tandem/session"
	"tandem/share/chunk"
)

// tree is a directory as this protocol sees it: regular files and directories
// below an os.Root. Its paths have been checked.
type tree struct {
	root *os.Root
	exec bool // executable bits may be set

	packer *chunk.Packer

	rules *rules // nil where the person's own hand is at work
	links bool   // to files in the tree are shown as what they lead to

	timing watchTiming
	deaf   bool // no hints of changes are to be had

	creating  sync.Mutex // of files that must not be there
	spellings spellings
	syncs     *dirSyncs
	flushing  chan struct{} // filled with one for each file that is being flushed

	mu      sync.Mutex
	staged  map[string]*use // the partial files in use
	lock    *os.File        // on the directory of those, while it is open
	partial *os.Root        // where they lie; nil until there is one
}

func openTree(dir string, exec bool) (*tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fileError("folder", dir, err)
	}
	packer, err := chunk.NewPacker()
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &tree{root: root, exec: exec, packer: packer, timing: usualTiming(), staged: make(map[string]*use), syncs: newDirSyncs(), flushing: make(chan struct{}, underway)}, nil
}

func (t *tree) close() error {
	t.packer.Close()
	t.letGo()
	if t.partial != nil {
		_ = t.partial.Close() // nothing in it is open
	}
	return t.root.Close()
}

// empty reports whether there is nothing in the tree at all.
func (t *tree) empty() bool {
	some := errors.New("something")
	return eachName(t.root, ".", func(string) error { return some }) == nil
}

// local is path as package os wants it.
func local(path string) string {
	if path == "" {
		return "."
	}
	return filepath.FromSlash(path)
}

// entry describes info; ok is false for what does not exist in this protocol.
func (t *tree) entry(name string, info fs.FileInfo) (e Entry, ok bool) {
	e = Entry{Name: name, MTime: info.ModTime().UnixNano()}
	switch {
	case info.IsDir():
		e.Dir = true
	case info.Mode().IsRegular():
		e.Size, e.Exec = info.Size(), executable(info.Mode())
	default:
		return Entry{}, false
	}
	return e, true
}

// stat describes what is at path, which must not lead through a link.
func (t *tree) stat(path string) (Entry, error) {
	e, _, err := t.find(path)
	return e, err
}

// find is stat that also says where it is: elsewhere, for a link to a file.
func (t *tree) find(path string) (e Entry, at string, err error) {
	e, err = t.plain(path)
	if !t.links || session.KindOf(err) != session.Unsupported {
		return e, path, err
	}
	at, ok := t.target(path)
	if !ok {
		return Entry{}, "", err
	}
	there, missing := t.plain(at)
	if missing != nil || there.Dir {
		return Entry{}, "", err
	}
	_, there.Name = split(path)
	return there, at, nil
}

// target is where the link at path says that it leads, if that is in the share.
func (t *tree) target(path string) (string, bool) {
	link, err := t.root.Readlink(local(path))
	if err != nil || filepath.IsAbs(link) {
		return "", false
	}
	dir, _ := split(path)
	at := pathpkg.Join(dir, filepath.ToSlash(link))
	return at, at != "." && checkPath(at) == nil
}

// plain is stat for what is no link.
func (t *tree) plain(path string) (Entry, error) {
	if dir, _ := split(path); dir != "" {
		if err := t.visible("stat", dir, true); err != nil {
			return Entry{}, err
		}
	}
	for i, c := range path {
		if c != '/' {
			continue
		}
		info, err := t.root.Lstat(local(path[:i]))
		if err != nil {
			return Entry{}, fileError("stat", path[:i], err)
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			return Entry{}, unsupported(path[:i])
		}
	}
	info, err := t.root.Lstat(local(path))
	if err != nil {
		return Entry{}, fileError("stat", path, err)
	}
	if err := t.visible("stat", path, info.IsDir()); err != nil {
		return Entry{}, err
	}
	_, name := split(path)
	e, ok := t.entry(name, info)
	if !ok {
		return Entry{}, unsupported(path)
	}
	return e, nil
}

// open opens the regular file at path for reading.
func (t *tree) open(path string) (*os.File, Entry, error) {
	// Lstat first, so that a device is not even opened.
	e, at, err := t.find(path)
	if err != nil {
		return nil, Entry{}, err
	} else if e.Dir {
		return nil, Entry{}, session.Errorf("open", session.Invalid, "%s is a folder", shown(path))
	}
	f, err := t.root.OpenFile(local(at), os.O_RDONLY|openNonblock, 0)
	if err != nil {
		return nil, Entry{}, fileError("open", path, err)
	}
	e, err = t.describe(f, path)
	if err != nil {
		return nil, Entry{}, errors.Join(err, f.Close())
	}
	return f, e, nil
}

// describe is the entry of an open regular file.
func (t *tree) describe(f *os.File, path string) (Entry, error) {
	info, err := f.Stat()
	if err != nil {
		return Entry{}, fileError("stat", path, err)
	}
	_, name := split(path)
	e, ok := t.entry(name, info)
	if !ok || e.Dir {
		return Entry{}, unsupported(path)
	}
	return e, nil
}

// unchanged reports as Changed that f, once described as e, is no longer that.
func (t *tree) unchanged(f *os.File, path string, e Entry) error {
	now, err := t.describe(f, path)
	if err != nil {
		return err
	}
	if now.Size != e.Size || now.MTime != e.MTime {
		return changed(path)
	}
	return nil
}

func changed(path string) error {
	return session.Errorf("read", session.Changed, "%s changed while it was read", session.Printable(path))
}

// mkdir makes the directory path and its parents.
func (t *tree) mkdir(path string) error {
	if path == "" {
		return nil
	}
	dir, _ := split(path)
	if err := t.mkdir(dir); err != nil {
		return err
	}
	if err := t.folder("mkdir", path); session.KindOf(err) != session.NotFound {
		return err
	}
	if err := t.changeable("mkdir", path, true); err != nil {
		return err
	}
	err := t.take("mkdir", path, "", func() error { return t.root.Mkdir(local(path), 0o777) })
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fileError("mkdir", path, err)
	}
	return t.folder("mkdir", path)
}

// folder refuses what is not a directory, or lies behind a link.
func (t *tree) folder(what, path string) error {
	e, err := t.stat(path)
	switch {
	case errors.Is(err, syscall.ENOTDIR):
		_, text := session.Public(err)
		err = &session.Error{Op: what, Kind: session.Exists, Text: text, Err: &detail{err}}
	case err == nil && !e.Dir:
		err = session.Errorf(what, session.Exists, "%s is a file", session.Printable(path))
	}
	return err
}

// hashFile hashes the first n bytes of f.
func hashFile(ctx context.Context, h *blake3.Hasher, f io.Reader, n int64) error {
	copied, err := copyContext(ctx, h, io.LimitReader(f, n))
	if err == nil && copied < n {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// prefix hashes the first n bytes of the file at path.
func (t *tree) prefix(ctx context.Context, path string, n int64) (*blake3.Hasher, error) {
	f, _, err := t.open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := blake3.New()
	if err := hashFile(ctx, h, f, n); err != nil {
		return nil, fileError("read", path, err)
	}
	return h, nil
}

// stagedPrefix hashes the first n bytes of what is kept under key.
func (t *tree) stagedPrefix(ctx context.Context, key string, n int64) (chunk.Sum, error) {
	f, err := t.root.OpenFile(local(join(partialDir, key)), os.O_RDONLY|openNonblock, 0)
	if err != nil {
		return chunk.Sum{}, fileError("resume", "", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return chunk.Sum{}, errors.Join(err, unsupported(partialDir))
	}
	h := blake3.New()
	if err := hashFile(ctx, h, f, n); err != nil {
		return chunk.Sum{}, fileError("resume", "", err)
	}
	return sum(h), nil
}

// copyContext is io.Copy that ends when ctx does.
func copyContext(ctx context.Context, w io.Writer, r io.Reader) (int64, error) {
	buf := make([]byte, 256<<10)
	total := int64(0)
	for {
		if err := ctx.Err(); err != nil {
			return total, err
		}
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return total, err
			}
			total += int64(n)
		}
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

func sum(h *blake3.Hasher) chunk.Sum { return chunk.Sum(h.Sum(nil)) }

// hashOf is the hash of the whole file at path, and its entry.
func (t *tree) hashOf(ctx context.Context, path string) (chunk.Sum, Entry, error) {
	f, e, err := t.open(path)
	if err != nil {
		return chunk.Sum{}, Entry{}, err
	}
	defer f.Close()
	h := blake3.New()
	if err := hashFile(ctx, h, f, e.Size); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = changed(path)
		}
		return chunk.Sum{}, Entry{}, fileError("hash", path, err)
	}
	if err := t.unchanged(f, path, e); err != nil {
		return chunk.Sum{}, Entry{}, err
	}
	return sum(h), e, nil
}
