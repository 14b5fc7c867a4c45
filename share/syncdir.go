package share

import (
	"errors"
	"os"
	"runtime"
	"syscall"
)

// SyncDir makes the names in dir, a directory of root, durable, as after a
// rename. Windows has no such call, and neither do some file systems.
func SyncDir(root *os.Root, dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := root.Open(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return errors.Join(err, f.Close())
}
