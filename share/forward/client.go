package forward

import (
	"context"
	"errors"

	"tandem/session"
)

// Opener starts streams to the host. A session.Session is one; one that finds
// a new session when the old one was lost makes forwards survive that.
type Opener interface {
	Open(ctx context.Context, h session.Header) (session.Stream, error)
}

// Dial makes one connection from the host to a. The stream carries its bytes;
// the address is what was connected to. It is the host's *session.Error that
// says why not, with a Reason.
func Dial(ctx context.Context, host Opener, a Address) (session.Stream, Address, error) {
	st, err := request(ctx, host, Connect, params{Address: a})
	if err != nil {
		return nil, Address{}, hinted(Connect, a, err)
	}
	first, err := awaitStatus(ctx, st, Connect)
	if err != nil {
		return nil, Address{}, hinted(Connect, a, err)
	}
	return st, first.Address, nil
}

// Probe asks the host whether it would connect to a, or to anything if a is
// zero, without doing so.
func Probe(ctx context.Context, host Opener, a Address) error {
	st, err := request(ctx, host, Connect, params{Address: a, Probe: true})
	if err != nil {
		return err
	}
	if _, err := awaitStatus(ctx, st, Connect); err != nil {
		return hinted(Connect, a, err)
	}
	return st.Close()
}

func request(ctx context.Context, host Opener, action string, p params) (session.Stream, error) {
	h, err := header(action, p)
	if err != nil {
		return nil, err
	}
	return host.Open(ctx, h)
}

// awaitStatus reads the status from a stream, which has been reset if there is
// an error.
func awaitStatus(ctx context.Context, st session.Stream, action string) (status, error) {
	stop := context.AfterFunc(ctx, func() { _ = st.Reset(context.Cause(ctx)) }) // returns nil
	defer stop()
	first, err := readStatus(st, action)
	if err != nil {
		_ = st.Reset(err) // returns nil
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return status{}, err
	}
	return first, nil
}

// hopeless reports whether it makes no sense to ask again.
func hopeless(err error) bool {
	switch session.KindOf(err) {
	case session.Denied, session.Revoked, session.Invalid, session.Unsupported, session.Expired:
		return true
	}
	return errors.Is(err, context.Canceled)
}
