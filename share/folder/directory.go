package folder

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"

	"tandem/session"
)

// maxWindow is how many names of a directory are in memory to be sorted. One that
// has more is read again for the names that come next.
const maxWindow = 1 << 16

// directory is a directory of a tree, held open, so that what is in it is found
// without a walk from the top each time.
type directory struct {
	tree   *tree
	path   string
	root   *os.Root
	window int
}

// directory opens the directory path, which must not lead through a link.
func (t *tree) directory(path string) (*directory, error) {
	e, err := t.stat(path)
	if err != nil {
		return nil, err
	}
	if !e.Dir {
		return nil, session.Errorf("list", session.Invalid, "%s is not a folder", shown(path))
	}
	root, err := t.root.OpenRoot(local(path))
	if err != nil {
		return nil, fileError("list", path, err)
	}
	return &directory{tree: t, path: path, root: root, window: maxWindow}, nil
}

func (d *directory) close() { _ = d.root.Close() } // only read

// entries calls each with what is in the directory, in the order of the names' bytes,
// or with why something is left out. However much there is, a window of the names is
// in memory.
func (d *directory) entries(ctx context.Context, each func(Entry, error) error) error {
	for last := ""; ; {
		names, more, err := d.after(last)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := ctx.Err(); err != nil {
				return err
			}
			if d.path == "" && (name == partialDir || name == trashDir) {
				continue
			}
			e, err := d.entry(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue // gone since
			}
			if err := each(e, err); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		last = names[len(names)-1]
	}
}

// after is the names that follow last, sorted, as many as fit into the window.
func (d *directory) after(last string) (names []string, more bool, err error) {
	total := 0
	first := func() { // those of them
		slices.Sort(names)
		if len(names) > d.window {
			clear(names[d.window:])
			names, more = names[:d.window], true
		}
	}
	err = eachName(d.root, ".", func(name string) error {
		if total++; total > MaxEntries {
			return session.Errorf("list", session.TooLarge, "%s has more than %d entries", session.Printable(d.path), MaxEntries)
		}
		if name <= last || more && name > names[d.window-1] {
			return nil
		}
		if names = append(names, name); len(names) == 2*d.window {
			first()
		}
		return nil
	})
	if err != nil {
		return nil, false, fileError("list", d.path, err)
	}
	first()
	return names, more, nil
}

// eachName calls f with all names in the directory path below root, until it fails.
func eachName(root *os.Root, path string, f func(name string) error) error {
	d, err := root.OpenFile(path, os.O_RDONLY|openNonblock, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		some, err := d.Readdirnames(4096)
		for _, name := range some {
			if err := f(name); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// entry is what is called name in the directory, or why it is left out.
func (d *directory) entry(name string) (Entry, error) {
	if err := checkName(name); err != nil {
		return Entry{}, err
	}
	path := join(d.path, name)
	if len(path) > maxPath {
		return Entry{}, unsupported(path)
	}
	info, err := d.root.Lstat(name)
	if err != nil {
		return Entry{}, fileError("stat", path, err)
	}
	if err := d.tree.visible("stat", path, info.IsDir()); err != nil {
		return Entry{}, err
	}
	if e, ok := d.tree.entry(name, info); ok {
		return e, nil
	}
	if d.tree.links {
		return d.tree.stat(path) // it may lead to a file
	}
	return Entry{}, unsupported(path)
}

// read is the content of the file that was listed as e, which is small.
func (d *directory) read(e Entry, into []byte) ([]byte, error) {
	path := join(d.path, e.Name)
	f, err := d.root.OpenFile(e.Name, os.O_RDONLY|openNonblock, 0)
	if err != nil {
		return nil, fileError("open", path, err)
	}
	defer f.Close()
	now, err := d.tree.describe(f, path)
	if err == nil && now != e {
		err = changed(path)
	}
	if err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(f, into[:e.Size]); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, changed(path)
	} else if err != nil {
		return nil, fileError("read", path, err)
	}
	return into[:e.Size], d.tree.unchanged(f, path, e)
}

// pages lists the directory path page by page; dir is what the pages call it. It
// goes into the directories it finds if recursive. Emit gets the directory of the
// page as well, unless that can't be read.
func (t *tree) pages(ctx context.Context, path, dir string, recursive bool, emit func(*directory, page) error) error {
	below, err := t.pagesOf(ctx, path, dir, recursive, emit)
	if err != nil {
		return err
	}
	for _, name := range below {
		if err := t.pages(ctx, join(path, name), join(dir, name), true, emit); err != nil {
			return err
		}
	}
	return nil
}

// pagesOf is pages for one directory, and what is below it if recursive.
func (t *tree) pagesOf(ctx context.Context, path, dir string, recursive bool, emit func(*directory, page) error) (below []string, err error) {
	d, err := t.directory(path)
	if err != nil {
		return nil, emit(nil, page{Dir: dir, Error: toWire(err)})
	}
	defer d.close()
	p, size := page{Dir: dir}, 0
	var broken error // of emit
	err = d.entries(ctx, func(e Entry, err error) error {
		if err != nil {
			p.Skipped++
			return nil
		}
		// What JSON makes of a name is at most six times as long.
		cost := 6*len(e.Name) + 128
		if len(p.Entries) == MaxPage || size+cost > maxPageSize {
			if broken = emit(d, p); broken != nil {
				return broken
			}
			p, size = page{Dir: dir}, 0
		}
		p.Entries = append(p.Entries, e)
		size += cost
		if e.Dir && recursive {
			below = append(below, e.Name)
		}
		return nil
	})
	switch {
	case broken != nil:
		return nil, broken
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil && len(p.Entries) > 0:
		if err := emit(d, p); err != nil {
			return nil, err
		}
		p = page{Dir: dir}
	}
	if err != nil {
		p.Error = toWire(err)
	}
	return below, emit(d, p)
}
