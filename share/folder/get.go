package folder

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/zeebo/blake3"

	"tandem/session"
)

// Get copies what is at path in the share to dest on this machine: a file to
// the file dest, whose directory must exist, or the content of a directory into
// the directory dest, which is made. A file that can't be copied does not stop
// the others; the error then has the kind of the first failure, and the Summary
// all. An interrupted Get is resumed by calling it again.
func (c *Client) Get(ctx context.Context, path, dest string, o Options) (Summary, error) {
	t := newTally(o.Progress)
	err := converse(ctx, c.opener, c.share, Read, func(cn *conn) error {
		e, err := cn.stat(path)
		if err != nil {
			return err
		}
		dir, name := dest, ""
		if !e.Dir {
			dir, name = filepath.Split(dest)
			if dir == "" {
				dir = "."
			}
			if name == "" {
				return session.Errorf("get", session.Invalid, "%s does not name a file", dest)
			}
		} else if err := os.MkdirAll(dest, 0o777); err != nil {
			return fileError("get", dest, err)
		}
		into, err := openTree(dir, o.Executables)
		if err != nil {
			return err
		}
		into.sweep(time.Now())
		g := &get{conn: cn, into: into, tally: t, force: o.Force, slots: make(chan struct{}, underway)}
		if e.Dir {
			err = c.getTree(ctx, g, path)
		} else {
			t.found(e.Size)
			err = g.file(ctx, path, name, e)
		}
		err = errors.Join(err, g.wait())
		into.tidy()
		return errors.Join(err, into.close())
	})
	return t.end(err)
}

// getTree gets what a second stream lists.
func (c *Client) getTree(ctx context.Context, g *get, path string) error {
	return c.pages(ctx, path, true, func(p page) error {
		g.tally.skipped(p.Skipped)
		if err := p.Error.err("list"); err != nil {
			g.tally.failed(p.Dir, err)
			return nil
		}
		for _, e := range p.Entries {
			at := join(p.Dir, e.Name)
			if e.Dir {
				if err := g.into.mkdir(at); err != nil {
					g.tally.failed(at, err)
				} else {
					g.tally.dir()
				}
				continue
			}
			g.tally.found(e.Size)
			if err := g.file(ctx, join(path, at), at, e); err != nil {
				return err
			}
		}
		return nil
	})
}

// get is a copy from the peer under way.
type get struct {
	conn  *conn
	into  *tree
	tally *tally
	force bool
	last  *call // the latest request

	commits sync.WaitGroup
	slots   chan struct{} // one for each commit that is under way
	mu      sync.Mutex
	fatal   error // of a commit
}

// wait returns when all replies have been handled.
func (g *get) wait() error {
	if g.last != nil {
		<-g.last.done
	}
	g.commits.Wait()
	return errors.Join(g.conn.failure(), g.ended())
}

// ended is why no further file can be stored, or nil.
func (g *get) ended() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fatal
}

// file asks for the file at path, to become into at. Its error ends the copy.
func (g *get) file(ctx context.Context, path, at string, e Entry) error {
	if err := g.conn.failure(); err != nil {
		return err
	}
	req := request{Op: opRead, Path: path}
	have, err := g.into.stat(at)
	switch {
	case session.KindOf(err) == session.NotFound:
	case err != nil:
		g.tally.failed(at, err)
		return nil
	case have.Dir || !g.force && have.Size != e.Size:
		g.tally.failed(at, session.Errorf("get", session.Exists, "%s is there already with other content", session.Printable(at)))
		return nil
	case have.Size == e.Size:
		h, _, err := g.into.hashOf(ctx, at)
		if err != nil {
			g.tally.failed(at, err)
			return ctx.Err()
		}
		if !g.force {
			g.compare(path, at, h, e)
			return nil
		}
		req.Unless = &h
	}
	key := partialKey(path, e)
	if n := g.into.have(key); n > 0 && n <= e.Size {
		// What can't be read is not resumed.
		if h, err := g.into.prefix(ctx, key, n); err == nil {
			req.Offset, req.Prefix = n, &h
		}
	}
	g.last = g.conn.start(req, nil, func(rep reply, b *body) error {
		if rep.Error != nil {
			g.tally.failed(at, rep.Error.err("get"))
			return nil
		}
		if rep.Same && req.Unless != nil {
			g.tally.same(at, e.Size)
			return nil
		}
		return g.store(ctx, req, rep, b, at, key)
	})
	return nil
}

// compare asks whether the file at path still is what we have.
func (g *get) compare(path, at string, h Hash, e Entry) {
	g.last = g.conn.start(request{Op: opHash, Path: path}, nil, func(rep reply, _ *body) error {
		switch {
		case rep.Error != nil:
			g.tally.failed(at, rep.Error.err("get"))
		case rep.Hash == nil:
			return violation("hash without a hash")
		case *rep.Hash == h:
			g.tally.same(at, e.Size)
		default:
			g.tally.failed(at, session.Errorf("get", session.Exists, "%s is there already with other content", session.Printable(at)))
		}
		return nil
	})
}

// store receives one file. Its error ends the copy.
func (g *get) store(ctx context.Context, req request, rep reply, b *body, at, key string) error {
	in, err := incomingFile(rep, b, req.Offset, 0)
	if err != nil {
		return err
	}
	s, err := g.into.begin(key)
	if err == nil && s.key == "" && in.offset > 0 {
		s.discard()
		err = session.Errorf("get", session.Busy, "another transfer of %s is under way", session.Printable(at))
	}
	if err == nil {
		if err = s.resume(ctx, in.offset); err != nil {
			s.discard()
		}
	}
	if err != nil {
		return g.fail(at, err)
	}
	if err := in.receive(io.MultiWriter(s, g.tally.counter(at)), b, s.hash); err != nil {
		if b.err != nil || ctx.Err() != nil {
			s.keep()
			return err
		}
		s.discard()
		return g.fail(at, fileError("get", at, err))
	}
	g.slots <- struct{}{}
	g.commits.Go(func() {
		defer func() { <-g.slots }()
		g.commit(ctx, s, in, at)
	})
	return g.ended()
}

// commit makes a file that has been received visible.
func (g *get) commit(ctx context.Context, s *stage, in incoming, at string) {
	same, err := s.commit(ctx, target{path: at, mtime: in.entry.MTime, exec: in.entry.Exec, force: g.force})
	switch {
	case err != nil:
		if err = g.fail(at, err); err != nil {
			g.mu.Lock()
			g.fatal = err
			g.mu.Unlock()
		}
	case same:
		g.tally.same(at, in.offset)
	default:
		g.tally.copied(at, in.entry.Size, in.offset)
	}
}

// fail notes that one file failed; it is the end of all where the disk is full
// or the peer forges.
func (g *get) fail(at string, err error) error {
	switch session.KindOf(err) {
	case session.NoSpace, session.Integrity:
		return err
	}
	g.tally.failed(at, err)
	return nil
}

// incoming is a file that a peer begins to send.
type incoming struct {
	entry  Entry
	offset int64
	want   int64 // bytes
}

// incomingFile checks the reply to a read from offset on, of length bytes if
// that is not 0.
func incomingFile(rep reply, b *body, offset, length int64) (incoming, error) {
	if b == nil {
		return incoming{}, violation("read without a body")
	}
	if rep.Entry == nil || rep.Entry.Dir || rep.Entry.Size < 0 {
		return incoming{}, violation("read without an entry")
	}
	if rep.Offset != offset && rep.Offset != 0 {
		return incoming{}, forged("the peer sends another part than asked for")
	}
	in := incoming{entry: *rep.Entry, offset: rep.Offset, want: max(rep.Entry.Size-rep.Offset, 0)}
	if length > 0 {
		in.want = min(in.want, length)
	}
	return in, nil
}

// receive copies the body to w and verifies it against h, which w feeds.
func (in incoming) receive(w io.Writer, b *body, h *blake3.Hasher) error {
	n, err := io.CopyBuffer(w, io.LimitReader(struct{ io.Reader }{b}, in.want), make([]byte, blockSize))
	if err != nil {
		return err
	}
	if extra, err := b.Read(make([]byte, 1)); extra > 0 {
		return forged("the peer sends more than it announced")
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	t, err := b.finish()
	if err != nil {
		return err
	}
	if err := t.Error.err("get"); err != nil {
		return err
	}
	if n != in.want {
		return forged("the peer sends less than it announced")
	}
	if t.Hash == nil || *t.Hash != sum(h) {
		return forged("the content does not match its hash")
	}
	return nil
}

// partialKey is what an unfinished get of the file at path is kept as.
func partialKey(path string, e Entry) string {
	h := blake3.New()
	var n [16]byte
	binary.BigEndian.PutUint64(n[:], uint64(e.Size))
	binary.BigEndian.PutUint64(n[8:], uint64(e.MTime))
	_, _ = h.Write(n[:]) // a hash takes everything
	_, _ = h.WriteString(path)
	return sum(h).String()
}

// prefix hashes the first n bytes staged under key.
func (t *tree) prefix(ctx context.Context, key string, n int64) (Hash, error) {
	f, _, err := t.open(join(partialDir, key))
	if err != nil {
		return Hash{}, err
	}
	defer f.Close()
	h := blake3.New()
	if err := hashFile(ctx, h, f, n); err != nil {
		return Hash{}, fileError("resume", "", err)
	}
	return sum(h), nil
}
