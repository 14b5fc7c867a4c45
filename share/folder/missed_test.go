package folder

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/session"
	"tandem/share/chunk"
)

// TestMissedChunks refers to what never came: a put says so, and a get asks once
// more without references, and not for ever.
func TestMissedChunks(t *testing.T) {
	abc := chunk.SumOf([]byte("abc"))
	again := string(item{kind: itemAgain, sum: abc}.append(nil))
	c := attack(t, t.TempDir(), Write, false)
	if rep := c.ask(putABC("x"), &trailer{Hash: &abc}, again); kind(rep) != session.Changed || !rep.Missed {
		t.Errorf("put: %+v", rep)
	}
	if rep := c.ask(putABC("x"), &trailer{Hash: &abc}, data("abc")); rep.Error != nil {
		t.Errorf("put without references: %+v", rep.Error)
	}
	long := strings.Repeat("x", minRecent)
	twice, all := string(item{kind: itemAgain, sum: chunk.SumOf([]byte(long))}.append(nil)), chunk.SumOf([]byte("abc"+long+long))
	if rep := c.ask(request{Op: opPut, Path: "twice", Size: 3 + 2*minRecent}, &trailer{Hash: &all}, data("abc"), data(long), twice); rep.Error != nil {
		t.Errorf("put of the same twice: %+v", rep.Error)
	}
	for name, helped := range map[string]bool{"helps": true, "does not help": false} {
		asked := 0
		client := peer(func(req request, w *bufio.Writer) error {
			if req.Op == opTree {
				return writeMessage(w, reply{ID: req.ID, Error: &wireError{Kind: string(session.Invalid)}})
			}
			if req.Op == opStat {
				return writeMessage(w, reply{ID: req.ID, Entry: &Entry{Name: "x", Size: 3}})
			}
			if asked++; req.Plain != (asked == 2) {
				t.Errorf("request %d: %+v", asked, req)
			}
			content := again
			if req.Plain && helped {
				content = data("abc")
			}
			return errors.Join(writeMessage(w, reply{ID: req.ID, Body: true, Entry: &Entry{Name: "x", Size: 3}}),
				writeUnit(w, []byte(content)), writeTrailer(w, trailer{Hash: &abc}))
		}).client(t)
		dest := filepath.Join(t.TempDir(), "x")
		_, err := client.Get(t.Context(), "x", dest, Options{})
		if p, readErr := os.ReadFile(dest); helped && (err != nil || string(p) != "abc") || !helped && (session.KindOf(err) != session.Changed || readErr == nil) {
			t.Errorf("a second request %s: %q, %v", name, p, err)
		}
		if asked != 2 {
			t.Errorf("asked %d times", asked)
		}
	}
}

// TestRecentStaysSmall adds more chunks than are remembered.
func TestRecentStaysSmall(t *testing.T) {
	var r recent
	name := func(i int) chunk.Sum { return chunk.Sum{byte(i), byte(i >> 8), byte(i >> 16)} }
	for i := range 3 * maxRecent {
		r.add(name(i), spot{size: minRecent})
		r.add(name(i), spot{size: minRecent}) // again
	}
	if len(r.at) != maxRecent || len(r.ring) != maxRecent {
		t.Errorf("%d and %d are remembered", len(r.at), len(r.ring))
	}
	for i := range 3 * maxRecent {
		if r.has(name(i)) != (i >= 2*maxRecent) {
			t.Fatalf("chunk %d: %v", i, r.has(name(i)))
		}
	}
	if r.add(chunk.Sum{0xff, 0xff, 0xff, 0xff}, spot{size: minRecent - 1}); len(r.at) != maxRecent || r.has(chunk.Sum{0xff, 0xff, 0xff, 0xff}) {
		t.Error("a small one is remembered")
	}
}

// TestCanceledPutsAreKept ends the body of a put in both ways: what somebody
// stopped is resumed, what can't be right goes.
func TestCanceledPutsAreKept(t *testing.T) {
	for kind, kept := range map[session.Kind]int64{session.Canceled: 100_000, session.Changed: 0} {
		c := attack(t, t.TempDir(), Write, false)
		half := make([]byte, 100_000)
		for i := range half {
			half[i] = byte(i) | 1
		}
		req := request{Op: opPut, Path: "x", Size: 200_000}
		if rep := c.ask(req, &trailer{Error: &wireError{Kind: string(kind), Text: "stopped"}}, data(string(half))); rep.Error == nil || rep.Error.Kind != string(kind) {
			t.Errorf("%s: %+v", kind, rep.Error)
		}
		rep := c.ask(request{Op: opCheck, Path: "x", Size: 200_000}, nil)
		if rep.Have != kept || kept > 0 && (rep.Prefix == nil || *rep.Prefix != chunk.SumOf(half)) {
			t.Errorf("%s: %d bytes are kept, want %d", kind, rep.Have, kept)
		}
	}
}
