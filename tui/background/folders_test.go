package background

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"tandem/session"
)

// TestLocal: what a person does to files here.
func TestLocal(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no such trash on Windows")
	}
	dir, ctx := t.TempDir(), context.Background()
	l := Local{Trash: FindTrash(func(name string) string { return map[string]string{"HOME": dir}[name] })}
	here := l.Join(dir, "here")
	if err := l.Mkdir(ctx, here); err != nil {
		t.Fatal(err)
	}
	evil := "a\x1b[2J\u202eb c%.txt"
	for _, name := range []string{"one", evil} {
		if err := os.WriteFile(l.Join(here, name), []byte("content"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("one", l.Join(here, "link")); err != nil {
		t.Fatal(err)
	}
	entries, _, err := l.List(ctx, here)
	if err != nil || len(entries) != 3 {
		t.Fatal(entries, err)
	}
	for _, e := range entries {
		if (e.Name == "link") != (e.Other == "link") || e.Name == "one" && e.Size != 7 {
			t.Errorf("%+v", e)
		}
	}
	if p, err := l.Head(ctx, l.Join(here, "one"), 4); err != nil || string(p) != "cont" {
		t.Error(string(p), err)
	}
	if _, err := l.Head(ctx, here, 4); err == nil {
		t.Error("a folder can be read")
	}
	if err := l.Move(ctx, l.Join(here, "one"), l.Join(here, evil)); session.KindOf(err) != session.Exists {
		t.Error(err)
	}
	if err := l.Move(ctx, l.Join(here, "one"), l.Join(here, "two")); err != nil {
		t.Error(err)
	}
	for i, want := range []string{evil, evil + ".2"} {
		at := l.Join(here, evil)
		if i > 0 {
			if err := os.Mkdir(at, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		trash, err := l.Remove(ctx, at)
		if err != nil || filepath.Base(trash) != want {
			t.Fatal(trash, err)
		}
		if _, err := os.Lstat(trash); err != nil {
			t.Error(err)
		}
		note, err := os.ReadFile(filepath.Join(l.Trash, "info", want+".trashinfo"))
		if err != nil || !strings.Contains(string(note), "a%1B%5B2J%E2%80%AEb%20c%25.txt\n") {
			t.Error(string(note), err)
		}
	}
	if _, err := l.Remove(ctx, "/"); session.KindOf(err) != session.Denied {
		t.Error(err)
	}
	if _, err := l.Remove(ctx, l.Join(here, "absent")); session.KindOf(err) != session.NotFound {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Join(l.Trash, "info")); err != nil || len(left) != 2 {
		t.Error("a note about nothing", left, err)
	}
	over, end := context.WithCancel(ctx)
	end()
	_, removed := l.Remove(over, l.Join(here, "two"))
	if l.Mkdir(over, l.Join(here, "late")) == nil || l.Move(over, l.Join(here, "two"), l.Join(here, "late")) == nil || removed == nil {
		t.Error("something is changed after the end")
	}
	if _, err := (Local{}).Remove(ctx, l.Join(here, "two")); session.KindOf(err) != session.Unsupported {
		t.Error(err)
	}
}

func TestParents(t *testing.T) {
	for _, c := range []struct {
		f              Folder
		dir, up, named string
	}{
		{Remote{}, "", "", ""},
		{Remote{}, "share", "", "share"},
		{Remote{}, "share/a/b", "share/a", "b"},
		{Local{}, "/", "/", "/"},
		{Local{}, "/a/b", "/a", "b"},
	} {
		if runtime.GOOS == "windows" && c.f == (Local{}) {
			continue
		}
		if up, named := c.f.Parent(c.dir); up != c.up || named != c.named {
			t.Errorf("%q: %q, %q", c.dir, up, named)
		}
	}
}
