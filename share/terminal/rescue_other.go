//go:build !linux && !darwin

package terminal

import "os"

// leave does nothing: here a console's modes end with the program that set them,
// or can't be told.
func leave(string, *os.File) (back func()) { return func() {} }

// Rescue has nothing to go by on this system.
func Rescue(string, *os.File) bool { return false }
