//go:build unix

package command

import (
	"errors"
	"os"
	"testing"
	"time"
)

// What a program has printed is read even if nobody had the time to look before
// the silence behind it was over.
func TestOutputIsReadLate(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close() // as a program's child may hold it
	if _, err := w.WriteString("here\n"); err != nil {
		t.Fatal(err)
	}
	over := func() {
		if err := r.SetReadDeadline(time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	over()
	buf := make([]byte, 100)
	if n, err := readOutput(r, buf); err != nil || string(buf[:n]) != "here\n" {
		t.Errorf("got %q, %v", buf[:n], err)
	}
	over()
	if n, err := readOutput(r, buf); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after that: %q, %v", buf[:n], err)
	}
}
