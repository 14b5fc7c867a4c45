package folder

import (
	"bufio"
	"bytes"
	"errors"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"

	"tandem/session"
	"tandem/share/chunk"
)

// A host that sends what is small and becomes large, or refers to what there is not, is
// found out before anything of it is written, in little memory.
func TestBombs(t *testing.T) {
	text := func(i item) string { return string(i.append(nil)) }
	abc := chunk.SumOf([]byte("abc"))
	for name, blocks := range map[string][]string{
		"a chunk larger than the file": {packed(make([]byte, 8<<20))},
		"a chunk larger than any":      {packed(make([]byte, chunk.MaxSize+1))},
		"a bomb":                       {packed(make([]byte, 256<<20))},
		"a hole larger than the file":  {text(item{kind: itemZeros, length: maxFile})},
		"holes without end":            {text(item{kind: itemZeros, length: 3}), text(item{kind: itemZeros, length: 1})},
		"a copy of nothing":            {text(item{kind: itemCopy, length: 3})},
		"a copy from far behind":       {text(item{kind: itemCopy, offset: maxFile, length: 3})},
		"what never came":              {text(item{kind: itemAgain, sum: abc})},
		"no zstd":                      {data("abc")[:1+chunk.SumSize] + "\x01abc"},
		"an item of no kind":           {"\x09abc"},
		"half an item":                 {data("abc")[:20]},
	} {
		t.Run(name, func(t *testing.T) {
			file := &Entry{Name: "x", Size: 3}
			var sent atomic.Int32
			c := peer(func(req request, w *bufio.Writer) error {
				if req.Op == opStat {
					return writeMessage(w, reply{ID: req.ID, Entry: file})
				}
				sent.Add(1)
				err := writeMessage(w, reply{ID: req.ID, Body: true, Entry: file})
				for _, b := range blocks {
					err = errors.Join(err, writeUnit(w, []byte(b)))
				}
				return errors.Join(err, writeTrailer(w, trailer{Hash: &abc}))
			}).client(t)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			dest := t.TempDir()
			_, err := c.Get(t.Context(), "x", filepath.Join(dest, "x"), Options{})
			if k := session.KindOf(err); err == nil || k != session.Integrity && k != session.Invalid && (k != session.Changed || name != "what never came") {
				t.Errorf("Get = %v", err)
			}
			var out bytes.Buffer
			if _, err := c.Read(t.Context(), "x", &out, Options{}); err == nil || out.Len() > 3 {
				t.Errorf("Read = %v, and %d bytes", err, out.Len())
			}
			runtime.ReadMemStats(&after)
			if got := paths(t, dest); len(got) != 0 {
				t.Errorf("left %v", got)
			}
			if sent.Load() == 0 {
				t.Error("it was never asked for")
			}
			if most := after.TotalAlloc - before.TotalAlloc; most > 64<<20 {
				t.Errorf("it took %d MiB", most>>20)
			}
		})
	}
}
