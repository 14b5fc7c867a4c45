package signaling

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// conn is one claimed connection to a server.
type conn struct {
	u   *upstream
	ws  *websocket.Conn
	out chan []byte   // messages for the writer
	rtt time.Duration // of connecting

	skew     time.Duration
	observed string

	ended chan struct{} // closed when the connection is over
	// eager is closed by the answer to the request for relays that left with the
	// claim. Nil if there was none.
	eager    chan struct{}
	answered bool // eager is closed; the reader's own

	watching sync.Mutex // held while the server is told what to watch

	mu      sync.Mutex
	last    uint64 // the last request's id
	pending map[uint64]chan Message
	drain   time.Duration // the server asked us to come back after this; 0 if not
}

// serve runs the connection until it fails, the server ends it or ctx ends.
func (k *conn) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var work sync.WaitGroup
	work.Go(func() { cancel(k.write(ctx)) })
	work.Go(func() { cancel(k.ping(ctx)) })
	work.Go(func() { k.restore(ctx) })
	err := k.read(ctx, cancel)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	cancel(err)
	close(k.ended)
	_ = k.ws.CloseNow() // it has failed already
	work.Wait()
	return err
}

// over reports whether the connection has ended.
func (k *conn) over() bool {
	select {
	case <-k.ended:
		return true
	default:
		return false
	}
}

// read handles what the server sends. Whatever it sends, memory stays bounded:
// queues have limits, and answers nobody waits for are ignored.
func (k *conn) read(ctx context.Context, cancel context.CancelCauseFunc) error {
	for {
		m, err := readMessage(ctx, k.ws)
		if err != nil {
			return &Error{Op: "receive", Kind: KindUnavailable, Text: "the connection to " + k.u.addr.String() + " broke", Err: err}
		}
		switch {
		case m.Type == TypeMessage:
			k.u.c.deliver(k.u, Envelope{Server: k.u.addr.String(), From: m.From, Body: m.Body})
		case m.Type == TypePresence:
			k.u.c.presence(k.u, m)
		case m.Type == TypeReleased && m.ID == 0:
			k.u.c.lose(k.u, m.Number)
		case m.Type == TypeDraining:
			k.draining(ctx, time.Duration(m.AfterMS)*time.Millisecond, cancel)
		case m.ID == eagerID && k.eager != nil:
			k.answerEager(m)
		case m.ID != 0:
			k.answer(m)
		case m.Type == TypeError:
			return fromServer("connect", m)
		}
	}
}

// draining notes when to leave, once.
func (k *conn) draining(ctx context.Context, after time.Duration, cancel context.CancelCauseFunc) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.drain != 0 {
		return
	}
	k.drain = max(after, time.Millisecond)
	timer := time.AfterFunc(k.drain, func() {
		cancel(&Error{Op: "connect", Kind: KindUnavailable, Text: k.u.addr.String() + " is going away"})
	})
	context.AfterFunc(ctx, func() { timer.Stop() })
}

// comeBack is how long to stay away after the connection ended, or 0 for as
// long as usual.
func (k *conn) comeBack() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.drain == 0 {
		return 0
	}
	return firstRetry + rand.N(firstRetry)
}

// answerEager takes the answer to the request that left with the claim.
func (k *conn) answerEager(m Message) {
	if k.answered {
		return
	}
	k.answered = true
	if m.Type == TypeRelays {
		k.keep(m.Relays)
	}
	close(k.eager)
}

func (k *conn) answer(m Message) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if waiter, ok := k.pending[m.ID]; ok {
		delete(k.pending, m.ID)
		waiter <- m // has room for one
	}
}

func (k *conn) write(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case data := <-k.out:
			wctx, cancel := context.WithTimeout(ctx, writeTimeout)
			err := k.ws.Write(wctx, websocket.MessageText, data)
			cancel()
			if err != nil {
				return &Error{Op: "send", Kind: KindUnavailable, Text: "the connection to " + k.u.addr.String() + " broke", Err: err}
			}
		}
	}
}

// ping measures the round trip and notices dead connections.
func (k *conn) ping(ctx context.Context) error {
	ticker := time.NewTicker(pingInterval)
	defer ticker.Stop()
	for {
		start := time.Now()
		pctx, cancel := context.WithTimeout(ctx, pingTimeout)
		_, err := k.request(pctx, Message{Type: TypePing})
		cancel()
		if err == nil {
			k.u.mu.Lock()
			k.u.rtt = time.Since(start)
			k.u.mu.Unlock()
		}
		if KindOf(err) == KindTimeout {
			return &Error{Op: "connect", Kind: KindTimeout, Text: k.u.addr.String() + " does not answer any more"}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// request sends m with an id of its own and waits for the answer, which is
// an error if the server says so.
func (k *conn) request(ctx context.Context, m Message) (Message, error) {
	ctx, cancel := context.WithTimeout(ctx, replyTimeout)
	defer cancel()
	waiter := make(chan Message, 1)
	k.mu.Lock()
	k.last++
	m.ID = k.last
	k.pending[m.ID] = waiter
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		delete(k.pending, m.ID)
		k.mu.Unlock()
	}()
	data, err := Encode(m)
	if err != nil {
		return Message{}, err
	}
	var reply Message
	select {
	case k.out <- data:
		select {
		case reply = <-waiter:
		case <-k.ended:
			return Message{}, errLost
		case <-ctx.Done():
			return Message{}, k.gaveUp(m.Type, ctx.Err())
		}
	case <-k.ended:
		return Message{}, errLost
	case <-ctx.Done():
		return Message{}, k.gaveUp(m.Type, ctx.Err())
	}
	if want := replyTo(m.Type); reply.Type != want {
		return Message{}, fromServer(m.Type, reply)
	}
	return reply, nil
}

// tell sends m and waits for no answer, only for room.
func (k *conn) tell(m Message) {
	data, err := Encode(m)
	if err != nil {
		return
	}
	select {
	case k.out <- data:
	case <-k.ended:
	}
}

func (k *conn) gaveUp(op string, err error) error {
	if errors.Is(err, context.Canceled) {
		return &Error{Op: op, Kind: KindCanceled, Text: "given up", Err: err}
	}
	return &Error{Op: op, Kind: KindTimeout, Text: k.u.addr.String() + " has not answered in time", Err: err}
}

// replyTo is the type of message that answers a request.
func replyTo(request string) string {
	switch request {
	case TypeSend:
		return TypeSent
	case TypeNameplate:
		return TypeNameplate
	case TypeRelease:
		return TypeReleased
	case TypeWatch:
		return TypeWatching
	case TypeRelay:
		return TypeRelays
	}
	return TypePong
}

// deliver puts an envelope into u's inbox, unless that is full.
func (c *Client) deliver(u *upstream, e Envelope) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(u.inbox) >= c.queue {
		u.dropped++
		return
	}
	u.inbox = append(u.inbox, e)
	c.ring()
}
