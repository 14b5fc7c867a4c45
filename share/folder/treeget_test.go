package folder

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/session"
	"tandem/share/chunk"
)

// teller is a server that answers a tree with blocks, and a fetch with "abc".
func teller(blocks ...string) peer {
	return func(req request, w *bufio.Writer) error {
		if req.Op != opTree {
			return lister()(req, w)
		}
		err := writeMessage(w, reply{ID: req.ID, Body: true})
		for _, b := range blocks {
			err = errors.Join(err, writeUnit(w, []byte(b)))
		}
		return errors.Join(err, writeTrailer(w, trailer{}))
	}
}

// listed is a page of files of a size each.
func listed(t testing.TB, size int64, names ...string) string {
	t.Helper()
	var p page
	for _, name := range names {
		p.Entries = append(p.Entries, Entry{Name: name, Size: size})
	}
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// Whatever a host sends for small files, either it makes sense or nothing of it is kept.
func TestLyingTrees(t *testing.T) {
	zeros := func(n int64) string { return string(item{kind: itemZeros, length: n}.append(nil)) }
	again := func(p string) string {
		return string(item{kind: itemAgain, sum: chunk.SumOf([]byte(p))}.append(nil))
	}
	none := string(item{kind: itemNone}.append(nil))
	long := strings.Repeat("x", minRecent)
	for name, c := range map[string]struct {
		blocks []string
		kind   session.Kind // "" if it makes sense
		kept   string
	}{
		"honest":             {[]string{listed(t, 3, "x", "y"), data("abc"), data("ab"), data("c")}, "", "[/x /y]"},
		"empty":              {[]string{listed(t, 0, "x", "y")}, "", "[/x /y]"},
		"a hole":             {[]string{listed(t, 3, "x"), zeros(3)}, "", "[/x]"},
		"by itself":          {[]string{listed(t, 3, "x", "y"), none, data("abc")}, "", "[/x /y]"},
		"once more":          {[]string{listed(t, minRecent, "x", "y"), data(long), again(long)}, "", "[/x /y]"},
		"twice in one":       {[]string{listed(t, 2*minRecent, "x"), data(long), again(long)}, "", "[/x]"},
		"what did not come":  {[]string{listed(t, minRecent, "x", "y"), data(long), again("abc")}, session.Integrity, "[/x]"},
		"once more, too far": {[]string{listed(t, minRecent, "x") + "", data(long), listed(t, 3, "z"), again(long)}, session.Integrity, "[/x]"},
		"other content":      {[]string{listed(t, 3, "x"), data("abc")[:1+chunk.SumSize] + "\x00abd"}, session.Integrity, "[]"},
		"too much":           {[]string{listed(t, 3, "x"), data("abcd")}, session.Integrity, "[]"},
		"too much at last":   {[]string{listed(t, 3, "x"), data("ab"), data("cd")}, session.Integrity, "[]"},
		"too many zeros":     {[]string{listed(t, 3, "x"), zeros(maxFile)}, session.Integrity, "[]"},
		"too little":         {[]string{listed(t, 3, "x"), data("ab")}, session.Unavailable, "[]"},
		"ends in its midst":  {[]string{listed(t, 3, "x"), data("ab"), none}, session.Invalid, "[]"},
		"a copy":             {[]string{listed(t, 3, "x"), string(item{kind: itemCopy, length: 3}.append(nil))}, session.Integrity, "[]"},
		"no item":            {[]string{listed(t, 3, "x"), "abc"}, session.Invalid, "[]"},
		"a bomb":             {[]string{listed(t, 3, "x"), packed(make([]byte, 8<<20))}, session.Integrity, "[]"},
		"one page too few":   {[]string{listed(t, 3, "x"), data("abc"), data("abc")}, session.Invalid, "[/x]"},
		"no page":            {nil, session.Integrity, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			dest := t.TempDir()
			_, err := teller(c.blocks...).client(t).Get(t.Context(), "", dest, Options{})
			if (err == nil) != (c.kind == "") || err != nil && session.KindOf(err) != c.kind {
				t.Errorf("Get = %v", err)
			}
			if got := fmt.Sprint(paths(t, dest)); got != c.kept {
				t.Errorf("kept %s", got)
			}
		})
	}
}

// FuzzTree reads the body of a tree. Of what is kept, every file has been listed with
// its size.
func FuzzTree(f *testing.F) {
	page := listed(f, 3, "x", "y")
	f.Add([]byte(unit(page) + unit(data("abc")) + unit("\x03\x03") + unit("") + unit("{}")))
	f.Add([]byte(unit(page) + unit("\x05") + unit("\x05") + unit("") + unit("{}")))
	f.Add([]byte(unit(`{"dir":"","entries":[{"name":"d","dir":true}]}`) + unit(`{"dir":"d"}`) + unit("") + unit("{}")))
	long := strings.Repeat("l", minRecent)
	again := item{kind: itemAgain, sum: chunk.SumOf([]byte(long))}.append(nil)
	f.Add([]byte(unit(listed(f, 2*minRecent, "x", "y")) + unit(data(long)) + unit(string(again)) + unit(string(again)) + unit(string(again)) + unit("") + unit("{}")))
	f.Fuzz(func(t *testing.T, in []byte) {
		around := t.TempDir()
		into, err := openTree(filepath.Dir(mkdir(t, around, "dest/x")), false)
		if err != nil {
			t.Fatal(err)
		}
		defer into.close()
		cn := &conn{failed: make(chan struct{}), w: bufio.NewWriter(io.Discard), queue: make(chan *call), done: make(chan struct{})}
		go func() {
			defer close(cn.done)
			for cl := range cn.queue { // requests for files by themselves
				close(cl.done)
			}
		}()
		g := &get{conn: cn, into: into, tally: newTally(nil)}
		r := treeReceiver{get: g}
		_ = r.receive(t.Context(), &body{r: bytes.NewReader(in)}) // it may make no sense
		r.leave()
		g.commits.Wait()
		close(cn.queue)
		<-cn.done
		for _, path := range paths(t, around) {
			if path != "/dest" && !strings.HasPrefix(path, "/dest/") {
				t.Errorf("made %s", path)
			}
			info, err := os.Lstat(filepath.Join(around, path))
			if err != nil || !info.IsDir() && !bytes.Contains(in, fmt.Appendf(nil, `"size":%d`, info.Size())) && info.Size() > 0 {
				if err != nil || info.Size() > smallFile {
					t.Errorf("%s: %v, %v", path, info, err)
				}
			}
		}
	})
}

func mkdir(t testing.TB, base, path string) string {
	t.Helper()
	at := filepath.Join(base, path)
	if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
		t.Fatal(err)
	}
	return at
}

// Names come in windows, each of them once and in order, and no more are in memory.
func TestWindowsOfNames(t *testing.T) {
	dir := t.TempDir()
	var want []string
	for i := range 1000 {
		name := fmt.Sprintf("%x", i*7919%1000)
		want = append(want, name)
		grow(t, dir, name)
	}
	slices.Sort(want)
	tr, err := openTree(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	d, err := tr.directory("")
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	for _, d.window = range []int{1, 3, 499, 500, 999, 1000, 1001, maxWindow} {
		var got []string
		if err := d.entries(t.Context(), func(e Entry, err error) error {
			got = append(got, e.Name)
			return err
		}); err != nil || !slices.Equal(got, want) {
			t.Errorf("window of %d: %d names, %v", d.window, len(got), err)
		}
		if names, more, err := d.after(""); err != nil || len(names) > d.window || more != (len(want) > d.window) {
			t.Errorf("window of %d: %d names, %v, %v", d.window, len(names), more, err)
		}
	}
}

// A host that does not know how to send a tree is asked for each file.
func TestTreeOfOlderHost(t *testing.T) {
	serve := lister(page{Entries: []Entry{{Name: "d", Dir: true}, {Name: "f", Size: 3}}}, page{Dir: "d", Entries: files("g")})
	c := peer(func(req request, w *bufio.Writer) error {
		if req.Op == opTree {
			return writeMessage(w, reply{ID: req.ID, Error: &wireError{Kind: string(session.Unsupported)}})
		}
		return serve(req, w)
	}).client(t)
	dest := t.TempDir()
	if sum, err := c.Get(t.Context(), "", dest, Options{}); err != nil || sum.Files != 2 || fmt.Sprint(paths(t, dest)) != "[/d /d/g /f]" {
		t.Errorf("%+v, %v: %q", sum, err, paths(t, dest))
	}
}
