package node

import (
	"cmp"
	"context"
	"slices"
	"time"

	"tandem/session"
	"tandem/session/identity"
	"tandem/share/folder"
)

// Limits on what peers can make their host look at.
const (
	// maxPushItems is how much of a push a request lists.
	maxPushItems = 1000
	// maxPushes is how many pushes of one peer wait at a time.
	maxPushes = 4
)

// Push is what a guest would copy into a shared folder. Its names have been
// checked; it is the guest's word that they are like that, and nothing else is
// let in later.
type Push struct {
	// Folder is what guests call it.
	Folder string `json:"folder"`
	// Files and Folders are how many there are, Bytes the size of the files.
	Files   int    `json:"files"`
	Folders int    `json:"folders"`
	Bytes   uint64 `json:"bytes"`
	// So many replace what is there, can be executed, or have a name in their path
	// that begins with a dot.
	Replaces   int `json:"replaces"`
	Executable int `json:"executable"`
	Hidden     int `json:"hidden"`
	// Items are the files, and the hidden folders: those that do more than add a
	// file first, and at most 1000. Others is how many there are besides.
	Items  []folder.Pushed `json:"items"`
	Others int             `json:"others,omitempty"`
}

// summarize is a push in a form that can be shown.
func summarize(push folder.Push) Push {
	p := Push{Folder: session.Printable(push.Share)}
	for _, it := range push.Items {
		it.Path = session.Printable(it.Path)
		if it.Dir {
			p.Folders++
			if !it.Hidden {
				continue // the files in it tell
			}
		} else {
			p.Files++
			p.Bytes += uint64(max(0, it.Size))
		}
		p.Hidden += count(it.Hidden)
		p.Executable += count(it.Executable)
		p.Replaces += count(it.Replaces)
		p.Items = append(p.Items, it)
	}
	weight := func(it folder.Pushed) int { return 4*count(it.Replaces) + 2*count(it.Executable) + count(it.Hidden) }
	slices.SortStableFunc(p.Items, func(a, b folder.Pushed) int { return cmp.Compare(weight(b), weight(a)) })
	p.Others = max(0, len(p.Items)-maxPushItems)
	p.Items = slices.Clip(p.Items[:len(p.Items)-p.Others])
	return p
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// pushed lets what a guest of a share would copy wait at the door.
func (n *Node) pushed(ctx context.Context, share string, push folder.Push) error {
	waits := 0
	for _, w := range n.door.all() {
		if w.Kind == RequestPush && w.Guest.Peer.ID == push.Peer.ID {
			waits++
		}
	}
	if waits >= maxPushes {
		return session.Errorf("push", session.Busy, "they are being asked about %d copies of yours already", waits)
	}
	what := summarize(push)
	guest := Guest{Peer: session.Peer{ID: push.Peer.ID, Name: session.PrintableName(push.Peer.Name)}, Words: identity.Words(push.Peer.ID)}
	w := &waiting{
		Request: Request{ID: newName(), Kind: RequestPush, Share: share, Guest: guest, Push: &what, Since: time.Now()},
		answer:  make(chan Answer, 1), done: make(chan error, 1),
	}
	n.door.add(w)
	n.emit(Event{Event: EventPush, Request: w.ID, Share: share, Peer: &guest.Peer, Words: guest.Words, What: what.Folder})
	a, err := n.awaitAnswer(ctx, w)
	w.done <- err
	if err == nil && !a.Allow {
		err = refusal("push", a)
	}
	return err
}
