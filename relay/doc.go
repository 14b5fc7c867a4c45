// Package relay is tandem's TURN server: it carries the end-to-end encrypted
// bytes of two peers that have no direct path, and learns nothing from them.
//
// It speaks STUN (RFC 8489) and TURN for UDP relaying (RFC 8656, formerly 5766
// and 6156) to clients over UDP, TCP and TLS, on IPv4 and IPv6. All integers
// are big-endian. pion/turn decides about the four requests that need
// credentials; this package screens what reaches it, answers Binding requests and
// carries the data.
//
//	from a client                 answer
//	Binding request               Binding success, or 420; needs no credentials
//	Allocate, Refresh,            success, or an error response; need credentials
//	CreatePermission, ChannelBind
//	Send indication               none; DATA goes to XOR-PEER-ADDRESS
//	ChannelData                   none; the data goes to the channel's peer
//	anything else                 none; over TCP and TLS, what isn't a frame ends the connection
//
//	to a client
//	ChannelData                   from a peer with a channel
//	Data indication               from a peer with a permission and no channel
//
// Refused: TCP allocations (RFC 6062), EVEN-PORT and RESERVATION-TOKEN, with
// 508 Insufficient Capacity; Connect and ConnectionBind, with silence.
// MESSAGE-INTEGRITY is HMAC-SHA1 under the MD5 long-term key, the only kind
// pion/turn and coturn's shared-secret mode have in common.
//
// An Allocate request without REQUESTED-ADDRESS-FAMILY gets an IPv4 address,
// whatever family the client reaches the server by (RFC 8656 section 7.2): it
// is how a client with IPv6 alone meets peers with IPv4 alone. A server without
// a public IPv4 address gives an IPv6 one.
//
// # NAT behaviour
//
// Over UDP, Binding answers carry RESPONSE-ORIGIN where the public address is
// known. A server that listens on the same two ports of two public addresses of
// one family also sends OTHER-ADDRESS and obeys CHANGE-REQUEST (RFC 5780); one
// that listens on two ports of one address obeys "change port" only, and has no
// OTHER-ADDRESS to give. What it can't do is 420 Unknown Attribute, and so are
// PADDING and RESPONSE-PORT. Package relay/probe is the other side.
//
// # Credentials
//
// The scheme is draft-uberti-behave-turn-rest-00 section 2.2, as in coturn's
// use-auth-secret, so that coturn can stand in for this package:
//
//	username = <expiry, seconds since 1970, decimal> ":" <user>
//	password = base64(HMAC-SHA1(secret, username))
//
// Two secrets may be live at once: new credentials are made with the first,
// credentials of either are accepted. To rotate, put the new secret first, wait
// one lifetime, drop the old one.
//
// An allocation belongs to its user, not to the username: requests for it may
// come with any unexpired username of the same user. A request with an expired,
// unknown or wrong one is answered 401 as if it carried none. So a client must
// fetch fresh credentials before the old ones expire and use them for the next
// refresh; one whose library can't change the username of an allocation (pion's
// and the browsers' can't) restarts ICE with the fresh credentials instead, and
// lets the old allocation run out. Without that its allocation ends at most one
// hour after the last refresh that succeeded (ten minutes with the default
// LIFETIME), its permissions after five minutes.
//
// # Peers
//
// The relay sends to and accepts from global unicast addresses only; see
// Reachable for the list of what is not. Config.AllowPeers and Config.DenyPeers
// change that; DenyPeers wins. The relay's own public addresses are peers only
// for ports where an allocation lives: such a datagram is handed over within
// the process and never leaves it. The ports the relay listens on are never
// peers. The rule is checked when a permission or a channel is asked for, and
// again before it enters the table that the data path reads.
//
// # Limits
//
// A message, or a peer's datagram, may have at most 2000 bytes; longer ones are
// dropped. Over TCP and TLS frames are those of RFC 8656 section 12.5. See
// Limits for the rest. What exceeds a rate is dropped, as a full link would.
//
// Requests without valid credentials get answers of less than 120 bytes more
// than a request, and only Limits.AnswersPerIP of them a second per IPv4
// address or IPv6 /64, so the relay is no use as an amplifier.
package relay
