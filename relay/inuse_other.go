//go:build !linux && !windows

package relay

import "syscall"

// errInUse is what binding a taken port fails with.
const errInUse = syscall.EADDRINUSE
