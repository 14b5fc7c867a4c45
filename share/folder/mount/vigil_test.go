package mount

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"tandem/session"
	"tandem/share/folder"
)

// distant is a peer's folder whose answers wait for gates.
type distant struct {
	Folder

	stat, list, read gate
}

// gate lets calls through once it is open.
type gate struct{ open chan struct{} }

func newGate(open bool) gate {
	g := gate{make(chan struct{})}
	if open {
		close(g.open)
	}
	return g
}

// pass waits for the gate. An error of the context comes without its cause, as
// some do.
func (g gate) pass(ctx context.Context) error {
	select {
	case <-g.open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *distant) Stat(ctx context.Context, _ string) (folder.Entry, error) {
	return folder.Entry{Size: 100, MTime: 1}, d.stat.pass(ctx)
}

func (d *distant) List(ctx context.Context, _ string) ([]folder.Entry, int, error) {
	return nil, 0, d.list.pass(ctx)
}

func (d *distant) ReadRange(ctx context.Context, _ string, p []byte, _ int64) (int, folder.Entry, error) {
	return len(p), folder.Entry{Size: 100, MTime: 1}, d.read.pass(ctx)
}

func (d *distant) Write(ctx context.Context, _ string, _ io.Reader, _ int64, _ folder.Options) (folder.Summary, error) {
	return folder.Summary{}, d.list.pass(ctx)
}

func within10s(t *testing.T, what string, f func() error) {
	t.Helper()
	began := time.Now()
	if err := f(); session.KindOf(err) != session.Timeout {
		t.Errorf("%s: %v", what, err)
	}
	if took := time.Since(began); took > quiet+patience+time.Second {
		t.Errorf("%s took %v", what, took)
	}
}

// A peer that has gone makes what waits fail after a while and what comes then at
// once, until it is there again.
func TestPeerThatHasGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &distant{stat: newGate(false), list: newGate(false), read: newGate(true)}
		tree := New(d, "", false)
		defer tree.Close()
		calls := map[string]func() error{
			"list":   func() error { _, err := tree.List(t.Context(), ""); return err },
			"stat":   func() error { _, err := tree.Stat(t.Context(), "x"); return err },
			"create": func() error { _, err := tree.Create(t.Context(), "x", false); return err },
		}
		results := make(chan struct{})
		for what, f := range calls {
			go func() {
				within10s(t, what, f)
				results <- struct{}{}
			}()
		}
		for range calls {
			<-results
		}
		began := time.Now()
		for range 10 {
			for what, f := range calls {
				within10s(t, what, f)
			}
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("30 more took %v", took)
		}
		close(d.stat.open)
		close(d.list.open)
		time.Sleep(patience + 2*quiet)
		for what, f := range calls {
			if err := f(); err != nil {
				t.Errorf("%s, when it is back: %v", what, err)
			}
		}
	})
}

// A peer that is slow and alive has its time.
func TestPeerThatIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &distant{stat: newGate(true), list: newGate(false), read: newGate(false)}
		tree := New(d, "", false)
		defer tree.Close()
		time.AfterFunc(limit/2, func() { close(d.read.open) })
		f, err := tree.Open(t.Context(), "x")
		if err != nil {
			t.Fatal(err)
		}
		if n, err := f.ReadAt(t.Context(), make([]byte, 10), 0); n != 10 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		// But not all the time there is.
		began := time.Now()
		if _, err := tree.List(t.Context(), ""); session.KindOf(err) != session.Timeout || time.Since(began) != limit {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}
