package mount_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// twin is a file that is open on both sides.
type twin struct {
	name string // "" once it was removed
	ours *os.File
	real *os.File
}

// Random operations on open files, some of them renamed, replaced or removed
// meanwhile, have the effect they have on a local folder (after fsx, the file
// system exerciser that Apple and others test theirs with).
func TestOpenFilesAsLocal(t *testing.T) {
	dir, local := t.TempDir(), t.TempDir()
	at := mounted(t, dir, false)
	r := rand.New(rand.NewPCG(5, 6))
	names := []string{"a", "b", "c", "d/a", "d/b"}
	for _, base := range []string{at, local} {
		if err := os.Mkdir(filepath.Join(base, "d"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var open []*twin
	held := func(name string) int {
		for i, tw := range open {
			if tw.name == name {
				return i
			}
		}
		return -1
	}
	step, steps := 0, 1500
	if testing.Short() {
		steps = 300
	}
	same := func(what string, got, want any, gotErr, wantErr error) {
		t.Helper()
		var g, w syscall.Errno
		_, _ = errors.As(gotErr, &g), errors.As(wantErr, &w) // 0 is no error
		if fmt.Sprint(got) != fmt.Sprint(want) || g != w {
			t.Fatalf("step %d, %s: %.40q and %v, not %.40q and %v", step, what, got, gotErr, want, wantErr)
		}
	}
	for ; step < steps; step++ {
		name, to := names[r.IntN(len(names))], names[r.IntN(len(names))]
		offset, data := r.Int64N(200<<10), noise(r.IntN(30<<10), r.Uint64())
		var tw *twin
		if len(open) > 0 {
			tw = open[r.IntN(len(open))]
		}
		switch op := r.IntN(12); {
		case op == 0 && held(name) < 0 && len(open) < 4:
			flags := os.O_RDWR | os.O_CREATE | []int{0, os.O_TRUNC}[r.IntN(2)]
			ours, err1 := os.OpenFile(filepath.Join(at, name), flags, 0o600)
			real, err2 := os.OpenFile(filepath.Join(local, name), flags, 0o600)
			same("open "+name, "", "", err1, err2)
			open = append(open, &twin{name, ours, real})
		case op == 1 && name != to:
			err1 := os.Rename(filepath.Join(at, name), filepath.Join(at, to))
			err2 := os.Rename(filepath.Join(local, name), filepath.Join(local, to))
			same("rename "+name+" "+to, "", "", err1, err2)
			if err1 == nil {
				if i := held(to); i >= 0 {
					open[i].name = ""
				}
				if i := held(name); i >= 0 {
					open[i].name = to
				}
			}
		case op == 2:
			err1, err2 := os.Remove(filepath.Join(at, name)), os.Remove(filepath.Join(local, name))
			same("remove "+name, "", "", err1, err2)
			if i := held(name); i >= 0 && err1 == nil {
				open[i].name = ""
			}
		case op == 3:
			size := func(base string) (int64, error) {
				info, err := os.Stat(filepath.Join(base, name))
				if err != nil {
					return 0, err
				}
				return info.Size(), nil
			}
			n1, err1 := size(at)
			n2, err2 := size(local)
			same("stat "+name, n1, n2, err1, err2)
		case tw == nil:
		case op <= 5:
			n1, err1 := tw.ours.WriteAt(data, offset)
			n2, err2 := tw.real.WriteAt(data, offset)
			same("write "+tw.name, n1, n2, err1, err2)
		case op <= 8:
			p1, p2 := make([]byte, len(data)), make([]byte, len(data))
			n1, err1 := tw.ours.ReadAt(p1, offset)
			n2, err2 := tw.real.ReadAt(p2, offset)
			same("read "+tw.name, string(p1[:n1]), string(p2[:n2]), err1, err2)
		case op == 9:
			same("truncate "+tw.name, "", "", tw.ours.Truncate(offset), tw.real.Truncate(offset))
		case op == 10:
			same("sync "+tw.name, "", "", tw.ours.Sync(), tw.real.Sync())
			if tw.name != "" { // it is there now
				same("file "+tw.name, "", "", exec.Command("cmp", filepath.Join(dir, tw.name), filepath.Join(local, tw.name)).Run(), nil)
			}
		default:
			same("close "+tw.name, "", "", tw.ours.Close(), tw.real.Close())
			for i := range open {
				if open[i] == tw {
					open = append(open[:i], open[i+1:]...)
					break
				}
			}
		}
	}
	for _, tw := range open {
		if err := errors.Join(tw.ours.Close(), tw.real.Close()); err != nil {
			t.Error(err)
		}
	}
	if out, err := exec.Command("diff", "-r", "--exclude=.tandem-*", dir, local).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// Names that can't travel are refused by the mount, whatever is to be done.
func TestHostileNamesThroughMount(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "file"), []byte("x"))
	at := mounted(t, dir, false)
	for _, name := range []string{
		`a\b`, `..\a`, "C:", "a:b", "NUL", "nul.txt", "COM1", "a\nb", "a\x1b[2J", "dot.", "space ", "\xff\xfe", ".tandem-trash", ".tandem-partial", ".TANDEM-x", ".tandemignore", "FILE",
	} {
		path := filepath.Join(at, name)
		for what, err := range map[string]error{
			"write": os.WriteFile(path, []byte("y"), 0o600), "make": os.Mkdir(path, 0o700), "rename": os.Rename(filepath.Join(at, "file"), path),
			"link": os.Symlink("file", path), "hard link": os.Link(filepath.Join(at, "file"), path), "pipe": syscall.Mkfifo(path, 0o600),
		} {
			if err == nil && (name != "FILE" || what != "rename") {
				t.Errorf("%s %q: it worked", what, name)
			}
		}
		if name == "FILE" { // another spelling of itself
			if err := os.Rename(path, filepath.Join(at, "file")); err != nil {
				t.Error(err)
			}
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("stat %q: %v", name, err)
		}
	}
	if err := os.WriteFile(filepath.Join(at, strings.Repeat("x", 300)), nil, 0o600); !errors.Is(err, syscall.ENAMETOOLONG) {
		t.Error("300 bytes: ", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "file" {
		t.Errorf("there are %v, %v", entries, err)
	}
	has(t, filepath.Join(dir, "file"), []byte("x"))
}
