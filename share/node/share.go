package node

import (
	"cmp"
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tandem/session"
	"tandem/session/audit"
	"tandem/session/host"
	"tandem/session/pairing"
	"tandem/signaling"
	"tandem/signaling/server"
)

// Share is what one invite offers, and to whom.
type Share struct {
	// Name is what its person calls it; empty means after what is shared.
	Name string `json:"name,omitempty"`
	// Folders are directories to share. Programs of the share begin in the first.
	Folders []Folder `json:"folders,omitempty"`
	// Terminal shares the terminal named "main"; guests who may only view
	// can't type. Several shares of a node can have it; it ends with the last.
	Terminal bool `json:"terminal,omitempty"`
	ViewOnly bool `json:"view_only,omitempty"`
	// Command is what the terminal runs instead of a shell; guests can then
	// start nothing else.
	Command []string `json:"command,omitempty"`
	// Record says whether the terminal is recorded, in the home's folder for recordings:
	// no less than the node was told to record everything. Shares that have the terminal
	// in common have its recording, which the first has chosen.
	Record Recorded `json:"record,omitempty"`
	// Commands are programs with all their arguments, by name: guests run
	// exactly those.
	Commands map[string][]string `json:"commands,omitempty"`
	// Forward are the targets guests may connect to, ForwardListen those they
	// may listen on; see package forward.
	Forward       []string `json:"forward,omitempty"`
	ForwardListen []string `json:"forward_listen,omitempty"`
	// Uses is how many guests may join, 1 if it is 0; Expires how long the
	// invite lives, ten minutes if it is 0.
	Uses    int           `json:"uses,omitempty"`
	Expires time.Duration `json:"expires,omitempty"` // ns
	// Always lets in whoever holds the invite. Otherwise each becomes a Request,
	// and waits until somebody answers.
	Always bool `json:"always,omitempty"`
	// AskWrites makes a Request of everything that guests would copy into the
	// folders; what can't be shown before is refused.
	AskWrites bool `json:"ask_writes,omitempty"`
}

// Guest is somebody who holds an invite and asks to come in.
type Guest struct {
	Peer   session.Peer `json:"peer"`
	Words  []string     `json:"words"`
	Offers []Right      `json:"offers,omitempty"`
}

// Shared is a share that can be joined.
type Shared struct {
	Code    string    `json:"code"`
	Link    string    `json:"link"`
	Server  string    `json:"server,omitempty"` // to be given with the code, if guests can't know it
	Expires time.Time `json:"expires"`
	Offers  []Right   `json:"offers"`
	// Recording is the file the shared terminal is recorded in, if it is.
	Recording string `json:"recording,omitempty"`
	// Recorded is whether it is, and must be; guests are told.
	Recorded Recorded `json:"recorded,omitempty"`
	// Here reports whether Own names this node in the verbs of other windows.
	Here bool `json:"here,omitempty"`
}

// What a share may ask for.
const (
	maxFolders = 100
	maxUses    = 1000
	maxExpires = 30 * 24 * time.Hour
)

// dir is where programs of the share begin; empty is the user's own folder.
func (s Share) dir() string {
	if len(s.Folders) == 0 {
		return ""
	}
	return s.Folders[0].Dir
}

func (s Share) check() error {
	what := ""
	switch {
	case len(s.Folders) > maxFolders:
		what = "a share has 100 folders at most"
	case slices.ContainsFunc(s.Folders, func(f Folder) bool { return !filepath.IsAbs(f.Dir) }):
		what = "a folder to share needs its whole path"
	case len(s.Folders) == 0 && !s.Terminal && len(s.Commands)+len(s.Forward)+len(s.ForwardListen) == 0:
		what = "there is nothing to share"
	case len(s.Command) > 0 && (!s.Terminal || s.Command[0] == ""):
		what = "a program needs a terminal"
	case s.Record.strength() < 0:
		what = `record is "on", "required" or nothing`
	case s.Record != NotRecorded && !s.Terminal:
		what = "there is no terminal to record"
	case s.Uses < 0 || s.Uses > maxUses:
		what = "an invite is for 1 to 1000 guests"
	case s.Expires < 0 || s.Expires > maxExpires:
		what = "an invite lives for 30 days at most"
	}
	if what != "" {
		return session.Errorf("share", session.Invalid, "%s", what)
	}
	return nil
}

// title names a share after what is shared.
func (s Share) title() string {
	var parts []string
	if s.Terminal {
		parts = append(parts, strings.TrimSpace("terminal "+strings.Join(s.Command, " ")))
	}
	for _, f := range s.Folders {
		parts = append(parts, cmp.Or(f.Name, filepath.Base(f.Dir)))
	}
	if len(s.Commands) > 0 {
		parts = append(parts, "commands")
	}
	if len(s.Forward)+len(s.ForwardListen) > 0 {
		parts = append(parts, "ports")
	}
	return strings.Join(parts, ", ")
}

// StartShare makes an invite. The share lasts until EndShare, or until the node
// closes. A node without servers runs one for the local network.
func (n *Node) StartShare(ctx context.Context, s Share) (ShareStatus, error) {
	if err := s.check(); err != nil {
		return ShareStatus{}, err
	}
	s.Name = session.PrintableName(cmp.Or(s.Name, s.title()))
	id := newName()
	setup, err := n.offer(id, s)
	if err != nil {
		return ShareStatus{}, err
	}
	r := &running{id: id, share: s, setup: setup, started: time.Now()}
	if err := n.invite(ctx, r); err != nil {
		setup.undo()
		return ShareStatus{}, err
	}
	n.shares.add(r)
	n.emit(Event{
		Event: EventInvite, Share: r.id, Code: r.shared.Code, Link: r.shared.Link, Expires: r.shared.Expires,
		Offers: r.shared.Offers, Recording: r.shared.Recording, Recorded: r.shared.Recorded,
	})
	return n.statusOf(r), nil
}

// invite opens the invite of a share.
func (n *Node) invite(ctx context.Context, r *running) error {
	if err := n.embed(); err != nil {
		return err
	}
	// Guests on the local network find the server that we run.
	local := ""
	if e := n.embedded.Load(); e != nil {
		var err error
		if local, err = signaling.ServerURL(e.own(), true); err != nil {
			return fromSignaling(err)
		}
	}
	stop := n.complain(ctx)
	nameplate, err := n.post.nameplate(ctx, local)
	stop()
	if err != nil {
		return err
	}
	rights := r.setup.rights
	if err := n.record(audit.Invited, session.Peer{}, nameplate.Number, listRights(rights)); err != nil {
		nameplate.Release()
		return err
	}
	r.shared = Shared{Offers: rights, Here: n.lock != nil}
	if r.share.Terminal {
		r.shared.Recording, r.shared.Recorded = n.services.recording(), r.setup.recorded
	}
	spent := func(why string) {
		if n.shares.spend(r, why) {
			n.emit(Event{Event: EventSpent, Share: r.id, Reason: why})
		}
	}
	r.invite, err = n.host.Invite(host.InviteConfig{
		Nameplate: nameplate.Number, Recorded: string(r.setup.recorded),
		Options: pairing.Options{Uses: r.share.Uses, Lifetime: r.share.Expires},
		Admit: func(ctx context.Context, peer session.Peer) ([]Right, error) {
			return n.admit(ctx, peer, r)
		},
		Failed: func(left int) { n.emit(Event{Event: EventFailed, Share: r.id, Left: left}) },
		Missed: func(peer session.Peer, err error) {
			_, why := session.Public(err)
			n.shares.left(peer.ID, true)
			n.emit(Event{Event: EventMissed, Share: r.id, Peer: &peer, Reason: why})
		},
		Spent: func(why error) {
			_, text := session.Public(why)
			spent(text)
		},
	})
	if err != nil {
		nameplate.Release()
		return err
	}
	r.shared.Code, r.shared.Expires = r.invite.Code(), r.invite.Expires()
	// The number is ours at this server, and may be somebody else's at another.
	servers := []string{nameplate.Server}
	var advert io.Closer
	if e := n.embedded.Load(); e != nil {
		if servers, err = e.addresses(); err == nil {
			advert, err = e.advertise(ctx, nameplate.Number)
		}
	} else {
		r.shared.Server = nameplate.Server
	}
	if err == nil {
		r.shared.Link, err = r.invite.Link(servers...)
	}
	n.work.Go(func() { n.holdNameplate(r.invite, nameplate, advert, spent) })
	if err != nil {
		return errors.Join(err, r.invite.Close())
	}
	return nil
}

// embed runs a signaling server for the local network, if this node was given
// none: those that it met with a peer's invite are the peer's.
func (n *Node) embed() error {
	n.embedding.Lock()
	defer n.embedding.Unlock()
	if len(n.cfg.Servers) > 0 || n.embedded.Load() != nil {
		return nil
	}
	e, err := startEmbedded(server.Config{OwnAddresses: true, Logger: n.cfg.Log})
	if err != nil {
		return err
	}
	n.embedded.Store(e)
	return n.post.use(true, e.own())
}

// holdNameplate gives an invite's number back when the invite is over, and
// tells if the server gives it away before.
func (n *Node) holdNameplate(invite *host.Invite, nameplate *signaling.Nameplate, advert io.Closer, spent func(why string)) {
	select {
	case <-nameplate.Lost():
		spent("the server has lost its number; those who are in stay, and another share makes a new code")
		<-invite.Done()
	case <-invite.Done():
	}
	nameplate.Release()
	if advert != nil {
		if err := advert.Close(); err != nil {
			n.cfg.Log.Debug("local network", "error", err)
		}
	}
}
