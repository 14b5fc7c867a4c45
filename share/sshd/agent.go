package sshd

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"tandem/session"
)

// Limits of the subsystem "agent".
const (
	maxAgentMessage = 256 << 10 // as OpenSSH has it
	maxAgentConns   = 64
	maxSocketPath   = 255
)

// agent is the client's key agent, offered at the peer. The program that the
// peer runs for the subsystem "agent" (see ServeAgent) makes a socket, writes
// its path and a line feed, and then speaks of the connections to it in frames,
// big-endian:
//
//	uint32 connection, from 1   uint32 length   that many bytes
//
// The program sends what a connection's owner asks, one message of the agent
// protocol (draft-ietf-sshm-ssh-agent) at a time and without its length, and gets
// the answer in the same form. A length of 0 ends a connection, from either
// side.
type agent struct {
	path    string
	program Program
	open    func() (ssh.Channel, error)
	work    sync.WaitGroup

	write sync.Mutex // one frame at a time

	mu    sync.Mutex
	conns map[uint32]ssh.Channel
}

// forwardAgent offers the client's agent at the peer; nil if that can't be.
func (s *server) forwardAgent(ctx context.Context) *agent {
	program, err := s.remote.Start(ctx, Request{Subsystem: "agent"})
	if err != nil {
		s.notForwarded(err)
		return nil
	}
	a := &agent{program: program, conns: make(map[uint32]ssh.Channel), open: func() (ssh.Channel, error) {
		channel, requests, err := s.conn.OpenChannel("auth-agent@openssh.com", nil)
		if err == nil {
			s.work.Go(func() { ssh.DiscardRequests(requests) })
		}
		return channel, err
	}}
	read, write := io.Pipe()
	a.work.Go(func() {
		_, err := program.Output(write, io.Discard)
		if err == nil {
			err = session.Errorf("ssh", session.Unavailable, "the peer's end of it has ended")
		}
		_ = write.CloseWithError(err)
	})
	stop := context.AfterFunc(ctx, func() { _ = program.Close() })
	output := bufio.NewReader(read)
	a.path, err = readPath(output)
	stop()
	if err != nil {
		_ = read.Close()
		a.close()
		s.notForwarded(err)
		return nil
	}
	a.work.Go(func() {
		_ = a.serve(output) // the agent has ended, whatever the reason
		_ = read.Close()
	})
	return a
}

func (s *server) notForwarded(err error) {
	_, text := session.Public(err)
	s.tell("the key agent is not forwarded: " + text)
}

// readPath reads where the peer's socket is.
func readPath(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n') // of at most the reader's buffer
	if err != nil {
		return "", err
	}
	p := strings.TrimSuffix(string(line), "\n")
	if len(p) > maxSocketPath || !path.IsAbs(p) || p != session.Printable(p) {
		return "", session.Errorf("ssh", session.Invalid, "the peer names no socket")
	}
	return p, nil
}

// serve passes on what the peer's programs ask until the peer's output ends,
// and then ends their connections.
func (a *agent) serve(r io.Reader) error {
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, channel := range a.conns {
			_ = channel.Close()
		}
	}()
	for {
		id, message, err := readFrame(r)
		if err != nil {
			return err
		}
		a.mu.Lock()
		channel, full := a.conns[id], len(a.conns) >= maxAgentConns
		a.mu.Unlock()
		switch {
		case len(message) == 0:
			if channel != nil {
				_ = channel.Close()
			}
			continue
		case channel == nil && full:
			err = session.Errorf("ssh", session.Busy, "too many connections to the agent")
		case channel == nil:
			channel, err = a.connect(id)
		}
		if err != nil {
			if err := a.send(id, nil); err != nil {
				return err
			}
			continue
		}
		// A broken channel ends by its other direction.
		_, _ = channel.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...))
	}
}

// connect opens a channel to the client's agent, and passes its answers on.
func (a *agent) connect(id uint32) (ssh.Channel, error) {
	channel, err := a.open()
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	a.conns[id] = channel
	a.mu.Unlock()
	a.work.Go(func() {
		for {
			message, err := readAgentMessage(channel)
			if err == nil && len(message) > 0 {
				err = a.send(id, message)
			}
			if err != nil {
				break
			}
		}
		a.mu.Lock()
		delete(a.conns, id)
		a.mu.Unlock()
		_ = channel.Close()
		_ = a.send(id, nil) // or the peer has gone
	})
	return channel, nil
}

func (a *agent) send(id uint32, message []byte) error {
	a.write.Lock()
	defer a.write.Unlock()
	_, err := a.program.Write(appendFrame(nil, id, message))
	return err
}

// close ends the peer's program and waits for everything else to end.
func (a *agent) close() {
	_ = a.program.Close() // serve sees it
	a.work.Wait()
}

func appendFrame(b []byte, id uint32, message []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, id)
	b = binary.BigEndian.AppendUint32(b, uint32(len(message)))
	return append(b, message...)
}

func readFrame(r io.Reader) (id uint32, message []byte, err error) {
	var number [4]byte
	if _, err := io.ReadFull(r, number[:]); err != nil {
		return 0, nil, err
	}
	message, err = readAgentMessage(r)
	return binary.BigEndian.Uint32(number[:]), message, err
}

// readAgentMessage reads a message behind its length.
func readAgentMessage(r io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > maxAgentMessage {
		return nil, session.Errorf("ssh", session.TooLarge, "a message of %d bytes for the agent", n)
	}
	message := make([]byte, n)
	_, err := io.ReadFull(r, message)
	return message, err
}

// ServeAgent is the peer's half: the program for the subsystem "agent". It makes
// a socket in a folder that its user alone can enter, and passes what comes in
// there to the client's agent, whose words come from in and go to out, until in
// ends or ctx does. The socket goes with it.
func ServeAgent(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "tandem-agent-") // with mode 0700
	if err != nil {
		return &session.Error{Op: "agent", Err: err}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	socket := filepath.Join(dir, "socket")
	l, err := net.Listen("unix", socket)
	if err != nil {
		return &session.Error{Op: "agent", Err: err}
	}
	s := &agentSocket{out: out, conns: make(map[uint32]net.Conn)}
	closing := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer closing()
	if _, err := io.WriteString(out, socket+"\n"); err != nil {
		_ = l.Close() // nobody knows it
		return err
	}
	go func() { // a read of standard input can't be called back
		_ = s.answer(in) // the client has gone
		_ = l.Close()
	}()
	s.accept(l)
	return nil
}

// agentSocket is the peer's end of an agent.
type agentSocket struct {
	write sync.Mutex // one frame at a time
	out   io.Writer

	mu    sync.Mutex
	last  uint32
	conns map[uint32]net.Conn
	work  sync.WaitGroup
}

// accept serves connections until the listener is closed, and ends them then.
func (s *agentSocket) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			break
		}
		s.mu.Lock()
		full := len(s.conns) >= maxAgentConns
		if !full {
			s.last++
			s.conns[s.last] = conn
		}
		id := s.last
		s.mu.Unlock()
		if full {
			_ = conn.Close() // there are too many
			continue
		}
		s.work.Go(func() { s.ask(id, conn) })
	}
	_ = l.Close() // it is broken or closed
	s.mu.Lock()
	for _, conn := range s.conns {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.work.Wait()
}

// ask passes on what a connection's owner asks.
func (s *agentSocket) ask(id uint32, conn net.Conn) {
	for {
		message, err := readAgentMessage(conn)
		if err == nil && len(message) > 0 {
			err = s.send(id, message)
		}
		if err != nil {
			break
		}
	}
	s.mu.Lock()
	delete(s.conns, id)
	s.mu.Unlock()
	_ = conn.Close()
	_ = s.send(id, nil) // or the client has gone
}

func (s *agentSocket) send(id uint32, message []byte) error {
	s.write.Lock()
	defer s.write.Unlock()
	_, err := s.out.Write(appendFrame(nil, id, message))
	return err
}

// answer passes on what the agent answers, until the client goes.
func (s *agentSocket) answer(in io.Reader) error {
	for {
		id, message, err := readFrame(in)
		if err != nil {
			return err
		}
		s.mu.Lock()
		conn := s.conns[id]
		s.mu.Unlock()
		switch {
		case conn == nil: // it has gone
		case len(message) == 0:
			_ = conn.Close()
		default:
			// A broken connection ends by its other direction.
			_, _ = conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...))
		}
	}
}
