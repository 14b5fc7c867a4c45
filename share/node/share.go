package node

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"tandem/session"
	"tandem/session/audit"
	"tandem/session/host"
	"tandem/session/identity"
	"tandem/session/pairing"
	"tandem/share/command"
	"tandem/share/facts"
	"tandem/share/folder"
	"tandem/share/terminal"
	"tandem/signaling"
	"tandem/signaling/server"
)

// Share is what one invite offers, and to whom.
type Share struct {
	Folders []Folder
	// Terminal shares the terminal named "main"; guests who may only view
	// can't type.
	Terminal bool
	ViewOnly bool
	// Command is what the terminal runs instead of a shell; guests can then
	// start nothing else.
	Command []string
	// Commands are programs with all their arguments, by name: guests run
	// exactly those.
	Commands map[string][]string
	// Forward are the targets guests may connect to, ForwardListen those they
	// may listen on; see package forward.
	Forward       []string
	ForwardListen []string
	// Uses is how many guests may join; Expires how long the invite lives.
	Uses    int
	Expires time.Duration
	// Approve decides about each guest who has proved to hold the invite; nil
	// error lets them in. It may take its time: ctx ends when the guest has
	// gone or the share ends.
	Approve func(ctx context.Context, g Guest) error
	// ApprovePush, if set, decides about everything that guests would copy into
	// the folders, in the same way.
	ApprovePush func(ctx context.Context, p folder.Push) error
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
	// Here reports whether Own names this node in the verbs of other windows.
	Here bool `json:"here,omitempty"`
}

// Share makes an invite and lets in those who hold it. It lasts until the
// node closes. A node without servers runs one for the local network.
func (n *Node) Share(ctx context.Context, s Share) (*Shared, error) {
	rights, err := n.offer(s)
	if err != nil {
		return nil, err
	}
	if err := n.embed(); err != nil {
		return nil, err
	}
	stop := n.complain(ctx)
	nameplate, err := n.post.nameplate(ctx)
	stop()
	if err != nil {
		return nil, err
	}
	if err := n.record(audit.Invited, session.Peer{}, nameplate.Number, listRights(rights)); err != nil {
		nameplate.Release()
		return nil, err
	}
	told := new(sync.Once)
	spent := func(why string) { told.Do(func() { n.emit(Event{Event: EventSpent, Reason: why}) }) }
	invite, err := n.host.Invite(host.InviteConfig{
		Nameplate: nameplate.Number,
		Options:   pairing.Options{Uses: s.Uses, Lifetime: s.Expires},
		Admit: func(ctx context.Context, peer session.Peer) ([]Right, error) {
			return n.admit(ctx, peer, s, rights)
		},
		Failed: func(left int) { n.emit(Event{Event: EventFailed, Left: left}) },
		Missed: func(peer session.Peer, err error) {
			_, why := session.Public(err)
			n.emit(Event{Event: EventMissed, Peer: &peer, Reason: why})
		},
		Spent: func(why error) {
			_, text := session.Public(why)
			spent(text)
		},
	})
	if err != nil {
		nameplate.Release()
		return nil, err
	}
	shared := &Shared{Code: invite.Code(), Expires: invite.Expires(), Offers: rights, Here: n.control != nil}
	if s.Terminal {
		shared.Recording = n.services.recording()
	}
	// The number is ours at this server, and may be somebody else's at another.
	servers := []string{nameplate.Server}
	var advert io.Closer
	if e := n.embedded.Load(); e != nil {
		if servers, err = e.addresses(); err == nil {
			advert, err = e.advertise(ctx, nameplate.Number)
		}
	} else {
		shared.Server = nameplate.Server
	}
	if err == nil {
		shared.Link, err = invite.Link(servers...)
	}
	n.work.Go(func() { n.holdNameplate(invite, nameplate, advert, spent) })
	if err != nil {
		return nil, errors.Join(err, invite.Close())
	}
	return shared, nil
}

// embed runs a signaling server for the local network, if this node knows none.
func (n *Node) embed() error {
	n.embedding.Lock()
	defer n.embedding.Unlock()
	if len(n.post.servers()) > 0 {
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

// offer sets up what s shares and names the rights to it.
func (n *Node) offer(s Share) ([]Right, error) {
	var rights []Right
	if s.Terminal {
		actions := []string{"view", "control"}
		if s.ViewOnly {
			actions = actions[:1]
		}
		rights = append(rights, Right{Service: terminal.ServiceName, Actions: actions})
	}
	folders, err := n.services.offerFolders(s.Folders, s.ApprovePush)
	if err != nil {
		return nil, err
	}
	rights = append(rights, folders...)
	if s.Terminal && !s.ViewOnly && len(s.Command) == 0 {
		// Whoever may type into a shell can look around, and run any program; but
		// no recording has what runs beside a terminal.
		rights = append(rights, Right{Service: facts.ServiceName, Actions: []string{facts.Read}})
		if n.cfg.Recording == nil || !n.cfg.Recording.Required {
			rights = append(rights, Right{Service: command.ServiceName, Actions: []string{command.Run}})
			for _, name := range slices.Sorted(maps.Keys(n.cfg.Subsystems)) {
				rights = append(rights, Right{Service: command.ServiceName, Resource: name, Actions: []string{command.Run}})
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Commands)) {
		if err := n.services.command.Pin(name, s.Commands[name]); err != nil {
			return nil, err
		}
		rights = append(rights, Right{Service: command.ServiceName, Resource: name, Actions: []string{command.Run}})
	}
	forwards, err := forwardRights(s.Forward, s.ForwardListen)
	if err != nil {
		return nil, err
	}
	rights = append(rights, forwards...)
	if s.Terminal {
		// The terminal is the host's, not its first guest's: it is there for
		// guests who may only watch, and outlives any of them.
		if len(s.Command) > 0 {
			if err := n.services.terminal.Pin(s.Command); err != nil {
				return nil, err
			}
		}
		p := terminal.Params{Size: terminal.Size{Cols: 80, Rows: 24}, Term: n.cfg.Term}
		if err := n.services.terminal.Start("", p); err != nil {
			return nil, err
		}
	}
	return rights, nil
}

// admit asks for approval and grants what was offered.
func (n *Node) admit(ctx context.Context, peer session.Peer, s Share, rights []Right) ([]Right, error) {
	words := identity.Words(peer.ID)
	n.emit(Event{Event: EventRequest, Peer: &peer, Words: words, Offers: rights})
	err := s.Approve(ctx, Guest{Peer: peer, Words: words, Offers: rights})
	if err == nil {
		// What can't be recorded is not granted.
		if err = n.record(audit.Approved, peer, "", listRights(rights)); err != nil {
			err = host.ErrUnrecorded(err)
		} else {
			err = n.give(peer.ID, rights)
		}
	} else if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_, why := session.Public(err)
		if err := n.record(audit.Refused, peer, "", why); err != nil {
			n.cfg.Log.Error("audit", "error", err)
		}
		n.emit(Event{Event: EventRefused, Peer: &peer, Reason: why})
		return nil, err
	}
	n.emit(Event{Event: EventApproved, Peer: &peer})
	return rights, nil
}

// give grants rights until the share ends. What the peer has started ends with
// them, whether or not it is connected then.
func (n *Node) give(peer session.PeerID, rights []Right) error {
	g, err := n.grants.Give(peer, rights, 0)
	if err != nil {
		return err
	}
	n.work.Go(func() {
		<-g.Ended()
		n.services.revoke(peer, n.grants.Rights(peer))
	})
	return nil
}
