package folder_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"tandem/session"
	"tandem/share/folder"
)

// TestFilesThatChange changes a file while it is copied: it fails with
// Changed, nothing of it is visible, and the others arrive.
func TestFilesThatChange(t *testing.T) {
	const size = 4 << 20
	for name, change := range map[string]func(path string) error{
		"grows": func(path string) error {
			return edit(path, func(f *os.File) error { _, err := f.WriteAt([]byte("x"), size); return err })
		},
		"shrinks": func(path string) error { return os.Truncate(path, size/2) },
		"edited": func(path string) error {
			return edit(path, func(f *os.File) error { _, err := f.WriteAt([]byte("x"), size-1); return err })
		},
	} {
		t.Run(name, func(t *testing.T) {
			for way, copy := range map[string]func(c *folder.Client, there, here string, o folder.Options) (folder.Summary, error){
				"get": func(c *folder.Client, _, here string, o folder.Options) (folder.Summary, error) {
					return c.Get(t.Context(), "", here, o)
				},
				"put": func(c *folder.Client, _, here string, o folder.Options) (folder.Summary, error) {
					return c.Put(t.Context(), here, "", o)
				},
			} {
				there, here := t.TempDir(), t.TempDir()
				from, to := there, here
				if way == "put" {
					from, to = here, there
				}
				for _, name := range []string{"a", "z"} {
					write(t, filepath.Join(from, name), []byte(name))
				}
				write(t, filepath.Join(from, "big"), content(size, 9))
				var once sync.Once
				sum, err := copy(offer(t, folder.Share{Dir: there}), there, here, folder.Options{Progress: func(p folder.Progress) {
					if p.Current == "big" && p.BytesDone > 1000 {
						once.Do(func() {
							if err := change(filepath.Join(from, "big")); err != nil {
								t.Error(err)
							}
						})
					}
				}})
				if session.KindOf(err) != session.Changed || sum.Files != 2 || sum.Failed != 1 || sum.Failures[0].Path != "big" {
					t.Errorf("%s: %+v, %v", way, sum, err)
				}
				for path := range snapshot(t, to) {
					if path != "." && path != "a" && path != "z" {
						t.Errorf("%s left %s", way, path)
					}
				}
			}
		})
	}
}

// TestFilesThatVanish removes a file after it was listed and before its turn.
func TestFilesThatVanish(t *testing.T) {
	const size = 4 << 20
	for way, copy := range map[string]func(c *folder.Client, here string, o folder.Options) (folder.Summary, error){
		"get": func(c *folder.Client, here string, o folder.Options) (folder.Summary, error) {
			return c.Get(t.Context(), "", here, o)
		},
		"put": func(c *folder.Client, here string, o folder.Options) (folder.Summary, error) {
			return c.Put(t.Context(), here, "", o)
		},
	} {
		there, here := t.TempDir(), t.TempDir()
		from, to := there, here
		if way == "put" {
			from, to = here, there
		}
		write(t, filepath.Join(from, "a"), []byte("a"))
		write(t, filepath.Join(from, "big"), content(size, 9))
		write(t, filepath.Join(from, "vanishes"), content(size, 10))
		var once sync.Once
		sum, err := copy(offer(t, folder.Share{Dir: there}), here, folder.Options{Progress: func(p folder.Progress) {
			if p.Current == "big" && p.BytesDone > 1000 {
				once.Do(func() {
					if err := os.Remove(filepath.Join(from, "vanishes")); err != nil {
						t.Error(err)
					}
				})
			}
		}})
		if session.KindOf(err) != session.NotFound || sum.Files != 2 || sum.Failed != 1 || sum.Failures[0].Path != "vanishes" {
			t.Errorf("%s: %+v, %v", way, sum, err)
		}
		for path := range snapshot(t, to) {
			if path != "." && path != "a" && path != "big" {
				t.Errorf("%s left %s", way, path)
			}
		}
	}
}

func edit(path string, f func(*os.File) error) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f(file), file.Close())
}
