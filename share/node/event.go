package node

import (
	"time"

	"tandem/session"
)

// The events of a node, in the order of a guest's life; the first is the
// guest's own, while it joins.
const (
	EventMet      = "met"      // Peer, Words: the host has proved to hold the code; it asks its person
	EventInvite   = "invite"   // Code, Link, Expires, Offers: a share is ready to be joined
	EventRequest  = "request"  // Peer, Words, Offers: somebody with the code asks to join
	EventApproved = "approved" // Peer: they may
	EventRefused  = "refused"  // Peer, Reason: they may not
	EventFailed   = "failed"   // Left: an attempt with a wrong code
	EventSpent    = "spent"    // Reason: the invite can't be used any more
	EventJoined   = "joined"   // Peer, Path: a session has begun
	EventPath     = "path"     // Peer, Path: its path has changed
	EventOpened   = "opened"   // Peer, What, Action: a service begins to serve a stream
	EventClosed   = "closed"   // Peer, What, Action, Reason: and ends
	EventDenied   = "denied"   // Peer, What, Action, Reason: nothing grants it
	EventLeft     = "left"     // Peer, Reason: the session has ended
	EventEnded    = "ended"    // the share is over
)

// Event is one thing that happened; which fields are set depends on Event.
type Event struct {
	Event   string        `json:"event"`
	Time    time.Time     `json:"time"`
	Peer    *session.Peer `json:"peer,omitempty"`
	Words   []string      `json:"words,omitempty"`
	Code    string        `json:"code,omitempty"`
	Link    string        `json:"link,omitempty"`
	Expires time.Time     `json:"expires,omitzero"`
	Offers  []Right       `json:"offers,omitempty"`
	Path    *session.Path `json:"path,omitempty"`
	What    string        `json:"what,omitempty"`
	Action  string        `json:"action,omitempty"`
	Reason  string        `json:"reason,omitempty"`
	Left    int           `json:"left,omitempty"`
}
