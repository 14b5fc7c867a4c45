package forward

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"tandem/session"
)

// maxConns is how many connections all forwards of one Run carry at a time;
// further ones wait in the queues of those who listen.
const maxConns = 2048

// What an Event tells.
const (
	Ready  = "ready"  // Address: where it listens in fact
	Lost   = "lost"   // Err: a Remote forward has lost its listener and tries to get it back
	Failed = "failed" // Err: one connection from Address came to nothing; or, for a Remote forward without Address, all of it
	Opened = "opened" // Address: who has connected; Target: to what
	Closed = "closed" // Address, Target, Sent, Received, and Err unless it ended well
)

// Event is something that happens to a forward.
type Event struct {
	Event   string
	Forward Forward
	Address Address
	Target  Address
	Err     error
	// Sent and Received are the bytes of one connection, to the peer and from
	// it.
	Sent, Received uint64
}

// Plan is what a person wants forwarded.
type Plan struct {
	Forwards []Forward
	// Open lets a Dynamic forward listen where others than this device reach
	// it: whoever does uses the peer's network.
	Open bool
	// Events is told what happens, one event at a time; nil is nobody.
	Events func(Event)
	// Dialer makes the connections of Remote forwards; nil is the system's.
	Dialer Dialer
}

// Totals are the connections of a Run so far: those that came about, those that
// didn't, and the bytes to the peer and from it.
type Totals struct {
	Connections uint64 `json:"connections"`
	Failed      uint64 `json:"failed"`
	Sent        uint64 `json:"sent"`
	Received    uint64 `json:"received"`
}

// Run forwards until ctx ends, and then returns nil. It fails before anything
// is ready if one of the forwards can't be, and later only when all of them
// have been taken away by the host. Local forwards outlive a session: each
// connection opens its own stream. Remote ones listen again.
func Run(ctx context.Context, host Opener, plan Plan) (Totals, error) {
	if plan.Dialer == nil {
		plan.Dialer = &net.Dialer{}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &runner{host: host, plan: plan, slots: make(chan struct{}, maxConns), left: len(plan.Forwards), gone: make(chan error, 1)}
	starts, err := r.prepare(ctx)
	if err != nil {
		return Totals{}, err
	}
	var serving sync.WaitGroup
	for i, start := range starts {
		r.emit(Event{Event: Ready, Forward: plan.Forwards[i], Address: start.address})
	}
	for _, start := range starts {
		serving.Go(func() { start.serve(ctx) })
	}
	select {
	case <-ctx.Done():
	case err = <-r.gone:
	}
	cancel()
	serving.Wait()
	r.conns.Wait()
	return Totals{r.opened.Load(), r.failed.Load(), r.total.sent.Load(), r.total.received.Load()}, err
}

// runner is one Run.
type runner struct {
	host  Opener
	plan  Plan
	slots chan struct{} // has a token for each connection
	conns sync.WaitGroup

	opened, failed atomic.Uint64
	total          traffic

	telling sync.Mutex // held while Plan.Events runs
	mu      sync.Mutex
	left    int        // forwards that have not been taken away
	gone    chan error // why the last one was
}

// started is a forward that is ready to be served.
type started struct {
	address Address
	serve   func(context.Context)
	abandon func() // instead of serve
}

func (r *runner) emit(e Event) {
	switch e.Event {
	case Opened:
		r.opened.Add(1)
	case Failed:
		if !e.Address.IsZero() {
			r.failed.Add(1)
		}
	}
	if r.plan.Events == nil {
		return
	}
	r.telling.Lock()
	defer r.telling.Unlock()
	r.plan.Events(e)
}

// prepare makes every forward ready, or none.
func (r *runner) prepare(ctx context.Context) ([]started, error) {
	starts := make([]started, len(r.plan.Forwards))
	errs := make([]error, len(r.plan.Forwards))
	// What is wrong here shows before the peer is asked for anything.
	for i, f := range r.plan.Forwards {
		if f.Kind != Remote {
			starts[i], errs[i] = r.listen(ctx, f)
		}
	}
	if errors.Join(errs...) == nil {
		var asking sync.WaitGroup
		for i, f := range r.plan.Forwards {
			asking.Go(func() {
				if f.Kind == Remote {
					starts[i], errs[i] = r.listenThere(ctx, f)
				} else {
					errs[i] = r.probe(ctx, f)
				}
			})
		}
		asking.Wait()
	}
	for _, err := range errs {
		if err == nil {
			continue
		}
		for _, start := range starts {
			if start.abandon != nil {
				start.abandon()
			}
		}
		return nil, err
	}
	return starts, nil
}

// probe reports what will not change: the peer can't be met, or it refuses.
// Where nothing listens now, something may later.
func (r *runner) probe(ctx context.Context, f Forward) error {
	err := Probe(ctx, r.host, f.Target)
	switch ReasonOf(err) {
	case Refused, Unreachable, TimedOut, NoSocket:
		return nil
	}
	return err
}

// listen makes a forward that listens here.
func (r *runner) listen(ctx context.Context, f Forward) (started, error) {
	ln, err := r.listenHere(ctx, f)
	if err != nil {
		return started{}, hinted(Listen, f.Listen, failed(Listen, f.Listen, err))
	}
	handle := func(ctx context.Context, conn net.Conn) { r.forward(ctx, f, f.Target, conn) }
	if f.Kind == Dynamic {
		handle = r.socks(f)
	}
	return started{
		address: addressOf(ln.Addr()),
		serve:   func(ctx context.Context) { r.accept(ctx, ln, handle) },
		abandon: func() { _ = ln.Close() },
	}, nil
}

func (r *runner) listenHere(ctx context.Context, f Forward) (net.Listener, error) {
	if f.Listen.Network == Unix {
		return listenAt(ctx, f.Listen)
	}
	host, port, err := f.Listen.split()
	if err != nil {
		return nil, err
	}
	addrs, err := listenAddrs(host)
	if err != nil {
		return nil, err
	}
	if f.Kind == Dynamic && !r.plan.Open && !addrs[0].IsLoopback() {
		return nil, &session.Error{
			Op: Listen, Kind: session.Invalid, Text: "a proxy on " + f.Listen.String() + " would let others use the peer's network",
			Hint: "Leave the address out to listen on localhost, or add --open if others may.",
		}
	}
	return listenFirst(ctx, addrs, port)
}

// listenFirst listens on the first address that this device has.
func listenFirst(ctx context.Context, addrs []netip.Addr, port uint16) (ln net.Listener, err error) {
	for _, addr := range addrs {
		if ln, err = listenAt(ctx, TCPAddress(addr.String(), port)); err == nil || !is(err, errNotAvailable) && !is(err, errUnreachable) {
			break
		}
	}
	return ln, err
}

// accept serves the connections of a listener until ctx ends.
func (r *runner) accept(ctx context.Context, ln net.Listener, handle func(context.Context, net.Conn)) {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	for r.slot(ctx) {
		conn, err := ln.Accept()
		if err == nil {
			r.conns.Go(func() {
				defer func() { <-r.slots }()
				handle(ctx, conn)
			})
			continue
		}
		<-r.slots
		select {
		case <-ctx.Done():
		case <-time.After(acceptAgain): // out of files, most likely
		}
	}
}

// slot waits until there may be one more connection, or ctx has ended.
func (r *runner) slot(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case r.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// forward carries one connection to a target at the peer. Its first bytes
// leave without waiting for the peer's answer.
func (r *runner) forward(ctx context.Context, f Forward, target Address, conn net.Conn) {
	from := addressOf(conn.RemoteAddr())
	st, err := request(ctx, r.host, Connect, params{Address: target})
	if err != nil {
		abort(conn)
		r.report(ctx, Event{Event: Failed, Forward: f, Address: from, Target: target, Err: hinted(Connect, target, err)})
		return
	}
	open := false
	r.carry(ctx, Event{Forward: f, Address: from, Target: target}, st, conn, new(traffic), &open, func() error {
		_, err := readStatus(st, Connect)
		if err != nil {
			return hinted(Connect, target, err)
		}
		open = true
		r.emit(Event{Event: Opened, Forward: f, Address: from, Target: target})
		return nil
	})
}

// carry splices, and reports how it ended: Closed if it had been open, Failed
// otherwise. T has what has passed already.
func (r *runner) carry(ctx context.Context, e Event, st session.Stream, conn net.Conn, t *traffic, open *bool, first func() error) {
	e.Err = splice(ctx, st, conn, t, first)
	e.Event, e.Sent, e.Received = Closed, t.sent.Load(), t.received.Load()
	r.total.sent.Add(e.Sent)
	r.total.received.Add(e.Received)
	if !*open {
		e.Event = Failed
	}
	r.report(ctx, e)
}

// report emits what is not merely the end of everything.
func (r *runner) report(ctx context.Context, e Event) {
	if e.Event == Failed && ctx.Err() != nil {
		return
	}
	r.emit(e)
}

// takenAway notes that the host has ended a forward for good.
func (r *runner) takenAway(f Forward, err error) {
	r.emit(Event{Event: Failed, Forward: f, Err: err})
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left--; r.left == 0 {
		r.gone <- err
	}
}
