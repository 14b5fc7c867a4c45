package signaling

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// Presence is which of the watched mailboxes are connected to at least one of
// our servers, as they say. Each state has a number of its own.
type Presence struct {
	Version uint64
	Online  []string // sorted
}

// Watch says which mailboxes Presence is about, at most MaxWatches; it
// replaces those watched so far. It tells the connected servers at once and the
// others when they are. An error means that a connected server has not agreed.
func (c *Client) Watch(ctx context.Context, mailboxes []string) error {
	if len(mailboxes) > MaxWatches {
		return &Error{Op: "watch", Kind: KindTooLarge, Text: "too many mailboxes"}
	}
	wanted := make(map[string]struct{}, len(mailboxes))
	for _, m := range mailboxes {
		if !ValidMailbox(m) {
			return &Error{Op: "watch", Kind: KindInvalid, Text: printable(m) + " is not a mailbox"}
		}
		wanted[m] = struct{}{}
	}
	c.mu.Lock()
	c.watched = wanted
	for _, u := range c.servers {
		for m := range u.present {
			if _, still := wanted[m]; !still {
				delete(u.present, m)
			}
		}
	}
	c.version++
	c.mu.Unlock()
	c.notify()
	var wg sync.WaitGroup
	errs := make([]error, len(c.servers))
	for i, u := range c.servers {
		if live, _ := u.connection(); live != nil {
			wg.Go(func() { errs[i] = live.watch(ctx) })
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}

// watch tells the server what is watched now.
func (k *conn) watch(ctx context.Context) error {
	k.watching.Lock() // so that the last to tell tells the latest
	defer k.watching.Unlock()
	k.u.c.mu.Lock()
	watched := keys(k.u.c.watched)
	k.u.c.mu.Unlock()
	_, err := k.request(ctx, Message{Type: TypeWatch, Mailboxes: watched})
	return err
}

// Presence waits until there is a state with a number above newer, and reports
// the present one. Pass 0 first, then the Version got last.
func (c *Client) Presence(ctx context.Context, newer uint64) (Presence, error) {
	for {
		c.mu.Lock()
		changed, p := c.changed, Presence{Version: c.version}
		if p.Version > newer {
			online := make(map[string]struct{})
			for _, u := range c.servers {
				for m := range u.present {
					online[m] = struct{}{}
				}
			}
			p.Online = keys(online)
			c.mu.Unlock()
			return p, nil
		}
		c.mu.Unlock()
		select {
		case <-changed:
		case <-c.done:
			return Presence{}, errClosed
		case <-ctx.Done():
			return Presence{}, &Error{Op: "presence", Kind: KindCanceled, Err: ctx.Err()}
		}
	}
}

// presence takes in what a server says about mailboxes we watch.
func (c *Client) presence(u *upstream, m Message) {
	c.mu.Lock()
	for _, mailbox := range m.Online {
		if _, ok := c.watched[mailbox]; ok {
			u.present[mailbox] = true
		}
	}
	for _, mailbox := range m.Offline {
		delete(u.present, mailbox)
	}
	c.version++
	c.mu.Unlock()
	c.notify()
}

// forget drops what a server said, now that we have lost it.
func (c *Client) forget(u *upstream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(u.present) > 0 {
		clear(u.present)
		c.version++
	}
}

func keys(set map[string]struct{}) []string {
	list := make([]string, 0, len(set))
	for k := range set {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}
