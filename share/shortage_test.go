package share

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"
)

func TestShortage(t *testing.T) {
	for err, want := range map[error]string{
		&fs.PathError{Op: "open", Path: "/secret", Err: syscall.EMFILE}: "too many files are open there",
		os.NewSyscallError("fork/exec", syscall.EAGAIN):                 "too many processes run there",
		fmt.Errorf("start: %w", syscall.ENOMEM):                         "its memory is full",
		syscall.ENOENT:                                                  "",
		fs.ErrClosed:                                                    "",
	} {
		if got := Shortage(err); got != want {
			t.Errorf("%v: %q", err, got)
		}
	}
}
