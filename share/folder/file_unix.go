//go:build unix

package folder

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// openNonblock keeps an open from waiting for the other end of a FIFO.
const openNonblock = syscall.O_NONBLOCK

func isQuota(err error) bool { return errors.Is(err, syscall.EDQUOT) }

func isCrossDevice(err error) bool { return errors.Is(err, syscall.EXDEV) }

func executable(mode fs.FileMode) bool { return mode&0o100 != 0 }

// setMode gives f, which replaces a file of mode old, or none if old is 0, its
// permission bits.
func setMode(f *os.File, old fs.FileMode, exec bool) error {
	if old == 0 && !exec {
		return nil // as created
	}
	mode := old.Perm()
	if old == 0 {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		mode = info.Mode().Perm()
	}
	mode &^= 0o111
	if exec {
		mode |= mode & 0o444 >> 2 // executable for whoever may read
	}
	return f.Chmod(mode)
}

// otherName reports whether a file may be known by name besides its own.
func otherName(string) bool { return false }
