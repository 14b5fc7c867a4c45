package folder

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// unnamed opens a new file in the directory dir that has no name until link gives it
// one, and goes if it never gets one. Not every file system has such files.
func unnamed(dir *os.File) (*os.File, error) {
	for {
		fd, err := unix.Openat(int(dir.Fd()), ".", unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o666)
		switch err {
		case nil:
			return os.NewFile(uintptr(fd), "unnamed"), nil
		case unix.EINTR:
		default:
			return nil, &os.PathError{Op: "open", Path: ".", Err: err}
		}
	}
}

// link gives f, which is unnamed, a name in dir. It fails with fs.ErrExist if anything
// has it.
func link(dir, f *os.File, name string) error {
	err := unix.Linkat(unix.AT_FDCWD, handle(f), int(dir.Fd()), name, unix.AT_SYMLINK_FOLLOW)
	if err != nil {
		return &os.LinkError{Op: "link", Old: f.Name(), New: name, Err: err}
	}
	return nil
}

// setTime sets the time of a file that is unnamed, in nanoseconds since 1970.
func setTime(f *os.File, mtime int64) error {
	ts, err := unix.TimeToTimespec(time.Unix(0, mtime))
	if err == nil {
		err = unix.UtimesNanoAt(unix.AT_FDCWD, handle(f), []unix.Timespec{ts, ts}, 0)
	}
	return err
}

// handle is a path of the open file f, of this process alone.
func handle(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }
