package folder

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"tandem/session"
	"tandem/share"
)

const (
	// ignoreFile is a file at the top of a share with patterns of what guests
	// don't see.
	ignoreFile = ".tandemignore"
	// maxIgnoreFile is how long it may be, in bytes.
	maxIgnoreFile = 1 << 20
	// trustIgnores is how long it is taken to be what it was.
	trustIgnores = 200 * time.Millisecond
	// ignoresSettled is how old its time must be to tell its content from another.
	ignoresSettled = 2 * time.Second
)

// Access is what guests may do with a path, if their grant lets them.
type Access string

// The accesses, each including the one before.
const (
	Hidden   Access = "hidden" // it is not there for them
	Readable Access = "readable"
	Writable Access = "writable"
)

// Rule gives what a pattern matches, and all below it, an access. Where several
// match the same path the last one counts, and further down another may match;
// but below what is hidden everything is.
type Rule struct {
	// Pattern is as in gitignore, without "!". It matches whatever the case of
	// the letters, because a file system may do so.
	Pattern string `json:"pattern"`
	Access  Access `json:"access"`
}

// rules say what guests may do in a tree. Nil lets them do everything.
type rules struct {
	root  *os.Root
	fixed []rule

	mu      sync.Mutex
	looked  time.Time // at the file of ignored names
	size    int64     // when it was read
	mtime   time.Time
	ignored share.Patterns
	err     error
}

type rule struct {
	pattern share.Pattern
	access  Access
}

func newRules(root *os.Root, given []Rule) (*rules, error) {
	r := &rules{root: root}
	for _, g := range given {
		p, ok, err := share.ParsePattern(share.FoldName(g.Pattern))
		if err != nil || !ok || p.Negated {
			return nil, session.Errorf("share", session.Invalid, "%q is not a pattern for a rule", session.Printable(g.Pattern))
		}
		switch g.Access {
		case Hidden, Readable, Writable:
		default:
			return nil, session.Errorf("share", session.Invalid, "there is no access %q", session.Printable(string(g.Access)))
		}
		r.fixed = append(r.fixed, rule{p, g.Access})
	}
	_, err := r.ignores()
	return r, err
}

// ignores are the patterns of the file of ignored names. While it can't be
// read, nothing in the share can: what it hides is not known.
func (r *rules) ignores() (share.Patterns, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if since := now.Sub(r.looked); since >= 0 && since < trustIgnores {
		return r.ignored, r.err
	}
	info, err := r.root.Lstat(ignoreFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.ignored, r.err, r.size, r.mtime = nil, nil, 0, time.Time{}
	case err != nil:
		r.err = unknownIgnores(fileError("stat", ignoreFile, err))
	case !info.Mode().IsRegular():
		r.err = unknownIgnores(unsupported(ignoreFile))
	case r.err != nil || info.Size() != r.size || !info.ModTime().Equal(r.mtime) || now.Sub(r.mtime) < ignoresSettled:
		// Looked at first: if it changes now, it is read once more.
		r.size, r.mtime = info.Size(), info.ModTime()
		r.ignored, r.err = r.read()
	}
	r.looked = now
	return r.ignored, r.err
}

func unknownIgnores(err error) error {
	return session.Errorf("folder", session.Internal, "the share's %s can't be used: %w", ignoreFile, err)
}

func (r *rules) read() (share.Patterns, error) {
	f, err := r.root.OpenFile(ignoreFile, os.O_RDONLY|openNonblock, 0)
	if err != nil {
		return nil, unknownIgnores(fileError("open", ignoreFile, err))
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, unknownIgnores(errors.Join(err, unsupported(ignoreFile)))
	}
	text, err := io.ReadAll(io.LimitReader(f, maxIgnoreFile+1))
	if err != nil {
		return nil, unknownIgnores(fileError("read", ignoreFile, err))
	}
	if len(text) > maxIgnoreFile {
		return nil, unknownIgnores(session.Errorf("read", session.TooLarge, "it is longer than %d bytes", maxIgnoreFile))
	}
	ps, err := share.ParsePatterns(share.FoldName(string(text)))
	if err != nil {
		return nil, unknownIgnores(err)
	}
	return ps, nil
}

// access is what guests may do with path. If it is Hidden, at is the path that
// hides it: itself, or what it lies below.
func (r *rules) access(path string, dir bool) (a Access, at string, err error) {
	if r == nil {
		return Writable, "", nil
	}
	ignored, err := r.ignores()
	if err != nil {
		return Hidden, path, err
	}
	if path == "" {
		return Writable, "", nil
	}
	a = Writable
	end := 0
	for name := range strings.SplitSeq(path, "/") {
		if end > 0 {
			end++
		}
		end += len(name)
		at = path[:end]
		if len(r.fixed) > 0 || len(ignored) > 0 {
			a = r.step(a, ignored, share.FoldName(at), dir || end < len(path))
			if otherName(name) { // which could have rules of its own
				a = Hidden
			}
		}
		if a == Hidden || share.FoldName(at) == ignoreFile {
			return Hidden, at, nil
		}
	}
	return a, "", nil
}

// step is the access of the folded path at, below something of access a.
func (r *rules) step(a Access, ignored share.Patterns, at string, dir bool) Access {
	if ignored.Names(at, dir) {
		return Hidden
	}
	for i := len(r.fixed) - 1; i >= 0; i-- {
		if r.fixed[i].pattern.Match(at, dir) {
			return r.fixed[i].access
		}
	}
	return a
}

// plain reports whether the rules let guests do everything, but with the file
// of ignored names.
func (r *rules) plain() bool {
	if r == nil {
		return true
	}
	ignored, err := r.ignores()
	return err == nil && len(r.fixed) == 0 && len(ignored) == 0
}

// visible refuses what the rules hide, in the words for what isn't there.
func (t *tree) visible(op, path string, dir bool) error {
	switch a, at, err := t.rules.access(path, dir); {
	case err != nil:
		return err
	case a == Hidden:
		return fileError(op, at, fs.ErrNotExist)
	}
	return nil
}

// changeable refuses to make, change or remove what the rules protect. That
// something hidden is there shows in nothing: its name is refused in any case,
// also for a file where a directory of that name would be hidden.
func (t *tree) changeable(op, path string, dir bool) error {
	a, _, err := t.rules.access(path, dir)
	if t.links {
		if info, missing := t.root.Lstat(local(path)); missing == nil && info.Mode()&fs.ModeSymlink != 0 {
			a = Readable // it is the owner's, and what it leads to has another name
		}
	}
	if err == nil && a == Writable {
		if a, _, err = t.rules.access(path, !dir); a != Hidden {
			a = Writable
		}
	}
	switch {
	case err != nil:
		return err
	case a != Writable:
		return session.Errorf(op, session.Denied, "%s can't be changed by guests", session.Printable(path))
	}
	return nil
}

// changeableBelow refuses to remove the directory path, or to give it the path
// to, while anything in it is protected, here or there.
func (t *tree) changeableBelow(op, path, to string) error {
	if t.rules.plain() {
		return nil
	}
	seen := 0
	return fs.WalkDir(t.root.FS(), path, func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			return fileError(op, path, err)
		}
		if seen++; seen > MaxEntries {
			return session.Errorf(op, session.TooLarge, "%s has more than %d entries", session.Printable(path), MaxEntries)
		}
		for _, p := range []string{at, to + strings.TrimPrefix(at, path)} {
			switch a, _, err := t.rules.access(p, d.IsDir()); {
			case err != nil:
				return err
			case a != Writable:
				return session.Errorf(op, session.Denied, "%s holds what can't be changed by guests", session.Printable(path))
			}
		}
		return nil
	})
}
