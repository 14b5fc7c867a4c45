// Package forward is the service "forward/1": connections that begin on one
// device and go on from another. Service is the side of the host, on whose
// network a guest may connect or listen; Run is the guest's, with ssh's -L, -R
// and -D, and Dial makes a single connection.
//
// Each forwarded connection has a stream of its own, so none waits for
// another.
//
// # Opening
//
// The Header's resource is empty. Its action is "connect" or "listen", and its
// params are
//
//	{"network", "address", "probe"}             connect
//	{"network", "address", "replaces"}          listen
//	{"listener", "conn"}                        listen: take a connection
//
// "network" is "tcp" or "unix". A TCP "address" is a host, a colon and a port in
// decimal, 1 to 65535 (0 to listen: any free one); an IPv6 address is in
// brackets. A host is an IP address or a name of at most 253 letters, digits,
// dots, hyphens and underscores. A Unix "address" is an absolute path, clean as
// Go's path.Clean has it, of at most 255 bytes. "listener" and "conn" are numbers
// from 1. Unknown fields are ignored.
//
// # Rights
//
// A guest needs three things, and the dispatcher checks only the first: the
// action on the service itself (resource ""), the action on a resource that is
// a target (see Target) which admits the address, and that this permission
// lasts. A resource is the target's text:
//
//	localhost:80         127.0.0.1 and ::1, port 80
//	10.0.0.0/8:*         a range, every port; [fd00::/8]:443-8443 likewise
//	db.internal:5432     what a guest calls by that name
//	any:443, any         every address, one port or all
//	unix:/run/x.sock     a socket
//
// The host resolves a name once, checks every address that it gets, unwraps
// IPv4 in IPv6 first, and dials those that are admitted, by address, in the
// order of the answer. "localhost" is 127.0.0.1 and then ::1, and nobody is asked.
// A name is not resolved at all for a guest whose targets could not admit it.
// Loopback, link-local, unspecified, multicast and reserved addresses, those
// that embed an IPv4 address (NAT64, 6to4, Teredo), and those of cloud metadata
// services are admitted only by a target that lies wholly within their range:
// by neither "any", nor 0.0.0.0/0, nor a name.
//
// When the target's right ends, so do its connections and listeners.
//
// # Messages
//
// A message is a uint32 length, big-endian, and that many bytes of JSON, 1 to
// 4096 (MaxMessage). Everything else is raw bytes.
//
// # Connect
//
// The host's first message is the status, and what follows it are the bytes of
// the connection:
//
//	{"network", "address"}                      connected, to this address
//	{"error": {"kind", "text", "reason"}}       not; nothing follows
//
// The guest need not wait for it to send. "kind" and "text" are those of
// session.Error; "reason" is one of Reason or absent. Either side ends its
// direction when its connection does (half-close), and resets the stream when its
// connection was reset; a reset stream resets the connection. A guest that
// breaks the rules, or has no right to the service, gets the stream reset
// instead of a status.
//
// With "probe", nothing is dialled: the status says whether the address would
// be allowed, with the address that would be tried first, and the stream ends.
// An empty "network" and "address" ask whether anything would.
//
// # Listen
//
// The host listens on the address if a target with the action "listen" admits
// it; the host name "localhost" is 127.0.0.1, or ::1 if that can't be, and "*" is every
// address of the device, which a target must name as [::] or 0.0.0.0. A socket
// is made for its owner alone, and never in place of anything. The status is
//
//	{"network", "address", "listener"}
//
// with the address in fact. For each connection the host sends a message
//
//	{"conn", "from"}
//
// with numbers that rise, and the guest takes it, within 30 seconds, by a stream
// of its own with "listener" and "conn" as parameters. That stream has no
// status: it is the bytes of the connection, or reset with "not-found" if there
// is no such connection any more. The guest resets it to refuse the connection.
// A guest takes connections of its own listeners only, and connects them to
// where its person said.
//
// The listener ends with its stream, on which the guest sends nothing; so do
// connections nobody took. "replaces" is the number of an earlier listener of this guest, which
// ends first, if it still exists: a guest that comes back after its
// session was lost gets its port again.
//
// # Limits
//
// For one guest at a time: 4096 streams and 32 listeners; further ones are
// refused as "busy". 256 streams connect at a time and the others wait; 128
// connections of one listener wait to be taken, and further ones in the kernel's
// queue. Looking up a name may take 10 seconds and connecting 20 in all.
package forward
