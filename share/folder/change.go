package folder

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"tandem/session"
	"tandem/share"
)

const (
	// trashDir is where removed things lie, each in a directory of its own that
	// is named by the time of the removal.
	trashDir = ".tandem-trash"
	// keepTrash is how long they lie there.
	keepTrash = 30 * 24 * time.Hour
	// trashTime is how the name of such a directory begins, in UTC.
	trashTime = "20060102T150405Z"
)

// remove moves what is at path to the trash and says where it is there.
func (t *tree) remove(path string, now time.Time) (trash string, err error) {
	if path == "" {
		return "", session.Errorf("remove", session.Invalid, "a share can't be removed by a guest")
	}
	if err := t.removable(path); err != nil {
		return "", err
	}
	dir, _ := split(path)
	if err := t.makeReserved(trashDir); err != nil {
		return "", fileError("remove", path, err)
	}
	grave := join(trashDir, now.UTC().Format(trashTime)+"-"+strings.ToLower(rand.Text()[:8]))
	if err := t.root.MkdirAll(local(join(grave, dir)), 0o700); err != nil {
		return "", fileError("remove", path, err)
	}
	trash = join(grave, path)
	if err := t.root.Rename(local(path), local(trash)); err != nil {
		_ = t.root.RemoveAll(local(grave)) // only empty directories are in it
		if isCrossDevice(err) {
			err = session.Errorf("remove", session.Unsupported, "%s is on another file system than the trash", session.Printable(path))
		}
		return "", fileError("remove", path, err)
	}
	return trash, fileError("remove", path, errors.Join(share.SyncDir(t.root, local(dir)), share.SyncDir(t.root, local(join(grave, dir)))))
}

// removable refuses what isn't there, and what the rules protect.
func (t *tree) removable(path string) error {
	e, err := t.stat(path)
	if err != nil {
		return err
	}
	if err := t.changeable("remove", path, e.Dir); err != nil || !e.Dir {
		return err
	}
	return t.changeableBelow("remove", path, path)
}

// purge removes a file or an empty directory for good.
func (t *tree) purge(path string) error {
	if path == "" {
		return session.Errorf("remove", session.Invalid, "a share can't be removed by a guest")
	}
	if err := t.removable(path); err != nil {
		return err
	}
	dir, _ := split(path)
	if err := t.root.Remove(local(path)); err != nil {
		return fileError("remove", path, err)
	}
	return fileError("remove", path, share.SyncDir(t.root, local(dir)))
}

// set gives what is at path another time, and a file its executability as far
// as the share allows.
func (t *tree) set(path string, mtime int64, exec bool) error {
	e, err := t.stat(path)
	if err != nil {
		return err
	}
	if err := t.changeable("set", path, e.Dir); err != nil {
		return err
	}
	if !e.Dir && e.Exec != (exec && t.exec) {
		f, _, err := t.open(path)
		if err != nil {
			return err
		}
		info, err := f.Stat()
		if err == nil {
			err = setMode(f, info.Mode(), exec && t.exec)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return fileError("set", path, err)
		}
	}
	when := time.Unix(0, mtime)
	return fileError("set", path, t.root.Chtimes(local(path), when, when))
}

// makeReserved makes a directory of ours at the top of the tree.
func (t *tree) makeReserved(name string) error {
	if err := t.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := t.root.Lstat(name)
	if err == nil && !info.IsDir() {
		err = session.Errorf("folder", session.Invalid, "%s is not a folder", name)
	}
	return err
}

// sweepTrash removes for good what has been in the trash for long.
func (t *tree) sweepTrash(now time.Time) {
	if info, err := t.root.Lstat(trashDir); err != nil || !info.IsDir() {
		return
	}
	d, err := t.root.Open(trashDir)
	if err != nil {
		return
	}
	names, _ := d.Readdirnames(MaxEntries) // as many as can be read
	_ = d.Close()                          // only read
	for _, name := range names {
		stamp, _, _ := strings.Cut(name, "-")
		if removed, err := time.Parse(trashTime, stamp); err == nil && now.Sub(removed) > keepTrash {
			_ = t.root.RemoveAll(local(join(trashDir, name))) // the next sweep tries again
		}
	}
	_ = t.root.Remove(trashDir) // fails where it holds something
}

// move gives what is at path the path to.
func (t *tree) move(path, to string, force bool) error {
	switch {
	case path == "" || to == "":
		return session.Errorf("move", session.Invalid, "a share can't be moved by a guest")
	case within(to, path):
		return session.Errorf("move", session.Invalid, "%s can't be moved into itself", session.Printable(path))
	}
	e, err := t.stat(path)
	if err != nil {
		return err
	}
	for _, p := range []string{path, to} {
		if err := t.changeable("move", p, e.Dir); err != nil {
			return err
		}
	}
	if e.Dir {
		if err := t.changeableBelow("move", path, to); err != nil {
			return err
		}
	}
	from, _ := split(path)
	into, _ := split(to)
	if err := t.folder("move", into); err != nil {
		return err
	}
	t.mu.Lock() // what another guest moves does not come between looking and renaming
	defer t.mu.Unlock()
	if err := t.free(path, to, e.Dir, force); err != nil {
		return err
	}
	if err := t.take("move", to, path, func() error { return t.root.Rename(local(path), local(to)) }); err != nil {
		if isCrossDevice(err) {
			err = session.Errorf("move", session.Unsupported, "%s and %s are on different file systems", session.Printable(path), session.Printable(to))
		}
		return fileError("move", path, err)
	}
	return fileError("move", to, errors.Join(share.SyncDir(t.root, local(from)), share.SyncDir(t.root, local(into))))
}

// free refuses a move to where something is: anything but a file that a file
// may replace by force. The same thing under another spelling of its name, on
// a file system that does not tell them apart, is not in the way.
func (t *tree) free(path, to string, dir, force bool) error {
	there, err := t.root.Lstat(local(to))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fileError("move", to, err)
	}
	if here, err := t.root.Lstat(local(path)); err == nil && os.SameFile(here, there) && strings.EqualFold(path, to) && path != to {
		return nil
	}
	if force && !dir && there.Mode().IsRegular() {
		return nil
	}
	return session.Errorf("move", session.Exists, "%s is there already", session.Printable(to))
}
