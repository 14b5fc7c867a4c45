// Package durable makes what was written to a disk outlive a crash of the
// machine: after fsync (POSIX) of a file its contents do, after one of its
// folder its name does. Keys, invites and the audit log are written by it.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// Replace writes data to path, which a crash leaves as it was or as it is to
// be. The caller keeps others from doing the same at the same time: it goes by
// way of path with ".new" behind it, and what an earlier crash left there is
// removed. The errors are those of package os; path is then as it was, unless
// only the name couldn't be made durable.
func Replace(path string, data []byte, mode fs.FileMode) error {
	temporary := path + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		_ = os.Remove(temporary)
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes the names in a folder durable. Windows has no such call, and
// neither have some file systems; there it does nothing.
func SyncDir(dir string) error { return syncOpened(os.Open(dir)) }

// SyncDirIn is SyncDir for a folder below root.
func SyncDirIn(root *os.Root, dir string) error { return syncOpened(root.Open(dir)) }

func syncOpened(dir *os.File, err error) error {
	if runtime.GOOS == "windows" {
		if err == nil {
			_ = dir.Close()
		}
		return nil
	}
	if err != nil {
		return err
	}
	err = dir.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return errors.Join(err, dir.Close())
}
