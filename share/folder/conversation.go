package folder

import (
	"bufio"
	"context"
	"errors"
	"io"
	"time"

	"tandem/session"
	"tandem/share/chunk"
)

// underway is how many files of a tree may be flushed to the disk at once, whoever
// puts them: disks flush many in hardly more time than one, but each holds a thread,
// and a small one its content. It is also how many answers of a stream may wait.
const underway = 128

// conversation is one stream on the side of the server. One goroutine reads
// requests, does what changes the share, and queues an answer to each; another
// completes the answers in order.
type conversation struct {
	tree    *tree
	peer    session.PeerID
	write   bool
	stream  session.Stream
	r       *bufio.Reader
	w       *bufio.Writer
	sender  sender // of complete
	recent  recent // what listen has received
	answers chan *answer
	lists   chan struct{} // one for each list of chunks that is held
	heard   chan struct{} // closed when no more requests will come
	gate    *gate         // nil where nobody wants to be asked
}

// answer is what becomes of one request.
type answer struct {
	req  request
	rep  reply
	err  error
	done chan struct{} // closed when rep and err are valid; nil if they are
	// write, if set, writes the whole reply.
	write func() error
	// list says that one of conversation.lists is to be taken back.
	list bool
}

func converseWith(st session.Stream, peer session.PeerID, t *tree, write bool) *conversation {
	w := bufio.NewWriterSize(st, blockSize)
	return &conversation{
		tree: t, peer: peer, write: write, stream: st,
		r: bufio.NewReaderSize(st, blockSize), w: w, sender: sender{w: w, packer: t.packer},
		answers: make(chan *answer, underway), lists: make(chan struct{}, 2), heard: make(chan struct{}),
	}
}

// serve answers requests until the client ends its direction.
func (c *conversation) serve(ctx context.Context) error {
	replied := make(chan error, 1)
	go func() { replied <- c.complete() }()
	err := c.listen(ctx)
	close(c.heard)
	close(c.answers)
	if failed := <-replied; failed != nil {
		return failed // and that is why listen ended
	}
	return err
}

// listen reads requests.
func (c *conversation) listen(ctx context.Context) error {
	watching := false
	for {
		var req request
		err := readMessage(c.r, &req)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var b *body
		if req.Body {
			b = &body{r: c.r}
		}
		if watching {
			return violation("a request after a watch")
		}
		watching = req.Op == opWatch
		c.answers <- c.handle(ctx, req, b)
		if b != nil {
			// The client need not send the rest of what was refused.
			if _, err := b.finish(); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// complete completes answers in order. When that fails it resets the stream, so that
// listen ends, and goes on without writing until the last answer is done.
func (c *conversation) complete() (err error) {
	for a := range c.answers {
		if a.done != nil {
			select {
			case <-a.done:
			default: // it takes a while
				err = c.flush(err)
				<-a.done
			}
		}
		switch {
		case err != nil:
		case a.write != nil:
			err = a.write()
		default:
			err = c.send(a.req, a.rep, a.err)
		}
		if a.list {
			<-c.lists
		}
		if len(c.answers) == 0 {
			err = c.flush(err)
		}
		if err != nil {
			_ = c.stream.Reset(err) // returns nil
		}
	}
	return c.flush(err)
}

func (c *conversation) flush(err error) error {
	if err != nil {
		return err
	}
	if c.write {
		c.tree.tidy()
	}
	return c.w.Flush()
}

func (c *conversation) send(req request, rep reply, err error) error {
	rep.ID = req.ID
	if err != nil {
		rep = reply{ID: req.ID, Error: toWire(err), Missed: errors.Is(err, errMissed)}
	}
	return writeMessage(c.w, rep)
}

// handle does what one request asks for, or arranges that it be done in turn.
func (c *conversation) handle(ctx context.Context, req request, b *body) *answer {
	a := &answer{req: req}
	if a.err = req.check(); a.err != nil {
		return a
	}
	switch req.Op {
	case opPut, opMkdir, opCheck, opRemove, opMove, opSet, opPush:
		if !c.write {
			a.err = session.Errorf("folder", session.Denied, "this share was opened for reading")
			return a
		}
		if c.gate != nil && req.Op != opPush {
			if a.err = c.gate.allow(req); a.err != nil {
				return a
			}
		}
	}
	switch req.Op {
	case opPut:
		var commit func() (reply, error)
		if commit, a.err = c.put(ctx, req, b); a.err == nil {
			a.done = make(chan struct{})
			c.tree.flushing <- struct{}{}
			go func() { // complete waits for it
				defer close(a.done)
				a.rep, a.err = commit()
				<-c.tree.flushing
			}()
		}
	case opMkdir:
		if a.err = c.tree.mkdir(req.Path); a.err == nil {
			a.rep.Entry, a.err = c.stat(req.Path)
		}
	case opRemove:
		if req.Purge {
			a.err = c.tree.purge(req.Path)
		} else {
			a.rep.Trash, a.err = c.tree.remove(req.Path, time.Now())
		}
	case opMove:
		if a.err = c.tree.move(req.Path, req.To, req.Force); a.err == nil {
			a.rep.Entry, a.err = c.stat(req.To)
		}
	case opSet:
		if a.err = c.tree.set(req.Path, req.MTime, req.Exec); a.err == nil {
			a.rep.Entry, a.err = c.stat(req.Path)
		}
	case opWatch:
		a.write = func() error { return c.watch(ctx, req) }
	case opPush:
		c.push(ctx, a, b)
	case opCheck:
		a.write = func() error { return c.check(ctx, req) }
	case opList:
		a.write = func() error { return c.list(ctx, req) }
	case opTree:
		a.write = func() error { return c.whole(ctx, req) }
	case opRead:
		a.write = func() error { return c.read(ctx, req) }
	case opFetch:
		c.arrangeFetch(ctx, a, b)
	case opStat:
		a.write = func() error {
			e, err := c.stat(req.Path)
			return c.send(req, reply{Entry: e, Asks: c.gate != nil}, err)
		}
	case opHash:
		a.write = func() error {
			rep, err := c.hash(ctx, req)
			return c.send(req, rep, err)
		}
	default:
		a.err = session.Errorf("folder", session.Unsupported, "no operation %q", session.Printable(string(req.Op)))
	}
	return a
}

// arrangeFetch reads what the client of a fetch has, and has a write it the
// rest.
func (c *conversation) arrangeFetch(ctx context.Context, a *answer, b *body) {
	var list chunk.List
	if b != nil {
		c.lists <- struct{}{} // complete takes it back
		a.list = true
		if list, a.err = readList(b); a.err != nil {
			return
		}
	}
	a.write = func() error { return c.fetch(ctx, a.req, list) }
}

func (c *conversation) stat(path string) (*Entry, error) {
	e, err := c.tree.stat(path)
	return &e, err
}
