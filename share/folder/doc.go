// Package folder is the service "folder/1": a named directory that a peer can
// list, read and, where granted, write. Service is the side that has the
// directory; Client is the other one, and copies single files and whole trees
// in both directions with progress, resume and verification.
//
// # Opening
//
// The Header's resource is the name of the share; empty means the only one
// there is. Its action is "read" or "write"; "write" includes "read". A stream
// opened with "read" answers every change with the kind "denied".
//
// # Messages
//
// The client sends requests, and the server answers each with one reply, in
// the order of the requests. The client need not wait for a reply before it
// sends the next request, so many small files travel without a round trip
// each; it must go on reading replies while it sends.
//
// Everything on the stream is a unit: a uint32 length, big-endian, and that
// many bytes. There are two kinds, and the place says which it is:
//
//	message  JSON, 1 to 65536 bytes (MaxMessage)
//	block    raw bytes, 0 to 1048640 (MaxBlock)
//
// A request or reply is a message. If its "body" is true, it is followed by
// blocks, an empty block, and one more message, the trailer. Whoever gets a
// request it will not fulfil reads past its body. A server that fails in the
// midst of a body replies at once, and the client may then end the body early
// with a trailer that holds an error.
//
// A stream that is to carry files has "bulk" in its Header.
//
//	request  {"id", "op", "path", "body", …}           client
//	reply    {"id", "error", "body", …}                server; id is the request's
//	trailer  {"error", "hash", "skipped"}              whoever sent the body
//
// An "error" is {"kind", "text", "as"}, the first two as in session.Error, and absent
// where there is none; "as" is the other spelling of a name that is in the way. Unknown fields are ignored; absent ones are zero. A client counts ids
// from 1. A hash is BLAKE3 with 32 bytes, in lower-case hexadecimal. Sizes,
// offsets and lengths are bytes; "mtime" is nanoseconds since 1970 UTC.
//
//	entry    {"name", "dir", "size", "mtime", "exec"}
//
// # Paths
//
// A path is relative to the share, with "/" between its names, at most 4096
// bytes; the share itself is "". A name is 1 to 255 bytes of UTF-8 without
// control characters, "/", "\", ":" and NUL; it is not "." or "..", does not
// end in a dot or a space, is not a device name of Windows ("nul", "com1.txt",
// in either case), and does not begin with ".tandem-", which is ours.
// Both sides refuse other names from the other, and a server leaves them out of
// its listings.
//
// Names that some file system takes for one (they differ in case, in Unicode's normal
// form, or in characters that can't be seen) don't come to be side by side by what a
// client does: a put, mkdir or move to such a name fails with "exists", whatever it
// says. Where whoever has the share has made both, both can be used.
//
// Only regular files and directories exist for this protocol. Symbolic links
// and special files are left out of listings and refused by name, also in the
// midst of a path. Nothing leads outside the share. A server may be told to show a
// symbolic link as the file it leads to, if that is a relative path to a regular file
// in the share, through no other link and visible itself; it can't be changed then.
//
// # Rules
//
// A server may restrict parts of a share by rules: patterns, each with an access,
// "hidden", "readable" or "writable". A pattern is a line of a gitignore file
// without "!", and matches one path; the rule then holds for that path and for all
// below it, until a rule matches further down. Of several that match the same path
// the last counts. Below what is hidden, everything is.
//
// A file ".tandemignore" in any directory hides what its lines name there and below, as a
// gitignore file would, "!" included, and is hidden itself; of several the one further
// down counts. It counts within a second of a change. While it can't be read or
// understood, or has more than 1 MiB or 10000 patterns, every request for something in
// that directory fails with "internal", and at the top every request.
//
// Patterns are compared by a form of the names that makes no difference of case, of
// Unicode's normal forms, or of characters that can't be seen, because some file
// systems open a file by any of these.
//
// To a client, what is hidden is not there, in every operation: lists and watches
// leave it out without counting it, and what reads it fails with "not-found". What
// would make, change, move or remove a path that is not writable fails with "denied",
// whether there is anything or not; so does moving or removing a directory with
// something in it that is not writable, where it is or where it would be. Rules
// only take away from what the stream's action allows.
//
// # Operations
//
// stat {path} → {"entry", "asks"}. The name of the share itself is "". If "asks" is
// true, the owner wants to be asked about every change by a push; all other changes
// are refused with "denied".
//
// push {path} and a recursive listing as a body → {}: what the client would put
// below the directory path, as list tells it of a directory, with at most 100000
// entries (MaxPush). Where the owner wants to be asked, the reply comes when they
// have answered, and is an error of the kind "denied" if they refuse; puts then have
// the paths and sizes that were in the list, and executability only where it had it.
// Elsewhere the reply comes at once.
//
// list {path, "recursive"} → body. Each block is the JSON of a page:
//
//	{"dir", "entries", "skipped", "error"}
//
// At most 1000 entries (MaxPage) of the directory "dir", which is relative to
// path: "" is path itself. Within a directory, names rise strictly in the
// order of their bytes over all its pages, which follow each other; even an
// empty directory has a page. With "recursive", the directories below follow
// depth first, each with all its pages before those below it. "skipped" counts
// what was left out. A directory that can't be read has a page with an error.
//
// tree {path} → {"entry"} and a body: what a recursive list of a directory has, and
// behind each page the content of its files of up to 262144 bytes (smallFile), in
// the order of the page. Content is as many items as make the size that the page
// says; the item none stands for a file that can't be read, or is no longer of that
// size and time, and is best asked for by itself. Small files so travel without a request
// each, nor a round trip between the first page and the first file.
//
// read {path, "offset", "length"} → {"entry", "offset"} and a body: the raw bytes
// from offset on, at most length of them if that is not 0. The trailer's hash is
// over the bytes sent. If the file changed while it was read, the trailer has an
// error of the kind "changed".
//
// hash {path, "length"} → {"entry", "hash"}: of the first length bytes, or of
// all if that is 0.
//
// fetch {path, "offset", "prefix", "unless", "normal", "key", "plain"}, with an offer as its
// body or with none → {"entry", "offset", "same"} and content as a body. If "unless"
// is the hash of the whole file, "same" is true and there is no body. "prefix" is
// the hash of the first offset bytes, which the client has; if the file begins
// otherwise, the server starts over with "offset" 0 in the reply, and else
// "offset" is the request's. The trailer's hash is over the whole file. If it
// changed while it was read, the trailer has an error of the kind "changed".
//
// check {path, "size", "mtime", "list", "normal", "key"} → {"entry", "hash", "have",
// "prefix"} and, if "list" is true and a file is there, an offer as a body: what a
// put of a file of this size and time would meet. "entry" is what is there, or
// absent; "hash" is that of the file, if it has this size or "list" is true. "have" is how many bytes the
// server kept when an earlier put was interrupted, and "prefix" their hash.
//
// put {path, "size", "mtime", "exec", "force", "exclusive", "offset"} and content as a
// body → {"entry", "same", "missed"}. The content begins at offset, which is 0 or the "have"
// of a check whose "prefix" the client has verified. A size of -1 means that it is
// not known yet. The trailer's hash is over the whole file. The server stages the
// content, verifies size and hash, flushes it to the disk, and renames the result
// over the path. Where a file with the same content is there already, it is kept,
// and "same" is true. Where another file is, the put fails with "exists" unless
// "force" is true; if "exclusive" is true, it fails with "exists" wherever
// anything is, and of several at once one succeeds. "exec" is honoured only where the share allows it. An error
// in the trailer abandons the put; one of the kind "canceled" only interrupts it. Puts that are sent without waiting for the
// replies before may take effect in any order, and before what only reads.
//
// mkdir {path} → {"entry"}: makes a directory, and its parents. One that is
// there already is no error.
//
// set {path, "mtime", "exec"} → {"entry"}: gives a file or directory another time,
// and a file its executability, as far as the share allows.
//
// remove {path, "purge"} → {"trash"}: moves a file or a directory with all below to the
// trash, a directory ".tandem-trash" at the top of the share, and says where it
// is now: in ".tandem-trash/20261122T130000Z-k3jv52xq/", named by the time in UTC
// and eight random characters, under the path it had. Guests don't see it; the
// share's owner does. What has been there for 30 days goes for good. If "purge" is
// true, a file or an empty directory goes for good at once; that is for what a
// program made a moment ago, such as its lock files.
//
// move {path, "to", "force"} → {"entry"}: gives a file or directory another path.
// Where something is already, the move fails with "exists", unless "force" is
// true and both are files; the one at "to" is replaced then. A name that differs
// only in case or normal form, on a file system that takes them for the same, is
// not in the way of itself.
//
// watch {path, "recursive"} → body, without end. Each block is the JSON of some
// changes:
//
//	{"changes": [{"path", "kind", "entry"}]}
//
// A path is relative to the share; its kind is "created", "changed" (a file's
// size, time or executability) or "removed", and the entry what is there now, or
// was. The removal of a directory stands for all below it, while a new one is
// followed by what is in it. What comes and goes within a moment may not be told.
// The body begins once all later changes will be told. The last request of a
// stream is its only watch, and the client ends the stream to end it. A server
// remembers at most 262144 entries (MaxWatched) for each, and ends it with
// "too-large" beyond; it looks where the operating system hints, at everything
// each minute, and every two seconds where there are no hints.
//
// # Content
//
// Content is the bytes of a file in order, as blocks of one item each:
//
//	data   1 byte 1, 32 bytes sum, a pack     bytes: a chunk as chunk.Packer packs
//	                                          it, at most 1 MiB (maxChunk) of it, and its sum
//	copy   1 byte 2, uvarint offset, uvarint  bytes of the file that is at the
//	       length                             receiver's path, which offered them
//	zeros  1 byte 3, uvarint length           that many zeros: a hole
//	again  1 byte 4, 32 bytes sum             bytes of a data item that went before
//	                                          on this stream, in this file or another
//	none   1 byte 5                           no bytes: only in a tree, and as the
//	                                          first item of a file
//
// with uvarint as in encoding/binary, in its shortest form; an offset is at most
// 2^44 (maxFile), as are a length, which is at least 1, and a file. Who receives content verifies at the end
// the hash of the whole, but in a tree, and in a tree and where it has made an offer the sum
// of each data item after decompression, so that where copies were among the items, and only
// then, a wrong whole means that the old version changed meanwhile. The bytes of an again are
// verified wherever they come from.
//
// Both sides remember the last 16384 data items (maxRecent) of at least 1024 bytes
// (minRecent). Where the receiver does not find such bytes again, because it did not
// keep the file or somebody changed it, the file fails: the reply to a put says "missed"
// then beside its error. The client asks for the file once more with "plain", or puts it
// once more, without references of this kind.
//
// # Offers
//
// An offer is the list of the chunks of a file that the receiver of content has
// in the place of the one it wants, encoded as chunk.List, in blocks of any size. They
// are cut with the key "key" and the normal size "normal", a power of two from
// 65536 to 262144, a quarter of it the least and four times it the largest.
// The client chooses both anew for each file, so that there are at most 65536 chunks of a
// file up to 20 GiB; of a larger one, that many are offered. The sender cuts
// its file, or each piece of it between holes, in the same way and sends a copy for a chunk
// that was offered. Where nothing was offered, it cuts as it likes.
//
// # Files that are there
//
// A client takes a file for the same if its size and time are, and it has not been
// written within 2 seconds, and otherwise compares hashes. A tree is put beside a
// listing of what is there; small files that aren't there are put without a
// question, and larger ones after a check. A tree of which nothing is here is got by
// tree, and its larger files by requests beside that.
//
// # Interrupted puts and gets
//
// A put of less than 65536 bytes (maxHeld), and a small file of a tree, is in memory until
// it is complete, and goes where it belongs by way of a file without a name where the
// operating system has those (O_TMPFILE of Linux). Other content is staged in a directory ".tandem-partial" at the top of the share (or
// of the local destination of a get). What can be resumed is named by a hash of path,
// size and mtime and stays when the stream breaks or the process ends; everything
// else goes. What nobody has touched for a week is removed, and what a process has left
// behind that was killed, as soon as no other has anything under way there.
//
// Of several that bring the same file at once, here or in other processes on the same
// machine, one goes on with what is kept; the others begin anew, in a file of
// their own that is not kept. A server that is asked by a check what it has of a file that is still
// being put waits a second (lettingGo) for that to end. If nothing has come of it meanwhile, and it is
// the same peer's, that stream is ended: the peer was killed and has come again, sooner
// than its session before is known to be dead.
//
// # Limits
//
// A directory with more than 1048576 entries (MaxEntries) is refused, and a
// client refuses a listing that is longer in total. To list a directory a server holds at
// most 131072 of its names (twice maxWindow), and reads one that has more than half of that
// again for each 65536 that follow. Of all puts to a share, 128 (underway) at a time are
// flushed to the disk and get their names; those beyond wait, and who sends them. A reply is checked against
// its request: ids, offsets, sizes, hashes, names and their order. A peer that
// breaks these rules gets the stream reset with the kind "invalid" or
// "integrity".
package folder
