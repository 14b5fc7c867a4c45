//go:build !windows

package forward

import "syscall"

// What the system calls these.
var (
	errRefused      = []syscall.Errno{syscall.ECONNREFUSED}
	errInUse        = []syscall.Errno{syscall.EADDRINUSE}
	errUnreachable  = []syscall.Errno{syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.EHOSTDOWN, syscall.EAFNOSUPPORT}
	errNotAvailable = []syscall.Errno{syscall.EADDRNOTAVAIL}
)

// ownerOnly makes a socket one that only its owner can connect to, from its
// beginning where the system takes the file's mode from the descriptor, as
// Linux does. Elsewhere the mode is changed once the file is there.
func ownerOnly(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), 0o600) })
}
