package folder

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"

	"tandem/session"
	"tandem/share/chunk"
)

// wholeTree is a tree that has been asked for before it is known to be one.
type wholeTree struct {
	into   chan *get // what it goes to
	cancel context.CancelFunc
	done   chan struct{}
	err    error // valid after done
}

// askWhole asks for the tree at path if there is nothing at dest yet, and else returns
// nil: a second stream lists it, and small files come with the list.
func (c *Client) askWhole(ctx context.Context, path, dest string, o Options) *wholeTree {
	if o.Plan != nil || checkPath(path) != nil || !nothingAt(dest) {
		return nil
	}
	w := &wholeTree{into: make(chan *get), done: make(chan struct{})}
	ctx, w.cancel = context.WithCancel(ctx)
	go func() {
		defer close(w.done)
		w.err = transfer(ctx, c.opener, c.share, Read, func(cn *conn) error {
			_, err := cn.do(request{Op: opTree, Path: path}, func(rep reply, b *body) error {
				switch {
				case rep.Error != nil:
					return nil
				case b == nil:
					return violation("tree without pages")
				}
				select {
				case g := <-w.into:
					r := treeReceiver{get: g, path: path}
					defer r.leave()
					return r.receive(ctx, b)
				case <-ctx.Done():
					return ctx.Err()
				}
			})
			return err
		})
	}()
	return w
}

// nothingAt reports whether dest is an empty directory, or isn't there.
func nothingAt(dest string) bool {
	info, err := os.Stat(dest)
	if err != nil || !info.IsDir() { // a FIFO must not be opened
		return errors.Is(err, fs.ErrNotExist)
	}
	dir, err := os.Open(dest)
	if err != nil {
		return false
	}
	defer dir.Close()
	_, err = dir.Readdirnames(1)
	return errors.Is(err, io.EOF)
}

// receive stores the tree in what g copies into.
func (w *wholeTree) receive(g *get) error {
	select {
	case w.into <- g:
	case <-w.done:
	}
	<-w.done
	return w.err
}

// end lets a tree go that is not wanted.
func (w *wholeTree) end() {
	if w != nil {
		w.cancel()
		<-w.done
	}
}

// treeReceiver stores what comes with a list.
type treeReceiver struct {
	get    *get
	path   string // at the peer
	recent recent
	at     string // the directory of the last page
	into   *destination
}

// destination is a directory that files are put into.
type destination struct {
	dir     *os.File
	commits sync.WaitGroup
}

func (r *treeReceiver) receive(ctx context.Context, b *body) error {
	return readPages(b, listing{recursive: true}, func(p page) error { return r.page(ctx, p, b) })
}

// page stores what is on one page.
func (r *treeReceiver) page(ctx context.Context, p page, b *body) error {
	g := r.get
	if p.Dir != r.at {
		r.leave()
		r.at = p.Dir
	}
	g.tally.skipped(p.Skipped)
	if err := p.Error.err("list"); err != nil {
		g.tally.failed(p.Dir, err)
	}
	for _, e := range p.Entries {
		at := join(p.Dir, e.Name)
		if e.Dir {
			g.mkdir(at)
			continue
		}
		g.tally.found(e.Size)
		w := wanted{path: join(r.path, at), at: at, entry: e}
		var err error
		if e.carried() {
			err = r.file(ctx, w, b)
		} else {
			err = g.file(ctx, w)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// file stores a small file. Its error ends the copy.
func (r *treeReceiver) file(ctx context.Context, w wanted, b *body) error {
	g := r.get
	if err := errors.Join(ctx.Err(), g.ended()); err != nil {
		return err
	}
	h := &held{path: w.at, data: make([]byte, 0, w.entry.Size), written: make(chan struct{})}
	name, err := r.content(h, b)
	if err != nil {
		close(h.written)
		if b.err == nil && (errors.Is(err, errMissed) || errors.Is(err, errNone)) {
			w.plain = true
			return g.file(ctx, w) // by itself, or it is told why not
		}
		return err
	}
	if r.into == nil {
		dir, err := g.into.openFolder("get", r.at)
		if err != nil {
			close(h.written)
			return g.fail(w.at, err)
		}
		r.into = &destination{dir: dir}
	}
	into := r.into
	g.into.flushing <- struct{}{}
	into.commits.Add(1)
	g.commits.Go(func() {
		defer func() { <-g.into.flushing }()
		defer into.commits.Done()
		defer close(h.written)
		g.place(ctx, w, h.data, name, into.dir)
	})
	return nil
}

// errNone says that the peer does not send a file after all.
var errNone = session.Errorf("copy", session.Changed, "it does not come with the list")

// content reads the items of a small file into h, as many bytes as that has room for.
// Name is that of all of them, or zero.
func (r *treeReceiver) content(h *held, b *body) (name chunk.Sum, err error) {
	var missed error
	moved := r.get.tally.mover(h.path)
	for len(h.data) < cap(h.data) {
		raw, err := b.scratch()
		if err != nil {
			return name, cutShort(err)
		}
		i, err := parseItem(raw)
		if err != nil {
			b.err = err
			return name, err
		}
		at, left, sent := len(h.data), cap(h.data)-len(h.data), 0
		switch i.kind {
		case itemData:
			p, err := r.get.into.packer.Unpack(i.sum, i.pack)
			if err != nil {
				return name, err
			}
			if len(p) > left {
				return name, forged("the peer sends more than it announced")
			}
			h.data = append(h.data, p...)
			name, sent = i.sum, len(p)
			r.recent.add(i.sum, spot{path: h.path, offset: int64(at), size: len(p), written: h.written})
		case itemAgain:
			n, known := r.recent.size(i.sum)
			if !known || n > left {
				return name, forged("the peer refers to what did not come")
			}
			p, err := r.recent.read(r.get.into, i.sum, h)
			if err != nil {
				missed, p = err, make([]byte, n)
			}
			h.data = append(h.data, p...)
			name = i.sum
		case itemZeros:
			if i.length > int64(left) {
				return name, forged("the peer sends more than it announced")
			}
			h.data = h.data[:at+int(i.length)]
			name = chunk.Sum{}
		case itemNone:
			if at > 0 {
				return name, violation("a file that ends in its midst")
			}
			return name, errNone
		default:
			return name, forged("the peer refers to a file that was not offered")
		}
		if at > 0 {
			name = chunk.Sum{}
		}
		moved(int64(len(h.data)-at), int64(sent), int64(len(raw))+unitSize)
	}
	return name, missed
}

// leave makes the names in the directory durable once its files are there.
func (r *treeReceiver) leave() {
	into := r.into
	if into == nil {
		return
	}
	r.into = nil
	g, at := r.get, r.at
	g.into.flushing <- struct{}{}
	g.commits.Go(func() {
		defer func() { <-g.into.flushing }()
		into.commits.Wait()
		if err := errors.Join(g.into.syncDir(at), into.dir.Close()); err != nil {
			g.tally.failed(at, fileError("get", at, err))
		}
	})
}

// place makes data, all of whose bytes have that name, a file.
func (g *get) place(ctx context.Context, w wanted, data []byte, name chunk.Sum, dir *os.File) {
	same, err := g.into.place(ctx, dir, data, name, target{path: w.at, mtime: w.entry.MTime, exec: w.entry.Exec})
	if session.KindOf(err) == session.Exists && err != nil {
		// Somebody else has made it meanwhile.
		g.mu.Lock()
		defer g.mu.Unlock()
		g.undecided = append(g.undecided, w)
		return
	}
	g.done(w.at, w.entry.Size, same, err)
}
