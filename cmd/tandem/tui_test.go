//go:build unix

package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/creack/pty"
)

// A library of the terminal UI's would ask the terminal for its colours in every
// verb, wait for the answer, and swallow what was typed ahead.
func TestVerbsDoNotAskTheTerminal(t *testing.T) {
	cmd := exec.Command("tandem", "version")
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "CI=")
	master, seat, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = seat, seat, seat
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true} // or it would not be asked at all
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := seat.Close(); err != nil {
		t.Fatal(err)
	}
	said, _ := io.ReadAll(master) // ends with EIO when the program does
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if bytes.ContainsRune(said, 0x1b) || !bytes.HasPrefix(said, []byte("tandem ")) {
		t.Errorf("version printed %q", said)
	}
}
