// Package facts tells a peer how a machine is doing: its system, load, memory,
// disks, addresses, users, busiest processes, and whether it waits for a reboot.
// It tells names of processes, not their arguments, which may hold secrets.
//
// Service is the host's half, Ask the peer's.
//
// # The stream
//
// A peer opens one stream per question: service "facts/1", resource "", action
// "read". It sends nothing. The host answers with one JSON object of at most
// 262144 bytes (MaxReply), which is a Facts, and closes the stream. Facts that
// the host could not find out are left empty, and named in "unknown". Unknown
// fields are ignored.
//
//	time       when the facts were gathered, RFC 3339
//	hostname   what the machine calls itself
//	os         object: name ("linux", "darwin", "windows"), platform and version
//	           ("debian", "13.1"), kernel (its release), arch ("x86_64")
//	uptime     seconds since the machine started
//	load       array of 3: the load averages over 1, 5 and 15 minutes
//	cpu        object: cores, and busy, how many of them were over a fifth of a second
//	memory     object: total, available, swap_total, swap_used, in bytes
//	disks      array of at most 64 of {mount, type, total, free}: bytes, and free
//	           is what an ordinary user can still fill
//	addresses  array of at most 64 of {interface, address}: address and prefix
//	           length; no loopback and no link-local ones
//	users      array of at most 64 of {name, terminal, from, since}: who is logged in,
//	           RFC 3339
//	processes  object: count, and top, an array of at most 20 of {pid, name, user, cpu,
//	           memory}, by processor use and then by memory; cpu is how many cores
//	           it used over a fifth of a second, memory its resident bytes
//	reboot     object: pending, and why, an array of at most 16 sentences
//	unknown    array of at most 16 names of the above
//
// Every string is at most 256 bytes. The receiver cuts what is longer, drops what
// is more, and passes every string through session.Printable.
//
// Gathering takes a quarter of a second. A host gathers once at a time, and
// answers questions that come within a second from what it has.
package facts
