package sshd

import (
	"context"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"tandem/session"
)

const maxListeners = 32

// Payloads for connections (RFC 4254, section 7, and OpenSSH's PROTOCOL,
// section 2.4).
type (
	tcpAddress struct {
		Host string
		Port uint32
	}
	tcpChannel struct {
		Host     string
		Port     uint32
		From     string
		FromPort uint32
	}
	unixAddress struct{ Path string }
	unixChannel struct {
		Path     string
		Reserved string
	}
	unixDirect struct {
		Path         string
		Reserved     string
		ReservedPort uint32
	}
	boundPort struct{ Port uint32 }
)

const maxPort = 1<<16 - 1

// unknownPort is whence a connection comes if nobody knows, as OpenSSH has it:
// some clients take no 0.
const unknownPort = maxPort

// direct serves a connection that the client wants made.
func (s *server) direct(ctx context.Context, offered ssh.NewChannel) {
	network, address, ok := directAddress(offered)
	if !ok {
		_ = offered.Reject(ssh.ConnectionFailed, "no such address") // or the client has gone
		return
	}
	conn, err := s.remote.Connect(ctx, network, address)
	if err != nil {
		_ = offered.Reject(rejection(err)) // or the client has gone
		return
	}
	channel, requests, err := offered.Accept()
	if err != nil {
		_ = conn.Close() // the client has gone
		return
	}
	var work sync.WaitGroup
	work.Go(func() { ssh.DiscardRequests(requests) })
	stop := context.AfterFunc(ctx, func() { _ = conn.Close(); _ = channel.Close() })
	defer stop()
	join(channel, conn)
	work.Wait()
}

func directAddress(offered ssh.NewChannel) (network, address string, ok bool) {
	if offered.ChannelType() == "direct-tcpip" {
		var p tcpChannel
		if ssh.Unmarshal(offered.ExtraData(), &p) != nil || p.Port == 0 || p.Port > maxPort {
			return "", "", false
		}
		return "tcp", joinHostPort(p.Host, p.Port), true
	}
	var p unixDirect
	return "unix", p.Path, ssh.Unmarshal(offered.ExtraData(), &p) == nil
}

func joinHostPort(host string, port uint32) string {
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return net.JoinHostPort(host, strconv.FormatUint(uint64(port), 10))
}

// rejection is why there is no channel.
func rejection(err error) (ssh.RejectionReason, string) {
	kind, text := session.Public(err)
	if text == "" {
		text = string(kind)
	}
	text = session.Printable(text)
	switch kind {
	case session.Denied, session.Revoked:
		return ssh.Prohibited, text
	case session.Busy:
		return ssh.ResourceShortage, text
	}
	return ssh.ConnectionFailed, text
}

// join passes bytes and half-closes both ways until both directions have
// ended, and then closes both.
func join(channel ssh.Channel, conn Conn) {
	var up sync.WaitGroup
	up.Go(func() {
		if _, err := io.Copy(conn, channel); err != nil {
			_, _ = conn.Close(), channel.Close() // what is broken stops the other direction
			return
		}
		_ = conn.CloseWrite() // of a broken one, the other direction tells
	})
	if _, err := io.Copy(channel, conn); err != nil {
		_, _ = conn.Close(), channel.Close()
	} else {
		_ = channel.CloseWrite()
	}
	up.Wait()
	_, _ = conn.Close(), channel.Close()
}

// global answers the client's requests that belong to no channel, in order,
// until the connection ends.
func (s *server) global(ctx context.Context, requests <-chan *ssh.Request) {
	for r := range requests {
		ok, payload := s.globalRequest(ctx, r)
		if r.WantReply {
			_ = r.Reply(ok, payload) // or the client has gone
		}
	}
	for _, l := range s.listeners {
		_ = l.Close() // the connection has ended
	}
}

func (s *server) globalRequest(ctx context.Context, r *ssh.Request) (ok bool, payload []byte) {
	switch r.Type {
	case "tcpip-forward":
		var p tcpAddress
		if ssh.Unmarshal(r.Payload, &p) != nil || p.Port > maxPort {
			return false, nil
		}
		return s.listenTCP(ctx, p)
	case "streamlocal-forward@openssh.com":
		var p unixAddress
		if ssh.Unmarshal(r.Payload, &p) != nil {
			return false, nil
		}
		_, ok := s.listen(ctx, "unix", p.Path, p.Path, func(string) (string, []byte) {
			return "forwarded-streamlocal@openssh.com", ssh.Marshal(unixChannel{Path: p.Path})
		})
		return ok, nil
	case "cancel-tcpip-forward":
		var p tcpAddress
		return ssh.Unmarshal(r.Payload, &p) == nil && s.endListener("tcp", joinHostPort(p.Host, p.Port)), nil
	case "cancel-streamlocal-forward@openssh.com":
		var p unixAddress
		return ssh.Unmarshal(r.Payload, &p) == nil && s.endListener("unix", p.Path), nil
	}
	return false, nil // keepalive@openssh.com wants any answer
}

// listenTCP listens, and answers with the port if the client left it open.
func (s *server) listenTCP(ctx context.Context, p tcpAddress) (ok bool, payload []byte) {
	host := p.Host
	if host == "" {
		host = "*" // RFC 4254: every address, of each protocol
	}
	name := joinHostPort(p.Host, p.Port)
	address, ok := s.listen(ctx, "tcp", joinHostPort(host, p.Port), name, func(address string) (string, []byte) {
		port := p.Port
		if port == 0 {
			port = portOf(address)
		}
		return "forwarded-tcpip", ssh.Marshal(tcpChannel{Host: p.Host, Port: port, From: "0.0.0.0", FromPort: unknownPort})
	})
	if !ok || p.Port != 0 {
		return ok, nil
	}
	port := portOf(address)
	// The client cancels it by the port that it is told.
	s.listeners["tcp "+joinHostPort(p.Host, port)] = s.listeners["tcp "+name]
	delete(s.listeners, "tcp "+name)
	return true, ssh.Marshal(boundPort{port})
}

func portOf(address string) uint32 {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// listen listens at the peer under the client's name for it, and says where in
// fact. Announce is the channel that tells the client of a connection.
func (s *server) listen(ctx context.Context, network, address, name string, announce func(address string) (kind string, payload []byte)) (bound string, ok bool) {
	key := network + " " + name
	if s.listeners[key] != nil || len(s.listeners) >= maxListeners {
		s.tell(name + " is not forwarded: there are too many, or it is already")
		return "", false
	}
	listening := make(chan struct{})
	defer close(listening)
	l, err := s.remote.Listen(ctx, network, address, func(ctx context.Context) (net.Conn, error) {
		select {
		case <-listening: // bound has been set
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		kind, payload := announce(bound)
		return s.dialClient(ctx, kind, payload)
	})
	if err != nil {
		_, text := session.Public(err)
		if hint := session.Hint(err); hint != "" {
			text += ". " + hint
		}
		s.tell(name + " is not forwarded: " + text)
		return "", false
	}
	s.listeners[key] = l
	return l.Address(), true
}

func (s *server) endListener(network, name string) bool {
	key := network + " " + name
	l := s.listeners[key]
	if l == nil {
		return false
	}
	delete(s.listeners, key)
	_ = l.Close() // nobody is left to be told
	return true
}

// dialClient opens a channel to the client.
func (s *server) dialClient(ctx context.Context, kind string, payload []byte) (net.Conn, error) {
	channel, requests, err := s.conn.OpenChannel(kind, payload)
	if err != nil {
		return nil, session.Errorf("ssh", session.Unavailable, "the SSH client refused the connection")
	}
	s.work.Go(func() { ssh.DiscardRequests(requests) })
	if err := ctx.Err(); err != nil { // it ended while the client made up its mind
		_ = channel.Close()
		return nil, err
	}
	return clientConn{channel}, nil
}

// clientConn is a channel as a connection; it has no deadlines.
type clientConn struct{ ssh.Channel }

func (clientConn) LocalAddr() net.Addr              { return here{} }
func (clientConn) RemoteAddr() net.Addr             { return here{} }
func (clientConn) SetDeadline(time.Time) error      { return nil }
func (clientConn) SetReadDeadline(time.Time) error  { return nil }
func (clientConn) SetWriteDeadline(time.Time) error { return nil }
