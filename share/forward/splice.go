package forward

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"tandem/session"
)

const (
	// idleBuffer is what a direction holds in which little happens, in bytes.
	idleBuffer = 2 << 10
	// busyBuffer is what one gets that fills the other.
	busyBuffer = 64 << 10
)

// busyBuffers keeps buffers between uses.
var busyBuffers = sync.Pool{New: func() any { return new([busyBuffer]byte) }}

// traffic counts the bytes of a connection that have passed.
type traffic struct {
	sent     atomic.Uint64 // from the connection to the stream
	received atomic.Uint64 // from the stream to the connection
}

// splice joins a connection and a stream until both directions have ended:
// bytes, half-closes and resets pass from each to the other. It owns both, and
// they have ended when it returns; nil means that they ended well. First, if
// set, deals with what precedes the bytes of the stream. When ctx ends, both
// are reset with its cause.
func splice(ctx context.Context, st session.Stream, conn net.Conn, t *traffic, first func() error) error {
	var once sync.Once
	var why error
	fail := func(err error) {
		once.Do(func() {
			why = broken(err)
			_ = st.Reset(why) // returns nil
			abort(conn)
		})
	}
	stop := context.AfterFunc(ctx, func() { fail(context.Cause(ctx)) })
	defer stop()

	var up sync.WaitGroup
	var unsent error
	up.Go(func() {
		var err error
		if err, unsent = pump(st, conn, &t.sent); err != nil {
			fail(err)
			return
		}
		// Why a stream takes no more, its other direction says better.
		_ = st.CloseWrite()
	})
	var err error
	if first != nil {
		err = first()
	}
	if err == nil {
		err = cmp.Or(pump(conn, st, &t.received))
	}
	if err != nil {
		fail(err)
	} else if c, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite() // fails if the other end has gone, which shows when reading
	}
	up.Wait()
	if unsent != nil {
		fail(unsent)
	}
	once.Do(func() {
		_ = st.Close() // both directions have ended
		_ = conn.Close()
	})
	return why
}

// pump copies until the end of src.
func pump(dst io.Writer, src io.Reader, n *atomic.Uint64) (readErr, writeErr error) {
	idle := make([]byte, idleBuffer)
	buf := idle
	var busy *[busyBuffer]byte
	defer func() {
		if busy != nil {
			busyBuffers.Put(busy)
		}
	}()
	for {
		read, err := src.Read(buf)
		if read > 0 {
			if _, err := dst.Write(buf[:read]); err != nil {
				return nil, err
			}
			n.Add(uint64(read))
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil, nil
		case err != nil:
			return err, nil
		case busy == nil && read == len(buf):
			busy = busyBuffers.Get().(*[busyBuffer]byte)
			buf = busy[:]
		case busy != nil && read <= idleBuffer:
			busyBuffers.Put(busy)
			busy, buf = nil, idle
		}
	}
}

// broken is why a connection ended, in words that a peer may hear.
func broken(err error) error {
	var own *session.Error
	if errors.As(err, &own) {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return &session.Error{Op: "forward", Kind: session.Canceled, Text: "the forward has ended", Err: err}
	}
	return &session.Error{Op: "forward", Kind: session.Unavailable, Text: "the connection was reset", Err: reasonless{err}}
}

// reasonless keeps a cause for errors.Is without its words, which name
// addresses of this machine.
type reasonless struct{ error }

func (reasonless) Error() string   { return "" }
func (e reasonless) Unwrap() error { return e.error }

// abort resets a connection: its other end must not take what it got for the
// whole.
func abort(conn net.Conn) {
	if c, ok := conn.(interface{ SetLinger(int) error }); ok {
		_ = c.SetLinger(0) // a dead one needs none
	}
	_ = conn.Close()
}
