// Package quiet keeps bubbletea from asking the terminal for its colours before
// main begins: every verb would do so, wait up to five seconds for an answer,
// and swallow what was typed ahead (bubbletea v1.3.10, tea_init.go; gone in v2).
//
// It sets CI, by which termenv takes standard output for no terminal, while the
// packages of the program are initialised; main puts it back first of all. The
// order is certain (The Go Programming Language Specification, "Program
// initialization": the first package by import path whose imports are
// initialised is next): this package needs only syscall, so it comes before
// time, which needs syscall too and comes later in the alphabet, and so before
// bubbletea, which needs time. Keep it without other imports.
package quiet

import "syscall"

const variable = "CI"

// before is what the variable was; asked is nothing but the moment.
var before, was = ask()

func ask() (string, bool) {
	value, ok := syscall.Getenv(variable)
	_ = syscall.Setenv(variable, "tandem") // fails only for names that are none
	return value, ok
}

// Restore gives the environment back as it was.
func Restore() {
	if was {
		_ = syscall.Setenv(variable, before)
		return
	}
	_ = syscall.Unsetenv(variable)
}
