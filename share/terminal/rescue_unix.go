//go:build linux || darwin

package terminal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// leftover is what it takes to bring a terminal back whose tandem was killed
// and could not: a file named after the terminal's device, locked (flock) for
// as long as that tandem lives.
type leftover struct {
	// Session is that of the programs on the terminal: another has another
	// terminal, of the same name.
	Session int          `json:"session"`
	Modes   unix.Termios `json:"modes"`
}

// maxLeftover bounds the file, in bytes.
const maxLeftover = 4 << 10

// afterKill undoes what a program may have set in a terminal, without knowing
// what it was. Whatever was not set stays, the cursor's place included.
const afterKill = "\x1b[?2026l\x1b[?1047l\x1b7\x1b[r\x1b8\x1b[?2004l\x1b[?1004l\x1b[?1006l\x1b[?1015l\x1b[?1003l\x1b[?1002l\x1b[?1000l" +
	"\x1b[?1l\x1b>\x1b[?5l\x1b[?7h\x1b[?25h\x1b[4l\x1b(B\x0f\x1b[0m"

func leftoverPath(folder string, tty *os.File) (string, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(tty.Fd()), &stat); err != nil {
		return "", err
	}
	return filepath.Join(folder, fmt.Sprintf("tty-%x", stat.Rdev)), nil
}

// leave writes down how to bring the terminal back if this process is killed.
// The function it returns says that it is back. Without the file everything
// else works, so an error is nobody's concern.
func leave(folder string, tty *os.File) (back func()) {
	nothing := func() {}
	if folder == "" || os.MkdirAll(folder, 0o700) != nil {
		return nothing
	}
	path, err := leftoverPath(folder, tty)
	if err != nil {
		return nothing
	}
	modes, err := unix.IoctlGetTermios(int(tty.Fd()), getTermios)
	if err != nil {
		return nothing
	}
	sid, err := unix.Getsid(0)
	if err != nil {
		return nothing
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nothing
	}
	content, err := json.Marshal(leftover{Session: sid, Modes: *modes})
	if err == nil {
		// Another on the same terminal has found it as it was: that counts.
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err == nil {
		err = errors.Join(file.Truncate(0), writeAll(file, content))
	}
	if err != nil {
		_ = file.Close()
		return nothing
	}
	return func() {
		_ = os.Remove(path) // before the lock goes
		_ = file.Close()
	}
}

func writeAll(f *os.File, p []byte) error {
	_, err := f.Write(p)
	return err
}

// Rescue brings a terminal back to how it was before a tandem that was killed
// took it over, if one was, and
// reports whether it did. folder is that of Options.Rescue.
func Rescue(folder string, tty *os.File) bool {
	path, err := leftoverPath(folder, tty)
	if err != nil {
		return false
	}
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false // nothing was left
	}
	defer func() { _ = file.Close() }()
	if unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return false // its tandem lives
	}
	defer func() { _ = os.Remove(path) }()
	content, err := io.ReadAll(io.LimitReader(file, maxLeftover))
	var left leftover
	if err != nil || json.Unmarshal(content, &left) != nil {
		return false
	}
	if sid, err := unix.Getsid(0); err != nil || sid != left.Session {
		return false
	}
	if unix.IoctlSetTermios(int(tty.Fd()), setTermios, &left.Modes) != nil {
		return false
	}
	_, _ = tty.WriteString(afterKill)
	return true
}
