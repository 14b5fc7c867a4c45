// Package mount shows a peer's shared folder as a folder of this machine: by FUSE
// where Linux has it, and everywhere as a WebDAV server on the loopback address
// that file managers and davfs2 open.
//
// Both work on a Tree, which turns the calls of a file system into requests of
// package folder:
//
//   - Reading fetches blocks of 1 MiB, the next one ahead while a file is read in
//     order, and keeps at most 64 of them in memory. Each block says which state
//     of the file it is from; if the file was replaced meanwhile, reading it goes
//     on with an error (ESTALE) and not with a mixture of both.
//   - What is written gathers in an unnamed temporary file on this machine, and
//     travels when the file is closed or synced: verified, and replacing the old
//     file at once. Close reports what went wrong.
//   - What a program of this mount has made itself in the last hour, it removes
//     for good, such as its lock files; anything else that is removed goes to
//     the share's trash.
//   - Names and attributes are remembered for a second.
//
// Nothing waits without end. While calls wait, the peer is asked for a sign of life
// now and then; if it gives none within 8 seconds, all of them fail with EIO, and so
// does each new one, at once, until it answers again. A session that has ended makes
// them fail at once, and a peer that gives signs of life but no answer after two
// minutes without progress.
//
// There are no symbolic links, hard links, owners, special files or permissions
// other than "executable", because the protocol has none.
//
// # WebDAV
//
// The server (RFC 4918, class 2) listens on 127.0.0.1, with a random port, below a
// path of 128 random bits or more that only whoever sees the command's output
// knows. It answers only requests whose Host is its own address or localhost with
// its port, and refuses those with an Origin other than itself, paths that lead up, and
// a folder that is to be copied or moved into itself. What a client
// began to send and did not finish replaces nothing.
package mount
