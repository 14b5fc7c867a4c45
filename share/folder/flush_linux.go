package folder

import (
	"os"

	"golang.org/x/sys/unix"
)

// startFlush has the disk begin to store n bytes of f from offset on. It waits for
// nothing and promises nothing: that is Sync's.
func startFlush(f *os.File, offset, n int64) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { // Sync will tell what is wrong
		_ = unix.SyncFileRange(int(fd), offset, n, unix.SYNC_FILE_RANGE_WRITE)
	})
}
