package folder

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"tandem/session"
)

// Whatever happens, the changes that are told make the new tree of the old one:
// with hints and without.
func TestWatchedTree(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		t.Run(map[bool]string{false: "hints", true: "polling"}[deaf], func(t *testing.T) {
			dir := t.TempDir()
			tr, err := openTree(dir, false)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = tr.close() })
			tr.deaf = deaf
			tr.timing = watchTiming{settle: time.Millisecond, rescan: 500 * time.Millisecond, poll: 5 * time.Millisecond}
			w, err := tr.watcher("", true)
			if err != nil {
				t.Fatal(err)
			}
			defer w.close()
			if err := w.scan(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
			w.found = nil
			told := make(chan []Change, 1024)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = w.run(ctx, nil, func(c []Change) error { told <- slices.Clone(c); return nil }) // ends with ctx
			}()
			perturb(t, dir)
			seen := make(map[string]bool) // path: is it a directory?
			timeout := time.After(30 * time.Second)
			for !sameTree(t, dir, seen) {
				select {
				case changes := <-told:
					for _, ch := range changes {
						replay(t, seen, ch)
					}
				case <-time.After(20 * time.Millisecond):
				case <-timeout:
					t.Fatalf("told is %v", seen)
				}
			}
			cancel()
			<-ended
		})
	}
}

// perturb makes a tree, and unmakes parts of it.
func perturb(t *testing.T, dir string) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	name := func() string {
		parts := []string{dir}
		for range 1 + r.IntN(3) {
			parts = append(parts, string(rune('a'+r.IntN(4))))
		}
		return filepath.Join(parts...)
	}
	for range 400 {
		switch path := name(); r.IntN(4) {
		case 0:
			_ = os.MkdirAll(path, 0o700) // a file may be in the way
		case 1:
			_ = os.RemoveAll(path)
		case 2:
			_ = os.Rename(path, name())
		default:
			_ = os.WriteFile(path, []byte{1}, 0o600)
		}
		if r.IntN(40) == 0 {
			time.Sleep(5 * time.Millisecond) // for some of it to be told on the way
		}
	}
}

func replay(t *testing.T, seen map[string]bool, ch Change) {
	t.Helper()
	_, there := seen[ch.Path]
	switch ch.Kind {
	case Created:
		if there {
			t.Errorf("%s is created twice", ch.Path)
		}
		if dir, _ := split(ch.Path); dir != "" && !seen[dir] {
			t.Errorf("%s is created before its directory", ch.Path)
		}
		seen[ch.Path] = ch.Entry.Dir
	case Removed:
		if !there {
			t.Errorf("%s is removed and was never there", ch.Path)
		}
		for path := range seen {
			if path == ch.Path || within(path, ch.Path) {
				delete(seen, path)
			}
		}
	case Changed:
		if !there {
			t.Errorf("%s has changed and was never there", ch.Path)
		}
	}
}

// sameTree reports whether seen is what is in dir.
func sameTree(t *testing.T, dir string, seen map[string]bool) bool {
	t.Helper()
	n := 0
	equal := true
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		isDir, ok := seen[filepath.ToSlash(rel)]
		equal = equal && ok && isDir == d.IsDir()
		n++
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return equal && n == len(seen)
}

func TestForgedChanges(t *testing.T) {
	good := Change{Path: "d/x", Kind: Created, Entry: Entry{Name: "x"}}
	if err := good.check(watchedBelow{"d", false}); err != nil {
		t.Fatal(err)
	}
	for what, ch := range map[string]Change{
		"elsewhere":       {Path: "e/x", Kind: Created, Entry: Entry{Name: "x"}},
		"outside":         {Path: "d/../x", Kind: Created, Entry: Entry{Name: "x"}},
		"another name":    {Path: "d/x", Kind: Created, Entry: Entry{Name: "y"}},
		"no path":         {Kind: Created},
		"an unknown kind": {Path: "d/x", Kind: "exploded", Entry: Entry{Name: "x"}},
		"a negative size": {Path: "d/x", Kind: Created, Entry: Entry{Name: "x", Size: -1}},
		"an escape":       {Path: "d/\x1b[2J", Kind: Created, Entry: Entry{Name: "\x1b[2J"}},
		"no kind":         {Path: "d/x", Entry: Entry{Name: "x"}},
		"further down":    {Path: "d/e/x", Kind: Created, Entry: Entry{Name: "x"}},
		"almost inside":   {Path: "dx", Kind: Created, Entry: Entry{Name: "dx"}},
	} {
		if err := ch.check(watchedBelow{"d", false}); session.KindOf(err) != session.Integrity && session.KindOf(err) != session.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestGoldenChanges(t *testing.T) {
	raw, err := json.Marshal(changes{Changes: []Change{
		{Path: "d/x", Kind: Changed, Entry: Entry{Name: "x", Size: 3, MTime: 5, Exec: true}},
		{Path: "e", Kind: Removed, Entry: Entry{Name: "e", Dir: true, MTime: 7}},
	}})
	want := `{"changes":[{"path":"d/x","kind":"changed","entry":{"name":"x","size":3,"mtime":5,"exec":true}},` +
		`{"path":"e","kind":"removed","entry":{"name":"e","dir":true,"mtime":7}}]}`
	if err != nil || string(raw) != want {
		t.Errorf("%s, %v", raw, err)
	}
}

func TestTooMuchToWatch(t *testing.T) {
	dir := t.TempDir()
	tr, err := openTree(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tr.close() }()
	if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := tr.watcher("", true)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	w.count = MaxWatched
	if err := w.scan(t.Context(), ""); session.KindOf(err) != session.TooLarge {
		t.Error(err)
	}
}
