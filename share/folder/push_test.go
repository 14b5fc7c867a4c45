package folder_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/session"
	"tandem/share/folder"
)

// TestAskedPush shows the owner what a guest would copy, and lets in no more.
func TestAskedPush(t *testing.T) {
	here, there := t.TempDir(), t.TempDir()
	for path, mode := range map[string]os.FileMode{"a/.hidden": 0o644, "a/run.sh": 0o755, "a/plain": 0o644, "a/same": 0o644, "other": 0o644} {
		write(t, filepath.Join(here, path), []byte(path))
		if err := os.Chmod(filepath.Join(here, path), mode); err != nil {
			t.Fatal(err)
		}
	}
	age(t, here)
	write(t, filepath.Join(there, "in", "plain"), []byte("theirs"))
	write(t, filepath.Join(there, "in", "same"), []byte("a/same"))
	age(t, there)
	var shown []string
	accept := false
	c := offer(t, folder.Share{Dir: there, Executables: true, Ask: func(_ context.Context, p folder.Push) error {
		shown = nil
		for _, it := range p.Items {
			shown = append(shown, fmt.Sprintf("%s dir=%v size=%d exec=%v hidden=%v replaces=%v", it.Path, it.Dir, it.Size, it.Executable, it.Hidden, it.Replaces))
		}
		if p.Peer.ID == (session.PeerID{}) || p.Share != "docs" {
			t.Errorf("asked about %+v", p)
		}
		if accept {
			return nil
		}
		return session.Errorf("push", session.Denied, "no, thank you")
	}})
	before := snapshot(t, there)
	put := func() (folder.Summary, error) {
		return c.Put(t.Context(), filepath.Join(here, "a"), "in", folder.Options{Force: true})
	}
	if _, err := put(); session.KindOf(err) != session.Denied || !strings.Contains(err.Error(), "no, thank you") {
		t.Errorf("refused: %v", err)
	}
	want := []string{
		"in/.hidden dir=false size=9 exec=false hidden=true replaces=false",
		"in/plain dir=false size=7 exec=false hidden=false replaces=true",
		"in/run.sh dir=false size=8 exec=true hidden=false replaces=false",
	}
	if !slices.Equal(shown, want) {
		t.Errorf("shown %q", shown)
	}
	// Nothing else changes anything either.
	for what, err := range map[string]error{
		"mkdir":  c.Mkdir(t.Context(), "new"),
		"remove": second(c.Remove(t.Context(), "in/plain")),
		"purge":  c.Purge(t.Context(), "in/plain"),
		"move":   c.Move(t.Context(), "in/plain", "x", false),
		"set":    second(c.Set(t.Context(), "in/plain", 1, true)),
		"write":  second(c.Write(t.Context(), "x", strings.NewReader("x"), 0, folder.Options{})),
	} {
		if session.KindOf(err) != session.Denied {
			t.Errorf("%s: %v", what, err)
		}
	}
	if after := snapshot(t, there); len(after) != len(before) || after["in/plain"] != before["in/plain"] {
		t.Errorf("%d paths became %d", len(before), len(after))
	}
	accept = true
	if sum, err := put(); err != nil || sum.Files != 3 || sum.Same != 1 {
		t.Errorf("accepted: %+v, %v", sum, err)
	}
	sameTrees(t, filepath.Join(there, "in"), filepath.Join(here, "a"))
	if _, err := c.Put(t.Context(), filepath.Join(here, "other"), "new name", folder.Options{}); err != nil || len(shown) != 1 || !strings.HasPrefix(shown[0], "new name ") {
		t.Errorf("a single file: %v, %q", err, shown)
	}
	if _, err := c.Put(t.Context(), filepath.Join(here, "a"), "deep/new", folder.Options{}); err != nil || !strings.HasPrefix(shown[0], "deep/new dir=true ") {
		t.Errorf("a new folder: %v, %q", err, shown)
	}
	shown = nil
	if sum, err := put(); err != nil || sum.Same != 4 || shown != nil {
		t.Errorf("again: %+v, %v, asked about %q", sum, err, shown)
	}
}

func second[T any](_ T, err error) error { return err }

// TestUnansweredPush ends the question when the guest gives up.
func TestUnansweredPush(t *testing.T) {
	here := t.TempDir()
	write(t, filepath.Join(here, "x"), []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	c := offer(t, folder.Share{Dir: t.TempDir(), Ask: func(ctx context.Context, _ folder.Push) error {
		cancel()
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}})
	if _, err := c.Put(ctx, here, "", folder.Options{}); session.KindOf(err) != session.Canceled {
		t.Errorf("Put: %v", err)
	}
	<-ended
}
