package node

import (
	"context"
	"errors"

	"tandem/session"
	"tandem/session/audit"
	"tandem/session/identity"
)

// Self is this device.
func (n *Node) Self(context.Context) (Self, error) {
	return Self{
		Peer: session.Peer{ID: n.device.ID(), Name: n.device.Name()}, Words: identity.Words(n.device.ID()),
		Home: n.cfg.Home.State, Servers: n.post.status(), Version: n.cfg.Version,
	}, nil
}

// Dismiss takes back everything that a peer was granted, and ends its session.
// What it has started here has ended when Dismiss returns. The same goes for second
// nodes.
func (n *Node) Dismiss(ctx context.Context, peer string) error {
	entry, err := n.book.Find(peer)
	if err != nil {
		return err
	}
	return errors.Join(n.dismiss(entry), n.dismissBeside(ctx, entry))
}

func (n *Node) dismiss(entry identity.Entry) error {
	if n.grants.RevokePeer(entry.ID) > 0 {
		n.services.revoke(entry.ID, nil)
		who := session.Peer{ID: entry.ID, Name: entry.Name}
		if err := n.record(audit.Revoked, who, "", "everything it was granted"); err != nil {
			n.cfg.Log.Error("audit", "error", err) // less is allowed now, not more
		}
	}
	return n.host.Leave(entry.ID)
}

// Forget dismisses a peer and forgets that it was ever known: to meet it again
// takes another invite.
func (n *Node) Forget(ctx context.Context, peer string) error {
	entry, err := n.book.Find(peer)
	if err != nil {
		return err
	}
	if err := n.dismissBeside(ctx, entry); err != nil {
		return err
	}
	if err := errors.Join(n.book.Remove(entry.ID), n.dismiss(entry)); err != nil {
		return err
	}
	n.emit(Event{Event: EventKnown, Peer: &session.Peer{ID: entry.ID, Name: entry.Name}})
	return nil
}

// Rename gives a peer another alias. An alias that another peer has is an error
// of kind Integrity.
func (n *Node) Rename(_ context.Context, peer, alias string) error {
	entry, err := n.book.Find(peer)
	if err != nil {
		return err
	}
	if alias == "" {
		return session.Errorf("rename", session.Invalid, "a peer needs a name")
	}
	if _, err := n.book.Add(identity.Entry{ID: entry.ID, Alias: alias}); err != nil {
		return err
	}
	n.emit(Event{Event: EventKnown, Peer: &session.Peer{ID: entry.ID, Name: entry.Name}})
	return nil
}
