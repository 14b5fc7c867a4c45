// Package grant decides who may do what. Nothing is allowed unless a grant
// says so: a Grant gives one peer some actions on one resource of one service
// until it ends, and a Table of grants is the session.Authorizer that every
// offer passes before its service sees it.
//
// A grant ends when it is revoked, when it expires or when its table closes.
// The Permit handed out for a stream is closed at that moment, and whoever
// serves the stream must end with it.
package grant

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"tandem/session"
)

// Right is some actions on one resource of one service. Names match exactly;
// there are no patterns, and no action implies another.
type Right struct {
	Service  string   `json:"service"`
	Resource string   `json:"resource,omitempty"`
	Actions  []string `json:"actions"`
}

func (r Right) covers(q session.Request) bool {
	return r.Service == q.Service && r.Resource == q.Resource && slices.Contains(r.Actions, q.Action)
}

// Grant is a set of rights given to one peer.
type Grant struct {
	peer   session.PeerID
	rights []Right
	table  *Table
	timer  *time.Timer // nil for a grant without expiry
	ended  chan struct{}
}

// Peer is who holds the grant.
func (g *Grant) Peer() session.PeerID { return g.peer }

// Rights are what it allows.
func (g *Grant) Rights() []Right { return g.rights }

// Ended is closed when the grant has been revoked or has expired.
func (g *Grant) Ended() <-chan struct{} { return g.ended }

// Revoke ends the grant and every permit given under it.
func (g *Grant) Revoke() {
	g.table.mu.Lock()
	defer g.table.mu.Unlock()
	g.table.end(g)
}

// Table holds the grants of one device. The zero Table is empty and ready.
type Table struct {
	mu     sync.Mutex
	grants []*Grant
	closed bool
}

// Give lets peer do what rights say until lifetime has passed; 0 is until
// revoked. It fails with Canceled once the table is closed.
func (t *Table) Give(peer session.PeerID, rights []Right, lifetime time.Duration) (*Grant, error) {
	g := &Grant{peer: peer, rights: slices.Clone(rights), table: t, ended: make(chan struct{})}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, session.Errorf("grant", session.Canceled, "the share has ended")
	}
	if lifetime > 0 {
		g.timer = time.AfterFunc(lifetime, g.Revoke)
	}
	t.grants = append(t.grants, g)
	return g, nil
}

// end removes g if it is still there. The lock is held.
func (t *Table) end(g *Grant) {
	i := slices.Index(t.grants, g)
	if i < 0 {
		return
	}
	t.grants = slices.Delete(t.grants, i, i+1)
	if g.timer != nil {
		g.timer.Stop()
	}
	close(g.ended)
}

// Allow permits r if a live grant of its peer covers it. The error of anything
// else has kind Denied and doesn't tell what exists.
func (t *Table) Allow(_ context.Context, r session.Request) (session.Permit, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, g := range t.grants {
		if g.peer != r.Peer {
			continue
		}
		for _, right := range g.rights {
			if right.covers(r) {
				return session.Permit{Revoked: g.ended}, nil
			}
		}
	}
	return session.Permit{}, session.Errorf("allow", session.Denied, "you have not been granted %q on %s", r.Action, name(r))
}

// name is what r is about, without the version of its service: "folder work".
func name(r session.Request) string {
	service, _, _ := strings.Cut(r.Service, "/")
	if r.Resource == "" {
		return session.Printable(service)
	}
	return session.Printable(service + " " + r.Resource)
}

// Rights lists what peer may do at this moment, ordered by service and
// resource.
func (t *Table) Rights(peer session.PeerID) []Right {
	t.mu.Lock()
	defer t.mu.Unlock()
	var rights []Right
	for _, g := range t.grants {
		if g.peer == peer {
			rights = append(rights, g.rights...)
		}
	}
	slices.SortFunc(rights, func(a, b Right) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Resource, b.Resource))
	})
	return rights
}

// RevokePeer ends every grant of peer and says how many there were.
func (t *Table) RevokePeer(peer session.PeerID) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	var n int
	for _, g := range slices.Clone(t.grants) {
		if g.peer == peer {
			t.end(g)
			n++
		}
	}
	return n
}

// Close ends every grant and refuses new ones.
func (t *Table) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, g := range slices.Clone(t.grants) {
		t.end(g)
	}
}
