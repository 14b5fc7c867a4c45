package folder_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"tandem/session"
	"tandem/session/sessiontest"
	"tandem/share/folder"
)

// metered counts what its streams carry both ways.
type metered struct {
	folder.Opener
	bytes atomic.Int64
	bulk  atomic.Int64 // streams that said they carry much
}

func (m *metered) Open(ctx context.Context, h session.Header) (session.Stream, error) {
	st, err := m.Opener.Open(ctx, h)
	if h.Bulk {
		m.bulk.Add(1)
	}
	return meteredStream{st, &m.bytes}, err
}

type meteredStream struct {
	session.Stream
	bytes *atomic.Int64
}

func (s meteredStream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	s.bytes.Add(int64(n))
	return n, err
}

func (s meteredStream) Write(p []byte) (int, error) {
	n, err := s.Stream.Write(p)
	s.bytes.Add(int64(n))
	return n, err
}

// meter is offer with a count of the bytes.
func meter(t testing.TB, dir string) (*folder.Client, *metered) {
	t.Helper()
	service := folder.New()
	if err := service.Add(folder.Share{Name: "docs", Dir: dir}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := service.Close(); err != nil {
			t.Error(err)
		}
	})
	s, _ := sessiontest.Pair(t, nil, sessiontest.Serve(service))
	m := &metered{Opener: s}
	return folder.NewClient(m, "docs"), m
}

// TestOneByteInserted is a goal of the design: ≤ 256 KiB both ways.
func TestOneByteInserted(t *testing.T) {
	size := 100 << 20
	if testing.Short() {
		size = 12 << 20
	}
	old := content(size, 7)
	edited := slices.Insert(slices.Clone(old), size/2+12345, 'x')
	for way, copy := range map[string]func(c *folder.Client, here, there string) (folder.Summary, error){
		"put": func(c *folder.Client, here, there string) (folder.Summary, error) {
			write(t, filepath.Join(there, "f"), old)
			write(t, filepath.Join(here, "f"), edited)
			return c.Put(t.Context(), here, "", folder.Options{Force: true})
		},
		"get": func(c *folder.Client, here, there string) (folder.Summary, error) {
			write(t, filepath.Join(there, "f"), edited)
			write(t, filepath.Join(here, "f"), old)
			return c.Get(t.Context(), "f", filepath.Join(here, "f"), folder.Options{Force: true})
		},
	} {
		here, there := t.TempDir(), t.TempDir()
		c, m := meter(t, there)
		sum, err := copy(c, here, there)
		if err != nil || sum.Files != 1 || sum.Bytes != int64(len(edited)) {
			t.Errorf("%s: %+v, %v", way, sum, err)
		}
		for _, dir := range []string{here, there} {
			if p, err := os.ReadFile(filepath.Join(dir, "f")); err != nil || !bytes.Equal(p, edited) {
				t.Errorf("%s: %d bytes, %v", way, len(p), err)
			}
		}
		t.Logf("%s: %d bytes both ways, %+v", way, m.bytes.Load(), sum)
		// A chunk may be as long as 256 KiB, however rarely; the key is random.
		if n := m.bytes.Load(); n > 512<<10 || m.bulk.Load() != 1 {
			t.Errorf("%s: %d bytes for one, %d bulk streams", way, n, m.bulk.Load())
		}
	}
}

// age makes all files of dir old enough to be told by their times.
func age(t testing.TB, dir string) {
	t.Helper()
	old := time.Date(2020, 1, 2, 3, 4, 5, 6, time.UTC)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chtimes(path, old, old)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestNothingTravelsTwice has a tree that is there already.
func TestNothingTravelsTwice(t *testing.T) {
	here, there := t.TempDir(), t.TempDir()
	plant(t, here)
	age(t, here)
	c, m := meter(t, there)
	if _, err := c.Put(t.Context(), here, "", folder.Options{}); err != nil {
		t.Fatal(err)
	}
	m.bytes.Store(0)
	sum, err := c.Put(t.Context(), here, "", folder.Options{})
	if err != nil || sum.Same != 69 || m.bytes.Load() > 20<<10 {
		t.Errorf("%d bytes, %+v, %v", m.bytes.Load(), sum, err)
	}
	m.bytes.Store(0)
	sum, err = c.Get(t.Context(), "", here, folder.Options{})
	if err != nil || sum.Same != 69 || m.bytes.Load() > 20<<10 {
		t.Errorf("%d bytes, %+v, %v", m.bytes.Load(), sum, err)
	}
	// The same when times are not believed.
	m.bytes.Store(0)
	sum, err = c.Put(t.Context(), here, "", folder.Options{Compare: true})
	if err != nil || sum.Same != 69 || m.bytes.Load() > 60<<10 {
		t.Errorf("%d bytes, %+v, %v", m.bytes.Load(), sum, err)
	}
}

// TestCompression has text, of which little travels.
func TestCompression(t *testing.T) {
	here, there := t.TempDir(), t.TempDir()
	text := bytes.Repeat([]byte("It was the best of times, it was the worst of times.\n"), 100_000)
	write(t, filepath.Join(here, "f"), text)
	c, m := meter(t, there)
	for range 2 {
		sum, err := c.Put(t.Context(), here, "", folder.Options{})
		if err != nil || m.bytes.Load() > int64(len(text)/20) || sum.Wire > m.bytes.Load() {
			t.Errorf("%d bytes, %+v, %v", m.bytes.Load(), sum, err)
		}
	}
	sameTrees(t, there, here)
}

// TestHoles copies a file that is mostly a hole.
func TestHoles(t *testing.T) {
	here, there, back := t.TempDir(), t.TempDir(), t.TempDir()
	const size = 64 << 20
	path := filepath.Join(here, "sparse")
	write(t, path, content(100_000, 1))
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	if err := edit(path, func(f *os.File) error { _, err := f.WriteAt(content(100_000, 2), 40<<20); return err }); err != nil {
		t.Fatal(err)
	}
	c, m := meter(t, there)
	if _, err := c.Put(t.Context(), path, "sparse", folder.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context(), "sparse", filepath.Join(back, "sparse"), folder.Options{}); err != nil {
		t.Fatal(err)
	}
	if n := m.bytes.Load(); n > 1<<20 {
		t.Errorf("%d bytes travelled", n)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{there, back} {
		if p, err := os.ReadFile(filepath.Join(dir, "sparse")); err != nil || !bytes.Equal(p, want) {
			t.Errorf("%d bytes, %v", len(p), err)
		}
		if used, ok := usedBytes(t, filepath.Join(dir, "sparse")); ok && used > 8<<20 {
			t.Errorf("it takes %d bytes of the disk", used)
		}
	}
}

// TestDecisions asks about each conflict.
func TestDecisions(t *testing.T) {
	for way, copy := range map[string]func(*folder.Client, string, folder.Options) (folder.Summary, error){
		"put": func(c *folder.Client, here string, o folder.Options) (folder.Summary, error) {
			return c.Put(t.Context(), here, "", o)
		},
		"get": func(c *folder.Client, here string, o folder.Options) (folder.Summary, error) {
			return c.Get(t.Context(), "", here, o)
		},
	} {
		here, there := t.TempDir(), t.TempDir()
		from, to := here, there
		if way == "get" {
			from, to = there, here
		}
		for name, size := range map[string]int{"same size": 100, "shorter": 50, "large": 1 << 20, "refused": 7} {
			write(t, filepath.Join(from, name), content(size, 1))
			write(t, filepath.Join(to, name), content(max(size, 100), 2))
		}
		write(t, filepath.Join(from, "equal"), content(1<<20, 3))
		write(t, filepath.Join(to, "equal"), content(1<<20, 3)) // at another time
		write(t, filepath.Join(from, "new"), content(10, 4))
		var asked []string
		o := folder.Options{Decide: func(_ context.Context, c folder.Conflict) (folder.Decision, error) {
			asked = append(asked, c.Path)
			switch c.Path {
			case "shorter":
				return folder.Keep, nil
			case "refused":
				return folder.Refuse, nil
			}
			return folder.Replace, nil
		}}
		var plan []string
		dry := o
		dry.Plan = func(s folder.Step) { plan = append(plan, string(s.Action)+" "+s.Path) }
		before := snapshot(t, to)
		if _, err := copy(offer(t, folder.Share{Dir: there}), here, dry); session.KindOf(err) != session.Exists {
			t.Errorf("dry %s: %v", way, err)
		}
		if after := snapshot(t, to); len(after) != len(before) {
			t.Errorf("a dry run changed %d paths to %d", len(before), len(after))
		}
		slices.Sort(plan)
		if want := []string{"copy new", "leave equal", "leave shorter", "overwrite large", "overwrite same size"}; !slices.Equal(plan, want) {
			t.Errorf("%s: plan %q", way, plan)
		}
		asked = nil
		sum, err := copy(offer(t, folder.Share{Dir: there}), here, o)
		slices.Sort(asked)
		if want := []string{"large", "refused", "same size", "shorter"}; !slices.Equal(asked, want) {
			t.Errorf("%s: asked about %q", way, asked)
		}
		if session.KindOf(err) != session.Exists || sum.Files != 3 || sum.Kept != 1 || sum.Same != 1 || sum.Failed != 1 {
			t.Errorf("%s: %+v, %v", way, sum, err)
		}
		for name, seed := range map[string]uint64{"same size": 1, "large": 1, "shorter": 2, "refused": 2, "equal": 3, "new": 4} {
			p, err := os.ReadFile(filepath.Join(to, name))
			if err != nil || !bytes.Equal(p, content(len(p), seed)) {
				t.Errorf("%s: %s has %d other bytes, %v", way, name, len(p), err)
			}
		}
	}
}
