//go:build unix

package folder_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"tandem/session"
	"tandem/share/folder"
)

// What lies where a copy goes is neither written through nor followed, here or there: another name of a
// file keeps its content, and what is no file stays.
func TestWhatLiesInTheWay(t *testing.T) {
	for _, way := range []string{"get", "put"} {
		t.Run(way, func(t *testing.T) {
			from, around := t.TempDir(), t.TempDir()
			to := filepath.Join(around, "to")
			for _, name := range []string{"hard", "soft", "dangling", "pipe", "folder", "d/below"} {
				write(t, filepath.Join(from, name), content(300_000, 7))
			}
			write(t, filepath.Join(around, "outside"), []byte("outside"))
			write(t, filepath.Join(around, "elsewhere", "below"), []byte("outside"))
			write(t, filepath.Join(to, "folder", "x"), []byte("x"))
			if err := errors.Join(
				os.Link(filepath.Join(around, "outside"), filepath.Join(to, "hard")),
				os.Symlink("../outside", filepath.Join(to, "soft")),
				os.Symlink("../nothing", filepath.Join(to, "dangling")),
				os.Symlink("../elsewhere", filepath.Join(to, "d")),
				syscall.Mkfifo(filepath.Join(to, "pipe"), 0o666),
			); err != nil {
				t.Fatal(err)
			}
			var sum folder.Summary
			var err error
			if way == "get" {
				sum, err = offer(t, folder.Share{Dir: from}).Get(t.Context(), "", to, folder.Options{Force: true})
			} else {
				sum, err = offer(t, folder.Share{Dir: to}).Put(t.Context(), from, "", folder.Options{Force: true})
			}
			if err == nil || sum.Files != 1 || sum.Failed != 6 {
				t.Errorf("%+v, %v", sum, err)
			}
			if p, err := os.ReadFile(filepath.Join(to, "hard")); err != nil || string(p) != string(content(300_000, 7)) {
				t.Errorf("%d bytes, %v", len(p), err)
			}
			for _, path := range []string{"outside", "elsewhere/below"} {
				if p, err := os.ReadFile(filepath.Join(around, path)); err != nil || string(p) != "outside" {
					t.Errorf("%s = %d bytes, %v", path, len(p), err)
				}
			}
			if _, err := os.Lstat(filepath.Join(around, "nothing")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a link was followed: %v", err)
			}
			for name, kind := range map[string]os.FileMode{"soft": os.ModeSymlink, "dangling": os.ModeSymlink, "d": os.ModeSymlink, "pipe": os.ModeNamedPipe, "folder": os.ModeDir} {
				if info, err := os.Lstat(filepath.Join(to, name)); err != nil || info.Mode().Type() != kind {
					t.Errorf("%s: %v, %v", name, info, err)
				}
			}
		})
	}
}

// The folder of unfinished files leads nowhere else either, whatever somebody has made of it.
func TestUnfinishedFilesElsewhere(t *testing.T) {
	for name, spoil := range map[string]func(to, outside string) error{
		"a link": func(to, outside string) error { return os.Symlink(outside, filepath.Join(to, ".tandem-partial")) },
		"a file": func(to, _ string) error {
			return os.WriteFile(filepath.Join(to, ".tandem-partial"), []byte("x"), 0o666)
		},
		"a pipe": func(to, _ string) error { return syscall.Mkfifo(filepath.Join(to, ".tandem-partial"), 0o666) },
	} {
		for _, way := range []string{"get", "put"} {
			t.Run(name+" "+way, func(t *testing.T) {
				from, to, outside := t.TempDir(), t.TempDir(), t.TempDir()
				write(t, filepath.Join(from, "large"), content(3_000_000, 7))
				write(t, filepath.Join(from, "small"), content(300, 7))
				if err := spoil(to, outside); err != nil {
					t.Fatal(err)
				}
				var err error
				if way == "get" {
					_, err = offer(t, folder.Share{Dir: from}).Get(t.Context(), "", to, folder.Options{})
				} else {
					_, err = offer(t, folder.Share{Dir: to}).Put(t.Context(), from, "", folder.Options{})
				}
				if session.KindOf(err) != session.Invalid {
					t.Errorf("%v", err)
				}
				if list, err := os.ReadDir(outside); err != nil || len(list) != 0 {
					t.Errorf("outside are %v, %v", list, err)
				}
			})
		}
	}
}
