package folder

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"tandem/share/chunk"
)

// puttee is a conversation without a stream: puts are handed to it.
func puttee(t testing.TB, dir string) *conversation {
	t.Helper()
	tr, err := openTree(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	if tr.rules, err = newRules(tr.root, nil); err != nil {
		t.Fatal(err)
	}
	return &conversation{tree: tr, write: true, w: bufio.NewWriter(io.Discard)}
}

// end ends it, which leaves nothing unfinished behind.
func (c *conversation) end(t testing.TB) {
	t.Helper()
	c.tree.tidy()
	if n := len(c.tree.staged); n > 0 {
		t.Errorf("%d are staged still", n)
	}
	if err := c.tree.close(); err != nil {
		t.Error(err)
	}
}

// putBody is one put with the blocks and the trailer in raw.
func (c *conversation) putBody(t testing.TB, req request, raw []byte) error {
	t.Helper()
	commit, err := c.put(t.Context(), req, &body{r: bytes.NewReader(raw)})
	if err == nil {
		_, err = commit()
	}
	return err
}

func long(p string) string {
	return string([]byte{byte(len(p) >> 24), byte(len(p) >> 16), byte(len(p) >> 8), byte(len(p))}) + p
}

// Where as many files as may are being flushed, the next one waits, whoever puts it, and
// so does whoever would send more.
func TestFlushesAreBounded(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := puttee(t, dir)
		defer c.end(t)
		for range underway {
			c.tree.flushing <- struct{}{}
		}
		end, _ := json.Marshal(trailer{Hash: new(chunk.SumOf([]byte("abc")))}) // plain data
		req := putABC("x")
		req.Body = true
		answered := make(chan *answer, 1)
		go func() {
			answered <- c.handle(t.Context(), req, &body{r: strings.NewReader(unit(data("abc")) + unit("") + unit(string(end)))})
		}()
		synctest.Wait()
		if len(answered) > 0 {
			t.Error("it did not wait")
		}
		<-c.tree.flushing
		a := <-answered
		if <-a.done; a.err != nil {
			t.Error(a.err)
		}
		synctest.Wait()
		if len(c.tree.flushing) != underway-1 {
			t.Errorf("%d are being flushed", len(c.tree.flushing))
		}
	})
}

// Whatever items a client sends, a file is what they say, or what it was.
func TestPutsOfAnyItems(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			r.Fatal(err)
		}
		c := puttee(t, dir)
		defer c.end(t)
		files := map[string]string{}
		var sent []string // data items that may be referred to
		for n := range rapid.IntRange(1, 6).Draw(r, "puts") {
			path := rapid.SampledFrom([]string{"x", "y"}).Draw(r, "path")
			old := files[path]
			var want strings.Builder
			raw, wrong, unsure := "", "", false
			before := len(sent)
			for range rapid.IntRange(0, 6).Draw(r, "items") {
				var i item
				switch kind := rapid.SampledFrom([]string{"data", "zeros", "copy", "again", "none"}).Draw(r, "kind"); kind {
				case "data":
					size := rapid.SampledFrom([]int{1, minRecent - 1, minRecent, 9000, maxHeld, pieceSize}).Draw(r, "size")
					p := strings.Repeat(fmt.Sprintf("%c%d,", 'a'+rapid.IntRange(0, 3).Draw(r, "content"), n), size)[:size]
					i = item{kind: itemData, sum: chunk.SumOf([]byte(p)), pack: []byte("\x00" + p)}
					if rapid.IntRange(0, 9).Draw(r, "forge") == 0 {
						i.sum[0]++
						unsure = true
					}
					want.WriteString(p)
					sent = append(sent, p)
				case "zeros":
					i = item{kind: itemZeros, length: rapid.Int64Range(1, 200_000).Draw(r, "length")}
					want.WriteString(strings.Repeat("\x00", int(i.length)))
				case "copy":
					i = item{kind: itemCopy, offset: rapid.Int64Range(0, int64(len(old))+5).Draw(r, "offset"), length: rapid.Int64Range(1, int64(len(old))+5).Draw(r, "length")}
					if i.offset+i.length > int64(len(old)) {
						wrong = "a copy of what isn't there"
						break
					}
					want.WriteString(old[i.offset:][:i.length])
				case "again":
					p := "never sent"
					if len(sent) > 0 && rapid.IntRange(0, 9).Draw(r, "lie") > 0 {
						p = rapid.SampledFrom(sent).Draw(r, "again")
					}
					i = item{kind: itemAgain, sum: chunk.SumOf([]byte(p))}
					if len(p) < minRecent {
						wrong = "again of what isn't remembered"
					}
					// What came with another file may have been replaced.
					unsure = unsure || !slices.Contains(sent[before:], p)
					want.WriteString(p)
				case "none":
					if rapid.IntRange(0, 5).Draw(r, "rarely") > 0 {
						continue
					}
					i, wrong = item{kind: itemNone}, "none"
				}
				raw += long(string(i.append(nil)))
			}
			content := want.String()
			tr := trailer{Hash: new(chunk.SumOf([]byte(content)))}
			req := request{Op: opPut, Path: path, Size: int64(len(content)), Force: true}
			switch rapid.IntRange(0, 9).Draw(r, "lie about") {
			case 0:
				tr.Hash[5]++
				wrong = "another hash"
			case 1:
				req.Size++
				wrong = "another size"
			case 2:
				req.Size = -1
			}
			end, err := json.Marshal(tr)
			if err != nil {
				r.Fatal(err)
			}
			err = c.putBody(t, req, []byte(raw+long("")+long(string(end))))
			switch {
			case err == nil && wrong != "":
				r.Errorf("accepted %s", wrong)
			case err == nil:
				files[path] = content
			case wrong == "" && !unsure:
				r.Errorf("refused: %v", err)
			}
			for _, name := range slices.Sorted(maps.Keys(files)) {
				if p, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(p) != files[name] {
					r.Fatalf("%s has %d bytes, not those %d it should have: %v", name, len(p), len(files[name]), err)
				}
			}
		}
		c.tree.tidy()
		for _, path := range paths(t, dir) {
			if _, ok := files[path[1:]]; !ok {
				r.Errorf("left %s", path)
			}
		}
	})
}

// FuzzPut reads the body of a put over a file that is there, after one of another file.
func FuzzPut(f *testing.F) {
	old, other := strings.Repeat("old ", 3000), strings.Repeat("other ", 500)
	seed := func(size int64, content string, items ...item) {
		raw := ""
		for _, i := range items {
			raw += unit(string(i.append(nil)))
		}
		end, err := json.Marshal(trailer{Hash: new(chunk.SumOf([]byte(content)))})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(size, []byte(raw+unit("")+unit(string(end))))
	}
	again := item{kind: itemAgain, sum: chunk.SumOf([]byte(other))}
	seed(16, old[4:20], item{kind: itemCopy, offset: 4, length: 16})
	seed(int64(2*len(other)), other+other, again, again)
	seed(-1, old+"\x00"+old[1:], item{kind: itemCopy, length: int64(len(old))}, item{kind: itemZeros, length: 1}, item{kind: itemCopy, offset: 1, length: int64(len(old)) - 1})
	seed(maxHeld, "", item{kind: itemCopy, offset: int64(len(old)) - 1, length: 2})
	f.Fuzz(func(t *testing.T, size int64, in []byte) {
		req := request{ID: 1, Op: opPut, Path: "x", Size: size, Force: true, Body: true}
		if req.check() != nil {
			return
		}
		if zeros := bytes.Count(in, []byte("\x03")); zeros > 0 && (size < 0 || size > 1<<20) {
			return // they would take their time
		}
		dir := t.TempDir()
		grow(t, dir, "x")
		if err := os.WriteFile(filepath.Join(dir, "x"), []byte(old), 0o600); err != nil {
			t.Fatal(err)
		}
		c := puttee(t, dir)
		defer c.end(t)
		end, _ := json.Marshal(trailer{Hash: new(chunk.SumOf([]byte(other)))}) // plain data
		if err := c.putBody(t, request{Op: opPut, Path: "y", Size: int64(len(other))}, []byte(unit(data(other))+unit("")+unit(string(end)))); err != nil {
			t.Fatal(err)
		}
		err := c.putBody(t, req, in)
		p, readErr := os.ReadFile(filepath.Join(dir, "x"))
		switch name := chunk.SumOf(p); {
		case readErr != nil:
			t.Error(readErr)
		case err != nil && string(p) != old:
			t.Errorf("%v, and %d bytes are there", err, len(p))
		case err == nil && (!bytes.Contains(bytes.ToLower(in), []byte(name.String())) || size >= 0 && int64(len(p)) != size):
			t.Errorf("%d bytes with the hash %s are there", len(p), name)
		}
		if got := paths(t, dir); len(got) > 3 {
			t.Errorf("there are %q", got)
		}
	})
}
