package folder

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/zeebo/blake3"

	"tandem/session"
)

const (
	// smallFile is up to which size a file is read once and sent without
	// asking whether the peer has it.
	smallFile = 256 << 10
	// putAhead is how many files are hashed and asked about before their turn.
	putAhead = 16
)

// Put copies the file or directory src on this machine to path in the share: a
// file to the file path, whose directory must exist there, or the content of a
// directory into the directory path, which is made. A file that can't be copied
// does not stop the others; the error then has the kind of the first failure,
// and the Summary all. An interrupted Put is resumed by calling it again.
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
	err = converse(ctx, c.opener, c.share, Write, func(cn *conn) error {
		p := &put{conn: cn, from: from, tally: t, force: o.Force, to: path, single: name != ""}
		return p.run(ctx, name)
	})
	return t.end(errors.Join(err, from.close()))
}

// put is a copy to the peer under way.
type put struct {
	conn  *conn
	from  *tree
	tally *tally
	force bool
	to    string
	// single says that to is the path of the one file, and not of a directory.
	single bool
}

// job is a file that has been looked at.
type job struct {
	at    string
	entry Entry
	hash  Hash
	data  []byte // the content, if small
	check *call  // the question whether the peer has it, if not
}

// run copies the file name, or everything if that is "". Files are read,
// hashed and asked about in one goroutine, and sent in this one.
func (p *put) run(ctx context.Context, name string) error {
	ctx, cancel := context.WithCancel(ctx)
	jobs := make(chan job, putAhead)
	prepared := make(chan error, 1)
	go func() {
		defer close(jobs)
		if name != "" {
			prepared <- p.prepare(ctx, name, jobs)
			return
		}
		prepared <- p.walk(ctx, jobs)
	}()
	var err error
	for j := range jobs {
		if err == nil {
			if err = p.deliver(ctx, j); err != nil {
				cancel()
			}
		}
	}
	prep := <-prepared
	cancel()
	if err == nil {
		err = prep
	}
	return err // converse waits for the replies
}

// path is where in the share the file at goes.
func (p *put) path(at string) string {
	if p.single {
		return p.to
	}
	return join(p.to, at)
}

// walk prepares the whole tree.
func (p *put) walk(ctx context.Context, jobs chan<- job) error {
	p.mkdir("")
	return p.from.pages(ctx, "", "", true, func(pg page) error {
		p.tally.skipped(pg.Skipped)
		if err := pg.Error.err("put"); err != nil {
			p.tally.failed(pg.Dir, err)
			return nil
		}
		for _, e := range pg.Entries {
			at := join(pg.Dir, e.Name)
			if e.Dir {
				p.mkdir(at)
			} else if err := p.prepare(ctx, at, jobs); err != nil {
				return err
			}
		}
		return nil
	})
}

func (p *put) mkdir(at string) {
	p.conn.start(request{Op: opMkdir, Path: p.path(at)}, nil, func(rep reply, _ *body) error {
		if err := rep.Error.err("put"); err != nil {
			p.tally.failed(at, err)
		} else {
			p.tally.dir()
		}
		return nil
	})
}

// prepare looks at the file at and queues it. Its error ends the copy.
func (p *put) prepare(ctx context.Context, at string, jobs chan<- job) error {
	if err := p.conn.failure(); err != nil {
		return err
	}
	j, err := p.look(ctx, at)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	p.tally.found(j.entry.Size)
	if err != nil {
		p.tally.failed(at, err)
		return nil
	}
	if j.data == nil {
		j.check = p.conn.start(request{Op: opCheck, Path: p.path(at), Size: j.entry.Size, Hash: &j.hash}, nil, nil)
	}
	select {
	case jobs <- j:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// look reads the file at: whole if it is small, and else for its hash.
func (p *put) look(ctx context.Context, at string) (job, error) {
	f, e, err := p.from.open(at)
	if err != nil {
		return job{}, err
	}
	defer f.Close()
	j := job{at: at, entry: e}
	h := blake3.New()
	if e.Size > smallFile {
		err = hashFile(ctx, h, f, e.Size)
	} else {
		j.data = make([]byte, e.Size)
		_, err = io.ReadFull(io.TeeReader(f, h), j.data)
		err = cutShort(err)
		if e.Size == 0 {
			err = nil
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = changed(at)
	}
	if err == nil {
		err = p.from.unchanged(f, at, e)
	}
	j.hash = sum(h)
	return j, fileError("put", at, err)
}

// deliver sends one file if it is needed. Its error ends the copy.
func (p *put) deliver(ctx context.Context, j job) error {
	if err := p.conn.failure(); err != nil {
		return err
	}
	offset := int64(0)
	if j.check != nil {
		<-j.check.done
		rep, err := j.check.rep, j.check.err
		if broken := p.conn.failure(); broken != nil {
			return broken
		}
		switch {
		case err != nil:
			p.tally.failed(j.at, err)
			return nil
		case rep.State == same:
			p.tally.same(j.at, j.entry.Size)
			return nil
		case rep.State == differs && !p.force:
			p.tally.failed(j.at, session.Errorf("put", session.Exists, "%s is there already with other content", session.Printable(p.path(j.at))))
			return nil
		case rep.Have < 0 || rep.Have > j.entry.Size:
			return forged("the peer has more of a file than there is")
		}
		offset = rep.Have
	}
	cl := p.send(ctx, j, offset)
	if offset == 0 {
		return nil
	}
	// What the peer had kept may be worthless: then all of it goes again.
	<-cl.done
	if session.KindOf(cl.err) == session.Integrity && p.conn.failure() == nil {
		p.send(ctx, j, 0)
	}
	return p.conn.failure()
}

// send puts the file of j from offset on.
func (p *put) send(ctx context.Context, j job, offset int64) *call {
	req := request{
		Op: opPut, Path: p.path(j.at), Size: j.entry.Size, Hash: &j.hash, MTime: j.entry.MTime,
		Exec: j.entry.Exec, Force: p.force, Offset: offset,
	}
	return p.conn.start(req, func(w *bufio.Writer, cl *call) (trailer, error) {
		if j.check == nil {
			_, err := sendBlocks(ctx, w, cl, io.TeeReader(bytes.NewReader(j.data), p.tally.counter(j.at)))
			return trailer{}, err
		}
		f, e, err := p.from.open(j.at)
		if err != nil {
			return trailer{}, err
		}
		defer f.Close()
		if e.Size != j.entry.Size || e.MTime != j.entry.MTime {
			return trailer{}, changed(j.at)
		}
		if _, err := f.Seek(offset, io.SeekStart); err != nil {
			return trailer{}, fileError("put", j.at, err)
		}
		n, err := sendBlocks(ctx, w, cl, io.TeeReader(io.LimitReader(f, e.Size-offset), p.tally.counter(j.at)))
		if err == nil && n < e.Size-offset {
			err = changed(j.at)
		}
		if err == nil {
			err = p.from.unchanged(f, j.at, e)
		}
		return trailer{}, fileError("put", j.at, err)
	}, func(rep reply, _ *body) error {
		err := rep.Error.err("put")
		switch {
		case session.KindOf(err) == session.Integrity && err != nil && offset > 0:
			// deliver tries again
		case err != nil:
			p.tally.failed(j.at, err)
		case rep.Same:
			p.tally.same(j.at, 0)
		default:
			p.tally.copied(j.at, j.entry.Size, offset)
		}
		return nil
	})
}

// errRefused says that the server has replied before the end of the body.
var errRefused = session.Errorf("put", session.Canceled, "the put was refused")

// sendBlocks writes what r has as blocks, until the server replies to cl.
func sendBlocks(ctx context.Context, w *bufio.Writer, cl *call, r io.Reader) (int64, error) {
	buf := make([]byte, blockSize)
	total := int64(0)
	for {
		select {
		case <-cl.done:
			return total, errRefused
		case <-ctx.Done():
			return total, context.Cause(ctx)
		default:
		}
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			if err := writeUnit(w, buf[:n]); err != nil {
				return total, err
			}
			total += int64(n)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return total, nil
		case err != nil:
			return total, err
		}
	}
}
