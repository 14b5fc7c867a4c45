package signaling

import (
	"context"
	"sync"
)

// Nameplate is a short number that stands for our mailbox until it is released.
// It is asked for again after every reconnect.
type Nameplate struct {
	Server string // the server that chose it
	Number string // three to six digits

	c    *Client
	lost chan struct{} // closed when Server gave it to another mailbox, or on Release
	once sync.Once
}

// Nameplate gets a number at the first server that is connected, waiting for
// one as long as ctx allows, and tries for the same number at the others:
// a guest may use any of them. A server that has given the number to somebody else
// just does without.
func (c *Client) Nameplate(ctx context.Context) (*Nameplate, error) {
	conns, err := c.online(ctx, "nameplate")
	if err != nil {
		return nil, err
	}
	var firstErr error
	for i, live := range conns {
		reply, err := live.request(ctx, Message{Type: TypeNameplate})
		if err == nil && reply.Number == "" {
			err = fromServer("nameplate", reply)
		}
		if err != nil {
			if firstErr == nil {
				firstErr = err
			}
			continue
		}
		n := &Nameplate{Server: live.u.addr.String(), Number: reply.Number, c: c, lost: make(chan struct{})}
		c.mu.Lock()
		c.plates[n.Number] = n
		c.mu.Unlock()
		var others sync.WaitGroup
		for j, other := range conns {
			if j != i {
				others.Go(func() { other.claimPlate(ctx, n) })
			}
		}
		others.Wait()
		return n, nil
	}
	return nil, firstErr
}

// Lost is closed when the server that chose the number has given it to
// another mailbox, which happens only after it was restarted, or after a long
// time without a connection. Release closes it too.
func (n *Nameplate) Lost() <-chan struct{} { return n.lost }

// Release gives the number back. It does not wait for an answer.
func (n *Nameplate) Release() {
	n.c.mu.Lock()
	if n.c.plates[n.Number] == n {
		delete(n.c.plates, n.Number)
	}
	n.c.mu.Unlock()
	n.once.Do(func() {
		close(n.lost)
		for _, u := range n.c.servers {
			if live, _ := u.connection(); live != nil {
				live.tell(Message{Type: TypeRelease, Number: n.Number})
			}
		}
	})
}

// claimPlate asks for n's number on this connection.
func (k *conn) claimPlate(ctx context.Context, n *Nameplate) {
	_, err := k.request(ctx, Message{Type: TypeNameplate, Number: n.Number})
	if KindOf(err) == KindExists {
		k.u.c.lose(k.u, n.Number)
	}
}

// lose notes that a server gave a nameplate away. It matters only at the
// server that chose the number: the code was made for that one.
func (c *Client) lose(u *upstream, number string) {
	c.mu.Lock()
	n := c.plates[number]
	if n == nil || n.Server != u.addr.String() {
		c.mu.Unlock()
		return
	}
	delete(c.plates, number)
	c.mu.Unlock()
	n.once.Do(func() { close(n.lost) })
}

// restore tells a new connection what the client wants of every server.
func (k *conn) restore(ctx context.Context) {
	c := k.u.c
	c.mu.Lock()
	plates := make([]*Nameplate, 0, len(c.plates))
	for _, n := range c.plates {
		plates = append(plates, n)
	}
	watches := len(c.watched) > 0
	c.mu.Unlock()
	k.u.mu.Lock()
	relays := !k.u.relays.until.IsZero()
	k.u.mu.Unlock()
	if relays && k.eager == nil {
		_, _ = k.relays(ctx) // the old credentials may be as dead as the server that gave them
	}
	if watches {
		_ = k.watch(ctx) // what fails now is done again by the next connection
	}
	for _, n := range plates {
		k.claimPlate(ctx, n)
	}
}
