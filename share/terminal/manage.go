package terminal

import (
	"cmp"
	"encoding/json"
	"slices"

	"tandem/session"
)

// Manage is the action of a request that changes who may do what at a
// terminal. Only the host's own person may, through Desk.
const Manage = "manage"

// maxLimits is how many peers a terminal's host can keep out or from typing.
const maxLimits = 32

// Do is one thing to do to a terminal: the parameters of a Manage request.
type Do struct {
	// What is one of the constants below.
	What string `json:"what"`
	// Viewer is whom it is about, for DoRight and DoKick.
	Viewer uint64 `json:"viewer,omitempty"`
	// Right is for DoRight.
	Right Right `json:"right,omitempty"`
	// Peer is for DoLetBack.
	Peer session.PeerID `json:"peer,omitzero"`
	// Size is for DoPin; zero is for none.
	Size
}

// What a host's person can do to a terminal.
const (
	// DoRight changes what a viewer may do, until it leaves. Control goes beyond
	// what it was granted if need be. View binds all of the peer's viewers, and
	// those that it attaches later, to this terminal.
	DoRight = "right"
	// DoKick ends all attachments of the viewer's peer, and lets it attach no
	// more until DoLetBack.
	DoKick    = "kick"
	DoLetBack = "let-back"
	// DoPin fixes the terminal's size; a zero size lets it follow its viewers.
	DoPin = "pin"
	// DoEnd ends the terminal's program.
	DoEnd = "end"
)

// limit is what the host's person has decided about a peer at one terminal.
type limit struct {
	peer  session.Peer
	right Right // View, or empty: kept out
}

// manage does what the host's person asks for.
func (s *Service) manage(h session.Header) (Info, error) {
	var do Do
	if json.Unmarshal(h.Params, &do) != nil {
		return Info{}, session.Errorf("manage", session.Invalid, "the parameters can't be read")
	}
	name := cmp.Or(h.Resource, DefaultName)
	t := s.living(name)
	if t == nil {
		return Info{}, session.Errorf("manage", session.NotFound, "there is no terminal %s", session.PrintableName(name))
	}
	if err := t.do(do); err != nil {
		return Info{}, err
	}
	s.log.Info("managed", "terminal", name, "what", do.What, "viewer", do.Viewer, "right", do.Right)
	return t.info(), nil
}

// living finds the terminal that runs under a name.
func (s *Service) living(name string) *terminal {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.terminals {
		if t.name == name && !t.ended() {
			return t
		}
	}
	return nil
}

func (t *terminal) do(do Do) error {
	switch do.What {
	case DoRight:
		return t.allow(do.Viewer, do.Right)
	case DoKick:
		return t.kick(do.Viewer)
	case DoLetBack:
		return t.letBack(do.Peer)
	case DoPin:
		return t.pin(do.Size)
	case DoEnd:
		t.kill("the host closed this terminal")
		return nil
	}
	return session.Errorf("manage", session.Unsupported, "this host can't %q", session.PrintableName(do.What))
}

// viewer is the one of that number. It is called with mu held.
func (t *terminal) viewer(number uint64) (*viewer, error) {
	for _, v := range t.viewers {
		if v.number == number {
			return v, nil
		}
	}
	return nil, session.Errorf("manage", session.NotFound, "there is no viewer %d at %s", number, t.name)
}

// allow changes what a viewer may do.
func (t *terminal) allow(number uint64, right Right) error {
	if right != View && right != Control {
		return session.Errorf("manage", session.Invalid, "%q is no right", session.PrintableName(string(right)))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	v, err := t.viewer(number)
	if err != nil {
		return err
	}
	if right == View && !v.host {
		if err := t.limit(v.peer, View); err != nil {
			return err
		}
	} else {
		t.unlimit(v.peer.ID)
	}
	v.setRight(right)
	for _, w := range t.viewers {
		if w.host || v.host || w.peer.ID != v.peer.ID {
			continue
		}
		if right == View || w.granted == Control {
			w.setRight(right)
		}
	}
	t.fit()
	t.rosterChanged()
	t.log.Info("right changed", "viewer", number, "peer", v.peer.ID.Short(), "right", right, "granted", v.granted)
	return nil
}

// setRight is called with the terminal's mu held. What was typed and not taken
// goes with the right to type.
func (v *viewer) setRight(right Right) {
	v.right, v.asks = right, false
	if right == Control {
		v.typedOnce = true
		return
	}
	v.input.drop()
}

// kick ends a peer's attachments and keeps it out.
func (t *terminal) kick(number uint64) error {
	t.mu.Lock()
	v, err := t.viewer(number)
	if err == nil && v.host {
		err = session.Errorf("manage", session.Invalid, "viewer %d is a window of your own", number)
	}
	if err == nil {
		err = t.limit(v.peer, "")
	}
	if err != nil {
		t.mu.Unlock()
		return err
	}
	var leaving []*viewer
	for _, w := range t.viewers {
		if w.peer.ID == v.peer.ID && !w.host {
			w.setRight(View) // whatever is still read from it
			leaving = append(leaving, w)
		}
	}
	t.mu.Unlock()
	t.log.Info("kicked", "viewer", number, "peer", v.peer.ID.Short())
	for _, w := range leaving {
		w.stop(errKicked())
	}
	return nil
}

func errKicked() error {
	return session.Errorf("terminal", session.Denied, "the host has made you leave this terminal")
}

func (t *terminal) letBack(peer session.PeerID) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.unlimit(peer) {
		return session.Errorf("manage", session.NotFound, "%s is not kept out of %s", peer.Short(), t.name)
	}
	return nil
}

func (t *terminal) pin(s Size) error {
	if !s.IsZero() && !s.valid() {
		return session.Errorf("manage", session.Invalid, "a terminal of %d by %d cells", s.Cols, s.Rows)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pinned = s
	t.fit()
	t.rosterChanged()
	return nil
}

// limit remembers the most a peer may do. It is called with mu held.
func (t *terminal) limit(peer session.Peer, right Right) error {
	t.unlimit(peer.ID)
	if len(t.limits) >= maxLimits {
		return session.Errorf("manage", session.Busy, "%d peers are kept out already: end the terminal, or take a permission back", maxLimits)
	}
	t.limits = append(t.limits, limit{peer, right})
	return nil
}

func (t *terminal) unlimit(peer session.PeerID) bool {
	before := len(t.limits)
	t.limits = slices.DeleteFunc(t.limits, func(l limit) bool { return l.peer.ID == peer })
	return len(t.limits) < before
}

// limited is what a new viewer may do, by its grant and the host's decisions.
// It is called with mu held.
func (t *terminal) limited(v *viewer) (Right, error) {
	for _, l := range t.limits {
		switch {
		case v.host || l.peer.ID != v.peer.ID:
		case l.right == "":
			return "", errKicked()
		default:
			return l.right, nil
		}
	}
	return v.granted, nil
}

// asked notes that a viewer would like to type.
func (t *terminal) asked(v *viewer) {
	t.mu.Lock()
	news := v.right == View && !v.asks
	if news {
		v.asks = true
		v.requests++
		t.rosterChanged()
	}
	t.mu.Unlock()
	if news {
		t.log.Info("asks to type", "viewer", v.number, "peer", v.peer.ID.Short())
		t.tellAsked(v.number, v.peer)
	}
}
