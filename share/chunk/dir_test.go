package chunk_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tandem/session"
	"tandem/share/chunk"
	"tandem/share/chunk/chunktest"
)

func open(t *testing.T, path string, o chunk.DirOptions) *chunk.Dir {
	t.Helper()
	d, err := chunk.OpenDir(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestDir(t *testing.T) {
	for name, o := range map[string]chunk.DirOptions{
		"plain": {}, "durable": {Durable: true}, "limited": {Limit: 32 << 20}, "cache": {Limit: 32 << 20, Cache: true},
	} {
		t.Run(name, func(t *testing.T) {
			chunktest.Store(t, func(t *testing.T) chunk.Store { return open(t, t.TempDir(), o) })
		})
	}
}

// page is a chunk of 4 KiB that doesn't compress.
func page(t *testing.T, i int) (chunk.Sum, []byte) {
	t.Helper()
	data := make([]byte, 0, 4096)
	for s := chunk.SumOf([]byte{byte(i)}); len(data) < 4096; s = chunk.SumOf(s[:]) {
		data = append(data, s[:]...)
	}
	return chunk.SumOf(data), data
}

func put(t *testing.T, d *chunk.Dir, i int) (chunk.Sum, error) {
	t.Helper()
	name, data := page(t, i)
	return name, d.Put(t.Context(), name, data)
}

func onDisk(path string, name chunk.Sum) string {
	return filepath.Join(path, name.String()[:2], name.String()[2:])
}

func TestDirRefusesWhenFull(t *testing.T) {
	path := t.TempDir()
	d := open(t, path, chunk.DirOptions{Limit: 10 * 4097})
	var first chunk.Sum
	for i := range 10 {
		name, err := put(t, d, i)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = name
		}
	}
	if _, err := put(t, d, 10); session.KindOf(err) != session.NoSpace {
		t.Error("an eleventh: ", err)
	}
	if _, err := put(t, d, 5); err != nil {
		t.Error("one that is there: ", err)
	}
	// Opened again, it knows how full it is.
	d = open(t, path, chunk.DirOptions{Limit: 10 * 4097})
	if _, err := put(t, d, 10); session.KindOf(err) != session.NoSpace {
		t.Error("an eleventh, later: ", err)
	}
	if err := d.Delete(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if _, err := put(t, d, 10); err != nil {
		t.Error("after making room: ", err)
	}
	if d.Size() != 10*4097 {
		t.Errorf("it says it has %d bytes", d.Size())
	}
}

func TestCacheDropsWhatWasNotUsed(t *testing.T) {
	path := t.TempDir()
	d := open(t, path, chunk.DirOptions{Limit: 16 * 4097, Cache: true})
	var names []chunk.Sum
	for i := range 16 {
		name, err := put(t, d, i)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
		used := time.Now().Add(time.Duration(i-100) * time.Hour)
		if err := os.Chtimes(onDisk(path, name), used, used); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Get(t.Context(), names[0]); err != nil { // the oldest is of use after all
		t.Fatal(err)
	}
	if _, err := put(t, d, 16); err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		ok, err := d.Has(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if want := i == 0 || i > 2; ok != want {
			t.Errorf("chunk %d: there? %v", i, ok)
		}
	}
}

func TestDamageIsFound(t *testing.T) {
	path := t.TempDir()
	d := open(t, path, chunk.DirOptions{})
	name, err := put(t, d, 1)
	if err != nil {
		t.Fatal(err)
	}
	pack, err := os.ReadFile(onDisk(path, name))
	if err != nil {
		t.Fatal(err)
	}
	for _, damage := range [][]byte{nil, pack[:len(pack)/2], append(bytes.Clone(pack), 0), append([]byte{1}, pack[1:]...)} {
		if err := os.WriteFile(onDisk(path, name), damage, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Get(t.Context(), name); session.KindOf(err) != session.Integrity {
			t.Errorf("%d bytes of %d: %v", len(damage), len(pack), err)
		}
		if _, err := d.Get(t.Context(), name); session.KindOf(err) != session.NotFound {
			t.Error("the second time: ", err)
		}
		if _, err := put(t, d, 1); err != nil {
			t.Error("put again: ", err)
		}
	}
}

// What is no file of ours is neither followed nor waited for.
func TestForeignFiles(t *testing.T) {
	path := t.TempDir()
	d := open(t, path, chunk.DirOptions{})
	name, data := page(t, 1)
	if err := os.MkdirAll(filepath.Dir(onDisk(path, name)), 0o700); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, append([]byte{0}, data...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, onDisk(path, name)); err != nil {
		t.Skip("no symbolic links here: ", err)
	}
	if _, err := d.Get(t.Context(), name); err == nil {
		t.Error("a link out of the store was followed")
	}
	for n, err := range d.List(t.Context()) {
		t.Error("listed: ", n, err)
	}
}

func TestAbandonedFilesAreSwept(t *testing.T) {
	path := t.TempDir()
	open(t, path, chunk.DirOptions{})
	old, fresh := filepath.Join(path, "tmp", "old"), filepath.Join(path, "tmp", "fresh")
	for _, f := range []string{old, fresh} {
		if err := os.WriteFile(f, []byte("half a chunk"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := time.Now().Add(-25 * time.Hour)
	if err := os.Chtimes(old, before, before); err != nil {
		t.Fatal(err)
	}
	open(t, path, chunk.DirOptions{})
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Error("the old one is still there: ", err)
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Error("somebody still writes the fresh one: ", err)
	}
}
