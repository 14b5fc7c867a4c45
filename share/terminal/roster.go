package terminal

import (
	"cmp"
	"slices"
	"time"

	"tandem/session"
)

// typingPause is how long nobody must have typed before the next who does is
// told to everybody again.
const typingPause = 2 * time.Second

// Roster is who is attached.
type Roster struct {
	Viewers []Viewer `json:"viewers"`
	// Answers is the viewer whose terminal answers queries; 0 for nobody.
	Answers uint64 `json:"answers"`
	// Typist is the viewer that typed last; 0 for nobody yet.
	Typist uint64 `json:"typist,omitempty"`
	// Pinned says that the host has fixed the terminal's size.
	Pinned bool `json:"pinned,omitempty"`
	// Recorded says that the host records what the terminal shows.
	Recorded bool `json:"recorded,omitempty"`
}

// Viewer is one attachment, as everybody sees it.
type Viewer struct {
	Viewer uint64         `json:"viewer"`
	Peer   session.PeerID `json:"peer"`
	Name   string         `json:"name,omitempty"`
	Right  Right          `json:"right"`
	Size
	// Host says that it is a window of the host's own person.
	Host bool `json:"host,omitempty"`
	// Asks is not 0 while it may only watch and asks for the right to type: the
	// number of its request.
	Asks int `json:"asks,omitempty"`
	// RTT is the last round trip of a frame to it and back; 0 if none is known
	// yet. One that does not answer gets slower and slower.
	RTT time.Duration `json:"rtt,omitempty"`
	// Typed is how long before the roster was sent it last typed; 0 if never.
	Typed time.Duration `json:"typed,omitempty"`
	// Records says that the viewer keeps a recording of its own, as it says.
	Records bool `json:"records,omitempty"`
}

// Typing says that this viewer has begun to type.
type Typing uint64

// checkViewers makes a peer's viewers fit to be shown. It reports false if
// they make no sense.
func checkViewers(viewers []Viewer) bool {
	for i := range viewers {
		v := &viewers[i]
		if v.Right != View && v.Right != Control || !v.IsZero() && !v.valid() || v.RTT < 0 || v.Asks < 0 || v.Typed < 0 {
			return false
		}
		v.Name = session.PrintableName(v.Name)
	}
	return true
}

// roster is called with mu held.
func (t *terminal) roster() Roster {
	now := time.Now()
	r := Roster{Viewers: make([]Viewer, 0, len(t.viewers)), Typist: t.typist, Pinned: !t.pinned.IsZero(), Recorded: t.recorded}
	for _, v := range t.viewers {
		shown := Viewer{
			Viewer: v.number, Peer: v.peer.ID, Name: session.PrintableName(v.peer.Name), Right: v.right, Size: v.size,
			Host: v.host, RTT: v.latency(now), Records: v.records,
		}
		if v.asks {
			shown.Asks = v.requests
		}
		if !v.typedAt.IsZero() {
			shown.Typed = max(now.Sub(v.typedAt), 1)
		}
		r.Viewers = append(r.Viewers, shown)
		if r.Answers == 0 && v.right == Control && !v.size.IsZero() {
			r.Answers = v.number
		}
	}
	slices.SortFunc(r.Viewers, func(a, b Viewer) int { return cmp.Compare(a.Viewer, b.Viewer) })
	return r
}

// rosterChanged lets every viewer know. It is called with mu held.
func (t *terminal) rosterChanged() {
	t.rosterVersion++
	t.changed.Broadcast()
}

// noteTyping keeps who typed last, and when. It is called with mu held.
func (t *terminal) noteTyping(v *viewer) {
	now := time.Now()
	if t.typist != v.number || now.Sub(v.typedAt) > typingPause {
		t.typist = v.number
		t.typingVersion++
	}
	v.typedAt = now
}
