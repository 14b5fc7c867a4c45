package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"tandem/session"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("TANDEM_AUDIT_CHILD"); dir != "" {
		os.Exit(child(dir))
	}
	goleak.VerifyTestMain(m)
}

// open makes a log in a folder that does not exist yet.
func open(t *testing.T) (*Log, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "audit")
	l := New(dir)
	t.Cleanup(func() { _ = l.Close() })
	return l, dir
}

func (l *Log) mustAppend(t *testing.T, e Entry) uint64 {
	t.Helper()
	seq, err := l.Append(e)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// filled is a closed log of n entries in files of a few entries each.
func filled(t *testing.T, n int) string {
	t.Helper()
	l, dir := open(t)
	l.maxFile = 1000
	for i := range n {
		l.mustAppend(t, Entry{Outcome: Allowed, Service: "terminal/1", Action: "control", Resource: fmt.Sprint(i)})
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func all(t *testing.T, dir string) []Entry {
	t.Helper()
	r := NewReader(dir)
	defer r.Close()
	var entries []Entry
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return entries
		}
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
}

func verified(t *testing.T, dir string) Report {
	t.Helper()
	r, err := Verify(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestGolden pins the format.
func TestGolden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, dir := open(t)
		peer := session.PeerID{1, 2, 3}
		code := 3
		l.mustAppend(t, Entry{Outcome: Approved, Peer: peer, Name: "bob", Reason: "terminal/1 (view, control)"})
		time.Sleep(1500 * time.Millisecond)
		seq := l.mustAppend(t, Entry{Outcome: Allowed, Peer: peer, Service: "terminal/1", Action: "control"})
		l.mustAppend(t, Entry{
			Outcome: Failed, Peer: peer, Service: "terminal/1", Action: "control", Of: seq,
			Sent: 12, Received: 34, Exit: &code, Recording: "/home/al/a.cast", Reason: "<&> \"\\\n\x1b[31m\xff\u202e", Count: 2,
		})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, "log-000001.jsonl"))
		anchor, anchorErr := os.ReadFile(filepath.Join(dir, "anchor"))
		want, wantErr := os.ReadFile(filepath.Join("testdata", "golden.jsonl"))
		if err := errors.Join(err, anchorErr, wantErr); err != nil {
			t.Fatal(err)
		}
		if string(got)+string(anchor) != string(want) {
			t.Errorf("wrote\n%s%s", got, anchor)
		}
		for _, line := range strings.Split(strings.TrimSpace(string(got)), "\n") {
			if e, err := decode([]byte(line)); err != nil || e.Printable().Peer != peer {
				t.Errorf("%s reads as %+v, %v", line, e, err)
			}
		}
	})
}

func TestChain(t *testing.T) {
	dir := filled(t, 50)
	entries := all(t, dir)
	if len(entries) != 50 || entries[49].Seq != 50 || entries[49].Resource != "49" {
		t.Fatalf("%d entries", len(entries))
	}
	r := verified(t, dir)
	if r.Entries != 50 || r.Files < 5 || r.Head.Seq != 50 || len(r.Problems)+len(r.Notes) > 0 {
		t.Fatalf("%+v", r)
	}
	info, err := os.Stat(filepath.Join(dir, "log-000001.jsonl"))
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() > 1000 {
		t.Errorf("%v, %v", info, err)
	}

	// Another process goes on, and the old head is still in it.
	l := New(dir)
	defer l.Close()
	if seq := l.mustAppend(t, Entry{Outcome: Invited}); seq != 51 {
		t.Errorf("goes on with %d", seq)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(Entry{Outcome: Invited}); err == nil {
		t.Error("appended to a closed log")
	}
	if later, err := VerifyFrom(dir, r.Head); err != nil || len(later.Problems) > 0 {
		t.Errorf("%+v, %v", later, err)
	}
	other := r.Head
	other.Hash[0] ^= 1
	for _, head := range []Anchor{other, {Seq: 52, Hash: r.Head.Hash}} {
		if later, err := VerifyFrom(dir, head); err != nil || len(later.Problems) != 1 {
			t.Errorf("%+v, %v", later, err)
		}
	}
}

// TestSeveralLogs: several writers make one chain.
func TestSeveralLogs(t *testing.T) {
	_, dir := open(t)
	var writing sync.WaitGroup
	var seqs sync.Map
	for i := range 4 {
		writing.Go(func() {
			l := New(dir)
			l.maxFile = 5000
			for j := range 50 {
				add := l.Append
				if j%20 == i {
					add = l.Commit
				}
				seq, err := add(Entry{Outcome: Denied, Resource: fmt.Sprintf("%d/%d", i, j)})
				if _, twice := seqs.LoadOrStore(seq, true); err != nil || twice {
					t.Errorf("%v, twice: %v", err, twice)
				}
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	writing.Wait()
	if r := verified(t, dir); r.Entries != 200 || len(r.Problems)+len(r.Notes) > 0 {
		t.Errorf("%+v", r)
	}
}

// lines are those of all files, by file.
func lines(t *testing.T, dir string) [][][]byte {
	t.Helper()
	numbers, err := fileNumbers(dir)
	if err != nil {
		t.Fatal(err)
	}
	var files [][][]byte
	for _, n := range numbers {
		content, err := os.ReadFile(filepath.Join(dir, fileName(n)))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, bytes.SplitAfter(bytes.TrimSuffix(content, []byte("\n")), []byte("\n")))
		last := files[len(files)-1]
		last[len(last)-1] = append(bytes.Clone(last[len(last)-1]), '\n')
	}
	return files
}

// TestTampering: whatever somebody does to an entry shows.
func TestTampering(t *testing.T) {
	original := filled(t, 20)
	files := lines(t, original)
	type place struct{ file, line int }
	var places []place
	for f := range files {
		for l := range files[f] {
			places = append(places, place{f, l})
		}
	}
	if len(places) != 20 || len(files) < 3 {
		t.Fatalf("%d entries in %d files", len(places), len(files))
	}
	tampered := func(what string, change func(files [][][]byte) [][][]byte) {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "audit")
		if err := os.CopyFS(dir, os.DirFS(original)); err != nil {
			t.Fatal(err)
		}
		clone := make([][][]byte, len(files))
		for i := range files {
			clone[i] = slices.Clone(files[i])
		}
		for i, content := range change(clone) {
			path := filepath.Join(dir, fileName(i+1))
			if content == nil {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if err := os.WriteFile(path, bytes.Join(content, nil), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if r := verified(t, dir); len(r.Problems) == 0 {
			t.Errorf("%s goes unnoticed", what)
		}
	}
	for n, p := range places {
		tampered(fmt.Sprintf("an edit of entry %d", n+1), func(f [][][]byte) [][][]byte {
			f[p.file][p.line] = bytes.Replace(f[p.file][p.line], []byte("control"), []byte("view"), 1)
			return f
		})
		tampered(fmt.Sprintf("a hidden edit of entry %d", n+1), func(f [][][]byte) [][][]byte {
			f[p.file][p.line] = bytes.Replace(f[p.file][p.line], []byte(`"seq"`), []byte(` "seq"`), 1)
			return f
		})
		tampered(fmt.Sprintf("the removal of entry %d", n+1), func(f [][][]byte) [][][]byte {
			f[p.file] = slices.Delete(f[p.file], p.line, p.line+1)
			return f
		})
		tampered(fmt.Sprintf("noise for entry %d", n+1), func(f [][][]byte) [][][]byte {
			f[p.file][p.line] = []byte("noise\n")
			return f
		})
		tampered(fmt.Sprintf("a second entry %d", n+1), func(f [][][]byte) [][][]byte {
			f[p.file] = slices.Insert(f[p.file], p.line, f[p.file][p.line])
			return f
		})
		tampered(fmt.Sprintf("a cut before entry %d", n+1), func(f [][][]byte) [][][]byte {
			f[p.file] = f[p.file][:p.line]
			for later := p.file + 1; later < len(f); later++ {
				f[later] = nil
			}
			if p.line == 0 {
				f[p.file] = nil
			}
			return f
		})
		if n > 0 {
			before := places[n-1]
			tampered(fmt.Sprintf("entries %d and %d changing places", n, n+1), func(f [][][]byte) [][][]byte {
				f[before.file][before.line], f[p.file][p.line] = f[p.file][p.line], f[before.file][before.line]
				return f
			})
		}
	}
	for n := range files {
		tampered(fmt.Sprintf("the removal of file %d", n+1), func(f [][][]byte) [][][]byte { f[n] = nil; return f })
	}
	tampered("a new chain with the old anchor", func(f [][][]byte) [][][]byte {
		forged := New(filepath.Join(t.TempDir(), "audit"))
		for range 20 {
			forged.mustAppend(t, Entry{Outcome: Ended})
		}
		if err := forged.Close(); err != nil {
			t.Fatal(err)
		}
		return append([][][]byte{lines(t, forged.dir)[0]}, make([][][]byte, len(f)-1)...)
	})
}

// TestMissingEntries: whoever goes on with a log that was cut says so for good,
// though the anchor moves on.
func TestMissingEntries(t *testing.T) {
	for name, cut := range map[string]func(dir string) error{
		"the tail": func(dir string) error {
			path := filepath.Join(dir, fileName(1))
			content, err := os.ReadFile(path)
			at := bytes.LastIndexByte(content[:len(content)-1], '\n')
			return errors.Join(err, os.Truncate(path, int64(at+1)))
		},
		"everything":    func(dir string) error { return os.Remove(filepath.Join(dir, fileName(1))) },
		"all but files": func(dir string) error { return os.Truncate(filepath.Join(dir, fileName(1)), 0) },
		"the anchor": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "anchor"), []byte("{"), 0o600)
		},
	} {
		l, dir := open(t)
		for range 3 {
			l.mustAppend(t, Entry{Outcome: Allowed})
		}
		if err := errors.Join(l.Close(), cut(dir)); err != nil {
			t.Fatal(name, err)
		}
		l = New(dir)
		l.mustAppend(t, Entry{Outcome: Ended})
		if err := l.Close(); err != nil {
			t.Fatal(name, err)
		}
		entries := all(t, dir)
		if noted := entries[len(entries)-2]; noted.Outcome != Lost || len(verified(t, dir).Problems) == 0 {
			t.Errorf("%s: noted %+v", name, noted)
		}
	}
}

// TestTornLine: a crash in the midst of writing costs what it was writing and
// nothing else, and shows.
func TestTornLine(t *testing.T) {
	for _, torn := range []string{`{"seq":4,"ti`, "\x00\x00\x00\x00", "noise\nnoise", "{}\n"} {
		l, dir := open(t)
		for range 3 {
			l.mustAppend(t, Entry{Outcome: Allowed})
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		appendTo(t, filepath.Join(dir, fileName(1)), torn)

		// Before and after the repair, and by a log that was open all the time.
		before := verified(t, dir)
		if before.Entries != 3 || len(before.Notes)+len(before.Problems) == 0 {
			t.Errorf("%q: %+v", torn, before)
		}
		l = New(dir)
		l.mustAppend(t, Entry{Outcome: Ended})
		appendTo(t, filepath.Join(dir, fileName(1)), torn)
		l.mustAppend(t, Entry{Outcome: Ended})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		after := verified(t, dir)
		if after.Entries != 7 || len(after.Notes) != 2 || len(after.Problems) > 0 {
			t.Errorf("%q: %+v", torn, after)
		}
		if e := all(t, dir)[3]; e.Outcome != Repaired || !strings.Contains(e.Reason, fmt.Sprint(len(torn), " bytes after entry 3")) {
			t.Errorf("%q: %+v", torn, e)
		}
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestNoLog: a log that can't be what it should be takes nothing.
func TestNoLog(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, l *Log) error{
		"a closed file": func(_ *testing.T, l *Log) error { return l.file.Close() },
		"a file that was removed": func(_ *testing.T, l *Log) error {
			return os.Remove(filepath.Join(l.dir, fileName(1)))
		},
		"a file that was cut": func(_ *testing.T, l *Log) error {
			return os.Truncate(filepath.Join(l.dir, fileName(1)), 10)
		},
		"a file that was replaced": func(_ *testing.T, l *Log) error {
			path := filepath.Join(l.dir, fileName(1))
			content, err := os.ReadFile(path)
			return errors.Join(err, os.WriteFile(path+".new", content, 0o600), os.Rename(path+".new", path))
		},
		"a file that was overwritten": func(_ *testing.T, l *Log) error {
			path := filepath.Join(l.dir, fileName(1))
			content, err := os.ReadFile(path)
			return errors.Join(err, os.WriteFile(path, bytes.Repeat([]byte("x"), len(content)+1), 0o600))
		},
		"a file elsewhere": func(t *testing.T, l *Log) error {
			path, elsewhere := filepath.Join(l.dir, fileName(1)), filepath.Join(t.TempDir(), "elsewhere")
			return errors.Join(os.Rename(path, elsewhere), os.Symlink(elsewhere, path))
		},
		"a next file elsewhere": func(t *testing.T, l *Log) error {
			return os.Symlink(filepath.Join(t.TempDir(), "elsewhere"), filepath.Join(l.dir, fileName(2)))
		},
		"a lock elsewhere": func(t *testing.T, l *Log) error {
			path := filepath.Join(l.dir, "lock")
			return errors.Join(os.Remove(path), os.Symlink(filepath.Join(t.TempDir(), "elsewhere"), path))
		},
		"an open folder": func(_ *testing.T, l *Log) error { return os.Chmod(l.dir, 0o755) },
		"no folder": func(_ *testing.T, l *Log) error {
			return errors.Join(os.RemoveAll(l.dir), os.WriteFile(l.dir, nil, 0o600))
		},
		"a folder elsewhere": func(t *testing.T, l *Log) error {
			return errors.Join(os.Rename(l.dir, l.dir+".old"), os.Symlink(l.dir+".old", l.dir))
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, _ := open(t)
			l.mustAppend(t, Entry{Outcome: Allowed})
			if err := spoil(t, l); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if seq, err := l.Append(Entry{Outcome: Allowed}); session.KindOf(err) != session.Internal || session.Hint(err) == "" {
					t.Errorf("appended %d: %v", seq, err)
				}
			}
		})
	}
}

// TestInjection: no name makes a line of its own, or one that is too long.
func TestInjection(t *testing.T) {
	l, dir := open(t)
	evil := "x\n{\"seq\":99,\"outcome\":\"approved\"}\n\u2028\u202e\x1b[2J\xff"
	long := strings.Repeat("\x00", 1<<20)
	l.mustAppend(t, Entry{Outcome: Denied, Name: evil, Service: evil, Resource: evil, Action: evil, Detail: evil, Reason: evil})
	l.mustAppend(t, Entry{Outcome: Denied, Name: long, Service: long, Resource: long, Action: long, Detail: long, Reason: long, Recording: long})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	entries := all(t, dir)
	if r := verified(t, dir); len(entries) != 2 || len(r.Problems) > 0 {
		t.Fatalf("%+v, %+v", entries, r)
	}
	e := entries[0].Printable()
	for _, text := range []string{e.Name, e.Service, e.Resource, e.Action, e.Detail, e.Reason} {
		if text != session.Printable(text) {
			t.Errorf("%q is shown", text)
		}
	}
}

// TestFollow: what is appended later is read, across files.
func TestFollow(t *testing.T) {
	_, dir := open(t)
	r := NewReader(dir)
	defer r.Close()
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Fatal("a log that isn't there: ", err)
	}
	l := New(dir)
	defer l.Close()
	l.maxFile = 500
	go func() {
		for range 20 {
			if _, err := l.Append(Entry{Outcome: Allowed}); err != nil {
				t.Error(err)
			}
		}
	}()
	for want := uint64(1); want <= 20; want++ {
		if e, err := r.Follow(t.Context()); err != nil || e.Seq != want {
			t.Fatalf("%d, %v instead of %d", e.Seq, err, want)
		}
	}
}

// TestSyncsByItself: the anchor follows within a second.
func TestSyncsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, dir := open(t)
		l.mustAppend(t, Entry{Outcome: Allowed})
		if a, err := readAnchor(dir); a.Seq != 0 || err != nil {
			t.Errorf("%v, %v", a, err)
		}
		time.Sleep(syncAfter)
		synctest.Wait()
		if a, err := readAnchor(dir); a.Seq != 1 || err != nil {
			t.Errorf("%v, %v", a, err)
		}
		if seq, err := l.Commit(Entry{Outcome: Approved}); seq != 2 || err != nil {
			t.Errorf("%v, %v", seq, err)
		}
		if a, err := readAnchor(dir); a.Seq != 2 || err != nil {
			t.Errorf("after a commit: %v, %v", a, err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestParseAnchor(t *testing.T) {
	a := Anchor{12, hashOf([]byte("x"))}
	if got, err := ParseAnchor(a.String()); got != a || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "12", "x:" + a.Hash.String(), "0:" + a.Hash.String(), "12:" + strings.ToUpper(a.Hash.String()), "12:ab"} {
		if _, err := ParseAnchor(bad); session.KindOf(err) != session.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// FuzzDecode: what is read can be written and reads the same.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"seq":1,"time":"2000-01-01T00:00:00Z","outcome":"denied","peer":"aebagaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","prev":"` + strings.Repeat("0", 64) + `"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := decode(line)
		if err != nil {
			return
		}
		first, err := encode(e)
		if err != nil {
			return // a year that has no form
		}
		again, err := decode(first)
		if err != nil {
			t.Fatalf("%s: %v", first, err)
		}
		if second, err := encode(again); err != nil || !bytes.Equal(first, second) {
			t.Fatalf("%s, then %s, %v", first, second, err)
		}
	})
}
