//go:build !linux && !darwin && !windows

package main

import "os"

// forgetTyped drops what has been typed and not been read yet, where we know how.
func forgetTyped(*os.File) {}
