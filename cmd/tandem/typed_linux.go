package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// forgetTyped drops what has been typed at a terminal and not been read yet.
func forgetTyped(f *os.File) {
	_ = unix.IoctlSetInt(int(f.Fd()), unix.TCFLSH, unix.TCIFLUSH) // no terminal, nothing typed
}
