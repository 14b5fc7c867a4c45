//go:build windows

package folder

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

const openNonblock = 0

const (
	errorNotSameDevice = syscall.Errno(17)  // ERROR_NOT_SAME_DEVICE
	errorDiskFull      = syscall.Errno(112) // ERROR_DISK_FULL
)

func isQuota(err error) bool { return errors.Is(err, errorDiskFull) }

func isCrossDevice(err error) bool { return errors.Is(err, errorNotSameDevice) }

// executable is false: Windows goes by the name.
func executable(fs.FileMode) bool { return false }

func setMode(*os.File, fs.FileMode, bool) error { return nil }

// otherName reports whether a file may be known by name besides its own: NTFS
// calls "secret-plans.txt" SECRET~1.TXT too.
func otherName(name string) bool {
	_, after, found := strings.Cut(name, "~")
	return found && len(name) <= len("SECRET~1.TXT") && after != "" && after[0] >= '0' && after[0] <= '9'
}
