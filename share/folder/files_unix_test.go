//go:build unix

package folder_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"tandem/session"
	"tandem/share/folder"
)

// TestSpecialFiles has every kind of file that is not regular, on both sides.
func TestSpecialFiles(t *testing.T) {
	around := t.TempDir()
	dir := filepath.Join(around, "share")
	write(t, filepath.Join(dir, "plain"), []byte("plain"))
	write(t, filepath.Join(dir, "sub", "x"), []byte("x"))
	write(t, filepath.Join(around, "secret"), []byte("secret"))
	if err := errors.Join(
		os.Symlink("plain", filepath.Join(dir, "inside")),
		os.Symlink("../secret", filepath.Join(dir, "outside")),
		os.Symlink(filepath.Join(around, "secret"), filepath.Join(dir, "absolute")),
		os.Symlink("..", filepath.Join(dir, "up")),
		os.Symlink("sub", filepath.Join(dir, "down")),
		os.Symlink("nowhere", filepath.Join(dir, "dangling")),
		syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o666),
	); err != nil {
		t.Fatal(err)
	}
	odd := []string{"inside", "outside", "absolute", "up", "down", "dangling", "fifo"}
	c := offer(t, folder.Share{Dir: dir})
	entries, skipped, err := c.List(t.Context(), "")
	if err != nil || len(entries) != 2 || skipped != len(odd) {
		t.Errorf("List = %v, %d, %v", entries, skipped, err)
	}
	src := filepath.Join(t.TempDir(), "new")
	write(t, src, []byte("new"))
	before := snapshot(t, around)
	for _, name := range odd {
		if _, err := c.Stat(t.Context(), name); session.KindOf(err) != session.Unsupported {
			t.Errorf("Stat(%s) = %v", name, err)
		}
		if _, err := c.Read(t.Context(), name, io.Discard, folder.Options{}); session.KindOf(err) != session.Unsupported {
			t.Errorf("Read(%s) = %v", name, err)
		}
		if _, err := c.Put(t.Context(), src, name, folder.Options{Force: true}); session.KindOf(err) != session.Exists {
			t.Errorf("Put(%s) = %v", name, err)
		}
		if _, err := c.Stat(t.Context(), name+"/x"); err == nil {
			t.Errorf("Stat(%s/x) worked", name)
		}
		if _, err := c.Put(t.Context(), src, name+"/secret", folder.Options{Force: true}); err == nil {
			t.Errorf("Put(%s/secret) worked", name)
		}
		if err := c.Mkdir(t.Context(), name+"/d"); err == nil {
			t.Errorf("Mkdir(%s/d) worked", name)
		}
	}
	after := snapshot(t, around)
	for path := range after {
		if after[path] != before[path] {
			t.Errorf("%s changed", path)
		}
	}
	dest := t.TempDir()
	if sum, err := c.Get(t.Context(), "", dest, folder.Options{}); err != nil || sum.Files != 2 || sum.Skipped != len(odd) {
		t.Errorf("Get: %+v, %v", sum, err)
	}
	there := t.TempDir()
	c2 := offer(t, folder.Share{Dir: there})
	if sum, err := c2.Put(t.Context(), dir, "", folder.Options{}); err != nil || sum.Files != 2 || sum.Skipped != len(odd) {
		t.Errorf("Put: %+v, %v", sum, err)
	}
	sameTrees(t, there, dest)
}

// TestLocalLinks gets into a directory where links lead elsewhere.
func TestLocalLinks(t *testing.T) {
	there, around := t.TempDir(), t.TempDir()
	write(t, filepath.Join(there, "d", "x"), []byte("theirs"))
	write(t, filepath.Join(there, "f"), []byte("theirs"))
	write(t, filepath.Join(around, "victim", "x"), []byte("mine"))
	write(t, filepath.Join(around, "file"), []byte("mine"))
	dest := filepath.Join(around, "dest")
	if err := errors.Join(os.Mkdir(dest, 0o777), os.Symlink("../victim", filepath.Join(dest, "d")), os.Symlink("../file", filepath.Join(dest, "f"))); err != nil {
		t.Fatal(err)
	}
	c := offer(t, folder.Share{Dir: there})
	if sum, err := c.Get(t.Context(), "", dest, folder.Options{Force: true}); err == nil || sum.Files != 0 {
		t.Errorf("Get: %+v, %v", sum, err)
	}
	for _, path := range []string{"victim/x", "file"} {
		if p, err := os.ReadFile(filepath.Join(around, path)); err != nil || string(p) != "mine" {
			t.Errorf("%s = %q, %v", path, p, err)
		}
	}
}

func TestModes(t *testing.T) {
	here := t.TempDir()
	for name, mode := range map[string]fs.FileMode{"tool": 0o755, "suid": 0o755 | fs.ModeSetuid | fs.ModeSetgid, "plain": 0o644, "private": 0o600} {
		write(t, filepath.Join(here, name), []byte(name))
		if err := os.Chmod(filepath.Join(here, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	mode := func(dir, name string) fs.FileMode {
		t.Helper()
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode()
	}
	check := func(what, dir string, exec bool) {
		t.Helper()
		for _, name := range []string{"tool", "suid", "plain", "private"} {
			m := mode(dir, name)
			if m&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0 {
				t.Errorf("%s: %s is %v", what, name, m)
			}
			if want := exec && (name == "tool" || name == "suid"); (m&0o111 != 0) != want {
				t.Errorf("%s: %s is %v, executable %v wanted", what, name, m, want)
			}
		}
	}
	for _, exec := range []bool{false, true} {
		there, back := t.TempDir(), t.TempDir()
		c := offer(t, folder.Share{Dir: there, Executables: exec})
		if _, err := c.Put(t.Context(), here, "", folder.Options{}); err != nil {
			t.Fatal(err)
		}
		check("put", there, exec)
		c = offer(t, folder.Share{Dir: here})
		if _, err := c.Get(t.Context(), "", back, folder.Options{Executables: exec}); err != nil {
			t.Fatal(err)
		}
		check("get", back, exec)
	}

	// A replaced file keeps who may read it, and loses what makes it run.
	there := t.TempDir()
	for name, m := range map[string]fs.FileMode{"private": 0o600, "tool": 0o4755} {
		write(t, filepath.Join(there, name), []byte("old "+name))
		if err := os.Chmod(filepath.Join(there, name), m|fs.ModeSetuid); err != nil {
			t.Fatal(err)
		}
	}
	c := offer(t, folder.Share{Dir: there})
	if _, err := c.Put(t.Context(), here, "", folder.Options{Force: true}); err != nil {
		t.Fatal(err)
	}
	if got := mode(there, "private"); got != 0o600 {
		t.Errorf("private became %v", got)
	}
	if got := mode(there, "tool"); got != 0o644 {
		t.Errorf("tool became %v", got)
	}
}

// TestUnreadable has a file and a folder that can't be read.
func TestUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads everything")
	}
	there, dest := t.TempDir(), t.TempDir()
	write(t, filepath.Join(there, "a"), []byte("a"))
	write(t, filepath.Join(there, "b"), []byte("b"))
	write(t, filepath.Join(there, "d", "x"), []byte("x"))
	if err := errors.Join(os.Chmod(filepath.Join(there, "a"), 0), os.Chmod(filepath.Join(there, "d"), 0)); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(filepath.Join(there, "d"), 0o700)
	c := offer(t, folder.Share{Dir: there})
	sum, err := c.Get(t.Context(), "", dest, folder.Options{})
	if session.KindOf(err) != session.Denied || sum.Failed != 2 || sum.Files != 1 {
		t.Errorf("%+v, %v", sum, err)
	}
}

// TestFullDisk fills a small file system; it needs root to mount one.
func TestFullDisk(t *testing.T) {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("mounting a small file system needs root on Linux")
	}
	small := t.TempDir()
	if err := mountSmall(small); err != nil {
		t.Skipf("mounting a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unmount(small); err != nil {
			t.Error(err)
		}
	})
	large := t.TempDir()
	write(t, filepath.Join(large, "1 small"), content(1000, 1))
	write(t, filepath.Join(large, "2 big"), content(2<<20, 1))
	for name, copy := range map[string]func() (folder.Summary, error){
		"put": func() (folder.Summary, error) {
			return offer(t, folder.Share{Dir: small}).Put(t.Context(), large, "", folder.Options{})
		},
		"get": func() (folder.Summary, error) {
			return offer(t, folder.Share{Dir: large}).Get(t.Context(), "", small, folder.Options{})
		},
	} {
		_, err := copy()
		if session.KindOf(err) != session.NoSpace || strings.Contains(err.Error(), small) {
			t.Errorf("%s: %v", name, err)
		}
		for path := range snapshot(t, small) {
			if path != "." && path != "1 small" && path != ".tandem-partial" {
				t.Errorf("%s left %s", name, path)
			}
		}
	}
}

// TestReadOnlyDisk copies to where nothing can be written.
func TestReadOnlyDisk(t *testing.T) {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("mounting a small file system needs root on Linux")
	}
	dir, other := t.TempDir(), t.TempDir()
	if err := mountSmall(dir); err != nil {
		t.Skipf("mounting a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unmount(dir); err != nil {
			t.Error(err)
		}
	})
	write(t, filepath.Join(dir, "old"), []byte("old"))
	write(t, filepath.Join(other, "new"), []byte("new"))
	write(t, filepath.Join(other, "d", "large"), content(1<<20, 1))
	if err := makeReadOnly(dir); err != nil {
		t.Fatal(err)
	}
	for name, copy := range map[string]func() (folder.Summary, error){
		"put": func() (folder.Summary, error) {
			return offer(t, folder.Share{Dir: dir}).Put(t.Context(), other, "", folder.Options{})
		},
		"get": func() (folder.Summary, error) {
			return offer(t, folder.Share{Dir: other}).Get(t.Context(), "", dir, folder.Options{})
		},
	} {
		sum, err := copy()
		if session.KindOf(err) != session.Denied || !strings.Contains(err.Error(), "read-only") || sum.Files != 0 {
			t.Errorf("%s: %+v, %v", name, sum, err)
		}
	}
	if list := snapshot(t, dir); len(list) != 2 {
		t.Errorf("%d paths", len(list))
	}
}

// TestOtherFileSystemInside puts below a mount point inside the share.
func TestOtherFileSystemInside(t *testing.T) {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("mounting needs root on Linux")
	}
	there := t.TempDir()
	inner := filepath.Join(there, "inner")
	if err := os.Mkdir(inner, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := mountSmall(inner); err != nil {
		t.Skipf("mounting: %v", err)
	}
	t.Cleanup(func() {
		if err := unmount(inner); err != nil {
			t.Error(err)
		}
	})
	src := filepath.Join(t.TempDir(), "x")
	write(t, src, content(300_000, 1))
	c := offer(t, folder.Share{Dir: there})
	if _, err := c.Put(t.Context(), src, "inner/x", folder.Options{}); err != nil {
		t.Fatal(err)
	}
	if p, err := os.ReadFile(filepath.Join(inner, "x")); err != nil || string(p) != string(content(300_000, 1)) {
		t.Errorf("%d bytes, %v", len(p), err)
	}
	if list, err := os.ReadDir(inner); err != nil || len(list) != 1 {
		t.Errorf("left %v, %v", list, err)
	}
}

// What would wait for its other end if it were opened is refused as a destination.
func TestGetOntoFIFO(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "plain"), []byte("plain"))
	dest := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(dest, 0o600); err != nil {
		t.Fatal(err)
	}
	c := offer(t, folder.Share{Dir: dir})
	for _, path := range []string{"plain", ""} {
		if _, err := c.Get(t.Context(), path, dest, folder.Options{}); err == nil {
			t.Errorf("got %q", path)
		}
	}
}
