package folder

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/zeebo/blake3"

	"tandem/session"
)

// Client uses one share of a peer. Each method opens streams of its own; all
// may be called concurrently.
type Client struct {
	opener Opener
	share  string
}

// NewClient makes a client of the share called name; "" is the peer's only one.
func NewClient(o Opener, name string) *Client { return &Client{opener: o, share: name} }

// Options are how files are copied.
type Options struct {
	// Force replaces files that are there with other content. Without it they
	// stay, and count as failures of the kind Exists.
	Force bool
	// Executables lets files from the peer be executable here.
	Executables bool
	// Exclusive makes Write fail with Exists if anything is there.
	Exclusive bool
	// Exec makes what Write writes executable, as far as the share allows.
	Exec bool
	// Progress, if set, is told now and then how far things are, and at the
	// end. It is never called concurrently.
	Progress func(Progress)
}

// Progress is how far a copy is. The totals grow while a tree is being listed.
type Progress struct {
	Files     int    `json:"files"`
	FilesDone int    `json:"files_done"`
	Bytes     int64  `json:"bytes"`
	BytesDone int64  `json:"bytes_done"`
	Current   string `json:"current,omitempty"` // path; from the peer, for a get
}

// Summary is what a copy did.
type Summary struct {
	Files   int   `json:"files"`   // copied
	Dirs    int   `json:"dirs"`    // made or found
	Bytes   int64 `json:"bytes"`   // sizes of the files copied
	Sent    int64 `json:"sent"`    // of which travelled now
	Resumed int64 `json:"resumed"` // and had travelled before
	Same    int   `json:"same"`    // files that were there already
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

// List is the content of the directory path, sorted by name. The second result
// is how many entries the peer left out.
func (c *Client) List(ctx context.Context, path string) ([]Entry, int, error) {
	var entries []Entry
	skipped := 0
	err := c.pages(ctx, path, false, func(p page) error {
		entries = append(entries, p.Entries...)
		skipped += p.Skipped
		return p.Error.err("list")
	})
	return entries, skipped, err
}

// pages lists path and hands out the pages, checked.
func (c *Client) pages(ctx context.Context, path string, recursive bool, each func(page) error) error {
	if err := checkPath(path); err != nil {
		return err
	}
	return converse(ctx, c.opener, c.share, Read, func(cn *conn) error {
		var failed error
		_, err := cn.do(request{Op: opList, Path: path, Recursive: recursive}, func(rep reply, b *body) error {
			if b == nil {
				if rep.Error == nil {
					return violation("list without pages")
				}
				return nil
			}
			failed = readPages(b, listing{recursive: recursive}, each)
			return failed
		})
		if failed != nil {
			return failed
		}
		return err
	})
}

func readPages(b *body, l listing, each func(page) error) error {
	for {
		raw, err := b.block()
		if errors.Is(err, io.EOF) {
			return l.end()
		}
		if err != nil {
			return err
		}
		var p page
		if err := json.Unmarshal(raw, &p); err != nil {
			return violation("page is not valid JSON")
		}
		if err := l.check(p); err != nil {
			return err
		}
		if err := each(p); err != nil {
			return err
		}
	}
}

// listing checks that pages come in the order of the protocol, name nothing
// outside, and end.
type listing struct {
	recursive bool
	begun     bool
	dir       string   // of the page before
	last      string   // name on it
	below     []string // directories announced by dir
	pending   []string // directories to come, the next one last
	total     int
}

func (l *listing) check(p page) error {
	if len(p.Entries) > MaxPage {
		return violation("page of %d entries", len(p.Entries))
	}
	if p.Skipped < 0 {
		return violation("negative count")
	}
	switch {
	case !l.begun:
		if p.Dir != "" {
			return violation("listing does not begin with the directory asked for")
		}
		l.begun = true
	case p.Dir == l.dir:
	default:
		l.descend()
		n := len(l.pending) - 1
		if n < 0 || l.pending[n] != p.Dir {
			return forged("listing goes to a directory that is not next")
		}
		l.pending = l.pending[:n]
		l.dir, l.last = p.Dir, ""
	}
	l.total += len(p.Entries) + 1
	if l.total > MaxEntries {
		return session.Errorf("list", session.TooLarge, "the listing has more than %d entries", MaxEntries)
	}
	for _, e := range p.Entries {
		if why := badName(e.Name); why != "" {
			return forged("the peer lists a name that %s", why)
		}
		if e.Name <= l.last {
			return forged("listing is not in order")
		}
		if e.Size < 0 {
			return forged("listing has a negative size")
		}
		l.last = e.Name
		if path := join(p.Dir, e.Name); l.recursive && e.Dir {
			if len(path) > maxPath {
				return forged("listing is too deep")
			}
			l.below = append(l.below, path)
		}
	}
	return nil
}

// descend puts the directories of the one just listed next in line.
func (l *listing) descend() {
	for i := len(l.below) - 1; i >= 0; i-- {
		l.pending = append(l.pending, l.below[i])
	}
	l.below = nil
}

func (l *listing) end() error {
	l.descend()
	if !l.begun || len(l.pending) > 0 {
		return forged("listing is not complete")
	}
	return nil
}

// Stat describes what is at path.
func (c *Client) Stat(ctx context.Context, path string) (Entry, error) {
	var e Entry
	err := converse(ctx, c.opener, c.share, Read, func(cn *conn) error {
		var err error
		e, err = cn.stat(path)
		return err
	})
	return e, err
}

func (c *conn) stat(path string) (Entry, error) {
	if err := checkPath(path); err != nil {
		return Entry{}, err
	}
	rep, err := c.do(request{Op: opStat, Path: path}, nil)
	if err != nil {
		return Entry{}, err
	}
	return rep.entryOf(path)
}

// Mkdir makes the directory path and its parents.
func (c *Client) Mkdir(ctx context.Context, path string) error {
	if err := checkPath(path); err != nil {
		return err
	}
	return converse(ctx, c.opener, c.share, Write, func(cn *conn) error {
		_, err := cn.do(request{Op: opMkdir, Path: path}, nil)
		return err
	})
}

// ReadAt reads into p the bytes of path from offset on, as io.ReaderAt does:
// io.EOF where the file ends before p is full.
func (c *Client) ReadAt(ctx context.Context, path string, p []byte, offset int64) (int, error) {
	n, _, err := c.ReadRange(ctx, path, p, offset)
	return n, err
}

// ReadRange is ReadAt that also says which file it read from: a file may be
// replaced between two of them.
func (c *Client) ReadRange(ctx context.Context, path string, p []byte, offset int64) (n int, e Entry, err error) {
	if err := checkPath(path); err != nil {
		return 0, e, err
	}
	if len(p) == 0 {
		return 0, e, nil
	}
	err = converse(ctx, c.opener, c.share, Read, func(cn *conn) error {
		_, err := cn.do(request{Op: opRead, Path: path, Offset: offset, Length: int64(len(p))}, func(rep reply, b *body) error {
			if rep.Error != nil {
				return nil
			}
			in, err := incomingFile(rep, b, offset, int64(len(p)))
			if err != nil {
				return err
			}
			n, e = int(in.want), in.entry
			_, e.Name = split(path)
			h := blake3.New()
			return in.receive(io.MultiWriter(&window{p}, h), b, h)
		})
		return err
	})
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, e, err
}

// window is an io.Writer into a fixed slice.
type window struct{ p []byte }

func (w *window) Write(p []byte) (int, error) {
	n := copy(w.p, p)
	w.p = w.p[n:]
	return n, nil
}

// Read writes the file at path to w, for a pipe: what was written can't be
// taken back when an error follows, such as Changed or Integrity.
func (c *Client) Read(ctx context.Context, path string, w io.Writer, o Options) (Summary, error) {
	if err := checkPath(path); err != nil {
		return Summary{}, err
	}
	t := newTally(o.Progress)
	err := converse(ctx, c.opener, c.share, Read, func(cn *conn) error {
		_, err := cn.do(request{Op: opRead, Path: path}, func(rep reply, b *body) error {
			if rep.Error != nil {
				return nil
			}
			in, err := incomingFile(rep, b, 0, 0)
			if err != nil {
				return err
			}
			t.found(in.want)
			h := blake3.New()
			if err := in.receive(io.MultiWriter(w, t.counter(path), h), b, h); err != nil {
				return err
			}
			t.copied(path, in.want, 0)
			return nil
		})
		return err
	})
	return t.end(err)
}

// Write makes the content of r the file at path, for a pipe.
func (c *Client) Write(ctx context.Context, path string, r io.Reader, mtime int64, o Options) (Summary, error) {
	if err := checkPath(path); err != nil {
		return Summary{}, err
	}
	t := newTally(o.Progress)
	err := converse(ctx, c.opener, c.share, Write, func(cn *conn) error {
		t.found(0)
		var size int64
		req := request{Op: opPut, Path: path, Size: -1, MTime: mtime, Force: o.Force, Exclusive: o.Exclusive, Exec: o.Exec}
		cl := cn.start(req, func(w *bufio.Writer, cl *call) (trailer, error) {
			h := blake3.New()
			n, err := sendBlocks(ctx, w, cl, io.TeeReader(r, io.MultiWriter(h, t.counter(path))))
			size = n
			return trailer{Hash: new(sum(h))}, err
		}, nil)
		<-cl.done
		switch {
		case cl.err != nil:
			return cl.err
		case cl.rep.Same:
			t.same(path, 0)
		default:
			t.copied(path, size, 0)
		}
		return nil
	})
	return t.end(err)
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

// moved counts bytes of path that travelled.
func (t *tally) moved(path string, n int64) {
	t.update(func() {
		t.progress.Current = path
		t.progress.BytesDone += n
		t.summary.Sent += n
	})
}

// copied ends a file of which resumed bytes were there from before.
func (t *tally) copied(path string, size, resumed int64) {
	t.update(func() {
		t.progress.Current = path
		t.progress.FilesDone++
		t.progress.BytesDone += resumed
		t.summary.Files++
		t.summary.Bytes += size
		t.summary.Resumed += resumed
	})
}

// same ends a file that was there already; left bytes of it did not travel.
func (t *tally) same(path string, left int64) {
	t.update(func() {
		t.progress.Current = path
		t.progress.FilesDone++
		t.progress.BytesDone += left
		t.summary.Same++
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
		done := t.summary.Files + t.summary.Same
		_, text := session.Public(t.first)
		if t.summary.Failed > 1 || done > 0 {
			text = fmt.Sprintf("%d of %d failed, first: %s", t.summary.Failed, t.summary.Failed+done, text)
		}
		err = &session.Error{Op: "copy", Kind: session.KindOf(t.first), Text: strings.TrimSpace(text), Err: &detail{t.first}}
	}
	return t.summary, err
}

// counter is a Writer that counts bytes of path.
func (t *tally) counter(path string) io.Writer { return counter{t, path} }

type counter struct {
	tally *tally
	path  string
}

func (c counter) Write(p []byte) (int, error) {
	c.tally.moved(c.path, int64(len(p)))
	return len(p), nil
}
