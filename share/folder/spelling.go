package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"tandem/session"
	"tandem/share"
)

const (
	// maxSpellings is how many names of a directory are remembered; of a larger
	// one they are read for each new name.
	maxSpellings = 1 << 16
	// maxSpelled is how many directories they are remembered of.
	maxSpelled = 8
)

// spellings remembers the names in the directories where something was made
// last, by their share.FoldName.
type spellings struct {
	mu   sync.Mutex // held while a name is taken
	dirs []*spelled // the one used last at the end
}

// spelled is the names of one directory.
type spelled struct {
	dir   string
	mtime time.Time // of the directory, when it had these names
	names map[string]string
	twice map[string]bool // names that were there though names has another for them
}

// take makes the name path by f, unless its directory has another name that some
// file system takes for the same: there the one would become the other when the
// share is copied, or here at once. Except is a path that does not count.
func (t *tree) take(op, path, except string, f func() error) error {
	t.spellings.mu.Lock()
	defer t.spellings.mu.Unlock()
	if t.rules == nil {
		// A person's own folder may have both, if its file system does.
		if _, err := t.root.Lstat(local(path)); errors.Is(err, fs.ErrNotExist) {
			return f()
		}
	}
	dir, name := split(path)
	s, other, err := t.spelled(dir, name)
	if err != nil {
		return fileError(op, path, err)
	}
	if other != "" && join(dir, other) != except {
		return &session.Error{
			Op: op, Kind: session.Exists, Err: &spelledError{other}, Hint: spelledHint(other),
			Text: fmt.Sprintf("%s is there already as %s, and some systems can't tell them apart", session.Printable(path), session.Printable(other)),
		}
	}
	if err := f(); err != nil {
		return err
	}
	if s != nil {
		s.note(name)
		s.mtime, _ = t.modified(dir) // if it isn't known, they are read again
	}
	return nil
}

// spelledError says that a name is there in another spelling.
type spelledError struct{ name string }

func (*spelledError) Error() string { return "" } // what it is a part of says it

// spelledHint is what to do where a name is there as other.
func spelledHint(other string) string {
	return fmt.Sprintf("Give it another name, or rename %s there; one is never written over the other.", session.Printable(other))
}

// spelled finds the other spelling of name in dir, if there is one and name
// itself isn't there.
func (t *tree) spelled(dir, name string) (s *spelled, other string, err error) {
	mtime, err := t.modified(dir)
	if err != nil {
		return nil, "", err
	}
	c := &t.spellings
	if i := slices.IndexFunc(c.dirs, func(s *spelled) bool { return s.dir == dir }); i >= 0 {
		s = c.dirs[i]
		c.dirs = slices.Delete(c.dirs, i, i+1)
		if !mtime.IsZero() && s.mtime.Equal(mtime) && len(s.names) <= maxSpellings {
			c.dirs = append(c.dirs, s)
			return s, s.other(name), nil
		}
	}
	s = &spelled{dir: dir, mtime: mtime, names: make(map[string]string), twice: make(map[string]bool)}
	folded, exact := share.FoldName(name), false
	err = eachName(t.root, local(dir), func(n string) error {
		if len(s.names) <= maxSpellings {
			s.note(n)
		}
		exact = exact || n == name
		if n != name && share.FoldName(n) == folded {
			other = n
		}
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	if exact {
		other = ""
	}
	if len(s.names) > maxSpellings {
		return nil, other, nil
	}
	if len(c.dirs) == maxSpelled {
		c.dirs = slices.Delete(c.dirs, 0, 1)
	}
	c.dirs = append(c.dirs, s)
	return s, other, nil
}

// modified is the time of a directory.
func (t *tree) modified(dir string) (time.Time, error) {
	info, err := t.root.Lstat(local(dir))
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

func (s *spelled) note(name string) {
	folded := share.FoldName(name)
	if there, ok := s.names[folded]; ok && there != name {
		s.twice[name] = true
		return
	}
	s.names[folded] = name
}

func (s *spelled) other(name string) string {
	if other := s.names[share.FoldName(name)]; other != name && !s.twice[name] {
		return other
	}
	return ""
}
