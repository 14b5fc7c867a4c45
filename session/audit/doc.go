// Package audit keeps the record of what peers asked of a device, what they
// were allowed and what came of it: append-only, hash-chained, one JSON object
// a line. Whoever can't append must not act.
//
// # Files
//
// A log is a folder of mode 0700 with
//
//	log-000001.jsonl, log-000002.jsonl, …   the entries, in this order
//	anchor                                  the newest entry known to be on the disk
//	lock                                    held while appending
//
// A file is followed by the next when it has 16 MiB; none is ever rewritten or
// removed. Files are regular ones; symbolic links are refused.
//
// # Entries
//
// A line is an object in UTF-8, at most 32 KiB with its line feed:
//
//	seq        number, from 1, one more with each entry, across files
//	time       RFC 3339 in UTC with milliseconds; clocks may be set back
//	outcome    what happened, see below
//	peer       string: the peer's ID; left out if it is about nobody
//	name       string: what the peer calls itself, which proves nothing
//	service    string, such as "terminal/1"
//	resource   string: what of the service was meant
//	action     string: what was to be done to it
//	detail     string: what exactly, such as a program and its arguments
//	of         number: the seq of the "allowed" that this ends
//	sent       number: bytes we sent to the peer
//	received   number: bytes the peer sent
//	exit       number: the exit code of the program that ran
//	recording  string: the file that a terminal was recorded in
//	reason     string: why, for people
//	count      number: how many more like this one were left out before it
//	prev       string: SHA-256 of the line before, without its line feed, as 64 hex
//	           digits; 64 zeros in the first entry
//
// All but seq, time, outcome and prev are left out where they have nothing to
// say. Readers ignore unknown fields. The outcomes:
//
//	invited    an invite was made; resource is its number
//	approved   a peer was let in, with the right to what reason lists
//	refused    a peer was not let in
//	allowed    a request of a peer was granted and is about to be served
//	denied     a request of a peer was refused; of floods, some are only counted
//	ended      what "of" names has ended; reason says how, if the peer just left
//	failed     what "of" names has failed: reason says why
//	revoked    what had been granted was taken back: everything of a peer's, or of a
//	           share, whose number resource is; reason says which
//	repaired   the end of the log was no entry, as after a power failure, and was
//	           removed; reason tells its size and its hash
//	lost       entries that were on the disk are not there any more
//
// # What is when on the disk
//
// An entry has been written when Append returns, so that it outlives a killed
// process. Commit returns when it is on the disk as well: for invites,
// approvals, refusals and revocations. What was appended is forced to the disk within a
// second, and so is, after it, the anchor: {"seq": N, "hash": HEX}, the number
// of an entry and the hash of its line, written anew and renamed. If forcing to
// the disk fails, nothing can be appended any more until the program starts
// again.
//
// Several processes append to one log in turn, under an exclusive lock on the
// file "lock". Before it appends, each reads what the others have appended. A
// last line that is no entry is cut off, if it is at most 64 KiB, and a
// "repaired" entry says so. If the anchor names an entry that is not there, a
// "lost" entry says so.
//
// # What can be found out
//
// Verify finds every edit, removal, insertion and change of order of entries
// before the anchor's, and the removal of the anchor's entry and those up to it.
// It can't find the removal of entries behind the anchor, which is a second's
// worth, nor anything done by somebody who can write to the whole folder and
// takes the trouble to compute all hashes and the anchor anew: nothing on one
// machine can. Against that, write down the head that Verify reports, somewhere
// else: VerifyFrom checks that the log still contains it.
package audit
