package cast

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"tandem/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// disk is a file that can be slow and become full.
type disk struct {
	mu      sync.Mutex
	changed *sync.Cond
	content []byte
	stuck   bool
	room    int // bytes it still takes; negative: as many as come
	syncs   int
}

func newDisk() *disk {
	d := &disk{room: -1}
	d.changed = sync.NewCond(&d.mu)
	return d
}

func (d *disk) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.stuck {
		d.changed.Wait()
	}
	n := len(p)
	if d.room >= 0 {
		n = min(n, d.room)
		d.room -= n
	}
	d.content = append(d.content, p[:n]...)
	if n < len(p) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

func (d *disk) Truncate(size int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.content = d.content[:size]
	return nil
}

func (d *disk) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.syncs++
	return nil
}
func (d *disk) Close() error { return nil }

func (d *disk) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
	d.changed.Broadcast()
}

func (d *disk) read() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return bytes.Clone(d.content)
}

func begin(t *testing.T, d *disk, o Options) *Recorder {
	t.Helper()
	r, err := record(d, Header{Cols: 80, Rows: 24}, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func loaded(t *testing.T, content []byte) *Recording {
	t.Helper()
	reader, err := NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Load(reader)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRecorderTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		r := begin(t, d, Options{})
		time.Sleep(time.Second)
		_ = r.Output([]byte("one"))
		time.Sleep(time.Second)
		r.Resize(100, 30)
		synctest.Wait()
		if got := loaded(t, d.read()); len(got.Events) != 2 || got.Duration() != 2*time.Second {
			t.Errorf("before the end there is %+v", got)
		}
		time.Sleep(10 * time.Second)
		d.set(func() {
			if d.syncs != 1 {
				t.Errorf("synced %d times in ten seconds", d.syncs)
			}
		})
		r.Mark("over")
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		_ = r.Output([]byte("too late"))
		got := loaded(t, d.read())
		if got.Header.Cols != 80 || !got.Header.Began.Equal(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) || got.Bytes != 3 || len(got.Events) != 3 {
			t.Errorf("recorded %+v", got)
		}
		if d.syncs != 2 {
			t.Errorf("synced %d times", d.syncs)
		}
	})
}

// TestSlowDisk: nobody waits for it, memory stays bounded, and what is missing
// is noted.
func TestSlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		r := begin(t, d, Options{})
		d.set(func() { d.stuck = true })
		chunk := bytes.Repeat([]byte("x"), 16<<10)
		for range 1000 {
			if err := r.Output(chunk); err != nil {
				t.Fatal(err)
			}
		}
		r.Resize(99, 33)
		synctest.Wait()
		r.mu.Lock()
		if r.queued > maxQueue || r.lost == 0 {
			t.Errorf("%d bytes are queued, %d lost", r.queued, r.lost)
		}
		r.mu.Unlock()
		d.set(func() { d.stuck = false })
		synctest.Wait()
		_ = r.Output([]byte("after"))
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		got := loaded(t, d.read())
		last := got.Events[len(got.Events)-3:]
		if last[0].Kind != Marker || !strings.Contains(string(last[0].Data), "bytes are missing here") ||
			last[1].Kind != Resize || last[1].Cols != 99 || string(last[2].Data) != "after" {
			t.Errorf("the recording ends with %+v", last)
		}
	})
}

// TestLossAtTheEnd: what is missing at the end is noted too.
func TestLossAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		r := begin(t, d, Options{})
		d.set(func() { d.stuck = true })
		for range 1000 {
			_ = r.Output(bytes.Repeat([]byte("x"), 16<<10))
		}
		go func() { time.Sleep(time.Second); d.set(func() { d.stuck = false }) }()
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		got := loaded(t, d.read())
		missing := func(ev Event) bool { return ev.Kind == Marker && strings.Contains(string(ev.Data), "missing") }
		if !slices.ContainsFunc(got.Events, missing) {
			t.Error("nothing tells of the loss")
		}
	})
}

// TestFullDisk: a required recording fails whoever needs it, any other says so;
// the file is good up to where it ends.
func TestFullDisk(t *testing.T) {
	for _, required := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			d := newDisk()
			var failed error
			r := begin(t, d, Options{Required: required, Failed: func(err error) { failed = err }})
			if err := r.Output([]byte("fits")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			d.set(func() { d.room = 10 })
			err := r.Output([]byte("does not fit"))
			synctest.Wait()
			if (err != nil) != required || required && session.KindOf(err) != session.NoSpace {
				t.Errorf("required %v: %v", required, err)
			}
			if session.KindOf(failed) != session.NoSpace {
				t.Errorf("told of %v", failed)
			}
			if err := r.Output([]byte("more")); (err != nil) != required {
				t.Errorf("after the end: %v", err)
			}
			if err := r.Close(); session.KindOf(err) != session.NoSpace {
				t.Errorf("closed with %v", err)
			}
			if got := loaded(t, d.read()); got.Torn || got.Bytes != 4 {
				t.Errorf("recorded %+v", got)
			}
		})
	}
}

// TestRequiredWaits: what has been let through is in the file.
func TestRequiredWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		r := begin(t, d, Options{Required: true})
		defer r.Close()
		d.set(func() { d.stuck = true })
		done := make(chan error, 1)
		go func() { done <- r.Output([]byte("secret plans")) }()
		time.Sleep(time.Hour)
		select {
		case <-done:
			t.Fatal("did not wait for the disk")
		default:
		}
		d.set(func() { d.stuck = false })
		if err := <-done; err != nil || !bytes.Contains(d.read(), []byte("secret plans")) {
			t.Errorf("%v, recorded %q", err, d.read())
		}
	})
}

func TestCreate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.cast")
	r, err := Create(path, Header{Cols: 80, Rows: 24}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Output([]byte("hello"))
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error("closed twice:", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	before, err := os.ReadFile(path)
	if err != nil || string(output(t, before)) != "hello" {
		t.Errorf("%q, %v", before, err)
	}

	// A file that is there stays as it is, and so does what a link leads to.
	link := filepath.Join(dir, "link.cast")
	victim := filepath.Join(dir, "victim")
	if err := errors.Join(os.Symlink(victim, link), os.WriteFile(victim, []byte("precious"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, taken := range []string{path, link, filepath.Join(dir, "link.cast")} {
		if _, err := Create(taken, Header{}, Options{}); session.KindOf(err) != session.Exists {
			t.Errorf("%s: %v", taken, err)
		}
	}
	if after, _ := os.ReadFile(victim); string(after) != "precious" {
		t.Error("a recording went through a link")
	}
	if _, err := Create(filepath.Join(dir, "no", "folder.cast"), Header{}, Options{}); session.KindOf(err) != session.Internal {
		t.Errorf("no folder: %v", err)
	}
}

func TestNobody(t *testing.T) {
	var r *Recorder
	_ = r.Output([]byte("x"))
	r.Resize(1, 1)
	r.Mark("x")
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
