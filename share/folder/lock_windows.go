package folder

import (
	"errors"
	"math"
	"os"

	"golang.org/x/sys/windows"
)

// renamesOpen says that a file can be renamed while it is open.
const renamesOpen = false

// tryLock takes the lock on f, alone or with others who do not want it alone, for as
// long as f is open. Held is false if somebody else has it, here or in another
// process; it is an error if there are no locks here, as on directories.
func tryLock(f *os.File, alone bool) (held bool, err error) {
	flags := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if alone {
		flags |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	// What is locked can't be read by others: a byte that no file has.
	err = windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &windows.Overlapped{Offset: math.MaxUint32, OffsetHigh: math.MaxInt32})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}
