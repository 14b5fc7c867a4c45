// Package signaling introduces two devices that cannot reach each other yet. It holds
// the protocol between a device and a signaling server, and the client. Package server
// is the other side; package lan finds a server on the local network.
//
// A server moves small opaque bodies between mailboxes. It is not trusted: it may
// drop, repeat, reorder, delay or alter what it carries and invent what it likes.
// Whoever uses this package seals every body for its receiver and authenticates what
// arrives; nothing here does either. That is also why a server may be spoken to in the
// clear where there is no TLS, such as on a LAN: an eavesdropper learns which
// mailboxes talk, as the server itself does.
//
// # Connection
//
// GET /v1/ws is a WebSocket (RFC 6455). Both sides send text messages only, each one
// JSON object of at most [MaxFrame] bytes with a "type"; a browser can speak it.
// Fields a reader does not know are ignored, and a request whose type a server does
// not know is answered by an error of kind "unsupported". Compression is not used. The
// server looks at no cookie and no Origin.
//
// Byte strings are standard base64 with padding (RFC 4648, section 4). Times are
// milliseconds since 1970 UTC. An absent field is zero, false or empty. A request
// carries an "id" from 1 to 2^53-1, its answer the same one; a request without one
// cannot be told of its failure. The server answers requests in any order.
//
//	S→C welcome   version, min_version   the protocols it speaks, now 1 and 1
//	              nonce                  32 random bytes, fresh for each connection
//	              host                   the Host the request named
//	              observed               the address and port it sees, "192.0.2.7:4711"
//	              time                   its clock
//	              limits                 frame, nameplates, watches: a message's bytes,
//	                                     a mailbox's nameplates, a mailbox's watches;
//	                                     idle_ms: silence after which it hangs up
//	C→S claim     version                the highest both speak
//	              key                    Ed25519 public key, 32 bytes
//	              signature              of lv("tandem/mailbox/1"), lv(nonce), lv(host)
//	              yield                  true: only if nobody holds the mailbox
//	S→C claimed   mailbox                the name of key's mailbox
//
// welcome is the first message, claim the first from the client; anything else
// instead ends the connection. Requests may follow claim without waiting for
// claimed, and are answered after it. lv(x) is x behind its length, a big-endian uint16. host
// is the authority of the URL the client used, lower-case, without port 80 or 443; a
// client refuses a welcome with another host, and a server that knows its names
// refuses others, so that one server cannot claim a mailbox at another with a
// signature made for itself. A mailbox's name is the first 32 characters of
// base32(SHA-256("tandem/mailbox/1" ‖ key)), lower-case: 160 bits. It tells nothing
// about the key; who knows it can write to it and watch it.
//
// The newest claim of a mailbox holds it. The connection that held it before gets an
// error of kind "replaced" and ends. A client that was replaced by another process
// with its key comes back with yield only, so that the two do not push each other out;
// claims that yield to a holder fail with "exists".
//
//	C→S send      id, to, body      body: at most MaxBody bytes before base64
//	S→C sent      id                handed to the receiver's connection, no more
//	S→C message   from, body        from is the sender's mailbox
//
//	C→S nameplate id, [number]      no number: pick one
//	S→C nameplate id, number
//	C→S release   id, number
//	S→C released  [id], number      without id: the server lost it to another mailbox
//
//	C→S watch     id, mailboxes     replaces the set watched so far
//	S→C watching  id
//	S→C presence  online, offline   mailboxes: those added as they are now, then changes;
//	                                of several changes of one mailbox only the last counts
//
//	C→S relay     id
//	S→C relays    id, relays        each: urls (turn:, turns:, stun:), username, password,
//	                                ttl in seconds
//
//	C→S ping      id
//	S→C pong      id, time
//
//	S→C draining  after_ms          the server is going away: connect again after that long
//	S→C error     [id], kind, text  about request id; without id it ends the connection
//
// to is a mailbox, or "nameplate/" and a number. A nameplate is a number of three to
// six digits, not beginning with 0, that stands for a mailbox so that people can say
// it: random, from the shortest range that is not half taken. A mailbox keeps its
// nameplates while it is connected and for a grace period (30 s by default) after; it
// asks for the same numbers again when it comes back, also to a server that has been
// restarted, where the first to ask gets it. Nameplates are guessable and give nobody
// anything but an address.
//
// The kinds of error are those of [Error].
//
// Both sides answer WebSocket pings. The server pings a connection that has been
// silent, and hangs up when it stays silent for idle_ms. A client sends ping to
// measure the round trip.
//
// # Limits
//
// All of them can be configured; see server.Limits for the defaults. Beyond a rate,
// requests are answered by errors of kind "busy", and a client that goes on regardless
// is disconnected. A receiver that takes no bytes for 2 s is disconnected; a sender
// whose receiver has 32 messages waiting gets "busy". Malformed, binary, oversized and
// unmasked messages end the connection that sent them.
//
// # Other resources
//
//	GET /v1/info   JSON: service "tandem-signaling", version, min_version, time,
//	               stun and relays (lists of URLs). Cheap, no state; see [Probe]
//	GET /healthz   200 "ok", or 503 while draining
//	GET /metrics   Prometheus
//	GET /j         a page without script that tells people what to do with an invite
//	               link; the link's secret is in the fragment, which browsers keep
//
// # State
//
// A server keeps nothing that a restart could lose: clients connect again, claim their
// mailboxes, nameplates and watches again. Delivery is best effort and at most a hint:
// whoever needs an answer asks again.
package signaling
