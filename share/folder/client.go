package folder

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/zeebo/blake3"

	"tandem/session"
	"tandem/share/chunk"
)

// Client uses one share of a peer. Each method opens streams of its own; all
// may be called concurrently.
type Client struct {
	opener Opener
	share  string
}

// NewClient makes a client of the share called name; "" is the peer's only one.
func NewClient(o Opener, name string) *Client { return &Client{opener: o, share: name} }

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

// Page is some of what is in one directory.
type Page struct {
	// Dir is the directory, relative to the one that was asked for.
	Dir     string
	Entries []Entry
	// Skipped is how many entries the peer left out.
	Skipped int
	// Err is why the directory can't be read.
	Err error
}

// Pages hands out the content of the directory path page by page as it comes,
// sorted by name within a directory, and of those below after it if recursive.
// However long it is, no more than a page is in memory. It ends when each fails.
func (c *Client) Pages(ctx context.Context, path string, recursive bool, each func(Page) error) error {
	return c.pages(ctx, path, recursive, func(p page) error {
		var err error
		if p.Error != nil {
			err = p.Error.err("list")
		}
		return each(Page{Dir: p.Dir, Entries: p.Entries, Skipped: p.Skipped, Err: err})
	})
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

// readPages reads the pages of a listing. What each makes of one it may read from b.
func readPages(b *body, l listing, each func(page) error) error {
	for {
		raw, err := b.scratch()
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
			return in.receive(p[:n], b)
		})
		return err
	})
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, e, err
}

// Read writes the file at path to w, for a pipe: what was written can't be
// taken back when an error follows, such as Changed or Integrity.
func (c *Client) Read(ctx context.Context, path string, w io.Writer, o Options) (Summary, error) {
	if err := checkPath(path); err != nil {
		return Summary{}, err
	}
	packer, err := chunk.NewPacker()
	if err != nil {
		return Summary{}, err
	}
	defer packer.Close()
	t := newTally(o.Progress)
	err = transfer(ctx, c.opener, c.share, Read, func(cn *conn) error {
		_, err := cn.do(request{Op: opFetch, Path: path, Plain: true}, func(rep reply, b *body) error {
			if rep.Error != nil {
				return nil
			}
			in, err := incomingFile(rep, b, 0, 0)
			if err != nil {
				return err
			}
			t.found(in.want)
			h := blake3.New()
			r := receiver{to: plainSink{io.MultiWriter(w, h)}, hash: h, packer: packer, want: in.want, moved: t.mover(path)}
			if err := r.receive(ctx, b); err != nil {
				return err
			}
			t.copied(path, in.want)
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
	packer, err := chunk.NewPacker()
	if err != nil {
		return Summary{}, err
	}
	defer packer.Close()
	t := newTally(o.Progress)
	err = transfer(ctx, c.opener, c.share, Write, func(cn *conn) error {
		t.found(0)
		var size int64
		req := request{Op: opPut, Path: path, Size: -1, MTime: mtime, Force: o.Force, Exclusive: o.Exclusive, Exec: o.Exec}
		cl := cn.start(req, func(w *bufio.Writer, cl *call) (trailer, error) {
			s := sender{w: w, packer: packer}
			s.begin(blake3.New(), t.mover(path), until(ctx, cl))
			err := errors.Join(s.pieces(r), s.flush())
			size = s.total
			return trailer{Hash: new(sum(s.hash))}, err
		}, nil)
		<-cl.done
		switch {
		case cl.err != nil:
			return cl.err
		case cl.rep.Same:
			t.same(path, 0)
		default:
			t.copied(path, size)
		}
		return nil
	})
	return t.end(err)
}
