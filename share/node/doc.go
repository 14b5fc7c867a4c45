// Package node is one running tandem: it assembles the services, meets peers
// through signaling servers, and answers to verbs and the terminal UI as a
// Backend, in this process or in another over a control socket.
//
// # Home
//
// A node keeps in its home's state folder, all of it readable by its user
// alone:
//
//	identity/         the device key and name (package identity)
//	peers             the known peers (package identity)
//	invites/          what is left of each invite (package pairing)
//	audit/            what peers asked for and got (package audit)
//	recordings/       recordings of terminals, unless they go elsewhere
//	lock              held by the one node that owns the mailbox and the socket
//	run/control.sock  the control socket
//	run/tty-*         how the terminals were that tandems use at the moment
//
// One process at a time is the node of a home. A share beside it runs as a
// second node: the same device, with a random mailbox of its own. When the node
// of a home ends, one of those who used it takes its place.
//
// # Shares
//
// A share is an invite and what it grants. It lasts until its node closes; the
// invite ends before, when it is used up or its time is over, and its number is
// then given back to the signaling server. Whatever a guest has started here
// ends within a second of its last permission, whether or not it is connected.
//
// # The network
//
// When this machine's addresses change (compared four times a second) or it has
// slept, the node connects to its signaling servers anew; sessions look for new
// paths by themselves. It is connected to 32 servers at most: those it is
// configured with, and those of links and peers it was pointed to.
//
// # The control socket
//
// A unix socket in a folder with mode 0700; both ends also check that the
// other runs as the same user, or as root. Each connection is one stream of
// package stream in its form for byte streams, opened by the client with the
// service "node/1" and one of the actions
//
//	open   params: peer, header   a stream to a peer: once accepted, bytes,
//	                              half-closes and resets pass both ways. The peer
//	                              "." is the node itself
//	dial   params: peer; reply: an empty object, once there is a session
//	join   params: invite, servers; reply: Joined
//	peers  reply: an array of PeerStatus
//	why    params: peer; reply: PeerStatus
//	ended  params: peer; reply: an empty object or the reason, once the session
//	       with the peer is over
//
// Params and replies are JSON. A reply is {"result": …} or {"error": {kind,
// text, hint}}, at most 4 MiB, and followed by the end of the stream. What a
// caller has asked for ends when it goes away. A caller has 10 s to say what it
// wants, and 4096 are served at once.
package node
