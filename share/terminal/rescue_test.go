//go:build linux || darwin

package terminal

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/term"
)

// TestRescue: what a killed tandem has left of a terminal is brought back once,
// by whoever comes next on the same terminal; a living one's is left alone.
func TestRescue(t *testing.T) {
	d := newDesk(t, size80)
	folder := filepath.Join(t.TempDir(), "ttys")
	if Rescue(folder, d.tty.In) {
		t.Error("rescued from nothing")
	}
	back := leave(folder, d.tty.In)
	if _, err := term.MakeRaw(int(d.tty.In.Fd())); err != nil {
		t.Fatal(err)
	}
	if Rescue(folder, d.tty.In) {
		t.Error("rescued from a tandem that lives")
	}
	back()
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}

	// A file whose lock has gone with its process.
	path, err := leftoverPath(folder, d.tty.In)
	if err != nil {
		t.Fatal(err)
	}
	killed := func() {
		t.Helper()
		if err := term.Restore(int(d.tty.In.Fd()), d.before); err != nil {
			t.Fatal(err)
		}
		back := leave(folder, d.tty.In)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		back()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := term.MakeRaw(int(d.tty.In.Fd())); err != nil {
			t.Fatal(err)
		}
	}
	killed()
	if !Rescue(folder, d.tty.In) {
		t.Error("not rescued")
	}
	d.restored()
	if Rescue(folder, d.tty.In) {
		t.Error("rescued twice")
	}

	// What another session left of a terminal with the same name is old, and
	// what can't be read is nothing.
	for _, content := range []string{`{"session":1}`, "", "\x00\xff", `{"session":"x"}`} {
		killed()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if Rescue(folder, d.tty.In) {
			t.Errorf("rescued by %q", content)
		}
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%q is left behind", content)
		}
	}
	// Nobody is led elsewhere.
	if err := os.Symlink(filepath.Join(t.TempDir(), "elsewhere"), path); err != nil {
		t.Fatal(err)
	}
	leave(folder, d.tty.In)()
	if info, err := os.Lstat(path); err != nil || info.Mode()&os.ModeSymlink == 0 || Rescue(folder, d.tty.In) {
		t.Errorf("followed a link: %v, %v", info, err)
	}
}
