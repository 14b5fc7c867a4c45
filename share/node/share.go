package node

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"tandem/session"
	"tandem/session/host"
	"tandem/session/identity"
	"tandem/session/pairing"
	"tandem/share/folder"
	"tandem/share/terminal"
	"tandem/signaling/server"
)

// Share is what one invite offers, and to whom.
type Share struct {
	// Folder is a directory to share; empty for none. Guests know it by its
	// last element.
	Folder string
	Write  bool
	// Executables lets guests who may write put files that can be executed.
	Executables bool
	// Terminal shares the terminal named "main"; guests who may only view
	// can't type.
	Terminal bool
	ViewOnly bool
	// Uses is how many guests may join; Expires how long the invite lives.
	Uses    int
	Expires time.Duration
	// Approve decides about each guest who has proved to hold the invite; nil
	// error lets them in. It may take its time: ctx ends when the guest has
	// gone or the share ends.
	Approve func(ctx context.Context, g Guest) error
}

// Guest is somebody who holds an invite and asks to come in.
type Guest struct {
	Peer   session.Peer
	Words  []string
	Offers []Right
}

// Shared is a share that can be joined.
type Shared struct {
	Code    string
	Link    string
	Server  string // to be given with the code, if guests can't know it
	Expires time.Time
	Offers  []Right
	// Here reports whether Own names this node in the verbs of other windows.
	Here bool
}

// Share makes an invite and lets in those who hold it. It lasts until the
// node closes. A node without servers runs one for the local network.
func (n *Node) Share(ctx context.Context, s Share) (*Shared, error) {
	rights, err := n.offer(s)
	if err != nil {
		return nil, err
	}
	if len(n.post.servers()) == 0 {
		if n.embedded, err = startEmbedded(server.Config{Logger: n.cfg.Log}); err != nil {
			return nil, err
		}
		if err := n.post.use(true, n.embedded.own()); err != nil {
			return nil, err
		}
	}
	nameplate, err := n.post.nameplate(ctx)
	if err != nil {
		return nil, err
	}
	expires := time.Now().Add(s.Expires)
	invite, err := n.host.Invite(host.InviteConfig{
		Nameplate: nameplate.Number,
		Options:   pairing.Options{Uses: s.Uses, Lifetime: s.Expires},
		Admit: func(ctx context.Context, peer session.Peer) ([]Right, error) {
			return n.admit(ctx, peer, s, rights)
		},
		Failed: func(left int) { n.emit(Event{Event: EventFailed, Left: left}) },
	})
	if err != nil {
		return nil, err
	}
	shared := &Shared{Code: invite.Code(), Expires: expires, Offers: rights, Here: n.control != nil}
	servers := n.post.servers()
	if n.embedded != nil {
		if servers, err = n.embedded.addresses(); err != nil {
			return nil, err
		}
		if err := n.embedded.advertise(ctx, nameplate.Number); err != nil {
			return nil, err
		}
	} else {
		shared.Server = nameplate.Server
	}
	shared.Link, err = invite.Link(servers...)
	return shared, err
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
	if s.Folder != "" {
		dir, err := filepath.Abs(s.Folder)
		if err != nil {
			return nil, &session.Error{Op: "share", Kind: session.Invalid, Err: err}
		}
		info, err := os.Stat(dir)
		switch {
		case err != nil:
			return nil, &session.Error{Op: "share", Kind: session.NotFound, Err: err}
		case !info.IsDir():
			return nil, session.Errorf("share", session.Invalid, "%s is not a folder", s.Folder)
		}
		name, err := n.services.addFolder(dir, s.Write, s.Executables)
		if err != nil {
			return nil, err
		}
		actions := []string{"read"}
		if s.Write {
			actions = append(actions, "write")
		}
		rights = append(rights, Right{Service: folder.Name, Resource: name, Actions: actions})
	}
	return rights, nil
}

// admit asks for approval and grants what was offered.
func (n *Node) admit(ctx context.Context, peer session.Peer, s Share, rights []Right) ([]Right, error) {
	words := identity.Words(peer.ID)
	n.emit(Event{Event: EventRequest, Peer: &peer, Words: words, Offers: rights})
	err := s.Approve(ctx, Guest{Peer: peer, Words: words, Offers: rights})
	if err == nil {
		_, err = n.grants.Give(peer.ID, rights, 0)
	}
	if err != nil {
		_, why := session.Public(err)
		n.emit(Event{Event: EventRefused, Peer: &peer, Reason: why})
		return nil, err
	}
	n.emit(Event{Event: EventApproved, Peer: &peer})
	return rights, nil
}
