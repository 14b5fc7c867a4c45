package folder

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tandem/session"
)

// openStages are what another tandem on the same machine has open of dir.
func openStages(t *testing.T, dir string) *tree {
	t.Helper()
	tr, err := openTree(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.close() }) // it may have been
	return tr
}

// Two processes that copy the same file don't write to the same unfinished one: what the first makes
// visible is its own, whole, and the second goes by itself.
func TestTwoProcessesOfTheSame(t *testing.T) {
	dir := t.TempDir()
	one, other := openStages(t, dir), openStages(t, dir)
	key := partialKey("x", Entry{Size: 200_000})
	half := []byte(strings.Repeat("x", 100_000))
	begin := func(tr *tree) *stage {
		t.Helper()
		s, err := tr.begin(key, "x")
		if err == nil {
			err = s.resume(t.Context(), 0)
		}
		if err == nil {
			_, err = s.Write(half)
		}
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first, second := begin(one), begin(other)
	if first.key != key || second.key != "" {
		t.Errorf("the keys are %q and %q", first.key, second.key)
	}
	if _, err := first.Write(half); err != nil {
		t.Fatal(err)
	}
	if same, err := first.commit(t.Context(), target{path: "x"}); same || err != nil {
		t.Fatal(same, err)
	}
	if p, err := os.ReadFile(filepath.Join(dir, "x")); err != nil || string(p) != string(half)+string(half) {
		t.Errorf("%d bytes, %v", len(p), err)
	}
	if _, err := second.Write(half); err != nil {
		t.Fatal(err)
	}
	if same, err := second.commit(t.Context(), target{path: "x"}); !same || err != nil {
		t.Errorf("the second: same %v, %v", same, err)
	}
	third := begin(other)
	if third.key != key {
		t.Error("what nobody uses can't be used")
	}
	third.discard()
	one.tidy()
	other.tidy()
	if got := paths(t, dir); len(got) != 1 {
		t.Errorf("there is %q", got)
	}
}

// What a process has left behind that was killed goes as soon as no other has anything under way there.
func TestOrphansAreSwept(t *testing.T) {
	dir := t.TempDir()
	killed, alive, later := openStages(t, dir), openStages(t, dir), openStages(t, dir)
	for _, tr := range []*tree{killed, alive} {
		s, err := tr.begin("", "x")
		if err != nil {
			t.Fatal(err)
		}
		if tr == killed { // the kernel closes what a killed process had open
			if err := errors.Join(s.file.Close(), killed.lock.Close(), killed.partial.Close()); err != nil {
				t.Fatal(err)
			}
			killed.lock, killed.partial = nil, nil
			continue
		}
		if later.sweep(time.Now()); len(paths(t, dir)) != 3 {
			t.Errorf("beside one that lives there is %q", paths(t, dir))
		}
		s.discard()
		alive.tidy()
	}
	later.sweep(time.Now())
	later.tidy()
	if got := paths(t, dir); len(got) != 0 {
		t.Errorf("there is %q", got)
	}
}

// Who puts a file again, while the server does not know yet that the one before has gone, goes on with it.
func TestPutAgainAtOnce(t *testing.T) {
	dir := t.TempDir()
	before := attack(t, dir, Write, false)
	again := before.beside(Write)
	const size = 3 * 100_000
	part := strings.Repeat("x", 100_000)
	err := errors.Join(writeMessage(before.w, request{ID: 1, Op: opPut, Path: "x", Size: size, Body: true}), writeUnit(before.w, []byte(data(part))), before.w.Flush())
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, partialDir, partialKey("x", Entry{Size: size}))
	for n := int64(0); n < 100_000; time.Sleep(time.Millisecond) {
		if info, err := os.Stat(key); err == nil {
			n = info.Size()
		}
	}
	go func() {
		time.Sleep(100 * time.Millisecond)
		_ = before.st.Reset(session.Errorf("test", session.Canceled, "killed"))
	}()
	if rep := again.ask(request{Op: opCheck, Path: "x", Size: size}, nil); rep.Have != 100_000 || rep.Prefix == nil {
		t.Errorf("%+v", rep)
	}
}

// Who is not heard of any more is overtaken by itself, and by nobody else; who still writes is not.
func TestOvertaken(t *testing.T) {
	me, other := session.PeerID{1}, session.PeerID{2}
	for name, c := range map[string]struct {
		by     session.PeerID
		writes bool
		taken  bool
	}{"by itself": {me, false, true}, "by another": {other, false, false}, "while it writes": {me, true, false}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := openStages(t, t.TempDir())
				key := partialKey("x", Entry{Size: 200_000})
				var s *stage
				over := make(chan struct{})
				s, err := tr.beginFor(key, "x", use{by: me, end: func() { close(over) }})
				if err == nil {
					err = s.resume(t.Context(), 0)
				}
				if err == nil {
					_, err = s.Write(make([]byte, 100_000))
				}
				if err != nil {
					t.Fatal(err)
				}
				asked := make(chan int64)
				go func() { asked <- tr.have(t.Context(), key, 200_000, c.by) }()
				if c.writes {
					time.Sleep(lettingGo / 2)
					if _, err := s.Write([]byte("x")); err != nil {
						t.Fatal(err)
					}
				}
				select {
				case <-over:
					s.keep()
					if have := <-asked; !c.taken || have != 100_000 {
						t.Errorf("it was ended, and has %d", have)
					}
				case have := <-asked:
					if c.taken || have != 0 {
						t.Errorf("it goes on, and has %d", have)
					}
					s.discard()
				}
			})
		})
	}
}
