package folder_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"tandem/session"
	"tandem/share/folder"
)

// copyBothWays copies by put and by get; the last argument is the tree to be
// copied to.
func copyBothWays(t *testing.T, f func(t *testing.T, from, to string, copy func(folder.Options) (folder.Summary, error), m *metered)) {
	t.Helper()
	t.Run("put", func(t *testing.T) {
		here, there := t.TempDir(), t.TempDir()
		c, m := meter(t, there)
		f(t, here, there, func(o folder.Options) (folder.Summary, error) { return c.Put(t.Context(), here, "", o) }, m)
	})
	t.Run("get", func(t *testing.T) {
		here, there := t.TempDir(), t.TempDir()
		c, m := meter(t, there)
		f(t, there, here, func(o folder.Options) (folder.Summary, error) { return c.Get(t.Context(), "", here, o) }, m)
	})
}

// TestCopiesTravelOnce has the same content in several files of a tree, and
// several times in one.
func TestCopiesTravelOnce(t *testing.T) {
	copyBothWays(t, func(t *testing.T, from, to string, copy func(folder.Options) (folder.Summary, error), m *metered) {
		big := content(3<<20, 1)
		for _, name := range []string{"a/big", "b/copy", "c/third"} {
			write(t, filepath.Join(from, name), big)
		}
		for i := range 100 {
			write(t, filepath.Join(from, "many", strconv.Itoa(i)), content(5000, 2))
		}
		write(t, filepath.Join(from, "twice"), bytes.Repeat(content(128<<10, 3), 20))
		sum, err := copy(folder.Options{})
		if err != nil || sum.Files != 104 || sum.Failed != 0 {
			t.Errorf("%+v, %v", sum, err)
		}
		if n := m.bytes.Load(); n > 4<<20 {
			t.Errorf("%d bytes travelled", n)
		}
		sameTrees(t, to, from)
	})
}

// TestMissedCopies has files that refer to one that is not kept.
func TestMissedCopies(t *testing.T) {
	copyBothWays(t, func(t *testing.T, from, to string, copy func(folder.Options) (folder.Summary, error), _ *metered) {
		big := content(1<<20, 1)
		for _, name := range []string{"a", "b", "c"} {
			write(t, filepath.Join(from, name), big)
		}
		// What replaces this changes it at once, as others may.
		damaged := false
		sum, err := copy(folder.Options{Progress: func(p folder.Progress) {
			if _, err := os.Stat(filepath.Join(to, "a")); p.Current != "a" || damaged || err != nil {
				return
			}
			damaged = true
			if err := os.WriteFile(filepath.Join(to, "a"), content(1<<20, 2), 0o666); err != nil {
				t.Error(err)
			}
		}})
		if err != nil || sum.Files != 3 || !damaged {
			t.Errorf("%+v, %v", sum, err)
		}
		for _, name := range []string{"b", "c"} {
			if p, err := os.ReadFile(filepath.Join(to, name)); err != nil || !bytes.Equal(p, big) {
				t.Errorf("%s: %d bytes, %v", name, len(p), err)
			}
		}
	})
}

// TestPipesOfCopies reads and writes a file that repeats itself.
func TestPipesOfCopies(t *testing.T) {
	there := t.TempDir()
	want := bytes.Repeat(content(128<<10, 3), 10)
	c := offer(t, folder.Share{Dir: there})
	if _, err := c.Write(t.Context(), "f", bytes.NewReader(want), 0, folder.Options{}); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := c.Read(t.Context(), "f", &got, folder.Options{}); err != nil || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%d bytes, %v", got.Len(), err)
	}
	if _, err := c.Read(t.Context(), "g", io.Discard, folder.Options{}); session.KindOf(err) != session.NotFound {
		t.Error(err)
	}
}
