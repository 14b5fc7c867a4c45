package node

import (
	"time"

	"tandem/session"
)

// Self is this device.
type Self struct {
	Peer session.Peer `json:"peer"`
	// Words is its fingerprint, for others to compare.
	Words []string `json:"words"`
	// Home is the folder of its state.
	Home    string         `json:"home"`
	Servers []ServerStatus `json:"servers"`
	Version string         `json:"version"`
}

// ServerStatus is one signaling server that a node uses.
type ServerStatus struct {
	URL       string `json:"url"`
	Connected bool   `json:"connected"`
	// Reason is why it isn't connected, for people.
	Reason string `json:"reason,omitempty"`
}

// ShareStatus is a share that has not ended.
type ShareStatus struct {
	// ID names the share, in Event.Share, Request.Share and EndShare.
	ID string `json:"id"`
	Shared
	// Name is what its person calls it.
	Name    string    `json:"name"`
	Started time.Time `json:"started"`
	// Beside says that a second node shares it, in another window: it ends with that.
	Beside bool `json:"beside,omitempty"`
	// Spent is why nobody else can join; empty while somebody can.
	Spent string `json:"spent,omitempty"`
	// Guests are those who were let in, in the order they came.
	Guests []GuestStatus `json:"guests"`
}

// GuestStatus is a guest of a share.
type GuestStatus struct {
	Peer  session.Peer `json:"peer"`
	Words []string     `json:"words"`
	// Rights are what this share lets it do still; none once they were taken back.
	Rights    []Right      `json:"rights"`
	Connected bool         `json:"connected"`
	Path      session.Path `json:"path"`
	// Since is when it was let in.
	Since time.Time `json:"since"`
}

// What requests are about.
const (
	RequestJoin = "join" // a guest with the code would like to come in
	RequestType = "type" // a viewer of a terminal would like to type
	RequestPush = "push" // a guest would like to copy files here
)

// Request is somebody who waits for an answer.
type Request struct {
	// ID names the request, in Event.Request and Answer.
	ID string `json:"id"`
	// Kind is one of the constants above.
	Kind string `json:"kind"`
	// Share is what a guest would like to join, or to copy files to; empty for the
	// other kinds.
	Share string `json:"share,omitempty"`
	// Guest is who asks, and what it would get.
	Guest Guest `json:"guest"`
	// Recorded is whether what a guest would do in the terminal is recorded.
	Recorded Recorded `json:"recorded,omitempty"`
	// Terminal and Viewer are where somebody would like to type.
	Terminal string `json:"terminal,omitempty"`
	Viewer   uint64 `json:"viewer,omitempty"`
	// Push is what somebody would like to copy.
	Push *Push `json:"push,omitempty"`
	// Path is how it is connected. A guest who has not come in isn't yet.
	Path  session.Path `json:"path"`
	Since time.Time    `json:"since"`
}

// Answer is what a person says to a request.
type Answer struct {
	Allow bool `json:"allow"`
	// Once lets a guest in for as long as its connection lasts, and not for as
	// long as the share does.
	Once bool `json:"once,omitempty"`
	// Rights are what a guest who comes in gets, of what was offered; nil is all
	// of it.
	Rights []Right `json:"rights"`
	// Reason is told to whoever was refused; it may be empty.
	Reason string `json:"reason,omitempty"`
}

// ActivityQuery picks entries of the audit log.
type ActivityQuery struct {
	// Before is the number that all of them are below; 0 begins at the newest.
	Before uint64 `json:"before,omitempty"`
	// Limit is how many at most; 0 is 100, and there are never more than 1000.
	Limit int `json:"limit,omitempty"`
	// Peer is one peer, as people name peers or as it calls itself; empty is all.
	Peer string `json:"peer,omitempty"`
}
