package forward

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// What the system calls these; package syscall's own are inventions.
var (
	errRefused      = []syscall.Errno{windows.WSAECONNREFUSED}
	errInUse        = []syscall.Errno{windows.WSAEADDRINUSE}
	errUnreachable  = []syscall.Errno{windows.WSAENETUNREACH, windows.WSAEHOSTUNREACH, windows.WSAENETDOWN, windows.WSAEHOSTDOWN, windows.WSAEAFNOSUPPORT}
	errNotAvailable = []syscall.Errno{windows.WSAEADDRNOTAVAIL}
)

// ownerOnly does nothing: a folder's access list is what keeps others out.
func ownerOnly(string, string, syscall.RawConn) error { return nil }
