package share

import (
	"errors"
	"syscall"
)

// Shortage says what this machine has run out of, in words that a peer may
// hear, if that is why err happened; otherwise it is empty.
func Shortage(err error) string {
	switch {
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "too many files are open there"
	case errors.Is(err, syscall.EAGAIN):
		return "too many processes run there"
	case errors.Is(err, syscall.ENOMEM):
		return "its memory is full"
	case errors.Is(err, syscall.ENOSPC):
		return "a disk or a table of its is full"
	}
	return ""
}
