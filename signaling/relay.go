package signaling

import (
	"context"
	"slices"
	"sync"
	"time"
)

// relayCache is what a server last gave us, and until when to use it. It
// outlives the connection, for the time there is none, and is asked for again
// by the next one.
type relayCache struct {
	relays []Relay
	until  time.Time
}

// defaultRelayTTL is how long credentials without a ttl are kept.
const defaultRelayTTL = time.Hour

// Relays is the relays of all connected servers, with credentials that last for at
// least half of their time. Servers that fail to answer are left out; it is
// an error if all fail or none is connected before ctx ends. No relays at all are no
// error.
func (c *Client) Relays(ctx context.Context) ([]Relay, error) {
	var all []Relay
	var ask []*conn
	cached := false
	for _, u := range c.servers {
		u.mu.Lock()
		switch {
		case time.Now().Before(u.relays.until):
			all = append(all, u.relays.relays...)
			cached = true
		case u.live != nil:
			ask = append(ask, u.live)
		}
		u.mu.Unlock()
	}
	if !cached && len(ask) == 0 {
		var err error
		if ask, err = c.online(ctx, "relays"); err != nil {
			return nil, err
		}
	}
	answers := make([][]Relay, len(ask))
	errs := make([]error, len(ask))
	var wg sync.WaitGroup
	for i, live := range ask {
		wg.Go(func() { answers[i], errs[i] = live.relays(ctx) })
	}
	wg.Wait()
	failed := 0
	for i := range ask {
		if errs[i] != nil {
			failed++
		}
		all = append(all, answers[i]...)
	}
	if !cached && failed == len(ask) {
		return nil, errs[0]
	}
	return slices.Clone(all), nil
}

// eagerID is the id of the request for relays that leaves with the claim.
const eagerID = 1

// relays asks the server for relays and keeps them, unless it has been asked
// already and is about to answer.
func (k *conn) relays(ctx context.Context) ([]Relay, error) {
	if k.eager != nil {
		if err := k.awaitEager(ctx); err != nil {
			return nil, err
		}
		k.u.mu.Lock()
		known := k.u.relays
		k.u.mu.Unlock()
		if time.Now().Before(known.until) {
			return known.relays, nil
		}
	}
	reply, err := k.request(ctx, Message{Type: TypeRelay})
	if err != nil {
		return nil, err
	}
	k.keep(reply.Relays)
	return reply.Relays, nil
}

func (k *conn) awaitEager(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, replyTimeout)
	defer cancel()
	select {
	case <-k.eager:
		return nil
	case <-k.ended:
		return errLost
	case <-ctx.Done():
		return k.gaveUp(TypeRelay, ctx.Err())
	}
}

// keep notes what the server has given us.
func (k *conn) keep(relays []Relay) {
	ttl := defaultRelayTTL
	for _, r := range relays {
		if r.TTL > 0 {
			ttl = min(ttl, time.Duration(r.TTL)*time.Second)
		}
	}
	k.u.mu.Lock()
	k.u.relays = relayCache{relays, time.Now().Add(ttl / 2)}
	k.u.mu.Unlock()
}
