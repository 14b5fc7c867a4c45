package node

import (
	"cmp"
	"context"
	"path/filepath"
	"strings"

	"tandem/session"
	"tandem/session/audit"
	"tandem/session/identity"
)

// The most entries that Activity returns, and how many it does by itself.
const (
	maxActivity     = 1000
	defaultActivity = 100
)

// Activity returns entries of the audit log, the newest first, fit to be shown.
// There are no more when it returns none.
func (n *Node) Activity(ctx context.Context, q ActivityQuery) ([]AuditEntry, error) {
	if q.Limit < 0 {
		return nil, session.Errorf("activity", session.Invalid, "a limit of %d", q.Limit)
	}
	limit := min(cmp.Or(q.Limit, defaultActivity), maxActivity)
	is, err := aboutPeer(n.cfg.Home, q.Peer)
	if err != nil {
		return nil, err
	}
	entries, err := audit.Newest(ctx, n.cfg.Home.auditLog(), q.Before, limit, is)
	for i := range entries {
		entries[i] = entries[i].Printable()
	}
	return entries, err
}

// aboutPeer picks the entries about a peer, as people name peers or as it calls
// itself; "" picks all.
func aboutPeer(home Home, peer string) (func(AuditEntry) bool, error) {
	var id session.PeerID
	if peer != "" {
		book, err := identity.OpenBook(filepath.Join(home.State, "peers"))
		if err != nil {
			return nil, err
		}
		if entry, err := book.Find(peer); err == nil {
			id = entry.ID
		}
	}
	return func(e AuditEntry) bool {
		if peer == "" || !id.IsZero() && e.Peer == id || session.PrintableName(e.Name) == peer {
			return true
		}
		return len(peer) >= 4 && !e.Peer.IsZero() && strings.HasPrefix(e.Peer.String(), strings.ToLower(peer))
	}, nil
}
