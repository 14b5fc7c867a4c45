// Package session holds tandem's nouns: the peer, the authenticated session
// with it, the streams inside a session, the services that answer them, and
// the errors that cross the wire. Everything else is written against these
// interfaces; this package imports the standard library only.
//
// # Requests
//
// A peer asks for something by opening a stream. The first message on every
// stream, sent by the side that opens it, is one Header: JSON of at most
// MaxHeader bytes, in the frame that package stream gives it. Unknown fields are
// ignored. The other side sees the request as an Offer and either accepts
// it, after which both may send raw bytes or the service's own frames, or
// rejects it with a kind and a sentence meant for people. The opener does not
// wait for acceptance: it may write at once, and learns of a rejection as an
// *Error from its next Read or Write.
//
// Service names carry a version ("terminal/1"). A service that changes its
// frames incompatibly takes a new name; nothing is renumbered.
//
// # Errors
//
// An Error is an operation, a Kind from a closed list, a sentence for people
// and a cause. Only the kind and the sentence cross the wire; the operation
// and the cause stay at home.
package session
