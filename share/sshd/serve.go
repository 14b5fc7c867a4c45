package sshd

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"tandem/session"
)

const (
	maxChannels      = 2048
	handshakeTimeout = time.Minute
)

// Config is what the person at the client decides.
type Config struct {
	// HostKey is the device's key for this purpose.
	HostKey ssh.Signer
	// Notice, if not nil, is told what SSH has no message for, such as why a
	// port was not forwarded. It may be called by several goroutines.
	Notice func(text string)
}

// server is one connection of a client.
type server struct {
	remote Remote
	notice func(string)
	conn   *ssh.ServerConn
	work   sync.WaitGroup // all that ends with the connection

	// listeners are those at the peer, by network and address as the client
	// has them. They belong to global.
	listeners map[string]Listener
}

// Serve speaks SSH with the client at the other end of rw until that leaves or
// ctx ends, and returns when everything it started has ended. A client that
// leaves is no error. It closes rw.
func Serve(ctx context.Context, rw io.ReadWriteCloser, remote Remote, config Config) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	closing := context.AfterFunc(ctx, func() { _ = rw.Close() }) // the client sees it
	defer closing()
	slow := time.AfterFunc(handshakeTimeout, cancel)
	protocol := &ssh.ServerConfig{NoClientAuth: true, ServerVersion: "SSH-2.0-tandem"}
	protocol.AddHostKey(config.HostKey)
	conn, channels, requests, err := ssh.NewServerConn(pipe{rw}, protocol)
	inTime := slow.Stop()
	if err != nil {
		_ = rw.Close() // whatever is left of it
		switch {
		case !inTime:
			return session.Errorf("ssh", session.Timeout, "the SSH client didn't finish its greeting")
		case ctx.Err() != nil:
			return ctx.Err()
		}
		return &session.Error{Op: "ssh", Kind: session.Invalid, Text: "the SSH client and tandem didn't understand each other", Err: err}
	}
	s := &server{remote: remote, notice: config.Notice, conn: conn, listeners: make(map[string]Listener)}
	s.work.Go(func() { s.global(ctx, requests) })
	room := make(chan struct{}, maxChannels)
	for offered := range channels {
		select {
		case room <- struct{}{}:
			s.work.Go(func() {
				s.channel(ctx, offered)
				<-room
			})
		default:
			_ = offered.Reject(ssh.ResourceShortage, "too many channels") // or the client has gone
		}
	}
	cancel()
	s.work.Wait()
	_ = rw.Close()
	return nil // the client has left, in whatever way
}

// channel serves one channel to its end.
func (s *server) channel(ctx context.Context, offered ssh.NewChannel) {
	switch kind := offered.ChannelType(); kind {
	case "session":
		s.session(ctx, offered)
	case "direct-tcpip", "direct-streamlocal@openssh.com":
		s.direct(ctx, offered)
	default:
		_ = offered.Reject(ssh.UnknownChannelType, "no channels of this type here") // or the client has gone
	}
}

// tell gives the person a notice.
func (s *server) tell(text string) {
	if s.notice != nil {
		s.notice(session.Printable(text))
	}
}

// pipe is a client's pipe as the SSH library wants it; it uses no deadlines.
type pipe struct{ io.ReadWriteCloser }

func (pipe) LocalAddr() net.Addr              { return here{} }
func (pipe) RemoteAddr() net.Addr             { return here{} }
func (pipe) SetDeadline(time.Time) error      { return nil }
func (pipe) SetReadDeadline(time.Time) error  { return nil }
func (pipe) SetWriteDeadline(time.Time) error { return nil }

// here is the address of both ends of a pipe.
type here struct{}

func (here) Network() string { return "pipe" }
func (here) String() string  { return "pipe" }
