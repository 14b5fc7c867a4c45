package folder

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"tandem/session"
	"tandem/share"
)

const (
	// ignoreFile is a file in a directory of a share with patterns of what guests
	// don't see there and below.
	ignoreFile = ".tandemignore"
	// maxIgnores is of how many directories it is remembered, and maxIgnored about
	// how many patterns.
	maxIgnores = 1 << 12
	maxIgnored = 10 * share.MaxPatterns
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

	mu    sync.Mutex
	known map[string]*ignores // by directory
	count int                 // of patterns in known
}

type rule struct {
	pattern share.Pattern
	access  Access
}

// ignores is what the file of ignored names in one directory says.
type ignores struct {
	looked   time.Time // at the file
	size     int64     // when it was read
	mtime    time.Time
	patterns share.Patterns
	err      error
}

func newRules(root *os.Root, given []Rule) (*rules, error) {
	r := &rules{root: root, known: make(map[string]*ignores)}
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
	_, err := r.ignores("")
	return r, err
}

// ignores are the patterns of the file of ignored names in the directory dir. While
// it can't be read, nothing in that directory can: what it hides is not known.
func (r *rules) ignores(dir string) (share.Patterns, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.known[dir]
	if i == nil {
		if len(r.known) >= maxIgnores || r.count > maxIgnored {
			clear(r.known) // what is needed is read again
			r.count = 0
		}
		i = &ignores{}
		r.known[dir] = i
	}
	if now := time.Now(); now.Sub(i.looked) >= trustIgnores || now.Before(i.looked) {
		r.count -= len(i.patterns)
		i.look(r.root, dir, now)
		r.count += len(i.patterns)
	}
	return i.patterns, i.err
}

// look reads the file in dir if it has changed.
func (i *ignores) look(root *os.Root, dir string, now time.Time) {
	i.looked = now
	path := join(dir, ignoreFile)
	info, err := root.Lstat(local(path))
	if err != nil && dir != "" {
		// In what is no directory, or lets nobody find a name in it, nothing can be opened.
		if at, missing := root.Lstat(local(dir)); missing != nil || !at.IsDir() || errors.Is(err, fs.ErrPermission) {
			err = fs.ErrNotExist
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		*i = ignores{looked: now}
	case err != nil:
		i.err = unknownIgnores(path, fileError("stat", path, err))
	case !info.Mode().IsRegular():
		i.err = unknownIgnores(path, unsupported(path))
	case i.err != nil || info.Size() != i.size || !info.ModTime().Equal(i.mtime) || now.Sub(i.mtime) < ignoresSettled:
		// Looked at first: if it changes now, it is read once more.
		i.size, i.mtime = info.Size(), info.ModTime()
		i.patterns, i.err = readIgnores(root, path)
	}
}

func unknownIgnores(path string, err error) error {
	return session.Errorf("folder", session.Internal, "the share's %s can't be used: %w", session.Printable(path), err)
}

func readIgnores(root *os.Root, path string) (share.Patterns, error) {
	f, err := root.OpenFile(local(path), os.O_RDONLY|openNonblock, 0)
	if err != nil {
		return nil, unknownIgnores(path, fileError("open", path, err))
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, unknownIgnores(path, errors.Join(err, unsupported(path)))
	}
	text, err := io.ReadAll(io.LimitReader(f, maxIgnoreFile+1))
	if err != nil {
		return nil, unknownIgnores(path, fileError("read", path, err))
	}
	if len(text) > maxIgnoreFile {
		return nil, unknownIgnores(path, session.Errorf("read", session.TooLarge, "it is longer than %d bytes", maxIgnoreFile))
	}
	ps, err := share.ParsePatterns(share.FoldName(string(text)))
	if err != nil {
		return nil, unknownIgnores(path, err)
	}
	return ps, nil
}

// access is what guests may do with path. If it is Hidden, at is the path that
// hides it: itself, or what it lies below.
func (r *rules) access(path string, dir bool) (a Access, at string, err error) {
	if r == nil {
		return Writable, "", nil
	}
	w := ruleWalk{rules: r, access: Writable}
	if err := w.enter("", ""); err != nil {
		return Hidden, path, err
	}
	if path == "" {
		return Writable, "", nil
	}
	folded, end := "", 0
	for name := range strings.SplitSeq(path, "/") {
		if end > 0 {
			if err := w.enter(path[:end], folded); err != nil {
				return Hidden, path[:end], err
			}
			end++
		}
		end += len(name)
		own := share.FoldName(name)
		folded = join(folded, own)
		w.step(folded, dir || end < len(path))
		if w.ruled() && otherName(name) { // which could have rules of its own
			w.access = Hidden
		}
		if w.access == Hidden || own == ignoreFile {
			return Hidden, path[:end], nil
		}
	}
	return w.access, "", nil
}

// ruleWalk goes down a path.
type ruleWalk struct {
	rules  *rules
	access Access
	levels []ignoreLevel // those that have patterns, from the top
}

// ignoreLevel is a directory with patterns. They are about what follows the first skip
// bytes of a folded path.
type ignoreLevel struct {
	skip     int
	patterns share.Patterns
}

// enter goes into the directory dir, whose folded name is folded.
func (w *ruleWalk) enter(dir, folded string) error {
	ps, err := w.rules.ignores(dir)
	if len(ps) > 0 && err == nil {
		w.levels = append(w.levels, ignoreLevel{len(join(folded, "x")) - 1, ps})
	}
	return err
}

func (w *ruleWalk) ruled() bool { return len(w.rules.fixed)+len(w.levels) > 0 }

// step finds the access of the folded path at, below what was stepped to before.
func (w *ruleWalk) step(at string, dir bool) {
	for _, l := range slices.Backward(w.levels) {
		if ignored, known := l.patterns.Says(at[l.skip:], dir); known {
			if ignored {
				w.access = Hidden
				return
			}
			break
		}
	}
	for _, f := range slices.Backward(w.rules.fixed) {
		if f.pattern.Match(at, dir) {
			w.access = f.access
			return
		}
	}
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
	if t.rules == nil {
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
