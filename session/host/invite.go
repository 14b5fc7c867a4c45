package host

import (
	"context"
	"sync"
	"time"

	"tandem/session"
	"tandem/session/grant"
	"tandem/session/pairing"
)

// InviteConfig says what an invite is for. Its functions are called from
// goroutines of the host.
type InviteConfig struct {
	Nameplate string
	Options   pairing.Options
	// Admit decides about a guest whose key has been verified, and grants what
	// it is let in for. It may take as long as a person takes; ctx ends with
	// the host or the invite, and when the guest has gone (its cause says so).
	Admit func(ctx context.Context, guest session.Peer) ([]grant.Right, error)
	// Recorded tells guests how what they do is recorded, in a word that both sides'
	// callers know; empty is not. It has at most maxRecorded bytes.
	Recorded string
	// Failed is told that an attempt came to nothing, and how many are left.
	Failed func(left int)
	// Missed is told that a guest who was let in did not connect, and why.
	Missed func(guest session.Peer, err error)
	// Spent is told once that nobody else can join with the invite: kind Denied
	// when it is used up, Expired when its time is over.
	Spent func(why error)
}

// Invite is an invite that guests can use until it is spent.
type Invite struct {
	*pairing.Invite
	cfg  InviteConfig
	host *Host

	spent chan error // has room for the one reason
	done  chan struct{}
	once  sync.Once
	err   error // of Close

	// Guarded by Host.mu:
	guests int           // not yet in a session
	met    int           // how many have proved that they hold the invite
	left   int           // attempts
	idle   chan struct{} // closed when expired and without guests
	over   bool          // its time is
}

// Invite opens an invite under a nameplate that a server has given out. It
// closes by itself when its time is over and everybody who came before that is
// in or has been refused.
func (h *Host) Invite(cfg InviteConfig) (*Invite, error) {
	made, err := pairing.NewInvite(cfg.Nameplate, h.cfg.Device.ID(), time.Now(), cfg.Options)
	if err != nil {
		return nil, err
	}
	if err := h.cfg.Ledger.Create(made); err != nil {
		return nil, err
	}
	i := &Invite{
		Invite: made, cfg: cfg, host: h,
		spent: make(chan error, 1), done: make(chan struct{}), idle: make(chan struct{}),
	}
	if err := h.open(i); err != nil {
		// Nobody has heard of it.
		_ = h.cfg.Ledger.Kill(made.ID(), time.Now())
		return nil, err
	}
	return i, nil
}

func (h *Host) open(i *Invite) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return errClosing("invite")
	}
	if err := h.pairing.Add(i.Invite); err != nil {
		return err
	}
	h.invites[i.Nameplate()] = i
	h.startLocked(i.watch)
	return nil
}

// Owns reports whether a ticket is for an open invite of this host.
func (h *Host) Owns(t *pairing.Ticket) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := h.invites[t.Nameplate]
	return i != nil && i.Matches(t)
}

// Done is closed when the invite is closed: its nameplate is of no more use.
func (i *Invite) Done() <-chan struct{} { return i.done }

// Close ends the invite: its code is dead for good, and guests who wait for
// approval are refused. It returns when they have been; the functions of
// InviteConfig must not call it. Sessions that came of the invite go on.
func (i *Invite) Close() error {
	i.once.Do(func() {
		i.host.mu.Lock()
		delete(i.host.invites, i.Nameplate())
		i.host.mu.Unlock()
		close(i.done)
		i.err = i.host.cfg.Ledger.Kill(i.ID(), time.Now())
		i.expire()
		<-i.idle
		i.host.pairing.Remove(i.Nameplate())
	})
	return i.err
}

// watch tells when the invite is spent, and closes it when its time is over.
func (i *Invite) watch() {
	expiry := time.NewTimer(time.Until(i.Expires()))
	defer expiry.Stop()
	select {
	case why := <-i.spent:
		i.tell(why)
		select {
		case <-expiry.C:
		case <-i.done:
			return
		case <-i.host.life:
			return
		}
	case <-expiry.C:
		i.tell(session.Errorf("invite", session.Expired, "its time is over"))
	case <-i.done:
		return
	case <-i.host.life:
		return
	}
	i.expire()
	select {
	case <-i.idle:
	case <-i.done:
	case <-i.host.life:
		return // it closes the invite
	}
	if err := i.Close(); err != nil {
		i.host.cfg.Log.Warn("invite", "error", err)
	}
}

func (i *Invite) tell(why error) {
	if i.cfg.Spent != nil {
		i.cfg.Spent(why)
	}
}

// expire notes that no more guests may come.
func (i *Invite) expire() {
	i.host.mu.Lock()
	defer i.host.mu.Unlock()
	i.over = true
	i.settle()
}

// enter counts a guest in. Host.mu is held.
func (i *Invite) enter(step pairing.HostStep) {
	i.guests++
	if step.Counted {
		i.left = step.Left
	}
}

// leave counts a guest out. Host.mu is held.
func (i *Invite) leave() {
	i.guests--
	i.settle()
}

// meet counts a guest who has proved to hold the invite. Host.mu is held.
func (i *Invite) meet() {
	i.met++
	i.settle()
}

// settle finds out what is left of the invite. Host.mu is held.
func (i *Invite) settle() {
	switch {
	case i.met >= i.Uses():
		i.exhausted("it has been used as often as it may be")
	case i.left == 0 && i.guests == 0 && !i.over:
		i.exhausted("every attempt at it has been used up")
	}
	if i.over && i.guests == 0 {
		select {
		case <-i.idle:
		default:
			close(i.idle)
		}
	}
}

func (i *Invite) exhausted(why string) {
	select {
	case i.spent <- session.Errorf("invite", session.Denied, "%s", why):
	default: // told already
	}
}
