package background

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"tandem/session"
)

// Local is this machine's files, as far as its person may use them.
type Local struct {
	// Trash is the folder that what is deleted goes to, made as the trash of a
	// desktop is (specifications.freedesktop.org/trash-spec, 1.0). Empty: nothing
	// can be deleted here.
	Trash string
}

// FindTrash is the trash of the person with this environment; "" if there is
// none that we know how to use.
func FindTrash(env func(string) string) string {
	data := env("XDG_DATA_HOME")
	if !filepath.IsAbs(data) {
		home := env("HOME")
		if !filepath.IsAbs(home) || os.PathSeparator != '/' {
			return ""
		}
		data = filepath.Join(home, ".local", "share")
	}
	return filepath.Join(data, "Trash")
}

func failed(op string, err error) error {
	if err == nil {
		return nil
	}
	return &session.Error{Op: op, Kind: session.FileKind(err), Err: err}
}

// List lists a folder. Symbolic links are listed as what they are, and are not
// copied.
func (Local) List(ctx context.Context, dir string) ([]Entry, int, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, 0, failed("list", err)
	}
	defer func() { _ = d.Close() }() // only read
	var entries []Entry
	for ctx.Err() == nil {
		some, err := d.ReadDir(10_000)
		for _, e := range some {
			entry := Entry{Name: e.Name(), Dir: e.IsDir(), Other: otherKind(e.Type())}
			if info, err := e.Info(); err == nil { // else it has just gone
				entry.Size, entry.Time, entry.Exec = info.Size(), info.ModTime(), info.Mode()&0o100 != 0
			}
			entries = append(entries, entry)
		}
		if errors.Is(err, io.EOF) {
			return entries, 0, nil
		}
		if err != nil {
			return entries, 0, failed("list", err)
		}
	}
	return nil, 0, ctx.Err()
}

func otherKind(m fs.FileMode) string {
	switch {
	case m.IsRegular(), m.IsDir():
		return ""
	case m&fs.ModeSymlink != 0:
		return "link"
	}
	return "special"
}

// Head reads the beginning of a file, if it is a regular one.
func (Local) Head(_ context.Context, file string, limit int) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, failed("read", err)
	}
	if !info.Mode().IsRegular() { // opening it could wait for ever
		return nil, session.Errorf("read", session.Unsupported, "it is no regular file")
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, failed("read", err)
	}
	defer func() { _ = f.Close() }() // only read
	p, err := io.ReadAll(io.LimitReader(f, int64(limit)))
	return p, failed("read", err)
}

// Mkdir makes a folder.
func (Local) Mkdir(ctx context.Context, dir string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return failed("make the folder", os.Mkdir(dir, 0o777))
}

// Move renames, where nothing is.
func (Local) Move(ctx context.Context, from, to string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := os.Lstat(to); err == nil {
		return session.Errorf("move", session.Exists, "something of that name is there already")
	}
	return failed("move", os.Rename(from, to))
}

// Remove moves something to the trash.
func (l Local) Remove(ctx context.Context, at string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if l.Trash == "" {
		return "", session.Errorf("delete", session.Unsupported, "there is no trash here that tandem knows of, and it deletes nothing for good")
	}
	at, err := filepath.Abs(at)
	if err != nil {
		return "", failed("delete", err)
	}
	if parent := filepath.Dir(at); parent == at {
		return "", session.Errorf("delete", session.Denied, "that is everything there is")
	}
	for _, part := range []string{"files", "info"} {
		if err := os.MkdirAll(filepath.Join(l.Trash, part), 0o700); err != nil {
			return "", failed("make the trash", err)
		}
	}
	base := filepath.Base(at)
	info := "[Trash Info]\nPath=" + (&url.URL{Path: at}).EscapedPath() + "\nDeletionDate=" + time.Now().Format("2006-01-02T15:04:05") + "\n"
	for i := range 1000 {
		name := base
		if i > 0 {
			name = fmt.Sprintf("%s.%d", base, i+1)
		}
		// Who makes the .trashinfo has the name.
		note := filepath.Join(l.Trash, "info", name+".trashinfo")
		f, err := os.OpenFile(note, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", failed("delete", err)
		}
		_, err = f.WriteString(info)
		target := filepath.Join(l.Trash, "files", name)
		if err = errors.Join(err, f.Close()); err == nil {
			err = os.Rename(at, target)
		}
		if err == nil {
			return target, nil
		}
		_ = os.Remove(note) // nothing of that name is in the trash
		if errors.Is(err, syscall.EXDEV) {
			return "", &session.Error{
				Op: "delete", Kind: session.Unsupported, Text: "it is on another file system than your trash",
				Hint: "tandem deletes nothing for good: use rm if you mean it.",
			}
		}
		return "", failed("delete", err)
	}
	return "", session.Errorf("delete", session.Exists, "the trash is full of things of that name")
}

// Join is filepath.Join.
func (Local) Join(dir, name string) string { return filepath.Join(dir, name) }

// Parent is the folder above.
func (Local) Parent(dir string) (parent, name string) {
	return filepath.Dir(dir), filepath.Base(dir)
}
