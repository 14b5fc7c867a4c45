package folder_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tandem/session"
	"tandem/session/sessiontest"
	"tandem/share/folder"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// offer serves dir as "docs" and returns a client of it.
func offer(t testing.TB, sh folder.Share) *folder.Client {
	t.Helper()
	sh.Name = "docs"
	service := folder.New()
	if err := service.Add(sh); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := service.Close(); err != nil {
			t.Error(err)
		}
	})
	s, _ := sessiontest.Pair(t, nil, sessiontest.Serve(service))
	return folder.NewClient(s, "docs")
}

// content is n bytes that are the same for the same seed.
func content(n int, seed uint64) []byte {
	p := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(p) // never fails
	return p
}

func write(t testing.TB, path string, p []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, p, 0o666); err != nil {
		t.Fatal(err)
	}
}

// plant makes a tree with files around every limit of the protocol.
func plant(t testing.TB, dir string) {
	t.Helper()
	for i, n := range []int{0, 1, 1000, 64 << 10, 64<<10 + 1, 256 << 10, 256<<10 + 1, 3<<20 + 17} {
		write(t, filepath.Join(dir, "sizes", strings.Repeat("s", i+1)), content(n, uint64(i)))
	}
	for i := range 60 {
		write(t, filepath.Join(dir, "many", string(rune('a'+i%26)), "é "+string(rune('a'+i/26))), content(i*7, uint64(i)))
	}
	write(t, filepath.Join(dir, ".hidden", "x"), []byte("x"))
	if err := os.MkdirAll(filepath.Join(dir, "empty", "below"), 0o777); err != nil {
		t.Fatal(err)
	}
	old := time.Date(2001, 2, 3, 4, 5, 6, 789000000, time.UTC)
	if err := os.Chtimes(filepath.Join(dir, "sizes", "sss"), old, old); err != nil {
		t.Fatal(err)
	}
}

// snapshot is every path of dir with its content and time.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			all[rel] = "dir"
		case info.Mode().IsRegular():
			p, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			all[rel] = info.ModTime().String() + string(p)
		default:
			all[rel] = info.Mode().String()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func sameTrees(t testing.TB, got, want string) {
	t.Helper()
	g, w := snapshot(t, got), snapshot(t, want)
	for path := range w {
		if g[path] != w[path] {
			t.Errorf("%s differs or is missing", path)
		}
	}
	for path := range g {
		if _, ok := w[path]; !ok {
			t.Errorf("%s is too many", path)
		}
	}
}

func TestTrees(t *testing.T) {
	there, here, back := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "new")
	plant(t, here)
	c := offer(t, folder.Share{Dir: there})
	var last folder.Progress
	o := folder.Options{Progress: func(p folder.Progress) { last = p }}
	sum, err := c.Put(t.Context(), here, "", o)
	if err != nil {
		t.Fatal(err)
	}
	sameTrees(t, there, here)
	if sum.Files != 69 || sum.Failed != 0 || sum.Same != 0 || sum.Sent != sum.Bytes {
		t.Errorf("put: %+v", sum)
	}
	if last.Files != 69 || last.FilesDone != 69 || last.BytesDone != last.Bytes {
		t.Errorf("put: %+v", last)
	}
	sum, err = c.Get(t.Context(), "", back, o)
	if err != nil {
		t.Fatal(err)
	}
	sameTrees(t, back, here)
	if sum.Files != 69 || sum.Failed != 0 || sum.Sent != sum.Bytes || last.FilesDone != 69 || last.BytesDone != last.Bytes {
		t.Errorf("get: %+v, %+v", sum, last)
	}

	// Again: nothing travels.
	sum, err = c.Get(t.Context(), "", back, o)
	if err != nil || sum.Same != 69 || sum.Files != 0 || sum.Sent != 0 {
		t.Errorf("second get: %+v, %v", sum, err)
	}
	sum, err = c.Put(t.Context(), here, "", o)
	if err != nil || sum.Same != 69 || sum.Files != 0 {
		t.Errorf("second put: %+v, %v", sum, err)
	}
	sameTrees(t, there, here)

	// Differing files stay without force.
	write(t, filepath.Join(there, "sizes", "s"), []byte("theirs"))
	write(t, filepath.Join(there, "sizes", "ssssssss"), content(3<<20+17, 99))
	for name, copy := range map[string]func(folder.Options) (folder.Summary, error){
		"put": func(o folder.Options) (folder.Summary, error) { return c.Put(t.Context(), here, "", o) },
		"get": func(o folder.Options) (folder.Summary, error) { return c.Get(t.Context(), "", back, o) },
	} {
		sum, err = copy(folder.Options{})
		if session.KindOf(err) != session.Exists || sum.Failed != 2 || len(sum.Failures) != 2 || sum.Same != 67 {
			t.Errorf("%s without force: %+v, %v", name, sum, err)
		}
	}
	if p, err := os.ReadFile(filepath.Join(there, "sizes", "s")); err != nil || string(p) != "theirs" {
		t.Errorf("a put without force replaced a file: %q, %v", p, err)
	}
	if sum, err = c.Get(t.Context(), "", back, folder.Options{Force: true}); err != nil || sum.Files != 2 || sum.Same != 67 {
		t.Errorf("get with force: %+v, %v", sum, err)
	}
	sameTrees(t, back, there)
	if sum, err = c.Put(t.Context(), here, "", folder.Options{Force: true}); err != nil || sum.Files != 2 || sum.Same != 67 {
		t.Errorf("put with force: %+v, %v", sum, err)
	}
	sameTrees(t, there, here)
}

func TestSingleFiles(t *testing.T) {
	there, here := t.TempDir(), t.TempDir()
	want := content(1<<20, 1)
	write(t, filepath.Join(here, "big"), want)
	write(t, filepath.Join(here, "small"), want[:100])
	c := offer(t, folder.Share{Dir: there})
	ctx := t.Context()
	if err := c.Mkdir(ctx, "a/b"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"big", "small"} {
		if _, err := c.Put(ctx, filepath.Join(here, name), "a/b/"+name+".copy", folder.Options{}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Get(ctx, "a/b/"+name+".copy", filepath.Join(here, name+".back"), folder.Options{}); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(here, name+".back"))
		if err != nil || !bytes.HasPrefix(want, got) || len(got) < 100 {
			t.Errorf("%s came back as %d bytes, %v", name, len(got), err)
		}
	}
	e, err := c.Stat(ctx, "a/b/big.copy")
	if err != nil || e.Name != "big.copy" || e.Size != 1<<20 || e.Dir {
		t.Errorf("Stat = %+v, %v", e, err)
	}
	entries, skipped, err := c.List(ctx, "a/b")
	if err != nil || len(entries) != 2 || skipped != 0 || entries[0].Name != "big.copy" || entries[1].Name != "small.copy" {
		t.Errorf("List = %+v, %d, %v", entries, skipped, err)
	}
	p := make([]byte, 1000)
	if n, err := c.ReadAt(ctx, "a/b/big.copy", p, 4321); n != 1000 || err != nil || !bytes.Equal(p, want[4321:5321]) {
		t.Errorf("ReadAt = %d, %v", n, err)
	}
	if n, err := c.ReadAt(ctx, "a/b/big.copy", p, 1<<20-10); n != 10 || err != io.EOF || !bytes.Equal(p[:10], want[1<<20-10:]) {
		t.Errorf("ReadAt at the end = %d, %v", n, err)
	}
	for path, kind := range map[string]session.Kind{
		"nothing": session.NotFound, "a/b/big.copy/x": session.Invalid, "../x": session.Invalid, "a": session.Invalid,
	} {
		if _, err := c.Read(ctx, path, io.Discard, folder.Options{}); session.KindOf(err) != kind {
			t.Errorf("Read(%q) = %v, want %v", path, err, kind)
		}
	}
	if _, err := c.Put(ctx, filepath.Join(here, "small"), "missing/x", folder.Options{}); session.KindOf(err) != session.NotFound {
		t.Errorf("Put into a missing folder = %v", err)
	}
	if _, err := c.Put(ctx, filepath.Join(here, "small"), "a", folder.Options{Force: true}); session.KindOf(err) != session.Exists {
		t.Errorf("Put over a folder = %v", err)
	}
}

func TestPipes(t *testing.T) {
	there := t.TempDir()
	c := offer(t, folder.Share{Dir: there})
	want := content(700_000, 5)
	for range 2 { // the second finds the same content
		if _, err := c.Write(t.Context(), "piped", bytes.NewReader(want), 1e18, folder.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	var got bytes.Buffer
	sum, err := c.Read(t.Context(), "piped", &got, folder.Options{})
	if err != nil || !bytes.Equal(got.Bytes(), want) || sum.Sent != 700_000 {
		t.Errorf("Read gave %d bytes, %+v, %v", got.Len(), sum, err)
	}
	if _, err := c.Write(t.Context(), "piped", strings.NewReader("other"), 0, folder.Options{}); session.KindOf(err) != session.Exists {
		t.Errorf("Write over another file = %v", err)
	}
	broken := io.MultiReader(bytes.NewReader(want), errReader{})
	if _, err := c.Write(t.Context(), "broken", broken, 0, folder.Options{}); err == nil {
		t.Error("a broken pipe made a file")
	}
	if list, err := os.ReadDir(there); err != nil || len(list) != 1 {
		t.Errorf("left behind: %v, %v", list, err)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestReadOnly(t *testing.T) {
	there, here := t.TempDir(), t.TempDir()
	write(t, filepath.Join(there, "x"), []byte("theirs"))
	write(t, filepath.Join(here, "y"), []byte("ours"))
	before := snapshot(t, there)
	c := offer(t, folder.Share{Dir: there, ReadOnly: true})
	if _, err := c.Put(t.Context(), filepath.Join(here, "y"), "y", folder.Options{}); session.KindOf(err) != session.Denied {
		t.Errorf("Put = %v", err)
	}
	if _, err := c.Get(t.Context(), "x", filepath.Join(here, "x"), folder.Options{}); err != nil {
		t.Errorf("Get = %v", err)
	}
	if after := snapshot(t, there); len(after) != len(before) {
		t.Errorf("the share changed: %d paths", len(after))
	}
}

func TestShares(t *testing.T) {
	service := folder.New()
	defer service.Close()
	one, two := t.TempDir(), t.TempDir()
	s, _ := sessiontest.Pair(t, nil, sessiontest.Serve(service))
	stat := func(share string) error {
		_, err := folder.NewClient(s, share).Stat(t.Context(), "")
		return err
	}
	if err := stat(""); session.KindOf(err) != session.NotFound {
		t.Errorf("no shares: %v", err)
	}
	if err := service.Add(folder.Share{Name: "one", Dir: one}); err != nil {
		t.Fatal(err)
	}
	if err := stat(""); err != nil {
		t.Errorf("the only share: %v", err)
	}
	if err := service.Add(folder.Share{Name: "one", Dir: two}); session.KindOf(err) != session.Exists {
		t.Errorf("same name: %v", err)
	}
	if err := service.Add(folder.Share{Name: "none", Dir: filepath.Join(one, "missing")}); session.KindOf(err) != session.NotFound {
		t.Errorf("missing directory: %v", err)
	}
	if err := service.Add(folder.Share{Name: "two", Dir: two}); err != nil {
		t.Fatal(err)
	}
	if err := stat(""); session.KindOf(err) != session.NotFound {
		t.Errorf("one of two: %v", err)
	}
	if err := stat("two"); err != nil {
		t.Error(err)
	}
	if err := service.Remove("two"); err != nil {
		t.Error(err)
	}
	if err := stat("two"); session.KindOf(err) != session.NotFound {
		t.Errorf("removed: %v", err)
	}
}

func TestCancel(t *testing.T) {
	there, here := t.TempDir(), t.TempDir()
	write(t, filepath.Join(here, "big"), content(8<<20, 1))
	c := offer(t, folder.Share{Dir: there})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := folder.Options{Progress: func(p folder.Progress) {
		if p.BytesDone > 2<<20 {
			cancel()
		}
	}}
	if _, err := c.Put(ctx, filepath.Join(here, "big"), "big", o); session.KindOf(err) != session.Canceled {
		t.Errorf("Put = %v", err)
	}
	if _, err := os.Stat(filepath.Join(there, "big")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a canceled put is visible: %v", err)
	}
}
