package folder_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tandem/session"
	"tandem/session/sessiontest"
	"tandem/share/folder"
)

// interrupted copies with f over sessions that break after about each bytes,
// until it succeeds. It returns what all attempts sent and resumed.
func interrupted(t *testing.T, dir string, each int64, f func(*folder.Client, folder.Options) (folder.Summary, error)) (sent, resumed int64, cuts int) {
	t.Helper()
	for ; cuts < 100; cuts++ {
		service := folder.New()
		if err := service.Add(folder.Share{Name: "docs", Dir: dir}); err != nil {
			t.Fatal(err)
		}
		s, _ := sessiontest.Pair(t, nil, sessiontest.Serve(service))
		limit, moved, cut := rand.Int64N(2*each), int64(0), false
		sum, err := f(folder.NewClient(s, "docs"), folder.Options{Progress: func(p folder.Progress) {
			if moved = p.BytesDone; moved > limit && !cut {
				cut = true
				s.Cut()
			}
		}})
		if err := errors.Join(s.Close(), service.Close()); err != nil {
			t.Fatal(err)
		}
		sent += sum.Sent
		resumed += sum.Resumed
		if err == nil {
			return sent, resumed, cuts
		}
		if session.KindOf(err) != session.Unavailable {
			t.Fatalf("an interruption gives %v", err)
		}
	}
	t.Fatal("never done")
	return
}

func TestResume(t *testing.T) {
	const size = 8 << 20
	for name, tree := range map[string]bool{"file": false, "tree": true} {
		t.Run(name, func(t *testing.T) {
			there, here, back := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "back")
			write(t, filepath.Join(here, "big"), content(size, 3))
			src, path, dest := filepath.Join(here, "big"), "big", filepath.Join(filepath.Dir(back), "big")
			if tree {
				plant(t, here)
				src, path, dest = here, "", back
			}
			sent, resumed, cuts := interrupted(t, there, size, func(c *folder.Client, o folder.Options) (folder.Summary, error) {
				return c.Put(t.Context(), src, path, o)
			})
			t.Logf("put: %d cuts, %d sent, %d resumed", cuts, sent, resumed)
			sameTrees(t, there, here)
			sent, resumed, cuts = interrupted(t, there, size, func(c *folder.Client, o folder.Options) (folder.Summary, error) {
				return c.Get(t.Context(), path, dest, o)
			})
			t.Logf("get: %d cuts, %d sent, %d resumed", cuts, sent, resumed)
			if tree {
				sameTrees(t, back, here)
			} else {
				sameTrees(t, filepath.Dir(back), here)
			}
		})
	}
}

// TestResumeSavesBytes cuts once, late, and shows what is not sent again.
func TestResumeSavesBytes(t *testing.T) {
	const size = 8 << 20
	there, here, back := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, filepath.Join(here, "big"), content(size, 3))
	for name, copy := range map[string]func(*folder.Client, folder.Options) (folder.Summary, error){
		"1 put": func(c *folder.Client, o folder.Options) (folder.Summary, error) {
			return c.Put(t.Context(), filepath.Join(here, "big"), "big", o)
		},
		"2 get": func(c *folder.Client, o folder.Options) (folder.Summary, error) {
			return c.Get(t.Context(), "big", filepath.Join(back, "big"), o)
		},
	} {
		if name == "2 get" {
			write(t, filepath.Join(there, "big"), content(size, 3))
		}
		first := true
		sum, err := folder.Summary{}, error(nil)
		for range 2 {
			service := folder.New()
			if err := service.Add(folder.Share{Name: "docs", Dir: there}); err != nil {
				t.Fatal(err)
			}
			s, _ := sessiontest.Pair(t, nil, sessiontest.Serve(service))
			sum, err = copy(folder.NewClient(s, "docs"), folder.Options{Progress: func(p folder.Progress) {
				if first && p.BytesDone > size*3/4 {
					first = false
					s.Cut()
				}
			}})
			if err := errors.Join(s.Close(), service.Close()); err != nil {
				t.Fatal(err)
			}
		}
		if err != nil || sum.Sent+sum.Resumed != size && sum.Same != 1 || sum.Same == 0 && sum.Resumed < size/4 {
			t.Errorf("%s: %+v, %v", name, sum, err)
		}
		if err := os.RemoveAll(filepath.Join(there, "big")); err != nil {
			t.Fatal(err)
		}
	}
}

// partials is the unfinished files of dir.
func partials(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, ".tandem-partial", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// cutOnce copies and breaks the session after n bytes.
func cutOnce(t *testing.T, dir string, n int64, f func(*folder.Client, folder.Options) (folder.Summary, error)) {
	t.Helper()
	service := folder.New()
	if err := service.Add(folder.Share{Name: "docs", Dir: dir}); err != nil {
		t.Fatal(err)
	}
	s, _ := sessiontest.Pair(t, nil, sessiontest.Serve(service))
	_, err := f(folder.NewClient(s, "docs"), folder.Options{Progress: func(p folder.Progress) {
		if p.BytesDone > n {
			s.Cut()
		}
	}})
	if session.KindOf(err) != session.Unavailable {
		t.Fatalf("not cut: %v", err)
	}
	if err := errors.Join(s.Close(), service.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestSpoiledPartials shows that what was kept from before is verified.
func TestSpoiledPartials(t *testing.T) {
	const size = 8 << 20
	there, here, back := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, filepath.Join(here, "big"), content(size, 3))
	spoil := func(dir string) {
		t.Helper()
		left := partials(t, dir)
		if len(left) != 1 {
			t.Fatalf("kept %v", left)
		}
		f, err := os.OpenFile(left[0], os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("spoiled"), 1000); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	put := func(c *folder.Client, o folder.Options) (folder.Summary, error) {
		return c.Put(t.Context(), filepath.Join(here, "big"), "big", o)
	}
	get := func(c *folder.Client, o folder.Options) (folder.Summary, error) {
		return c.Get(t.Context(), "big", filepath.Join(back, "big"), o)
	}
	cutOnce(t, there, size/2, put)
	spoil(there)
	c := offer(t, folder.Share{Dir: there})
	if sum, err := put(c, folder.Options{}); err != nil || sum.Files != 1 {
		t.Errorf("put after spoiling: %+v, %v", sum, err)
	}
	sameTrees(t, there, here)
	cutOnce(t, there, size/2, get)
	spoil(back)
	if sum, err := get(c, folder.Options{}); err != nil || sum.Files != 1 || sum.Resumed != 0 {
		t.Errorf("get after spoiling: %+v, %v", sum, err)
	}
	sameTrees(t, back, here)
}

func TestPartialsAreHiddenAndSwept(t *testing.T) {
	there, here := t.TempDir(), t.TempDir()
	write(t, filepath.Join(here, "big"), content(8<<20, 3))
	cutOnce(t, there, 4<<20, func(c *folder.Client, o folder.Options) (folder.Summary, error) {
		return c.Put(t.Context(), filepath.Join(here, "big"), "big", o)
	})
	left := partials(t, there)
	if len(left) != 1 {
		t.Fatalf("kept %v", left)
	}
	info, err := os.Stat(filepath.Dir(left[0]))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	c := offer(t, folder.Share{Dir: there})
	entries, skipped, err := c.List(t.Context(), "")
	if err != nil || len(entries) != 0 || skipped != 0 {
		t.Errorf("List = %v, %d, %v", entries, skipped, err)
	}
	old := time.Now().Add(-8 * 24 * time.Hour)
	if err := os.Chtimes(left[0], old, old); err != nil {
		t.Fatal(err)
	}
	if err := c.Mkdir(t.Context(), "d"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("not swept: %v", err)
	}
}
