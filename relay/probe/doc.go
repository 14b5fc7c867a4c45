// Package probe finds out what a network allows: what the NAT in front of us
// does (RFC 5780 sections 4.3 and 4.4, with STUN Binding requests over UDP), and
// which transports of a TURN relay can be reached, how fast.
//
// It is the client side of package relay, and works with other servers as far
// as they do the same. It trusts nobody: a server can make a NAT look as it
// likes, so what comes out is for advice to people, not for decisions about
// security.
package probe
