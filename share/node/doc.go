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
//	run/beside-*      those of second nodes
//	run/tty-*         how the terminals were that tandems use at the moment
//
// One process at a time is the node of a home. A share beside it runs as a
// second node: the same device, with a random mailbox of its own. When the node
// of a home ends, one of those who used it takes its place.
//
// # Shares
//
// A share is an invite and what it grants. It lasts until it is ended or its node
// closes; the invite ends before, when it is used up or its time is over, and its
// number is then given back to the signaling server. Whatever a guest has started
// here under a share ends within a second of its last permission, whether or not
// it is connected.
//
// All shares of a node have one terminal, which ends with the last of them: a
// share with another program than it runs is refused. A share's programs begin
// in its folder, where it has one. It is recorded if the first of the shares, or the
// configuration, says so; a share that asks for more than that is refused. Guests are
// told when they come in, and the host when it is asked. Where the recording is
// required, guests get nothing that no recording has: no programs beside the terminal.
//
// A guest who has proved to hold an invite waits as a request, unless the share
// lets in everybody. Whoever is at the node can answer, in this process or over
// the control socket; the first answer counts, and may give less than was
// offered. A viewer that asks to type is a request as well, and so is
// what a guest would copy into the folders of a share that asks about that. Names of shares and
// requests are random: an answer that comes late reaches nobody else.
//
// `tandem share` is the node of its home if there is none. Then all that it does
// is seen, answered and ended over the control socket as well, and what others
// have shared through it ends with it. If there is a node already, it is a second
// one, with a control socket and terminals of its own. The first finds that socket
// each time it is asked: its answers to shares and requests have those of second nodes
// as well (a share with "beside"), and it passes on end-share, answer, dismiss and
// forget. A second node that takes longer than 2 s to answer is left out; what one
// that was killed has left is removed. Its sessions and events are in its own window,
// and its guests in the book of peers and the audit log, which are common.
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
//	peers  replies: arrays of at most 1000 PeerStatus, by alias, without words, which
//	       the ID tells, and connected, and with a path only if they are; the last
//	       array is empty
//	why    params: peer; reply: PeerStatus
//	ended  params: peer; reply: an empty object or the reason, once the session
//	       with the peer is over
//	self   reply: Self
//	events replies: an empty object, and from then on each Event, one a line of at
//	       most 4 MiB, until the caller goes away. 512 wait for a slow one; an
//	       event "lost" counts those that were left out in its place
//
//	share      params: Share; reply: ShareStatus. The share outlives the caller
//	shares     reply: an array of ShareStatus
//	end-share  params: share, its ID; reply: an empty object, once all that it
//	           granted has ended
//	requests   reply: an array of Request
//	answer     params: request, its ID, and the fields of Answer, where rights are
//	           null for all that was offered; reply: an empty object, once it has
//	           taken effect. Not found, if it has been answered
//	dismiss    params: peer; reply: an empty object, once all that the peer was
//	           granted and its sessions have ended
//	forget     params: peer; reply: an empty object. Dismisses it as well
//	rename     params: peer, alias; reply: an empty object
//	activity   params: ActivityQuery; reply: an array of entries of the audit log,
//	           the newest first; of at most 4 MiB, so there may be fewer than
//	           asked for. There are no more when it is empty
//
// The types' JSON is theirs in this package; times are RFC 3339, durations
// nanoseconds. Params and replies are JSON. A reply is a line, {"result": …} or {"error":
// {kind, text, hint}}, at most 32 MiB, and followed by the end of the stream. What
// a caller has asked for ends when it goes away. A caller has 10 s to say what it
// wants, and 4096 are served at once.
package node
