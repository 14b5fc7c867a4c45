package folder

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/zeebo/blake3"

	"tandem/session"
	"tandem/share/chunk"
)

// Get copies what is at path in the share to dest on this machine: a file to
// the file dest, whose directory must exist, or the content of a directory into
// the directory dest, which is made. Of a file of which an older version is
// there, only what differs travels. A file that can't be copied does not stop
// the others; the error then has the kind of the first failure, and the Summary
// all. An interrupted Get is resumed by calling it again.
func (c *Client) Get(ctx context.Context, path, dest string, o Options) (Summary, error) {
	t := newTally(o.Progress)
	err := transfer(ctx, c.opener, c.share, Read, func(cn *conn) error {
		whole := c.askWhole(ctx, path, dest, o)
		defer whole.end()
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
		}
		into, err := openDest(dir, e.Dir, o)
		if err != nil {
			return err
		}
		into.sweep(time.Now())
		g := &get{
			conn: cn, into: into, tally: t, options: o,
			offers: make(chan struct{}, 2),
		}
		switch {
		case e.Dir && whole != nil && into.empty():
			if err = whole.receive(g); session.KindOf(err) == session.Unsupported && err != nil {
				err = c.getTree(ctx, g, path) // the peer's tandem is an older one
			}
		case e.Dir:
			err = c.getTree(ctx, g, path)
		default:
			t.found(e.Size)
			err = g.file(ctx, wanted{path: path, at: name, entry: e})
		}
		if err == nil {
			err = g.settle(ctx)
		}
		err = errors.Join(err, g.wait())
		into.tidy()
		return errors.Join(err, into.close())
	})
	return t.end(err)
}

// openDest opens the directory that files go into. For a plan, one that is not
// there is as good as an empty one.
func openDest(dir string, make bool, o Options) (*tree, error) {
	if _, err := os.Stat(dir); make && o.Plan != nil && err != nil {
		if dir, err = os.MkdirTemp("", "tandem-plan-"); err != nil {
			return nil, fileError("get", dir, err)
		}
		defer os.Remove(dir) // it stays open, and empty
	} else if err := os.MkdirAll(dir, 0o777); make && err != nil {
		return nil, fileError("get", dir, err)
	}
	return openTree(dir, o.Executables)
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
				g.mkdir(at)
				continue
			}
			g.tally.found(e.Size)
			if err := g.file(ctx, wanted{path: join(path, at), at: at, entry: e}); err != nil {
				return err
			}
		}
		return nil
	})
}

// get is a copy from the peer under way.
type get struct {
	conn    *conn
	into    *tree
	tally   *tally
	options Options
	last    *call // the latest request

	commits sync.WaitGroup
	offers  chan struct{} // one for each offer whose reply has not come

	mu        sync.Mutex
	fatal     error    // of a commit
	undecided []wanted // files that differ from what is here
	missed    []wanted // files to be fetched without references to others

	recent recent // of the goroutine that handles replies
}

// wanted is a file of the peer: its path there, what it becomes here, and what
// a listing said of it.
type wanted struct {
	path, at string
	entry    Entry
	// old and plain are how it was fetched and missed something.
	old   *Entry
	plain bool
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

func (g *get) mkdir(at string) {
	if g.options.Plan != nil {
		return
	}
	if err := g.into.mkdir(at); err != nil {
		g.tally.failed(at, err)
	} else {
		g.tally.dir()
	}
}

// file sees to it that a file is copied. Its error ends the copy.
func (g *get) file(ctx context.Context, w wanted) error {
	if err := g.conn.failure(); err != nil {
		return err
	}
	if err := g.decide(ctx); err != nil {
		return err
	}
	have, err := g.into.stat(w.at)
	switch {
	case session.KindOf(err) == session.NotFound, err != nil && g.options.Plan != nil:
		return g.fetch(ctx, w, nil)
	case err != nil:
		g.tally.failed(w.at, err)
	case have.Dir:
		g.tally.failed(w.at, session.Errorf("get", session.Exists, "%s is a folder here", session.Printable(w.at)))
	case g.options.equal(have, w.entry):
		g.same(w)
	case have.Size == w.entry.Size && (!g.options.Force || g.options.Plan != nil):
		return g.compare(ctx, w)
	default:
		return g.replace(ctx, w, have)
	}
	return nil
}

func (g *get) same(w wanted) {
	g.options.plan(g.tally, w.at, Leave, w.entry.Size)
	g.tally.same(w.at, w.entry.Size)
}

// compare asks whether a file still is what we have. If not, it is undecided.
func (g *get) compare(ctx context.Context, w wanted) error {
	h, _, err := g.into.hashOf(ctx, w.at)
	if err != nil {
		g.tally.failed(w.at, err)
		return ctx.Err()
	}
	g.last = g.conn.start(request{Op: opHash, Path: w.path}, nil, func(rep reply, _ *body) error {
		switch {
		case rep.Error != nil:
			g.tally.failed(w.at, rep.Error.err("get"))
		case rep.Hash == nil:
			return violation("hash without a hash")
		case *rep.Hash == h:
			g.same(w)
		default:
			g.mu.Lock()
			defer g.mu.Unlock()
			g.undecided = append(g.undecided, w)
		}
		return nil
	})
	return nil
}

// decide goes on with the files that differ.
func (g *get) decide(ctx context.Context) error {
	g.mu.Lock()
	files, missed := g.undecided, g.missed
	g.undecided, g.missed = nil, nil
	g.mu.Unlock()
	for _, w := range missed {
		if err := g.fetch(ctx, w, w.old); err != nil {
			return err
		}
	}
	for _, w := range files {
		have, err := g.into.stat(w.at)
		if err != nil {
			g.tally.failed(w.at, err)
			continue
		}
		if err := g.replace(ctx, w, have); err != nil {
			return err
		}
	}
	return nil
}

// settle decides about what is undecided when all has been asked for.
func (g *get) settle(ctx context.Context) error {
	for {
		if g.last != nil {
			<-g.last.done // comparing is over
		}
		g.commits.Wait()
		g.mu.Lock()
		over := len(g.undecided)+len(g.missed) == 0
		g.mu.Unlock()
		if over {
			return nil
		}
		if err := g.decide(ctx); err != nil {
			return err
		}
	}
}

// replace fetches a file in whose place another is, if that may go.
func (g *get) replace(ctx context.Context, w wanted, have Entry) error {
	d, err := g.options.decide(ctx, Conflict{Path: w.at, There: have, New: w.entry})
	switch {
	case err != nil:
		return err
	case d == Replace:
		return g.fetch(ctx, w, &have)
	case d == Keep:
		g.options.plan(g.tally, w.at, Leave, w.entry.Size)
		g.tally.kept(w.at, w.entry.Size)
	default:
		g.tally.failed(w.at, otherContent("get", w.at))
	}
	return nil
}

// fetch asks for a file. It is to replace old, if that is not nil.
func (g *get) fetch(ctx context.Context, w wanted, old *Entry) error {
	action := Copy
	if old != nil {
		action = Overwrite
	}
	if g.options.plan(g.tally, w.at, action, w.entry.Size) {
		g.tally.copied(w.at, w.entry.Size)
		return nil
	}
	req := request{Op: opFetch, Path: w.path, Plain: w.plain}
	key := partialKey(w.path, w.entry)
	if n := g.into.have(ctx, key, w.entry.Size, session.PeerID{}); n > 0 && n <= w.entry.Size {
		// What can't be read is not resumed.
		if h, err := g.into.stagedPrefix(ctx, key, n); err == nil {
			req.Offset, req.Prefix = n, &h
		}
	}
	var send func(*bufio.Writer, *call) (trailer, error)
	offered := old != nil && old.Size > 0 && w.entry.Size > smallFile
	switch {
	case offered:
		o := newOffer(old.Size)
		h, _, err := g.into.survey(ctx, w.at, &o)
		if err != nil {
			g.tally.failed(w.at, err)
			return ctx.Err()
		}
		if old.Size == w.entry.Size {
			req.Unless = &h
		}
		req.cut(o)
		select {
		case g.offers <- struct{}{}:
		case <-g.conn.failed:
			return g.conn.failure()
		}
		send = func(bw *bufio.Writer, _ *call) (trailer, error) {
			g.tally.update(func() { g.tally.summary.Wire += int64(len(o.list)) * chunk.SumSize })
			return trailer{}, writeList(bw, o.list)
		}
	case old != nil && old.Size == w.entry.Size:
		h, _, err := g.into.hashOf(ctx, w.at)
		if err != nil {
			g.tally.failed(w.at, err)
			return ctx.Err()
		}
		req.Unless = &h
	}
	g.last = g.conn.start(req, send, func(rep reply, b *body) error {
		if offered {
			<-g.offers
		}
		if rep.Error != nil {
			g.tally.failed(w.at, rep.Error.err("get"))
			return nil
		}
		if rep.Same && req.Unless != nil {
			g.tally.same(w.at, w.entry.Size)
			return nil
		}
		in, err := incomingFile(rep, b, req.Offset, 0)
		if err != nil {
			return err
		}
		in.offered, in.force = offered, old != nil
		w.old = old
		return g.store(ctx, w, in, b, key)
	})
	return nil
}

// store receives one file. Its error ends the copy.
func (g *get) store(ctx context.Context, w wanted, in incoming, b *body, key string) error {
	if w.entry.Size < worthKeeping {
		key = ""
	}
	s, err := g.into.begin(key, w.at)
	if err == nil && s.key == "" && in.offset > 0 {
		s.discard()
		err = session.Errorf("get", session.Busy, "another transfer of %s is under way", session.Printable(w.at))
	}
	if err == nil {
		if err = s.resume(ctx, in.offset); err != nil {
			s.discard()
		}
	}
	if err != nil {
		return g.fail(w.at, err)
	}
	g.tally.resumed(w.at, in.offset)
	r := receiver{
		to: s, hash: s.hash, packer: g.into.packer, want: in.want, moved: g.tally.mover(w.at),
		recent: &g.recent, tree: g.into,
	}
	if in.offered {
		r.old = g.into.opener(w.at)
	}
	if err := r.receive(ctx, b); err != nil {
		if b.err != nil || ctx.Err() != nil {
			s.keep()
			return err
		}
		s.discard()
		if errors.Is(err, errMissed) && !w.plain {
			w.plain = true
			g.mu.Lock()
			g.missed = append(g.missed, w)
			g.mu.Unlock()
			return nil
		}
		return g.fail(w.at, fileError("get", w.at, err))
	}
	g.into.flushing <- struct{}{}
	g.commits.Go(func() {
		defer func() { <-g.into.flushing }()
		g.commit(ctx, s, in, w.at)
	})
	return g.ended()
}

// commit makes a file that has been received visible.
func (g *get) commit(ctx context.Context, s *stage, in incoming, at string) {
	same, err := s.commit(ctx, target{path: at, mtime: in.entry.MTime, exec: in.entry.Exec, force: in.force})
	g.done(at, in.entry.Size, same, err)
}

// done notes what became of a file.
func (g *get) done(at string, size int64, same bool, err error) {
	switch {
	case err != nil:
		g.end(g.fail(at, err))
	case same:
		g.tally.same(at, 0)
	default:
		g.tally.copied(at, size)
	}
}

// end lets no further file be stored, if err is why.
func (g *get) end(err error) {
	if err == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fatal = err
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
	// offered says that it may copy from what is here, and force that it
	// replaces that.
	offered, force bool
}

// incomingFile checks the reply to a request for a file from offset on, of
// length bytes if that is not 0.
func incomingFile(rep reply, b *body, offset, length int64) (incoming, error) {
	if b == nil {
		return incoming{}, violation("a file without a body")
	}
	if rep.Entry == nil || rep.Entry.Dir || rep.Entry.Size < 0 || rep.Entry.Size > maxFile {
		return incoming{}, violation("a file without an entry")
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

// receive reads the raw bytes of a range and verifies them.
func (in incoming) receive(p []byte, b *body) error {
	n, err := io.ReadFull(struct{ io.Reader }{b}, p)
	if n < len(p) {
		if b.err != nil {
			return b.err
		}
		err = nil // the trailer may say why
	}
	if err != nil && !errors.Is(err, io.EOF) {
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
	if n < len(p) {
		return forged("the peer sends less than it announced")
	}
	if t.Hash == nil || *t.Hash != chunk.SumOf(p) {
		return forged("the content does not match its hash")
	}
	return nil
}

// partialKey is what an unfinished copy of the file at path is kept as.
func partialKey(path string, e Entry) string {
	h := blake3.New()
	var n [16]byte
	binary.BigEndian.PutUint64(n[:], uint64(e.Size))
	binary.BigEndian.PutUint64(n[8:], uint64(e.MTime))
	_, _ = h.Write(n[:]) // a hash takes everything
	_, _ = h.WriteString(path)
	return sum(h).String()
}

// newKey is a random key.
func newKey() (key chunk.Sum) {
	_, _ = rand.Read(key[:]) // never fails
	return key
}
