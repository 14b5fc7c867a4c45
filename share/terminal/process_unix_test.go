//go:build linux || darwin

package terminal

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"tandem/session"
)

// TestNoPTY: a viewer hears why there is no terminal, and what to do about it,
// but no detail of the host's.
func TestNoPTY(t *testing.T) {
	for errno, want := range map[syscall.Errno]struct {
		kind session.Kind
		text string
	}{
		syscall.ENOSPC: {session.Busy, "the host can't start a terminal now: it has no pseudo-terminals left; end a terminal there, or raise its limit (kernel.pty.max)"},
		syscall.EMFILE: {session.Busy, "the host can't start a terminal now: too many files are open there; try again when something there has ended"},
		syscall.ENOENT: {session.Unavailable, "the host can't start a terminal: it has no /dev/ptmx that tandem may use; mount devpts there, or use tandem exec, which needs none"},
		syscall.EACCES: {session.Unavailable, "the host can't start a terminal: it has no /dev/ptmx that tandem may use; mount devpts there, or use tandem exec, which needs none"},
		syscall.EIO:    {session.Unavailable, "the host can't start a terminal now"},
	} {
		err := noPTY(&fs.PathError{Op: "open", Path: "/dev/ptmx", Err: errno})
		if kind, text := session.Public(err); kind != want.kind || text != want.text || !errors.Is(err, errno) {
			t.Errorf("%v: %s, %q", errno, kind, text)
		}
	}
}

// TestPTYThatCannotBeMade: the request fails in one piece, and leaves nothing
// behind; the next one works.
func TestPTYThatCannotBeMade(t *testing.T) {
	s, guest := share(t, Config{})
	attach(t, guest, Request{Name: "first"}).sees("$ ") // its shell keeps running
	giveBack := useUpFiles(t)
	err := s.Start("second", Params{})
	giveBack()
	if kind, text := session.Public(err); kind != session.Busy || text != "the host can't start a terminal now: too many files are open there; try again when something there has ended" {
		t.Errorf("%v", err)
	}
	if list := s.Terminals(); len(list) != 1 || list[0].Exit != nil {
		t.Errorf("%+v", list)
	}
	attach(t, guest, Request{Name: "second"}).sees("$ ")
}

// useUpFiles lets this process open no more files until giveBack is called.
func useUpFiles(t *testing.T) (giveBack func()) {
	t.Helper()
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	next, err := os.Open(os.DevNull) // gets the lowest number that is free
	if err != nil {
		t.Fatal(err)
	}
	lowest := next.Fd()
	if err := next.Close(); err != nil {
		t.Fatal(err)
	}
	less := syscall.Rlimit{Cur: uint64(lowest), Max: was.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &less); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
			t.Fatal(err)
		}
	}
}
