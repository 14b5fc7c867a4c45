package server

import (
	"context"
	"errors"
	"slices"
	"time"

	"tandem/signaling"
	"tandem/signaling/bus"
)

// requestTimeout bounds what one request may wait for the bus or for relay
// credentials.
const requestTimeout = 5 * time.Second

// handle does what m asks. An error goes back to the client.
func (c *client) handle(m signaling.Message) error {
	if m.Type == signaling.TypePing {
		c.answer(signaling.Message{Type: signaling.TypePong, ID: m.ID, Time: time.Now().UnixMilli()})
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	switch m.Type {
	case signaling.TypeSend:
		return c.send(ctx, m)
	case signaling.TypeNameplate:
		return c.nameplate(ctx, m)
	case signaling.TypeRelease:
		return c.release(ctx, m)
	case signaling.TypeWatch:
		return c.watch(ctx, m)
	case signaling.TypeRelay:
		return c.relay(ctx, m)
	}
	return &signaling.Error{Kind: signaling.KindUnsupported, Text: "this server does not know that request"}
}

// answerError reports a failed request. One without an id gets no answer,
// for that would end the connection.
func (c *client) answerError(m signaling.Message, err error) {
	e := asError(err)
	c.s.metrics.requests.WithLabelValues(requestLabel(m.Type), e.Kind).Inc()
	if m.ID != 0 {
		c.answer(signaling.Message{Type: signaling.TypeError, ID: m.ID, Kind: e.Kind, Text: e.Text})
	}
}

// requestLabel is a type of request as a metrics label, which no client can
// make up.
func requestLabel(kind string) string {
	switch kind {
	case signaling.TypeSend, signaling.TypeNameplate, signaling.TypeRelease, signaling.TypeWatch,
		signaling.TypeRelay, signaling.TypePing:
		return kind
	}
	return "unknown"
}

// asError makes of any error one that may be shown to a client.
func asError(err error) *signaling.Error {
	var e *signaling.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, bus.ErrNobody):
		return &signaling.Error{Kind: signaling.KindNotFound, Text: "nobody is there"}
	case errors.Is(err, bus.ErrTaken):
		return &signaling.Error{Kind: signaling.KindExists, Text: "the nameplate is taken"}
	case errors.Is(err, bus.ErrStale):
		return &signaling.Error{Kind: signaling.KindReplaced, Text: "a newer connection has the mailbox"}
	case errors.Is(err, bus.ErrFull):
		return &signaling.Error{Kind: signaling.KindBusy, Text: "too much is waiting there already"}
	case errors.Is(err, context.DeadlineExceeded):
		return &signaling.Error{Kind: signaling.KindTimeout, Text: "it took too long"}
	}
	return &signaling.Error{Kind: signaling.KindInternal, Text: "the server failed"}
}

func (c *client) send(ctx context.Context, m signaling.Message) error {
	to := m.To
	if number, ok := signaling.PlateNumber(m.To); ok {
		if !c.s.guesses.left(c.ip) {
			return &signaling.Error{Kind: signaling.KindBusy, Text: "too many wrong codes from your address"}
		}
		holder, err := c.s.bus.Lookup(ctx, number)
		if errors.Is(err, bus.ErrNobody) {
			c.s.guesses.allow(c.ip, 1)
			return &signaling.Error{Kind: signaling.KindNotFound, Text: "nobody holds nameplate " + number}
		}
		if err != nil {
			return err
		}
		to = holder
	}
	if err := c.s.bus.Publish(ctx, to, bus.Message{From: c.mailbox, Body: m.Body}); err != nil {
		return err
	}
	c.s.metrics.bytes.Add(float64(len(m.Body)))
	if m.ID != 0 {
		c.answer(signaling.Message{Type: signaling.TypeSent, ID: m.ID})
	}
	return nil
}

func (c *client) nameplate(ctx context.Context, m signaling.Message) error {
	if !c.s.plates.allow(c.ip, 1) {
		return &signaling.Error{Kind: signaling.KindBusy, Text: "too many nameplates from your address"}
	}
	c.mu.Lock()
	known, held := m.Number != "" && slices.Contains(c.plates, m.Number), len(c.plates)
	c.mu.Unlock()
	if !known && held >= c.s.limits.Nameplates {
		return &signaling.Error{Kind: signaling.KindBusy, Text: "your mailbox has all the nameplates it may have"}
	}
	number := m.Number
	var err error
	if number == "" {
		number, err = c.pick(ctx)
	} else {
		err = c.s.bus.Claim(ctx, number, c.mailbox, c.s.limits.NameplateGrace)
	}
	if err != nil {
		return err
	}
	if !known {
		c.mu.Lock()
		c.plates = append(c.plates, number)
		c.mu.Unlock()
	}
	c.answer(signaling.Message{Type: signaling.TypeNameplate, ID: m.ID, Number: number})
	return nil
}

// pick claims a free number of the shortest length that is at most half taken.
func (c *client) pick(ctx context.Context) (string, error) {
	space := 900 // numbers of three digits: 100 to 999
	for digits := signaling.MinDigits; digits <= signaling.MaxDigits; digits, space = digits+1, space*10 {
		taken, err := c.s.bus.Claimed(ctx, digits)
		if err != nil {
			return "", err
		}
		if taken > space/2 {
			continue
		}
		for range 16 { // half are free at least: 16 misses in a row are 1 in 65,536
			number := randomNumber(digits)
			// A number of our own that is in its time of grace is not a fresh one.
			if _, err := c.s.bus.Lookup(ctx, number); err == nil {
				continue
			}
			err := c.s.bus.Claim(ctx, number, c.mailbox, c.s.limits.NameplateGrace)
			if !errors.Is(err, bus.ErrTaken) {
				return number, err
			}
		}
	}
	return "", &signaling.Error{Kind: signaling.KindBusy, Text: "no nameplate is free"}
}

func (c *client) release(ctx context.Context, m signaling.Message) error {
	c.mu.Lock()
	c.plates = slices.DeleteFunc(c.plates, func(n string) bool { return n == m.Number })
	c.mu.Unlock()
	if err := c.s.bus.Release(ctx, m.Number, c.mailbox); err != nil {
		return err
	}
	if m.ID != 0 {
		c.answer(signaling.Message{Type: signaling.TypeReleased, ID: m.ID, Number: m.Number})
	}
	return nil
}

// renew extends the leases of the client's nameplates.
func (c *client) renew() {
	c.mu.Lock()
	plates := slices.Clone(c.plates)
	c.mu.Unlock()
	if len(plates) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	for _, number := range plates {
		err := c.s.bus.Claim(ctx, number, c.mailbox, c.s.limits.NameplateGrace)
		if !errors.Is(err, bus.ErrTaken) {
			continue // held, or the bus is in trouble and may recover
		}
		c.mu.Lock()
		c.plates = slices.DeleteFunc(c.plates, func(n string) bool { return n == number })
		c.mu.Unlock()
		c.post(signaling.Message{Type: signaling.TypeReleased, Number: number})
	}
}

func (c *client) watch(ctx context.Context, m signaling.Message) error {
	wanted := make(map[string]struct{}, len(m.Mailboxes))
	for _, mailbox := range m.Mailboxes {
		wanted[mailbox] = struct{}{}
	}
	if len(wanted) > c.s.limits.Watches {
		return &signaling.Error{Kind: signaling.KindTooLarge, Text: "too many mailboxes to watch"}
	}
	more := int64(len(wanted) - len(c.watched))
	if c.s.watches.Add(more) > int64(c.s.limits.AllWatches) && more > 0 {
		c.s.watches.Add(-more)
		return &signaling.Error{Kind: signaling.KindBusy, Text: "the server watches all it can"}
	}
	before := c.watched
	c.watched = wanted
	if m.ID != 0 {
		c.answer(signaling.Message{Type: signaling.TypeWatching, ID: m.ID})
	}
	for mailbox := range before {
		if _, still := wanted[mailbox]; !still {
			c.s.bus.Unwatch(mailbox, c)
			c.mu.Lock()
			delete(c.news, mailbox)
			c.mu.Unlock()
		}
	}
	for mailbox := range wanted {
		if _, already := before[mailbox]; already {
			continue
		}
		if err := c.s.bus.Watch(ctx, mailbox, c); err != nil {
			return err
		}
	}
	return nil
}

func (c *client) relay(ctx context.Context, m signaling.Message) error {
	var relays []signaling.Relay
	if c.s.cfg.Relays != nil {
		if !c.s.relays.allow(c.ip, 1) {
			return &signaling.Error{Kind: signaling.KindBusy, Text: "too many requests for relays from your address"}
		}
		var err error
		if relays, err = c.s.cfg.Relays(ctx, c.mailbox); err != nil {
			c.s.log.Warn("no relay credentials", "err", err)
			return &signaling.Error{Kind: signaling.KindUnavailable, Text: "the server has no relay credentials to give"}
		}
	}
	c.answer(signaling.Message{Type: signaling.TypeRelays, ID: m.ID, Relays: relays})
	return nil
}
