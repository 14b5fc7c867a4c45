package host

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"tandem/session"
	"tandem/session/identity"
	"tandem/session/link"
)

// pathPoll is how often a session without a path is looked at while another
// one is being made.
const pathPoll = 50 * time.Millisecond

// dial is one attempt to reach a peer, shared by all who want it.
type dial struct {
	done chan struct{}
	link *link.Link
	err  error
}

// errClosing is why nothing begins once the host is closing.
func errClosing(op string) error {
	return session.Errorf(op, session.Canceled, "tandem is closing")
}

// Dial finds the newest live session with a known peer or makes one. If the
// one there is has lost its path, a new one is made meanwhile, and whichever is
// ready first will do. The error's kind is NotFound for a stranger and
// Unavailable for a peer who isn't there.
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
	if s := h.usable(peer); s != nil {
		return s, nil
	}
	d, ok := h.dialing(entry)
	if !ok {
		return nil, errClosing("dial")
	}
	return h.await(ctx, d, peer)
}

// dialing is the attempt to reach a peer that is under way, or a new one.
func (h *Host) dialing(entry identity.Entry) (*dial, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d := h.dials[entry.ID]; d != nil {
		return d, true
	}
	d := &dial{done: make(chan struct{})}
	if !h.startLocked(func() { h.dial(d, entry) }) {
		return nil, false
	}
	h.dials[entry.ID] = d
	return d, true
}

// await waits for d, or for a session without a path to find one.
func (h *Host) await(ctx context.Context, d *dial, peer session.PeerID) (session.Session, error) {
	ticker := time.NewTicker(pathPoll)
	defer ticker.Stop()
	done := d.done
	var failed error
	var giveUp <-chan time.Time
	for {
		select {
		case <-done:
			if d.err == nil {
				return d.link, nil
			}
			if failed = d.err; len(h.links(peer)) == 0 {
				return nil, failed
			}
			done = nil
			timer := time.NewTimer(h.cfg.patience.recovery)
			defer timer.Stop()
			giveUp = timer.C
		case <-ticker.C:
			if s := h.usable(peer); s != nil {
				return s, nil
			}
		case <-giveUp:
			return nil, failed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// dial makes a link to entry, answers the waiting, and keeps the conversation
// for as long as the link lives.
func (h *Host) dial(d *dial, entry identity.Entry) {
	id := newConvID()
	ctx, cancel := h.whileOpen(h.cfg.patience.setup)
	defer cancel()
	ctx, absent := context.WithCancelCause(ctx)
	defer absent(nil)
	c := newConversation()
	var sent atomic.Int64
	c.send = func(ctx context.Context, envelope []byte) error {
		letter := sealedLetter{Conv: id[:], From: h.cfg.Device.ID(), New: !c.answered(), Body: envelope}
		to := []string{c.from()}
		if letter.New {
			to = h.mailboxes(entry)
		}
		// A peer who does not answer may be at the other one.
		err := h.sendSealed(ctx, entry.Contact, to, sent.Add(1) > 1, letter)
		if session.KindOf(err) == session.NotFound {
			// Every server we share says that nobody is there. During a session
			// that is a peer between two connections; before one, it is final.
			absent(&session.Error{
				Op: "dial", Kind: session.Unavailable, Text: entry.Alias + " isn't there now",
				Hint: "Is tandem running there, and registered with the same server?",
			})
		}
		return err
	}
	h.mu.Lock()
	h.conversations[id] = c
	h.mu.Unlock()
	defer h.forget(id, c)

	l, err := link.Dial(ctx, h.linkConfig(nil), entry.ID, c)
	var away *session.Error
	if err != nil && errors.As(context.Cause(ctx), &away) {
		err = away
	}
	h.mu.Lock()
	delete(h.dials, entry.ID)
	kept := err == nil && h.keepLocked(l, c.from(), c)
	h.mu.Unlock()
	if err == nil {
		h.announce(l, kept)
	}
	d.link, d.err = l, err
	close(d.done)
	if err == nil {
		<-l.Done()
	}
}

// mailboxes are where a peer may be, the likeliest first: where it was heard
// last, which is a second node of the same device if it isn't the one that the
// book names, and then that.
func (h *Host) mailboxes(entry identity.Entry) []string {
	h.mu.Lock()
	heard := h.heard[entry.ID]
	h.mu.Unlock()
	if heard == "" || heard == entry.Contact.Mailbox {
		return []string{entry.Contact.Mailbox}
	}
	return []string{heard, entry.Contact.Mailbox}
}

// sendSealed posts a sealed letter through every server, to the first of
// several mailboxes that takes it, or to all of them.
func (h *Host) sendSealed(ctx context.Context, contact identity.Contact, mailboxes []string, all bool, l sealedLetter) error {
	body, err := encodeSealed(contact, l)
	if err != nil {
		return err
	}
	var failed error
	taken := false
	for _, mailbox := range mailboxes {
		if err := h.send(ctx, "", mailbox, body); err != nil {
			failed = err
			continue
		}
		if taken = true; !all {
			break
		}
	}
	if taken {
		return nil
	}
	return failed
}
