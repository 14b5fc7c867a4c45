// Package lan finds a signaling server on the local network by a nameplate it holds,
// without any server that both sides know: with multicast DNS (RFC 6762) and its
// service discovery (RFC 6763).
//
// A server that holds nameplate 4821 answers as the service
//
//	_4821._sub._tandem._tcp.local.  PTR  I._tandem._tcp.local.   who holds 4821?
//	I._tandem._tcp.local.           SRV  0 0 port I.local.
//	I._tandem._tcp.local.           TXT  "nameplate=4821"
//	I.local.                        A, AAAA                      see below
//
// where I is a random name. All of it comes in one message, in answer to a question
// for the first name (PTR or ANY) or for _tandem._tcp.local. Nothing is announced
// unasked, and nothing is cached on either side: the time to live is 10 s. Questions
// go to 224.0.0.251 and ff02::fb, port 5353, on every interface that is up, loopback
// included, so that two processes on one machine meet as well; answers go to the same
// group and interface, or straight back to a questioner that does not use port 5353
// (RFC 6762, section 6.7). An answer is not delayed as section 6 has it for shared
// records: hardly ever do two have one nameplate.
//
// The addresses are those of the interface the question came in on; link-local ones
// (which need a zone, and are slow to try) only where IPv4 has no other. A message
// whose source is not on a network of ours is not looked at. Of an answer only
// addresses on networks of ours count, and loopback addresses only if the answer came
// from this machine, so that nobody on the network can send a guest to a port of its
// own machine. Messages are at most 9000 bytes (section 17); malformed ones are
// ignored. At most 10 answers a second leave.
//
// Whoever answers proves nothing. The pairing that follows decides.
package lan
