package host

import (
	"errors"
	"slices"
	"sync"
	"time"

	"tandem/session"
)

// live is a session that can be told to look for another path, or that its peer
// has gone. Outside of tests it is a *link.Link.
type live interface {
	session.Session
	Rebind()
	Abandon(reason error)
}

// keep records a live session, its conversation and the mailbox its letters came
// from, and forgets the session when it ends.
func (h *Host) keep(l live, mailbox string, c *conversation) {
	h.mu.Lock()
	kept := h.keepLocked(l, mailbox, c)
	h.mu.Unlock()
	h.announce(l, kept)
}

// keepLocked is keep for those who hold mu; announce has to follow.
func (h *Host) keepLocked(l live, mailbox string, c *conversation) bool {
	peer := l.Peer().ID
	if !h.startLocked(func() { h.outlive(l, c) }) {
		return false
	}
	h.sessions[peer] = append(h.sessions[peer], l)
	if mailbox != "" {
		h.heard[peer] = mailbox
	}
	return true
}

// announce tells of a session that was kept, and ends one that came too late.
func (h *Host) announce(l live, kept bool) {
	switch {
	case !kept:
		_ = l.Close() // the host is closing: nobody is left to care
	case h.cfg.Sessions != nil:
		h.cfg.Sessions(l)
	}
}

// outlive forgets a session when it has ended. A peer may be without a path for
// a minute and come back; one that the servers don't know either has gone.
func (h *Host) outlive(l live, c *conversation) {
	ticker := time.NewTicker(h.cfg.patience.gone / 10)
	defer ticker.Stop()
	for ended := false; !ended; {
		select {
		case <-l.Done():
			ended = true
		case <-ticker.C:
			switch {
			case connected(l):
				c.absent.note(nil)
			case c.absent.lasted() >= h.cfg.patience.gone:
				l.Abandon(session.Errorf("link", session.Unavailable, "the other side has gone: no server knows it any more"))
				<-l.Done()
				ended = true
			}
		}
	}
	peer := l.Peer().ID
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sessions[peer] = slices.DeleteFunc(h.sessions[peer], func(other live) bool { return other == l })
	if len(h.sessions[peer]) == 0 {
		delete(h.sessions, peer)
	}
}

// connected reports whether bytes get through a session now. One without a
// path may find another; its peer may also have gone for good, which shows only
// after a minute.
func connected(s session.Session) bool {
	select {
	case <-s.Done():
		return false
	default:
		return s.Path().Kind != session.NoPath
	}
}

// best is the newest session of several that has a path, or else the newest.
func best(links []live) live {
	for _, l := range slices.Backward(links) {
		if connected(l) {
			return l
		}
	}
	return links[len(links)-1]
}

// links are the live sessions with peer, the newest last.
func (h *Host) links(peer session.PeerID) []live {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.sessions[peer])
}

// Session is the newest live session with peer, if possible one that has a path
// now, or nil.
func (h *Host) Session(peer session.PeerID) session.Session {
	if links := h.links(peer); len(links) > 0 {
		return best(links)
	}
	return nil
}

// Connected reports whether there is a session with peer that has not ended.
func (h *Host) Connected(peer session.PeerID) bool {
	return slices.ContainsFunc(h.links(peer), func(l live) bool {
		select {
		case <-l.Done():
			return false
		default:
			return true
		}
	})
}

// Leave ends every session with peer, and returns when they have ended.
func (h *Host) Leave(peer session.PeerID) error {
	var closing sync.WaitGroup
	links := h.links(peer)
	errs := make([]error, len(links))
	for i, l := range links {
		closing.Go(func() { errs[i] = l.Close() })
	}
	closing.Wait()
	return errors.Join(errs...)
}

// usable is a session with peer that has a path now, or nil.
func (h *Host) usable(peer session.PeerID) session.Session {
	if s := h.Session(peer); s != nil && connected(s) {
		return s
	}
	return nil
}

// Live lists one live session of each peer: the newest, or the newest that has
// a path.
func (h *Host) Live() []session.Session {
	h.mu.Lock()
	var all [][]live
	for _, links := range h.sessions {
		all = append(all, slices.Clone(links))
	}
	h.mu.Unlock()
	sessions := make([]session.Session, 0, len(all))
	for _, links := range all {
		sessions = append(sessions, best(links))
	}
	return sessions
}

// Rebind makes every link look for new paths at once: the network changed.
func (h *Host) Rebind() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, links := range h.sessions {
		for _, l := range links {
			l.Rebind()
		}
	}
}
