package node

import (
	"time"

	"tandem/session"
)

// The events of a node, in the order of a guest's life; the first is the
// guest's own, while it joins.
const (
	EventMet      = "met"      // Peer, Words, Own: the host has proved to hold the code; it asks its person
	EventInvite   = "invite"   // Share, Code, Link, Expires, Offers: a share is ready to be joined
	EventRequest  = "request"  // Request, Share, Peer, Words, Offers: somebody with the code asks to join
	EventSettled  = "settled"  // Request: it needs no answer any more
	EventApproved = "approved" // Peer: they may
	EventRefused  = "refused"  // Peer, Reason: they may not
	EventFailed   = "failed"   // Left: an attempt with a wrong code
	EventSpent    = "spent"    // Reason: the invite can't be used any more
	EventJoined   = "joined"   // Peer, Path: a session has begun
	EventPath     = "path"     // Peer, Path: its path has changed
	EventOpened   = "opened"   // Peer, What, Action: a service begins to serve a stream
	EventClosed   = "closed"   // Peer, What, Action, Reason: and ends
	EventDenied   = "denied"   // Peer, What, Action, Reason: nothing grants it
	EventAsks     = "asks"     // Request, Peer, What, Viewer: a viewer of a terminal would like to type
	EventPush     = "push"     // Request, Share, Peer, Words, What: a guest would like to copy files into a folder
	EventUnlogged = "unlogged" // Peer, What, Action, Reason: refused, as the audit log can't be written
	// Of these from opened on but for push, those of a peer that floods are counted in Unreported.
	EventMissed = "missed" // Peer, Reason: they were let in and did not connect
	EventLeft   = "left"   // Peer, Reason: the session has ended
	EventEnded  = "ended"  // Share: it is over, with everything it granted
	EventKnown  = "known"  // Peer: it has been renamed or forgotten
	EventLost   = "lost"   // Unreported: as many events were lost here, as their reader was slow
	// A terminal's recording (Recording) has ended, or has not begun, for Reason.
	EventUnrecorded = "unrecorded"
	EventWaiting    = "waiting" // Reason: something is waited for, such as a server that can't be reached
	EventClock      = "clock"   // Reason: this computer's clock is off, as its servers see it
)

// Event is one thing that happened; which fields are set depends on Event.
type Event struct {
	Event string    `json:"event"`
	Time  time.Time `json:"time"`
	// Share is the share it belongs to, and Request the request, if it does.
	Share   string        `json:"share,omitempty"`
	Request string        `json:"request,omitempty"`
	Peer    *session.Peer `json:"peer,omitempty"`
	Words   []string      `json:"words,omitempty"`
	Own     []string      `json:"own,omitempty"` // our own words, for the peer to compare
	Code    string        `json:"code,omitempty"`
	Link    string        `json:"link,omitempty"`
	Expires time.Time     `json:"expires,omitzero"`
	Offers  []Right       `json:"offers,omitempty"`
	Path    *session.Path `json:"path,omitempty"`
	What    string        `json:"what,omitempty"`
	Action  string        `json:"action,omitempty"`
	Viewer  uint64        `json:"viewer,omitempty"` // its number at the terminal
	Reason  string        `json:"reason,omitempty"`
	Left    int           `json:"left,omitempty"`
	// Recording is the file that what happens in a share's terminal is kept in.
	Recording string `json:"recording,omitempty"`
	// Recorded is whether what the guest does in the terminal is recorded.
	Recorded Recorded `json:"recorded,omitempty"`
	// Unreported is how many events of this kind were left out before this one.
	Unreported int `json:"unreported,omitempty"`
}

// printable is e with everything a peer may have worded made fit to be shown.
func (e Event) printable() Event {
	if e.Peer != nil {
		peer := *e.Peer
		peer.Name = session.PrintableName(peer.Name)
		e.Peer = &peer
	}
	e.What, e.Action, e.Reason = session.Printable(e.What), session.Printable(e.Action), session.Printable(e.Reason)
	return e
}
