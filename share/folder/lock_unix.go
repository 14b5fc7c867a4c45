//go:build unix

package folder

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// renamesOpen says that a file can be renamed while it is open.
const renamesOpen = true

// tryLock takes the lock on f, alone or with others who do not want it alone, for as
// long as f is open. Held is false if somebody else has it, here or in another
// process; it is an error if there are no locks here.
func tryLock(f *os.File, alone bool) (held bool, err error) {
	how := unix.LOCK_SH
	if alone {
		how = unix.LOCK_EX
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return false, err
	}
	if controlled := conn.Control(func(fd uintptr) { err = unix.Flock(int(fd), how|unix.LOCK_NB) }); controlled != nil {
		return false, controlled
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}
