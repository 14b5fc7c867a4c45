// Package offers tells a peer what it may do here: what joining has shown it,
// as it is at this moment. It tells each peer of its own rights only.
//
// Service is the host's half, Ask the peer's.
//
// # The stream
//
// A peer opens one stream per question: service "offers/1", resource "", action
// "read". It sends nothing. The host answers with one JSON object of at most
// 1048576 bytes (MaxReply) and closes the stream. Unknown fields are ignored.
//
//	offers  array of at most 1024 (MaxOffers) of {service, resource, actions}, as in
//	        the headers of streams: the service with its version, the resource, which
//	        is empty for a service's only or default one, and an array of at most 64
//	        (MaxActions) actions
//
// Every string is at most 512 bytes, of what session.Printable lets through. A
// receiver refuses an answer that is otherwise, because nothing can be called so.
//
// A peer that may do nothing at all is refused with the kind "denied", as every
// stream of its would be.
package offers
