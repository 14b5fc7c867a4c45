package main

import (
	"os"

	"golang.org/x/sys/windows"
)

// forgetTyped drops what has been typed at a console and not been read yet.
func forgetTyped(f *os.File) {
	_ = windows.FlushConsoleInputBuffer(windows.Handle(f.Fd())) // no console, nothing typed
}
