package folder

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"tandem/session"
)

// Progress is how far a copy is. The totals grow while a tree is being listed.
type Progress struct {
	Files     int    `json:"files"`
	FilesDone int    `json:"files_done"`
	Bytes     int64  `json:"bytes"`
	BytesDone int64  `json:"bytes_done"`
	Wire      int64  `json:"wire"`              // bytes that have travelled for that
	Current   string `json:"current,omitempty"` // path; from the peer, for a get
}

// Summary is what a copy did.
type Summary struct {
	Files   int   `json:"files"`   // copied
	Dirs    int   `json:"dirs"`    // made or found
	Bytes   int64 `json:"bytes"`   // sizes of the files copied
	Sent    int64 `json:"sent"`    // of which travelled now
	Wire    int64 `json:"wire"`    // bytes that this took, compressed
	Resumed int64 `json:"resumed"` // had travelled before
	Same    int   `json:"same"`    // files that were there already
	Kept    int   `json:"kept"`    // files with other content that were to stay
	Skipped int   `json:"skipped"` // symbolic links, special files, unusable names
	Failed  int   `json:"failed"`
	// Failures are the first of them, at most 1000.
	Failures []Failure `json:"failures,omitempty"`
}

const maxFailures = 1000

// Failure is why one path was not copied.
type Failure struct {
	Path string `json:"path"`
	Err  error  `json:"-"`
}

// MarshalJSON writes the path, kind and public text.
func (f Failure) MarshalJSON() ([]byte, error) {
	kind, text := session.Public(f.Err)
	return json.Marshal(struct {
		Path  string       `json:"path"`
		Kind  session.Kind `json:"kind"`
		Error string       `json:"error"`
	}{f.Path, kind, text})
}

// tally counts what a copy does and tells Progress.
type tally struct {
	mu       sync.Mutex
	report   func(Progress)
	progress Progress
	summary  Summary
	first    error // failure
}

func newTally(report func(Progress)) *tally { return &tally{report: report} }

func (t *tally) update(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
	if t.report != nil {
		t.report(t.progress)
	}
}

// found announces a file of size bytes.
func (t *tally) found(size int64) {
	t.update(func() { t.progress.Files++; t.progress.Bytes += size })
}

func (t *tally) dir() { t.update(func() { t.summary.Dirs++ }) }

func (t *tally) skipped(n int) {
	if n > 0 {
		t.update(func() { t.summary.Skipped += n })
	}
}

// mover counts items of path.
func (t *tally) mover(path string) func(content, sent, wire int64) {
	return func(content, sent, wire int64) {
		t.update(func() {
			t.progress.Current = path
			t.progress.BytesDone += content
			t.progress.Wire += wire
			t.summary.Sent += sent
			t.summary.Wire += wire
		})
	}
}

// resumed counts bytes of path that were there from before.
func (t *tally) resumed(path string, n int64) {
	t.update(func() {
		t.progress.Current = path
		t.progress.BytesDone += n
		t.summary.Resumed += n
	})
}

// copied ends a file.
func (t *tally) copied(path string, size int64) {
	t.update(func() {
		t.progress.Current = path
		t.progress.FilesDone++
		t.summary.Files++
		t.summary.Bytes += size
	})
}

// same ends a file that was there already; left bytes of it have not been
// counted.
func (t *tally) same(path string, left int64) {
	t.update(func() {
		t.progress.Current = path
		t.progress.FilesDone++
		t.progress.BytesDone += left
		t.summary.Same++
	})
}

// kept ends a file in whose place another stays.
func (t *tally) kept(path string, size int64) {
	t.update(func() {
		t.progress.Current = path
		t.progress.FilesDone++
		t.progress.BytesDone += size
		t.summary.Kept++
	})
}

func (t *tally) failed(path string, err error) {
	t.update(func() {
		t.summary.Failed++
		if t.first == nil {
			t.first = err
		}
		if len(t.summary.Failures) < maxFailures {
			t.summary.Failures = append(t.summary.Failures, Failure{Path: path, Err: err})
		}
	})
}

// end is the result of the copy, which ended with err.
func (t *tally) end(err error) (Summary, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil && t.first != nil {
		done := t.summary.Files + t.summary.Same + t.summary.Kept
		_, text := session.Public(t.first)
		if t.summary.Failed > 1 || done > 0 {
			text = fmt.Sprintf("%d of %d failed, first: %s", t.summary.Failed, t.summary.Failed+done, text)
		}
		err = &session.Error{Op: "copy", Kind: session.KindOf(t.first), Text: strings.TrimSpace(text), Err: &detail{t.first}}
	}
	return t.summary, err
}
