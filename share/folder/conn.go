package folder

import (
	"bufio"
	"context"
	"errors"
	"io"
	"sync"

	"tandem/session"
)

// pipelined is how many requests may wait for their replies.
const pipelined = 256

// Opener starts streams to the peer that has the folder. A session.Session is
// one.
type Opener interface {
	Open(ctx context.Context, h session.Header) (session.Stream, error)
}

// conn is one stream on the side of the client. Requests may be started from
// several goroutines; replies are handled in one, in order.
type conn struct {
	stream session.Stream
	queue  chan *call // sent, in order; closed when no more will be
	done   chan struct{}

	mu   sync.Mutex // one request with its body at a time
	w    *bufio.Writer
	last uint64 // id

	failed chan struct{} // closed when the conversation has failed
	err    error         // why; valid after failed
}

// call is one request and what becomes of it.
type call struct {
	req request
	// handle, if set, is called with the reply, and the body if there is one,
	// in the goroutine that reads. Its error ends the conversation.
	handle func(rep reply, b *body) error
	rep    reply
	err    error // the server's, or the conversation's
	done   chan struct{}
}

// connect opens a stream for what h says. ctx limits the whole conversation.
func connect(ctx context.Context, o Opener, h session.Header) (*conn, error) {
	h.Service = Name
	st, err := o.Open(ctx, h)
	if err != nil {
		return nil, err
	}
	c := &conn{
		stream: st, w: bufio.NewWriterSize(st, blockSize),
		queue: make(chan *call, pipelined), done: make(chan struct{}), failed: make(chan struct{}),
	}
	stop := context.AfterFunc(ctx, func() { _ = st.Reset(context.Cause(ctx)) }) // returns nil
	go func() {
		defer close(c.done)
		defer stop()
		c.receive(ctx)
	}()
	return c, nil
}

// converse runs f with a stream to share and ends it orderly.
func converse(ctx context.Context, o Opener, share, action string, f func(*conn) error) error {
	return converseFor(ctx, o, session.Header{Resource: share, Action: action}, f)
}

// transfer is converse over a stream that will carry much.
func transfer(ctx context.Context, o Opener, share, action string, f func(*conn) error) error {
	return converseFor(ctx, o, session.Header{Resource: share, Action: action, Bulk: true}, f)
}

func converseFor(ctx context.Context, o Opener, h session.Header, f func(*conn) error) error {
	c, err := connect(ctx, o, h)
	if err != nil {
		return err
	}
	err = f(c)
	// Why the conversation failed says more than what that broke.
	if broken := c.failure(); broken != nil {
		err = broken
	}
	if err != nil {
		_ = c.stream.Reset(canceled(err)) // returns nil
	}
	close(c.queue)
	<-c.done
	if err == nil {
		err = c.failure()
	}
	_ = c.stream.Close() // every reply has arrived, or never will
	return err
}

// failure is why the conversation has failed, or nil.
func (c *conn) failure() error {
	select {
	case <-c.failed:
		return c.err
	default:
		return nil
	}
}

// canceled is what the server hears when we give up: its own fault if it broke
// the protocol, and otherwise nothing about what its replies made us do.
func canceled(err error) error {
	kind := session.KindOf(err)
	if kind != session.Integrity && kind != session.Invalid {
		kind = session.Canceled
	}
	return &session.Error{Op: "folder", Kind: kind, Text: "the client gave up", Err: err}
}

// receive handles replies until the queue is closed.
func (c *conn) receive(ctx context.Context) {
	r := bufio.NewReaderSize(c.stream, blockSize)
	for call := range c.queue {
		if c.err == nil {
			if err := c.handle(r, call); err != nil {
				if ctx.Err() != nil {
					err = context.Cause(ctx)
				}
				if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
					err = &session.Error{Op: "folder", Kind: session.Unavailable, Text: "the peer ended the conversation", Err: err}
				}
				c.err = err
				close(c.failed)
				_ = c.stream.Reset(canceled(err)) // returns nil
			}
		}
		if c.err != nil {
			call.err = c.err
		}
		close(call.done)
	}
}

// handle reads the reply to one call. Its error ends the conversation.
func (c *conn) handle(r *bufio.Reader, call *call) error {
	var rep reply
	if err := readMessage(r, &rep); err != nil {
		return err
	}
	if rep.ID != call.req.ID {
		return violation("reply to request %d, want %d", rep.ID, call.req.ID)
	}
	if rep.Body {
		switch call.req.Op {
		case opRead, opFetch, opCheck, opList, opTree, opWatch:
		default:
			return violation("%s answered with a body", call.req.Op)
		}
	}
	call.rep, call.err = rep, rep.Error.err(string(call.req.Op))
	var b *body
	if rep.Body {
		b = &body{r: r}
	}
	if call.handle != nil {
		if err := call.handle(rep, b); err != nil {
			return err
		}
	}
	if b == nil {
		return nil
	}
	t, err := b.finish()
	if err != nil {
		return err
	}
	if call.err == nil {
		call.err = t.Error.err(string(call.req.Op))
	}
	return nil
}

// start sends a request, and its body by send. An error of send ends the body
// and reaches the server. Failures of the stream show in the call. It must not
// be called by a handle, for which it may wait.
func (c *conn) start(req request, send func(w *bufio.Writer, cl *call) (trailer, error), handle func(reply, *body) error) *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	req.ID, req.Body = c.last, send != nil
	cl := &call{req: req, handle: handle, done: make(chan struct{})}
	c.queue <- cl // first, because the server may reply before it has the body
	err := writeMessage(c.w, req)
	if err == nil && send != nil {
		t, why := send(c.w, cl)
		if why != nil {
			t = trailer{Error: toWire(why)}
		}
		err = writeTrailer(c.w, t)
	}
	if err == nil {
		err = c.w.Flush()
	}
	if err != nil {
		// Whoever reads the replies must not wait for one to half a request.
		_ = c.stream.Reset(err) // returns nil
	}
	return cl
}

// do is start and wait, for a request without a body.
func (c *conn) do(req request, handle func(reply, *body) error) (reply, error) {
	cl := c.start(req, nil, handle)
	<-cl.done
	return cl.rep, cl.err
}
