package node

import (
	"context"
	"slices"
	"sync"
	"time"

	"tandem/session"
	"tandem/session/audit"
	"tandem/session/grant"
	"tandem/session/host"
	"tandem/session/identity"
)

// shares are those of a node that have not ended.
type shares struct {
	register[*running]

	access sync.Mutex // to what is granted
	once   []*visit
}

// running is a share from its start to its end.
type running struct {
	id      string
	share   Share
	shared  Shared
	started time.Time
	invite  *host.Invite
	setup   *setup
	ending  sync.Once

	// Guarded by shares.access:
	spent  string
	guests []*visitor
	grants sync.WaitGroup // until what was started under each has ended
	over   bool
}

// visitor is a guest of one share.
type visitor struct {
	peer   session.Peer
	since  time.Time
	grants []*grant.Grant
}

// visit is a grant that lasts as long as its holder's connection.
type visit struct {
	*grant.Grant
	begun bool // there has been a session since
}

func (r *running) named() string { return r.id }

func (r *running) number() string { return r.invite.Nameplate() }

// give grants what an answer says. What the peer has started ends with it,
// whether or not it is connected then.
func (s *shares) give(n *Node, r *running, peer session.Peer, a Answer) error {
	s.access.Lock()
	defer s.access.Unlock()
	if r.over {
		return session.Errorf("grant", session.Canceled, "the share has ended")
	}
	g, err := n.grants.Give(peer.ID, a.Rights, 0)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(r.guests, func(v *visitor) bool { return v.peer.ID == peer.ID })
	if i < 0 {
		i = len(r.guests)
		r.guests = append(r.guests, &visitor{peer: peer, since: time.Now()})
	}
	r.guests[i].grants = append(r.guests[i].grants, g)
	if a.Once {
		s.once = append(s.once, &visit{Grant: g})
	}
	r.grants.Add(1)
	n.work.Go(func() {
		defer r.grants.Done()
		<-g.Ended()
		n.services.revoke(peer.ID, n.grants.Rights(peer.ID))
	})
	return nil
}

// came notes that a peer who was let in for one visit has a session.
func (s *shares) came(peer session.PeerID) {
	s.access.Lock()
	defer s.access.Unlock()
	for _, v := range s.once {
		v.begun = v.begun || v.Peer() == peer
	}
}

// left ends the visit of a peer that has no session any more. One that never
// had any is over if it missed its chance.
func (s *shares) left(peer session.PeerID, missed bool) {
	s.access.Lock()
	defer s.access.Unlock()
	s.once = slices.DeleteFunc(s.once, func(v *visit) bool {
		if v.Peer() != peer || !v.begun && !missed {
			return false
		}
		v.Revoke()
		return true
	})
}

// spend notes that nobody else can join, and reports whether that is news.
func (s *shares) spend(r *running, why string) bool {
	s.access.Lock()
	defer s.access.Unlock()
	news := r.spent == ""
	if news {
		r.spent = why
	}
	return news
}

// revoke ends what a share has granted, for good.
func (s *shares) revoke(r *running) {
	s.access.Lock()
	defer s.access.Unlock()
	r.over = true
	for _, v := range r.guests {
		for _, g := range v.grants {
			g.Revoke()
		}
	}
}

// Shares lists the shares that have not ended, the oldest first; and then those of
// second nodes.
func (n *Node) Shares(ctx context.Context) ([]ShareStatus, error) {
	all := n.shares.all()
	list := make([]ShareStatus, len(all))
	for i, r := range all {
		list[i] = n.statusOf(r)
	}
	beside := askBeside(ctx, n, func(ctx context.Context, c *caller) ([]ShareStatus, error) { return c.Shares(ctx) })
	for _, s := range beside {
		s.Beside = true
		list = append(list, s)
	}
	return list, nil
}

func (n *Node) statusOf(r *running) ShareStatus {
	n.shares.access.Lock()
	st := ShareStatus{ID: r.id, Shared: r.shared, Name: r.share.Name, Started: r.started, Spent: r.spent, Guests: make([]GuestStatus, len(r.guests))}
	for i, v := range r.guests {
		st.Guests[i] = GuestStatus{Peer: v.peer, Words: identity.Words(v.peer.ID), Since: v.since, Rights: v.rights()}
	}
	n.shares.access.Unlock()
	for i := range st.Guests {
		g := &st.Guests[i]
		s := n.host.Session(g.Peer.ID)
		g.Connected, g.Path.Kind = s != nil, session.NoPath
		if s != nil {
			g.Path = s.Path()
		}
	}
	return st
}

// rights are those that have not ended.
func (v *visitor) rights() []Right {
	rights := []Right{}
	for _, g := range v.grants {
		select {
		case <-g.Ended():
		default:
			rights = append(rights, g.Rights()...)
		}
	}
	return rights
}

// EndShare ends a share, and everything that it granted: it returns when what
// guests have started under it has ended.
func (n *Node) EndShare(ctx context.Context, id string) error {
	r, ok := n.shares.take(id)
	if !ok {
		if c := n.shareBeside(ctx, id); c != nil {
			return c.EndShare(ctx, id)
		}
		return &session.Error{Op: "end share", Kind: session.NotFound, Text: "there is no such share", Hint: "It has ended already."}
	}
	err := n.end(r)
	if logged := n.record(audit.Revoked, session.Peer{}, r.number(), "the share has been ended"); logged != nil {
		n.cfg.Log.Error("audit", "error", logged) // less is allowed now, not more
	}
	n.emit(Event{Event: EventEnded, Share: r.id})
	return err
}

// end ends what a share has granted, then its invite, then what it shares.
func (n *Node) end(r *running) (err error) {
	r.ending.Do(func() {
		n.shares.revoke(r)
		err = r.invite.Close()
		r.grants.Wait()
		r.setup.undo()
	})
	return err
}
