// Package sshd is an SSH server for one connection, on the guest's own machine,
// whose programs, files and ports are a peer's. ssh, scp, sftp, rsync, git and
// editors speak SSH with it through a pipe; each of their channels becomes an
// ordinary request to the peer, which the peer checks as it checks any other:
// its host needs no SSH server, no keys and no passwords, and this package asks
// for nothing that its user couldn't ask for without it.
//
// Serve is the server. Remote is the peer as it sees it.
//
// # Who trusts whom
//
// Both ends of the pipe belong to one person, and the session with the peer has
// been authenticated both ways before. So the client is let in without
// credentials ("none", RFC 4252 section 5.2), and the host key says only that this is the
// person's own device: it is for the client's known_hosts file, so that it never
// asks.
//
// # What becomes of what
//
//	"session", with "pty-req"         a program on a terminal (terminal/1)
//	"session", without                a program with standard input, output and error
//	                                  apart (command/1)
//	  "shell"                         the user's login shell
//	  "exec"                          the same with "-c" and the text, as in any sshd
//	  "subsystem"                     what the peer runs under that name: "sftp"
//	  "env"                           LANG, LC_*, COLORTERM and NO_COLOR; others are refused
//	  "window-change", "signal"       the same
//	"direct-tcpip",
//	"direct-streamlocal@openssh.com"  a connection from the peer (forward/1)
//	"tcpip-forward",
//	"streamlocal-forward@openssh.com" a listener at the peer (forward/1)
//	"auth-agent-req@openssh.com"      the subsystem "agent": a socket at the peer that
//	                                  leads to the client's agent; see Agent
//
// Everything else, such as "x11-req" and "tun@openssh.com", is refused (RFC
// 4254). A host that can't run programs, as those on Windows can't yet, says so
// on standard error. The text of an "exec" is shell text by
// SSH's definition. What crosses the session is an array of arguments, in which
// it is one: /bin/sh, "-c", a constant script that executes $SHELL, and the text.
//
// A program's end is told as OpenSSH's server does: "exit-status" or
// "exit-signal", EOF, CLOSE. When the peer refuses a program, the client reads why
// on standard error and the status is 255. A client that leaves ends its
// programs.
//
// # Limits
//
//	channels of one connection             2048
//	listeners of one connection            32
//	variables of one session               64
//	unread input of one channel            2 MiB (SSH's window)
//	one packet                             256 KiB
//	time for the handshake                 1 minute
package sshd
