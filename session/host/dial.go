package host

import (
	"context"

	"tandem/session"
	"tandem/session/identity"
	"tandem/session/link"
)

// dial is one attempt to reach a peer, shared by all who want it.
type dial struct {
	done chan struct{}
	link *link.Link
	err  error
}

// Dial finds the newest live session with a known peer or makes one. The
// error's kind is NotFound for a stranger and Unavailable for a peer who isn't
// there.
func (h *Host) Dial(ctx context.Context, peer session.PeerID) (session.Session, error) {
	entry, known, err := h.cfg.Book.Get(peer)
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, &session.Error{
			Op: "dial", Kind: session.NotFound, Text: peer.Short() + " is not a known peer",
			Hint: "Join a share of theirs once, with a code or a link.",
		}
	}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, session.Errorf("dial", session.Canceled, "tandem is closing")
	}
	if live := h.sessions[peer]; len(live) > 0 {
		h.mu.Unlock()
		return live[len(live)-1], nil
	}
	d := h.dials[peer]
	if d == nil {
		d = &dial{done: make(chan struct{})}
		h.dials[peer] = d
		h.work.Go(func() { h.dial(d, entry) })
	}
	h.mu.Unlock()
	select {
	case <-d.done:
		if d.err != nil {
			return nil, d.err
		}
		return d.link, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// dial makes a link to entry, answers the waiting, and keeps the conversation
// for as long as the link lives.
func (h *Host) dial(d *dial, entry identity.Entry) {
	id := newConvID()
	ctx, cancel := h.whileOpen(setupTimeout)
	defer cancel()
	ctx, absent := context.WithCancelCause(ctx)
	send := h.letterTo(entry.Contact, "", entry.Contact.Mailbox, id, true)
	c := newConversation(func(ctx context.Context, envelope []byte) error {
		err := send(ctx, envelope)
		if session.KindOf(err) == session.NotFound {
			// Every server we share says that nobody is there. During a session
			// that is a peer between two connections; before one, it is final.
			absent(&session.Error{
				Op: "dial", Kind: session.Unavailable, Text: entry.Alias + " isn't there now",
				Hint: "Is tandem running there, and registered with the same server?",
			})
		}
		return err
	})
	h.mu.Lock()
	h.conversations[id] = c
	h.mu.Unlock()
	defer h.forget(id, c)

	l, err := link.Dial(ctx, h.linkConfig(nil), entry.ID, c)
	h.mu.Lock()
	delete(h.dials, entry.ID)
	h.mu.Unlock()
	if err != nil {
		d.err = err
		if cause := context.Cause(ctx); session.KindOf(cause) == session.Unavailable {
			d.err = cause
		}
		close(d.done)
		return
	}
	h.keep(l)
	d.link = l
	close(d.done)
	<-l.Done()
}
