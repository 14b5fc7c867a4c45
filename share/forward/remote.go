package forward

import (
	"context"
	"errors"
	"io"
	"time"

	"tandem/session"
)

const (
	// firstRetry and lastRetry bound how long to wait before listening again.
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// away is a listener at the host.
type away struct {
	stream session.Stream
	status status
}

// listenThere makes a forward that listens at the host.
func (r *runner) listenThere(ctx context.Context, f Forward) (started, error) {
	l, err := r.ask(ctx, f, 0)
	if err != nil {
		return started{}, err
	}
	return started{
		address: l.status.Address,
		serve:   func(ctx context.Context) { r.keepListening(ctx, f, l) },
		abandon: func() { _ = l.stream.Close() },
	}, nil
}

// ask has the host listen.
func (r *runner) ask(ctx context.Context, f Forward, replaces uint64) (*away, error) {
	st, err := request(ctx, r.host, Listen, params{Address: f.Listen, Replaces: replaces})
	if err != nil {
		return nil, err
	}
	first, err := awaitStatus(ctx, st, Listen)
	if err != nil {
		return nil, hinted(Listen, f.Listen, err)
	}
	return &away{st, first}, nil
}

// keepListening serves a listener, and has the host listen anew when it is
// lost.
func (r *runner) keepListening(ctx context.Context, f Forward, l *away) {
	for {
		err := r.serveAway(ctx, f, l)
		if ctx.Err() != nil {
			return
		}
		if hopeless(err) {
			r.takenAway(f, err)
			return
		}
		r.emit(Event{Event: Lost, Forward: f, Err: err})
		if l, err = r.listenAgain(ctx, f, l.status); err != nil {
			if ctx.Err() == nil {
				r.takenAway(f, err)
			}
			return
		}
		r.emit(Event{Event: Ready, Forward: f, Address: l.status.Address})
	}
}

// listenAgain asks until the host listens where it did, ctx ends or it makes no
// sense any more.
func (r *runner) listenAgain(ctx context.Context, f Forward, before status) (*away, error) {
	f.Listen = before.Address // a free port that the host chose is what others have been told
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
		l, err := r.ask(ctx, f, before.Listener)
		if err == nil || ctx.Err() != nil || hopeless(err) {
			return l, err
		}
	}
}

// serveAway connects what the host announces until the stream ends.
func (r *runner) serveAway(ctx context.Context, f Forward, l *away) error {
	stop := context.AfterFunc(ctx, func() { _ = l.stream.Close() })
	defer stop()
	for last := uint64(0); ; {
		a, err := readArrival(l.stream, last)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = session.Errorf(Listen, session.Unavailable, "the peer has ended the listener")
			}
			_ = l.stream.Reset(err) // returns nil
			return err
		}
		last = a.Conn
		if !r.slot(ctx) {
			return ctx.Err()
		}
		r.conns.Go(func() {
			defer func() { <-r.slots }()
			r.take(ctx, f, l.status.Listener, a)
		})
	}
}

// take connects one announced connection to where this person said. It does so
// before asking for the bytes, so that there is a place for them.
func (r *runner) take(ctx context.Context, f Forward, listener uint64, a arrival) {
	e := Event{Forward: f, Address: Address{f.Listen.Network, a.From}, Target: f.Target}
	if a.From == "" { // an unnamed socket
		e.Address.Address = f.Listen.Address
	}
	dialling, cancel := context.WithTimeout(ctx, dialTimeout)
	conn, err := r.plan.Dialer.DialContext(dialling, f.Target.Network, f.Target.Address)
	cancel()
	if err != nil {
		err = failed(Connect, f.Target, err)
	}
	st, openErr := request(ctx, r.host, Listen, params{Listener: listener, Conn: a.Conn})
	switch {
	case err == nil && openErr == nil:
		open := true
		r.emit(Event{Event: Opened, Forward: f, Address: e.Address, Target: f.Target})
		r.carry(ctx, e, st, conn, new(traffic), &open, nil)
		return
	case err == nil:
		err = openErr
		abort(conn)
	case openErr == nil:
		_ = st.Reset(err) // returns nil; refuses the connection
	}
	e.Event, e.Err = Failed, err
	r.report(ctx, e)
}
