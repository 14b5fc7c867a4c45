//go:build unix

package folder

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"tandem/session"
)

// What is neither a file nor a directory is refused by every operation, and none
// changes it or where it leads.
func TestEveryOperationOnSpecialFiles(t *testing.T) {
	around := t.TempDir()
	dir := filepath.Join(around, "share")
	grow(t, around, "outside/1", "share/mine", "share/sub/x")
	special := map[string]error{
		"file link":     os.Symlink("mine", filepath.Join(dir, "file link")),
		"folder link":   os.Symlink("sub", filepath.Join(dir, "folder link")),
		"link out":      os.Symlink("../outside", filepath.Join(dir, "link out")),
		"absolute link": os.Symlink(filepath.Join(around, "outside", "1"), filepath.Join(dir, "absolute link")),
		"loop":          os.Symlink("loop", filepath.Join(dir, "loop")),
		"nowhere":       os.Symlink("../outside/2", filepath.Join(dir, "nowhere")),
		"fifo":          syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o666),
	}
	t.Chdir(dir) // a socket's address is short
	if l, err := net.Listen("unix", "socket"); err == nil {
		defer l.Close()
		special["socket"] = nil
	}
	if os.Getuid() == 0 {
		if err := syscall.Mknod(filepath.Join(dir, "device"), syscall.S_IFCHR|0o666, 1<<8|3); err == nil { // null
			special["device"] = nil
		}
	}
	c := attack(t, dir, Write, true)
	before := paths(t, around)
	for name, err := range special {
		if err != nil {
			t.Fatal(err)
		}
		for what, req := range operations(name) {
			switch rep := c.try(req); kind(rep) {
			case session.Unsupported, session.Exists, session.Invalid:
			default:
				t.Errorf("%s %s: %+v, %+v", what, name, rep, rep.Error)
			}
		}
		for _, below := range []string{"1", "x"} {
			for what, req := range operations(name + "/" + below) {
				if rep := c.try(req); rep.Error == nil {
					t.Errorf("%s %s/%s: %+v", what, name, below, rep)
				}
			}
		}
		w := attack(t, dir, Read, false)
		if rep := w.try(request{Op: opWatch, Path: name, Recursive: true}); rep.Error == nil {
			t.Errorf("watch %s: %+v", name, rep)
		}
	}
	after := paths(t, around)
	if len(after) != len(before) {
		t.Errorf("there was %q, and now %q", before, after)
	}
	for path, want := range map[string]string{"outside/1": "outside/1", "share/mine": "share/mine"} {
		if p, err := os.ReadFile(filepath.Join(around, path)); err != nil || string(p) != want {
			t.Errorf("%s: %q, %v", path, p, err)
		}
	}
}

// Links that are followed lead to files of the share that are visible, and to
// nothing else; and nobody changes anything through them.
func TestFollowedLinks(t *testing.T) {
	around := t.TempDir()
	dir := filepath.Join(around, "share")
	grow(t, around, "outside/x", "share/file", "share/sub/x", "share/secret", "share/mine")
	for name, to := range map[string]string{
		"good": "file", "sub/up": "../file", "down": "sub/x",
		"to secret": "secret", "out": "../outside/x", "absolute": filepath.Join(dir, "file"), "folder": "sub", "top": ".", "self": "self", "chain": "good",
		"around": "../share/file", "through": "folder/x", "trash": ".tandem-trash", "dangling": "nothing",
	} {
		if err := os.Symlink(to, filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			t.Fatal(err)
		}
	}
	c := attackShare(t, Share{Dir: dir, Links: true, Executables: true, Rules: []Rule{{"secret", Hidden}}}, Write)
	before := paths(t, around)
	for name, want := range map[string]string{"good": "share/file", "sub/up": "share/file", "down": "share/sub/x"} {
		for what, req := range operations(name) {
			rep := c.try(req)
			switch what {
			case "stat", "read", "fetch", "hash":
				if rep.Error != nil || rep.Entry == nil || rep.Entry.Size != int64(len(want)) {
					t.Errorf("%s %s: %+v, %+v", what, name, rep.Entry, rep.Error)
				}
			default:
				if rep.Error == nil {
					t.Errorf("%s %s: %+v", what, name, rep)
				}
			}
		}
	}
	for _, name := range []string{"to secret", "out", "absolute", "folder", "top", "self", "chain", "around", "through", "trash", "dangling"} {
		for what, req := range operations(name) {
			if rep := c.try(req); rep.Error == nil {
				t.Errorf("%s %s: %+v", what, name, rep)
			}
		}
	}
	if after := paths(t, around); len(after) != len(before) {
		t.Errorf("there was %q, and now %q", before, after)
	}
	for _, path := range []string{"outside/x", "share/file", "share/sub/x", "share/secret", "share/mine"} {
		p, err := os.ReadFile(filepath.Join(around, path))
		info, statErr := os.Stat(filepath.Join(around, path))
		if err != nil || statErr != nil || string(p) != path || info.Mode()&0o111 != 0 || info.ModTime().Unix() == 0 {
			t.Errorf("%s: %q, %v", path, p, err)
		}
	}
}
