//go:build unix

package audit

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockFile waits for the exclusive lock on f, which unlockFile gives back.
func lockFile(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err != unix.EINTR {
			return err
		}
	}
}

func unlockFile(f *os.File) { _ = unix.Flock(int(f.Fd()), unix.LOCK_UN) }
