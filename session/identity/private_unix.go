//go:build unix

package identity

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"tandem/session"
)

// checkPrivate refuses a file or directory that others could have read or
// written: one of another owner, or with more permissions than allowed.
func checkPrivate(op, path string, info fs.FileInfo, allowed fs.FileMode) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) != os.Geteuid() {
		return &session.Error{
			Op: op, Kind: session.Denied,
			Text: fmt.Sprintf("%s belongs to another user", filepath.Base(path)),
			Hint: fmt.Sprintf("run tandem as the owner of %s, or set TANDEM_HOME to a directory of your own", path),
		}
	}
	if mode := info.Mode().Perm(); mode&^allowed != 0 {
		return &session.Error{
			Op: op, Kind: session.Denied,
			Text: fmt.Sprintf("%s is open to other users (mode %04o)", filepath.Base(path), mode),
			Hint: fmt.Sprintf("run: chmod %o %s; if somebody else may have read it, use a new TANDEM_HOME instead", allowed, path),
		}
	}
	return nil
}
