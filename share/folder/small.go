package folder

import (
	"context"
	"errors"
	"os"

	"github.com/zeebo/blake3"

	"tandem/share/chunk"
)

// maxHeld is up to how many bytes what is put is held in memory until it is complete.
const maxHeld = worthKeeping

// held is a small file under way: in memory, until all of it has come.
type held struct {
	path    string
	data    []byte
	hash    *blake3.Hasher
	written chan struct{} // closed when it lies at its path, or never will
}

func newHeld(path string, size int64) *held {
	return &held{path: path, data: make([]byte, 0, size), hash: blake3.New(), written: make(chan struct{})}
}

// Write appends p.
func (h *held) Write(p []byte) (int, error) {
	h.data = append(h.data, p...)
	return h.hash.Write(p)
}

func (h *held) zeros(_ context.Context, n int64) error {
	_, err := h.Write(make([]byte, n)) // as much as was announced at most
	return err
}

func (h *held) spot() spot { return spot{path: h.path, offset: int64(len(h.data)), written: h.written} }

// openFolder opens the directory path, in which something is to be made.
func (t *tree) openFolder(what, path string) (*os.File, error) {
	if err := t.folder(what, path); err != nil {
		return nil, err
	}
	f, err := t.root.OpenFile(local(path), os.O_RDONLY|openNonblock, 0)
	return f, fileError(what, path, err)
}

// place makes data, whose hash is name unless that is zero, the file at to.path. It
// reports whether the same was there already; then that stays. Dir, if not nil, is the
// directory of it, whose names the caller makes durable.
func (t *tree) place(ctx context.Context, dir *os.File, data []byte, name chunk.Sum, to target) (same bool, err error) {
	if !to.force {
		if done, err := t.link(dir, data, to); done || err != nil {
			return false, err
		}
	}
	s, err := t.begin("", to.path)
	if err != nil {
		return false, err
	}
	if err := s.write(data, name); err != nil {
		s.discard()
		return false, fileError("put", to.path, err)
	}
	return s.commit(ctx, to)
}

// link is place where nothing is yet, and the file system can give a name to a file
// that has none. Otherwise it has not done it, and nothing is left.
func (t *tree) link(dir *os.File, data []byte, to target) (done bool, err error) {
	if err := t.changeable("put", to.path, false); err != nil {
		return false, err
	}
	parent, name := split(to.path)
	alone := dir == nil
	if alone {
		if dir, err = t.openFolder("put", parent); err != nil {
			return false, err
		}
		defer dir.Close()
	}
	f, err := unnamed(dir)
	if err != nil {
		return false, nil
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return false, fileError("put", to.path, err)
	}
	if errors.Join(setMode(f, 0, to.exec && t.exec), setTime(f, to.mtime)) != nil {
		return false, nil
	}
	if err := f.Sync(); err != nil {
		return false, fileError("put", to.path, err)
	}
	give := func() error { return link(dir, f, name) }
	if t.rules == nil {
		err = give()
	} else {
		err = t.take("put", to.path, "", give)
	}
	if err != nil {
		return false, nil // the other way says what is wrong
	}
	if alone {
		err = t.syncDir(parent)
	}
	return true, fileError("put", to.path, err)
}
