package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// forgetTyped drops what has been typed at a terminal and not been read yet.
func forgetTyped(f *os.File) {
	const fread = 1                                                 // FREAD of sys/fcntl.h: the input queue
	_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.TIOCFLUSH, fread) // no terminal, nothing typed
}
