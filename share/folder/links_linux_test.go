package folder

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/share/chunk"
)

// A directory that somebody on this machine keeps replacing by a link leads
// nobody outside, at whatever moment it is replaced.
func TestFolderSwappedForLink(t *testing.T) {
	around := t.TempDir()
	dir := filepath.Join(around, "share")
	grow(t, around, "outside/x", "outside/sub/y", "share/d/x", "share/d/sub/y", "share/mine")
	tr, err := openTree(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	if tr.rules, err = newRules(tr.root, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../outside", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	var swapping sync.WaitGroup
	swapping.Go(func() {
		d, link := filepath.Join(dir, "d"), filepath.Join(dir, "link")
		for {
			if err := unix.Renameat2(unix.AT_FDCWD, d, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE); err != nil {
				t.Error(err)
			}
			select {
			case <-over:
				return
			default:
			}
		}
	})
	ctx := context.Background()
	for i := range 400 {
		if f, _, err := tr.open("d/x"); err == nil {
			if p, err := io.ReadAll(f); err != nil || string(p) != "share/d/x" {
				t.Errorf("read %q, %v", p, err)
			}
			_ = f.Close() // only read
		}
		s, err := tr.begin("", "")
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Write([]byte("forced"))
		if err == nil {
			_, _ = s.commit(ctx, target{path: "d/sub/y", force: true}) // it may be too late
		}
		// Each may succeed or fail, inside.
		_, _ = tr.place(ctx, nil, []byte("placed"), chunk.Sum{}, target{path: fmt.Sprintf("d/placed %d", i)})
		_ = tr.mkdir("d/new")
		_ = tr.move("mine", "d/mine", true)
		_ = tr.move("d/mine", "mine", true)
		_ = tr.purge("d/new")
		_ = tr.set("d/x", 1, true)
		if i%40 == 0 {
			_, _ = tr.remove("d/sub", time.Now())
			_ = tr.mkdir("d/sub")
		}
	}
	close(over)
	swapping.Wait()
	for path, want := range map[string]string{"outside/x": "outside/x", "outside/sub/y": "outside/sub/y"} {
		p, err := os.ReadFile(filepath.Join(around, path))
		if err != nil || string(p) != want {
			t.Errorf("%s: %q, %v", path, p, err)
		}
		if info, err := os.Stat(filepath.Join(around, path)); err != nil || info.Mode()&0o111 != 0 || info.ModTime().Unix() == 0 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	if got := paths(t, filepath.Join(around, "outside")); len(got) != 3 {
		t.Errorf("outside are %q", got)
	}
}
