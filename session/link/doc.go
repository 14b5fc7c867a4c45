// Package link makes an authenticated session.Session with one peer over
// WebRTC data channels, through NATs, introduced by signaling that is not
// trusted.
//
// The wire is WebRTC's: ICE (RFC 8445), DTLS 1.2 with SCTP on top (RFC 8261)
// and data channels (RFC 8831, 8832), described by SDP (RFC 8829). This package
// composes pion's ICE, DTLS and SCTP itself instead of taking pion/webrtc's
// PeerConnection, because a running DTLS connection can then move from one ICE
// agent to another: a new path is built while the old one still carries data.
// To a peer that is an ordinary ICE restart.
//
// # Envelopes
//
// Everything the two sides say to each other outside of streams is an
// envelope: a JSON object of at most 24 KiB. On the Signaler an envelope is
// one message; on channel 0 it is one binary data channel message. Unknown
// fields are ignored; an unknown type or version is dropped on the Signaler and
// ends the connection on channel 0. Bytes are base64 (RFC 4648, section 4),
// identities are written as session.PeerID does.
//
//	v      integer  1
//	t      string   the type, one of those below
//
//	"offer" (S1)  Signaler, offerer, first
//	  from    string   the offerer
//	  to      string   the answerer
//	  nonce   bytes    32, random
//	  expires integer  Unix seconds; 60 s after it was made
//	  sdp     string   at most 16 KiB, see below
//	  sig     bytes    Ed25519 by from, see below
//
//	"answer" (S2)  Signaler, answerer, once there is an offer
//	  nonce   bytes    32, random
//	  sdp     string
//	  sig     bytes    by the answerer
//
//	"refuse"  Signaler, answerer, instead of an answer
//	  kind, text string  what session.FromWire reads
//	  sig     bytes    by the answerer
//
//	"candidates"  Signaler and channel 0, both
//	  gen     integer  which generation of ICE; the first is 0 and left out
//	  cand    list of at most 48 strings of at most 512 bytes: the value of an
//	          SDP candidate attribute (RFC 8839, section 5.1), without its name
//	  The answerer keeps those that overtake the offer of their generation.
//
//	"restart"  Signaler and channel 0, both
//	  step    string   "request" (answerer), "offer" (offerer), "answer" (answerer)
//	  gen     integer  the generation; for a request, a counter of requests
//	  silent  integer  in a request made because a path is silent, 1 more than the
//	          generation of that path: the offerer ignores it if it has another
//	          one by now
//	  direct  bool     neither side gathers relays for this generation
//	  ufrag, pwd string  ICE credentials of the generation; not in a request
//	  cand    as above: those known at once
//	  sig     bytes    by the sender
//
//	"confirm" (S3)  channel 0, both, first
//	  sig     bytes
//	  copies  bool     the sender understands the copies of channel 2
//	  lanes   bool     the sender understands lanes
//	  tcp     bool     and those over TCP
//	"ready"  channel 0, offerer, second
//	"ping", "pong"  channel 0, both
//	  n       integer  a pong repeats its ping's
//	"facts"  channel 0, both, any time
//	  stun_failed bool  no STUN server answered the sender over UDP
//	"lane"  channel 0 of the trunk, both, if both have lanes in their confirm
//	  n       integer  the lane's number, at least 1
//	  lane    object   an envelope of the lane's set-up
//	"tcp"  channel 0 of the trunk, both, if both have tcp in their confirm
//	  step    string   "ask" (answerer), "offer" (offerer), "answer" (answerer) or
//	          "turn" (answerer)
//	  n       integer  counts the offers from 1; an answer and a turn repeat it
//	  port    integer  that the sender listens at; in an offer and a turn
//	  print   bytes    SHA-256 of the sender's certificate; not in an ask
//	"bye"  channel 0, both, last
//	  kind, text string
//
// # Signatures
//
// A signature covers a label and fields, each preceded by its length as a
// big-endian uint32. Integers are big-endian uint64. kind is "trunk" for the
// session's first connection and something else for any other; context is the
// SHA-256 of what both sides know already (Config.Context); H is SHA-256 of the
// exact bytes of an SDP; fp is the SHA-256 of a DTLS certificate.
//
//	S1      "tandem/sess/1 offer"    kind context idO idA expires nO H(sdpO)
//	S2      "tandem/sess/1 answer"   kind context idO idA expires nO H(sdpO) nA H(sdpA)
//	S3      "tandem/sess/1 confirm"  kind context role idO idA nO nA fpO fpA
//	refuse  "tandem/sess/1 refuse"   kind context idO idA nO H(sdpO) kind text
//	restart "tandem/sess/1 restart"  kind role idO idA nO nA step gen direct(1 byte) ufrag pwd
//
// role is "offerer" or "answerer", that of the signer. Both identities are in
// every signature, so a certificate that a third peer reuses identifies nobody
// (RFC 8844). Candidates are not signed: a false one can only waste checks,
// which carry passwords from the signed SDPs. Nor is silent: a false one can only
// hold up a request, or repeat it.
//
// The answerer refuses an S1 that is not for it, not signed by its sender for
// this context, more than two minutes past its expiry or further ahead of the
// clock than a fresh one can be, with an SDP that breaks the rules below, from
// an identity it does not expect, or with a nonce it has seen. The offerer drops
// an S2 that is not signed over its own S1, and waits for a better one. S1 is
// sent again after 0.5 s, 1 s, 2 s and every 4 s; the answerer answers the same
// S1 again.
//
// # Descriptions
//
// An SDP has exactly one media section, application over UDP/DTLS/SCTP, and
// exactly one fingerprint, sha-256, at either level; two values of fingerprint,
// setup, ice-ufrag, ice-pwd, sctp-port, max-message-size or sctp-init are
// refused. The offerer's setup is actpass, the answerer's active: the answerer
// is the DTLS client. sctp-init carries the SCTP INIT chunk in base64 (SNAP);
// if both have it, SCTP starts established. Each connection has a fresh ECDSA
// P-256 certificate. DTLS requires client certificates, extended master
// secrets, X25519 or P-256, and AES-GCM; HelloVerify is skipped because ICE has
// proved the address. A handshake with another certificate than the signed one
// fails, and S3 fails after it.
//
// # Confirmation
//
// Channel 0 is negotiated (RFC 8832, section 6). The offerer confirms first; the
// answerer verifies that and then confirms; the offerer verifies that and says
// ready. The offerer opens streams after the answerer's confirm, the answerer
// after ready, so a stream that arrives earlier can't come from an honest peer:
// it ends the connection and nothing of it is delivered. S3 has 10 s.
//
// # Streams
//
// Each stream is a reliable ordered data channel, opened by DATA_CHANNEL_OPEN
// with an empty label and used without waiting for the ACK. The offerer uses odd
// SCTP stream IDs, the answerer even ones from 4. What travels on it is package
// stream's. A peer may have 2000 open (of further ones 200 are rejected as busy, the
// others closed) and open 2000 a second. Who opens them faster is slowed down, on
// purpose and by much: beyond 16 that have not been taken up SCTP drops an opening,
// and its sender sends it again a second later. So we open at most 10 at once and
// 1500 a second. Of a peer's requests to reset streams (RFC 6525) at most 16 may wait
// for data; packets with more are dropped, so that it sends them again.
//
// SCTP interleaves the messages of streams (RFC 8260), so a keystroke overtakes bulk
// data that waits for SCTP's congestion window. That window is at least 128 KiB, so
// that what a dead path has lost is soon sent again, and grows by 8 KiB in a round
// trip beyond slow start; as much of it as fits goes out over each round trip, also
// where acknowledgements are delayed. A writer waits while all streams together have more
// outstanding than the path delivers in a round trip, and a little, or than twice the
// window; and bulk data goes in messages that take at most 4 ms of the path, or one
// packet. Beside bulk data, pings leave every 50 ms, and every 20 ms while the queue
// drains that it has built, about every 4 s.
//
// # Copies
//
// When a sparse message is lost, nothing behind it tells SCTP so, and it comes
// after the retransmission timer: a second, then two. So short messages of
// streams are sent again on channel 2, which is negotiated, unordered and not
// retransmitted, to a peer whose confirm has copies:
//
//	uint16  the SCTP stream ID of the message
//	uint32  its number: 0 for the first data channel message that the sender
//	        sends on that stream after DATA_CHANNEL_OPEN and ACK, then 1, …;
//	        it wraps
//	1 to 512 bytes, the message
//
// Integers are big-endian. A copy leaves 10 ms after the message and another one
// after half a round trip, at least 30 and at most 250 ms (60 ms if none is known).
// At most 50 messages a second are copied. The receiver takes each message once
// and in order, from wherever it comes first. It drops copies of what it has,
// those 64 or more beyond the next message, those for which 512 others wait
// already, those of no open stream, and frames of other lengths.
//
// # Paths
//
// Candidates are those of interfaces that are up and are neither a bridge to
// containers or virtual machines nor an overlay such as Tailscale, without
// link-local addresses, at most eight, and server reflexive and relayed ones.
// For up to two private IPv4 addresses the public one that a signaling server sees is
// offered as well, as a server reflexive candidate with the socket's own port, which
// most NATs keep (RFC 4787, section 4.2.1).
// Loopback is offered only where there is nothing else, and accepted from a
// peer only there. A relay outside of local networks is not asked to reach an
// address inside one, and so does not learn it. mDNS and ICE-TCP candidates are not
// used. Nothing waits before nomination but relayed pairs: 300 ms for the first path,
// 150 ms for one that replaces it. Checks run every 25 ms, keepalives every 500 ms.
// Relays over TCP and TLS are asked only where none over UDP has answered for
// 250 ms, and no relay's permission is waited for.
//
// A new path is made when our addresses change (compared four times a second), when
// either clock advances by 10 s between two looks (the machine slept), when the path
// is silent, on Rebind, before relay credentials expire, and, if the path is relayed,
// to look for a direct one: 1, 5 and 20 s after it began and about every 45 s from
// then on. The offerer makes it, with the next generation number; the answerer asks
// for it by a request. Both keep the present path until the new one is connected and
// receive on it for 3 s more; a new path that does not connect in 12 s (6 s for a
// direct one) is given up. Restart envelopes go over channel 0 and the Signaler at
// once, except those that look for a direct path, which need channel 0 alone. An offer
// is repeated after 0.3 s, 0.6 s and so on, as S1 is, and whenever the answerer asks
// for a path that has been offered already.
//
// A path is silent when ICE has heard nothing for 2 s, unless this process has not
// run either, and, while there are streams,
// when the peer does not answer: a side of whose peer nothing has come for 250 ms, or
// a round trip if that is more (a second, if no stream was used for 10 s), sends six
// SCTP HEARTBEATs (RFC 9260, section 3.3.5) 50 ms apart, and waits two more round trips
// and 50 ms. Each time that something comes by a path that was called silent, that
// becomes longer by 300 ms, twice that and so on up to 2 s.
//
// The session ends when nothing that DTLS has authenticated was heard for
// Config.DeadAfter, and when nothing is heard for 10 s after a sleep that was
// longer than that.
//
// # Lanes
//
// Bulk data never shares the trunk with keystrokes. Whoever has some opens lanes:
// further connections to the same peer, each with sockets, paths and roaming of
// its own, whose Signaler is the trunk: each envelope of a lane is the lane of a
// "lane" envelope on channel 0. Where a round trip takes 20 ms or more, the first one
// is opened with the stream that may need it, by whoever opens that. The trunk's offerer gives its lanes odd numbers,
// the answerer even ones; who opens a lane is its offerer. A lane's kind is
// "lane/" and its number in decimal, and its context is
//
//	signed("tandem/lane/1", kind context idO idA nO nA fpO fpA)  of the trunk
//
// so what is signed for a lane is good for that number in that session alone.
// A lane belongs to the session's peer or is refused. It uses relays only if the
// trunk does when it is opened. A session has at most eight
// lanes, and a peer may offer 16 at once and then one a second; further offers are
// dropped. A lane ends after 15 s without bulk data, after 10 s without a sign of
// the peer, with its trunk, and when its packets' numbers are used up. It has no
// streams: one that is opened on it ends it.
//
// A stream for which Header.Bulk is set, between two peers with lanes, is opened
// with the protocol "bulk" in DATA_CHANNEL_OPEN. Its opener's first message, the
// header, is as on any stream. All others, in both directions, are numbered from
// 0 in each direction and travel on the trunk's data channel as
//
//	uint32  the message's number; it wraps
//	1 byte or more, the message
//
// or in a packet or frame of any lane. The receiver takes each number once and puts them in
// order; a RESET (package stream) is taken at once. On the trunk's data channel, a
// message of 4 bytes acknowledges:
//
//	uint32  all messages before this number have arrived
//
// The acceptor acknowledges 0 at once; before the opener has heard anything it
// sends on the trunk alone. Once a lane has brought a message, an acknowledgement
// goes out for every 256 KiB, and with a message of up to 1 KiB behind which nothing
// waits out of order. A sender has at most 24 MiB given to lanes and not
// acknowledged, of all its streams, and no number 32768 or more beyond the last one
// acknowledged. A receiver that is sent more than 40 MiB out of order or such a
// number ends the session. Messages for streams that are not open are dropped. A
// stream that ends waits for its acknowledgements, at most a minute.
//
// Messages of up to 1 KiB go by the trunk unless bulk data of their stream is under
// way, and so do the first 16 KiB of bulk data, and whatever no lane can carry.
//
// # Packets of lanes
//
// SCTP has a window for losses that means congestion by each, and a timer of a second
// for a packet that is lost twice. On a lane it carries channel 0 alone. Bulk data
// travels in packets of its own, each of them one DTLS record, whose first byte is 0
// where SCTP has its port (5000). Integers are big-endian.
//
//	data   0, 1
//	       uint32  the packet's number: 0 for the lane's first in this direction, then
//	               1, …; what is lost goes again in a packet with a new number
//	       uint16  the SCTP stream ID of the message's data channel on the trunk
//	       uint32  the message's number
//	       1 byte or more, the message
//	ack    0, 2
//	       uint32  the largest number that has arrived, or, when a packet has come so
//	               late that this would not tell of it, the largest of those behind it
//	               without a gap
//	       uint32  how long ago that was, in microseconds
//	       1, 3, … or 63 uint16, none of them 0: how many packets have arrived up to
//	               that number without a gap, how many are missing before those, how
//	               many have arrived before them, …; what is older was told before
//	probe  0, 3
//	       uint32  the packet's number, of the same sequence as data
//	       zeros
//
// Others are dropped, as are all before the lane is confirmed. A packet that is none of
// these, and an acknowledgement of a number that was not sent, end the lane. The
// receiver acknowledges every eighth packet, each that comes out of order, and the
// others within 5 ms. It remembers the last 512 runs of packets without a gap. A packet
// is lost when one that was sent noticeably later has arrived, or after a silence
// (package pace). What is lost goes ahead of what is new, by whichever lane has least
// under way. A lane with two silences
// in a row is not used, and what is under way on it goes by others, while those have
// none; if all have, each has two packets under way until one is acknowledged.
//
// Packets have at most 1191 bytes, and 1392 when a probe of that length has been
// acknowledged: up to three of them leave when a lane is up and when its path has
// changed, half a second apart, and again every five minutes. After three silences in
// a row packets are short again; messages too long for that go by the trunk.
//
// Package pace says when to send how much, over all packet lanes of the session.
//
// # The TCP lane
//
// On a short path without a NAT it is neither loss nor distance that limits a lane, but
// what a packet costs. There bulk data travels in TLS 1.3 (RFC 8446) over TCP, of which
// kernels and processors make the most: 500 MB between two processes of one host with
// two processors took 0.16 s at 0.6 s of CPU time for 1 GB, 0.55 s at 1.8 s in quic-go
// v0.65.0, and 4 s at 10 s in packet lanes.
//
// Whoever has bulk data wants a TCP lane if the trunk's path is direct, both its
// candidates are of the type host, and the least round trip that it has measured lately
// is at most 3 ms, or both sides have the same address. A
// side that is told to use relays only has no tcp in its confirm, and never listens or
// connects. The offerer listens at a random port of the address that its side of the
// trunk's path has, for at most 2 s, and sends the offer; if it is the answerer who
// wants a lane, that asks for one first. The answerer answers and connects, from its own
// address of the path to the offerer's. If that takes more than 300 ms (a firewall) or
// fails, it listens itself and says so by a turn, and the offerer comes to it. Whoever
// listens takes connections from the peer's address alone, lets at most four at once
// try for a second each, and closes the port when one of them is the peer's. There is
// one such lane or attempt at a time; a peer may have us begin four at once and then one
// every other second, and what goes beyond that, or fits nothing, is dropped. Until a
// lane is up, and when there is none, bulk data goes by the trunk and packet lanes, the
// latter of which are held back for 100 ms.
//
// Both sides show a fresh self-signed certificate, made for this one lane, and speak the
// protocol "tandem-lane/1" (RFC 7301). The handshake fails unless the other's
// certificate is the one that its envelope named. No further confirmation is needed:
// channel 0 carries nothing that is not the peer's, since S3 has bound its DTLS
// connection to both identities; so whoever proves to have the key of the named
// certificate is the peer, and as that key is used once, what is signed with it is good
// for no other lane. An address and a port that anybody else has found lead to nothing.
//
// Inside are frames, with integers in big-endian:
//
//	data  1
//	      uint16  the SCTP stream ID of the message's data channel on the trunk
//	      uint32  the message's number
//	      uint16  its length, 1 to 16385
//	      the message
//	ack   2
//	      uint32  how many data frames have arrived since the lane began; it wraps
//
// The receiver acknowledges after 128 KiB, and 1 ms after the first frame that it has
// not. A frame that is none of these, and an acknowledgement of what was not sent, end
// the lane, and so do 2 s in which nothing arrives of what is under way
// though this process runs, another path of the trunk (which may have a lane of its own then),
// and 15 s without bulk data. What is not acknowledged then is sent by the
// trunk: TCP has its own idea of when to give up. A side whose system counts (Linux) also
// ends the lane when of 2000 or more segments TCP had to send one of 200 again, and wants
// none for five minutes: most of TCP takes losses for congestion, and packet lanes don't.
//
// Nor is the sender left to TCP's idea of how much may be under way, which is whatever
// fits in the queues where keystrokes wait: it is what the lane delivers in its least
// round trip and 10 ms, by acknowledgements of the last half second or two, from 32 KiB
// to 8 MiB.
package link
