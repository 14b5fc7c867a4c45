package folder_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tandem/session"
	"tandem/share/folder"
)

func kind(t testing.TB, what string, err error, want session.Kind) {
	t.Helper()
	if err == nil || session.KindOf(err) != want {
		t.Errorf("%s: %v, not %s", what, err, want)
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

func TestRemove(t *testing.T) {
	dir := t.TempDir()
	c := offer(t, folder.Share{Dir: dir})
	write(t, filepath.Join(dir, "a", "b", "file"), []byte("precious"))
	trash, err := c.Remove(t.Context(), "a/b/file")
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(dir, filepath.FromSlash(trash))); got != "precious" {
		t.Errorf("in the trash, at %s, is %q", trash, got)
	}
	if !strings.HasPrefix(trash, ".tandem-trash/") || !strings.HasSuffix(trash, "/a/b/file") {
		t.Errorf("the trash is %s", trash)
	}
	// A folder with all below, and the same name once more.
	write(t, filepath.Join(dir, "a", "b", "file"), []byte("second"))
	if trash, err = c.Remove(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(dir, filepath.FromSlash(trash), "b", "file")); got != "second" {
		t.Errorf("in the trash is %q", got)
	}
	entries, skipped, err := c.List(t.Context(), "")
	if err != nil || len(entries) != 0 || skipped != 0 {
		t.Errorf("guests see %v and %d more, %v", entries, skipped, err)
	}
	_, err = c.Remove(t.Context(), "a")
	kind(t, "what is gone", err, session.NotFound)
	_, err = c.Remove(t.Context(), "")
	kind(t, "the share", err, session.Invalid)
	_, err = c.Remove(t.Context(), trash)
	kind(t, "from the trash", err, session.Invalid)
}

func TestTrashIsEmptiedLate(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, ".tandem-trash", time.Now().Add(-31*24*time.Hour).UTC().Format("20060102T150405Z")+"-x")
	recent := filepath.Join(dir, ".tandem-trash", time.Now().Add(-29*24*time.Hour).UTC().Format("20060102T150405Z")+"-x")
	foreign := filepath.Join(dir, ".tandem-trash", "notes")
	for _, d := range []string{old, recent, foreign} {
		write(t, filepath.Join(d, "file"), []byte("x"))
	}
	c := offer(t, folder.Share{Dir: dir})
	if err := c.Mkdir(t.Context(), "d"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Error("the old one is still there: ", err)
	}
	for _, d := range []string{recent, foreign} {
		read(t, filepath.Join(d, "file"))
	}
}

func TestMove(t *testing.T) {
	dir := t.TempDir()
	c := offer(t, folder.Share{Dir: dir})
	ctx := t.Context()
	for _, name := range []string{"one", "two", "d/three"} {
		write(t, filepath.Join(dir, name), []byte(name))
	}
	if err := c.Mkdir(ctx, "empty"); err != nil {
		t.Fatal(err)
	}
	if err := c.Move(ctx, "one", "d/uno", false); err != nil {
		t.Fatal(err)
	}
	if err := c.Move(ctx, "d", "e", false); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(dir, "e", "uno")); got != "one" {
		t.Errorf("moved is %q", got)
	}
	if err := c.Move(ctx, "e/uno", "e/UNO", false); err != nil {
		t.Error("another spelling: ", err)
	}
	kind(t, "onto a file", c.Move(ctx, "two", "e/three", false), session.Exists)
	kind(t, "onto a folder", c.Move(ctx, "two", "empty", true), session.Exists)
	kind(t, "a folder onto a file", c.Move(ctx, "e", "two", true), session.Exists)
	kind(t, "a folder onto a folder", c.Move(ctx, "e", "empty", true), session.Exists)
	kind(t, "onto itself", c.Move(ctx, "two", "two", false), session.Exists)
	kind(t, "into itself", c.Move(ctx, "e", "e/e", false), session.Invalid)
	kind(t, "into what isn't there", c.Move(ctx, "two", "nowhere/two", false), session.NotFound)
	kind(t, "below a file", c.Move(ctx, "e", "two/e", false), session.Exists)
	kind(t, "what isn't there", c.Move(ctx, "one", "again", false), session.NotFound)
	kind(t, "the share", c.Move(ctx, "", "again", false), session.Invalid)
	kind(t, "to the share", c.Move(ctx, "two", "", false), session.Invalid)
	kind(t, "out of the share", c.Move(ctx, "two", "../two", false), session.Invalid)
	kind(t, "into the trash", c.Move(ctx, "two", ".tandem-trash", false), session.Invalid)
	if err := c.Move(ctx, "two", "e/three", true); err != nil {
		t.Error("by force: ", err)
	}
	if got := read(t, filepath.Join(dir, "e", "three")); got != "two" {
		t.Errorf("replaced by %q", got)
	}
}

// Two names of one file are two files to move.
func TestMoveOntoHardLink(t *testing.T) {
	dir := t.TempDir()
	c := offer(t, folder.Share{Dir: dir})
	write(t, filepath.Join(dir, "one"), []byte("x"))
	if err := os.Link(filepath.Join(dir, "one"), filepath.Join(dir, "two")); err != nil {
		t.Skip("no hard links here: ", err)
	}
	kind(t, "onto another name of it", c.Move(t.Context(), "one", "two", false), session.Exists)
}

func TestLinksAreNeitherMovedNorRemoved(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	c := offer(t, folder.Share{Dir: dir})
	write(t, filepath.Join(outside, "file"), []byte("theirs"))
	write(t, filepath.Join(dir, "mine"), []byte("x"))
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Skip("no symbolic links here: ", err)
	}
	for _, path := range []string{"link", "link/file"} {
		_, err := c.Remove(t.Context(), path)
		kind(t, "remove "+path, err, session.Unsupported)
		kind(t, "move "+path, c.Move(t.Context(), path, "moved", false), session.Unsupported)
	}
	kind(t, "move through a link", c.Move(t.Context(), "mine", "link/mine", true), session.Unsupported)
	if got := read(t, filepath.Join(outside, "file")); got != "theirs" {
		t.Errorf("outside is %q", got)
	}
}

func TestReadersChangeNothing(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), []byte("x"))
	c := offer(t, folder.Share{Dir: dir, ReadOnly: true})
	_, err := c.Remove(t.Context(), "file")
	kind(t, "remove", err, session.Denied)
	kind(t, "move", c.Move(t.Context(), "file", "other", false), session.Denied)
	read(t, filepath.Join(dir, "file"))
}

// watched collects changes until what is wanted is there, in this order for
// each path.
type watched struct {
	mu     sync.Mutex
	told   []string
	change chan struct{}
}

func watch(t *testing.T, c *folder.Client, path string, recursive bool) *watched {
	t.Helper()
	w := &watched{change: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		err := c.Watch(ctx, path, recursive, func() { close(ready) }, func(changes []folder.Change) error {
			w.mu.Lock()
			for _, ch := range changes {
				w.told = append(w.told, string(ch.Kind)+" "+ch.Path)
			}
			w.mu.Unlock()
			select {
			case w.change <- struct{}{}:
			default:
			}
			return nil
		})
		if ctx.Err() == nil {
			t.Error("the watch ended: ", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	select {
	case <-ready:
	case <-done:
	}
	return w
}

func (w *watched) tells(t *testing.T, want ...string) {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		w.mu.Lock()
		told := slices.Clone(w.told)
		w.mu.Unlock()
		missing := slices.DeleteFunc(slices.Clone(want), func(s string) bool { return slices.Contains(told, s) })
		if len(missing) == 0 {
			return
		}
		select {
		case <-w.change:
		case <-timeout:
			t.Fatalf("never told: %q; told: %q", missing, told)
		}
	}
}

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "old", "file"), []byte("x"))
	write(t, filepath.Join(dir, "going", "below", "file"), []byte("x"))
	c := offer(t, folder.Share{Dir: dir})
	all, top, one := watch(t, c, "", true), watch(t, c, "", false), watch(t, c, "old/file", false)
	write(t, filepath.Join(dir, "new", "deep", "file"), []byte("x"))
	all.tells(t, "created new", "created new/deep", "created new/deep/file")
	top.tells(t, "created new")
	write(t, filepath.Join(dir, "new", "deep", "second"), []byte("x"))
	all.tells(t, "created new/deep/second")
	write(t, filepath.Join(dir, "old", "file"), []byte("longer"))
	write(t, filepath.Join(dir, "old", "other"), []byte("x"))
	all.tells(t, "changed old/file", "created old/other")
	one.tells(t, "changed old/file")
	if err := os.RemoveAll(filepath.Join(dir, "going")); err != nil {
		t.Fatal(err)
	}
	all.tells(t, "removed going")
	if err := c.Move(t.Context(), "new/deep", "moved", false); err != nil {
		t.Fatal(err)
	}
	all.tells(t, "removed new/deep", "created moved", "created moved/file")
	top.tells(t, "created moved")
	write(t, filepath.Join(dir, "moved", "file"), []byte("after the move"))
	all.tells(t, "changed moved/file")
	if _, err := c.Remove(t.Context(), "old"); err != nil {
		t.Fatal(err)
	}
	all.tells(t, "removed old")
	one.tells(t, "removed old/file")
	for _, w := range []*watched{top, one} {
		w.mu.Lock()
		for _, told := range w.told {
			if strings.Contains(told, "deep") || strings.Contains(told, "other") || strings.Contains(told, ".tandem") {
				t.Errorf("told of %q, which nobody asked for", told)
			}
		}
		w.mu.Unlock()
	}
}

func TestWatchErrors(t *testing.T) {
	dir := t.TempDir()
	c := offer(t, folder.Share{Dir: dir})
	kind(t, "what isn't there", c.Watch(t.Context(), "nothing", true, nil, nil), session.NotFound)
	if err := c.Mkdir(t.Context(), "d"); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- c.Watch(t.Context(), "d", true, func() { close(ready) }, func([]folder.Change) error { return nil })
	}()
	<-ready
	if err := os.Remove(filepath.Join(dir, "d")); err != nil {
		t.Fatal(err)
	}
	kind(t, "what goes away", <-ended, session.NotFound)
}

func TestExclusiveWrites(t *testing.T) {
	dir := t.TempDir()
	c := offer(t, folder.Share{Dir: dir})
	const writers = 12
	errs := make(chan error, writers)
	for range writers {
		go func() {
			_, err := c.Write(t.Context(), "lock", strings.NewReader(""), 0, folder.Options{Exclusive: true})
			errs <- err
		}()
	}
	won := 0
	for range writers {
		if err := <-errs; err == nil {
			won++
		} else {
			kind(t, "a lock that is taken", err, session.Exists)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d got the lock", won, writers)
	}
}

func TestPurge(t *testing.T) {
	dir := t.TempDir()
	c := offer(t, folder.Share{Dir: dir})
	write(t, filepath.Join(dir, "d", "file"), []byte("x"))
	kind(t, "a folder with something in it", c.Purge(t.Context(), "d"), session.Exists)
	for _, path := range []string{"d/file", "d"} {
		if err := c.Purge(t.Context(), path); err != nil {
			t.Error(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 0 {
		t.Errorf("left are %v, %v", entries, err)
	}
	kind(t, "the share", c.Purge(t.Context(), ""), session.Invalid)
}

func TestSet(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "tool"), []byte("x"))
	when := time.Date(2001, 2, 3, 4, 5, 6, 7000, time.UTC)
	for _, allowed := range []bool{false, true} {
		c := offer(t, folder.Share{Dir: dir, Executables: allowed})
		e, err := c.Set(t.Context(), "tool", when.UnixNano(), true)
		if err != nil || !e.ModTime().Equal(when) || e.Exec != allowed {
			t.Errorf("executables %v: %+v, %v", allowed, e, err)
		}
	}
	c := offer(t, folder.Share{Dir: dir, Executables: true})
	if e, err := c.Set(t.Context(), "tool", when.UnixNano(), false); err != nil || e.Exec {
		t.Errorf("%+v, %v", e, err)
	}
	c = offer(t, folder.Share{Dir: dir, ReadOnly: true})
	_, err := c.Set(t.Context(), "tool", 0, false)
	kind(t, "read only", err, session.Denied)
}
