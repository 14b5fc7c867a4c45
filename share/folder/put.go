package folder

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/zeebo/blake3"

	"tandem/session"
	"tandem/share/chunk"
)

const (
	// smallFile is up to which size a file is read once and sent without
	// asking whether the peer has parts of it.
	smallFile = 256 << 10
	// putAhead is how many files are looked at before their turn.
	putAhead = 32
)

// Put copies the file or directory src on this machine to path in the share: a
// file to the file path, whose directory must exist there, or the content of a
// directory into the directory path, which is made. Of a file of which an older
// version is there, only what differs travels. A file that can't be copied does
// not stop the others; the error then has the kind of the first failure, and
// the Summary all. An interrupted Put is resumed by calling it again.
func (c *Client) Put(ctx context.Context, src, path string, o Options) (Summary, error) {
	if err := checkPath(path); err != nil {
		return Summary{}, err
	}
	info, err := os.Stat(src)
	if err != nil {
		return Summary{}, fileError("put", src, err)
	}
	dir, name := src, ""
	if !info.IsDir() {
		// The user may name a file by a symbolic link.
		if dir, err = filepath.EvalSymlinks(src); err != nil {
			return Summary{}, fileError("put", src, err)
		}
		dir, name = filepath.Split(dir)
		if dir == "" {
			dir = "."
		}
	}
	from, err := openTree(dir, true)
	if err != nil {
		return Summary{}, err
	}
	t := newTally(o.Progress)
	err = transfer(ctx, c.opener, c.share, Write, func(cn *conn) error {
		p := &put{
			conn: cn, from: from, tally: t, options: o, to: path, single: name,
			offers: make(chan struct{}, 2), sender: sender{packer: from.packer},
		}
		return p.run(ctx, c)
	})
	return t.end(errors.Join(err, from.close()))
}

// put is a copy to the peer under way.
type put struct {
	conn    *conn
	from    *tree
	tally   *tally
	options Options
	to      string
	// single is the name of the one file that becomes to, if it is one.
	single string
	offers chan struct{} // one for each offer of the peer that is held
	sender sender

	last   *call // the latest put
	mu     sync.Mutex
	missed []missed // what is to be put without references to other files
}

type missed struct {
	job     job
	replace bool
}

// job is a file that has been looked at.
type job struct {
	at    string
	entry Entry
	data  []byte // the content, if that is to be sent at once
	check *call  // the question what the peer has of it, if not
	had   offer
	plain bool // it refers to nothing that went before
}

// run copies everything. Files are looked at and asked about in one goroutine,
// and sent in this one.
func (p *put) run(ctx context.Context, c *Client) error {
	all := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var list *there
	if p.single == "" {
		list = listThere(ctx, c, p.to) // while it is told whether they want to be asked
		defer func() { list.close() }()
	}
	if p.options.Plan == nil {
		asked, err := p.announce(ctx)
		if err != nil {
			return err
		}
		if asked && list != nil { // that may have taken long
			list.close()
			list = listThere(ctx, c, p.to)
		}
	}
	jobs := make(chan job, putAhead)
	prepared := make(chan error, 1)
	go func() {
		defer close(jobs)
		if p.single != "" {
			prepared <- p.prepare(ctx, p.single, nil, jobs)
			return
		}
		prepared <- p.walk(ctx, list, jobs)
	}()
	var err error
	for j := range jobs {
		if err == nil {
			if err = p.deliver(ctx, j); err != nil {
				cancel()
			}
		}
		if j.had.normal > 0 {
			<-p.offers
		}
	}
	prep := <-prepared
	cancel()
	if err == nil {
		err = prep
	}
	if err == nil {
		p.sendMissed(all)
	}
	return err // transfer waits for the replies
}

// sendMissed puts again what could not be put together at the peer.
func (p *put) sendMissed(ctx context.Context) {
	if p.last == nil {
		return
	}
	<-p.last.done
	p.mu.Lock()
	again := p.missed
	p.mu.Unlock()
	for _, m := range again {
		m.job.plain = true
		p.send(ctx, m.job, nil, 0, m.replace)
	}
}

// path is where in the share the file at goes.
func (p *put) path(at string) string {
	if p.single != "" {
		return p.to
	}
	return join(p.to, at)
}

// walk prepares the whole tree.
func (p *put) walk(ctx context.Context, there *there, jobs chan<- job) error {
	p.mkdir("")
	return p.from.pages(ctx, "", "", true, func(_ *directory, pg page) error {
		p.tally.skipped(pg.Skipped)
		if err := pg.Error.err("put"); err != nil {
			p.tally.failed(pg.Dir, err)
			return nil
		}
		if err := there.enter(pg.Dir); err != nil {
			return err
		}
		for _, e := range pg.Entries {
			at := join(pg.Dir, e.Name)
			if e.Dir {
				p.mkdir(at)
			} else if err := p.prepare(ctx, at, there.entry(e.Name), jobs); err != nil {
				return err
			}
		}
		return nil
	})
}

func (p *put) mkdir(at string) {
	if p.options.Plan != nil {
		return
	}
	p.conn.start(request{Op: opMkdir, Path: p.path(at)}, nil, func(rep reply, _ *body) error {
		if err := rep.Error.err("put"); err != nil {
			p.tally.failed(at, err)
		} else {
			p.tally.dir()
		}
		return nil
	})
}

// prepare looks at the file at and queues it. There is what the peer has in its
// place, as far as that is known. Its error ends the copy.
func (p *put) prepare(ctx context.Context, at string, there *Entry, jobs chan<- job) error {
	if err := p.conn.failure(); err != nil {
		return err
	}
	e, err := p.from.stat(at)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	p.tally.found(e.Size)
	j := job{at: at, entry: e}
	switch {
	case err != nil:
		p.tally.failed(at, err)
		return nil
	case there != nil && p.options.equal(*there, e):
		p.options.plan(p.tally, at, Leave, e.Size)
		p.tally.same(at, e.Size)
		return nil
	case there == nil && p.single == "" && p.options.plan(p.tally, at, Copy, e.Size):
		p.tally.copied(at, e.Size)
		return nil
	case there == nil && p.single == "" && e.Size <= smallFile:
		if j, err = p.read(at); err != nil {
			p.tally.failed(at, err)
			return nil
		}
	default:
		if err := p.ask(ctx, &j); err != nil {
			return err
		}
	}
	select {
	case jobs <- j:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ask asks what the peer has of a file.
func (p *put) ask(ctx context.Context, j *job) error {
	req := request{Op: opCheck, Path: p.path(j.at), Size: j.entry.Size, MTime: j.entry.MTime}
	if j.entry.Size <= smallFile || p.options.Plan != nil {
		j.check = p.conn.start(req, nil, nil)
		return nil
	}
	select {
	case p.offers <- struct{}{}: // run takes it back
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	j.had = newOffer(j.entry.Size)
	req.List = true
	req.cut(j.had)
	list := new(chunk.List)
	j.had.later = list
	j.check = p.conn.start(req, nil, func(_ reply, b *body) (err error) {
		if b != nil {
			*list, err = readList(b)
		}
		return err
	})
	return nil
}

// read reads a small file.
func (p *put) read(at string) (job, error) {
	f, e, err := p.from.open(at)
	if err != nil {
		return job{}, err
	}
	defer f.Close()
	if e.Size > smallFile {
		return job{}, changed(at)
	}
	j := job{at: at, entry: e, data: make([]byte, e.Size)}
	if _, err := io.ReadFull(f, j.data); errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) && e.Size > 0 {
		return j, changed(at)
	} else if err != nil && e.Size > 0 {
		return j, fileError("put", at, err)
	}
	return j, p.from.unchanged(f, at, e)
}

// deliver sends one file if it is needed. Its error ends the copy.
func (p *put) deliver(ctx context.Context, j job) error {
	if err := p.conn.failure(); err != nil {
		return err
	}
	if j.check == nil {
		p.send(ctx, j, nil, 0, false)
		return nil
	}
	<-j.check.done
	rep, err := j.check.rep, j.check.err
	if broken := p.conn.failure(); broken != nil {
		return broken
	}
	if err != nil {
		p.tally.failed(j.at, err)
		return nil
	}
	if e := rep.Entry; e != nil {
		if e.Dir || e.Size < 0 {
			p.tally.failed(j.at, session.Errorf("put", session.Exists, "%s is a folder there", session.Printable(p.path(j.at))))
			return nil
		}
		if e.Size == j.entry.Size && rep.Hash != nil {
			h, _, err := p.from.hashOf(ctx, j.at)
			if err != nil {
				p.tally.failed(j.at, err)
				return ctx.Err()
			}
			if h == *rep.Hash {
				p.options.plan(p.tally, j.at, Leave, e.Size)
				p.tally.same(j.at, e.Size)
				return nil
			}
		}
		d, err := p.options.decide(ctx, Conflict{Path: j.at, There: *e, New: j.entry})
		switch {
		case err != nil:
			return err
		case d == Keep:
			p.options.plan(p.tally, j.at, Leave, e.Size)
			p.tally.kept(j.at, j.entry.Size)
			return nil
		case d == Refuse:
			p.tally.failed(j.at, otherContent("put", p.path(j.at)))
			return nil
		}
	}
	action := Copy
	if rep.Entry != nil {
		action = Overwrite
	}
	if p.options.plan(p.tally, j.at, action, j.entry.Size) {
		p.tally.copied(j.at, j.entry.Size)
		return nil
	}
	if rep.Have < 0 || rep.Have > j.entry.Size {
		return forged("the peer has more of a file than there is")
	}
	var before *blake3.Hasher
	if rep.Have > 0 && rep.Prefix != nil {
		// What the peer has kept may be worthless: then all of it goes again.
		h, err := p.from.prefix(ctx, j.at, rep.Have)
		if err == nil && sum(h) == *rep.Prefix {
			before = h
		}
	}
	p.send(ctx, j, before, rep.Have, rep.Entry != nil)
	return p.conn.failure()
}

// send puts the file of j. Where before is not nil, it is the hash of what the
// peer has: the first have bytes.
func (p *put) send(ctx context.Context, j job, before *blake3.Hasher, have int64, replace bool) {
	if before == nil {
		before, have = blake3.New(), 0
	}
	p.tally.resumed(j.at, have)
	req := request{
		Op: opPut, Path: p.path(j.at), Size: j.entry.Size, MTime: j.entry.MTime,
		Exec: j.entry.Exec, Force: replace || p.options.Force, Offset: have,
	}
	p.last = p.conn.start(req, func(w *bufio.Writer, cl *call) (trailer, error) {
		s := &p.sender // one at a time: a request with its body has the connection
		s.w = w
		s.begin(before, p.tally.mover(j.at), until(ctx, cl))
		s.plain = j.plain
		var err error
		if j.data != nil {
			err = errors.Join(s.pieces(bytes.NewReader(j.data)), s.flush())
		} else {
			err = p.stream(s, j, have)
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = changed(j.at)
		}
		return trailer{Hash: new(sum(s.hash))}, fileError("put", j.at, err)
	}, func(rep reply, _ *body) error {
		err := rep.Error.err("put")
		switch {
		case err != nil && rep.Missed && !j.plain:
			p.mu.Lock()
			p.missed = append(p.missed, missed{j, replace})
			p.mu.Unlock()
		case err != nil:
			p.tally.failed(j.at, err)
		case rep.Same:
			p.tally.same(j.at, 0)
		default:
			p.tally.copied(j.at, j.entry.Size)
		}
		return nil
	})
}

// stream sends the file of j from offset on.
func (p *put) stream(s *sender, j job, offset int64) error {
	f, e, err := p.from.open(j.at)
	if err != nil {
		return err
	}
	defer f.Close()
	if e.Size != j.entry.Size || e.MTime != j.entry.MTime {
		return changed(j.at)
	}
	if j.had.later != nil {
		j.had.list = *j.had.later
	}
	if err := s.file(f, offset, e.Size, j.had); err != nil {
		return err
	}
	return p.from.unchanged(f, j.at, e)
}

// until stops a body when the server has replied already or ctx ends.
func until(ctx context.Context, cl *call) func() error {
	return func() error {
		select {
		case <-cl.done:
			return session.Errorf("put", session.Canceled, "the put was refused")
		case <-ctx.Done():
			return context.Cause(ctx)
		default:
			return nil
		}
	}
}
