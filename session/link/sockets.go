package link

import (
	"net"
	"sync"

	"github.com/pion/transport/v4"
)

// sockets is the network for one attempt: it knows the sockets that were made
// for it. Closing them ends at once what pion would wait seconds for: answers
// from STUN and TURN servers that a network swallows.
type sockets struct {
	*network

	mu     sync.Mutex
	open   []interface{ Close() error }
	closed bool
}

// ListenPacket makes a socket to reach a relay with.
func (s *sockets) ListenPacket(network, address string) (net.PacketConn, error) {
	conn, err := s.network.ListenPacket(network, address)
	if err != nil {
		return nil, err
	}
	return conn, s.keep(conn)
}

// ListenUDP makes a socket for candidates of ours.
func (s *sockets) ListenUDP(network string, local *net.UDPAddr) (transport.UDPConn, error) {
	conn, err := s.network.ListenUDP(network, local)
	if err != nil {
		return nil, err
	}
	return conn, s.keep(conn)
}

func (s *sockets) keep(conn interface{ Close() error }) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = conn.Close() // nobody has used it
		return net.ErrClosed
	}
	s.open = append(s.open, conn)
	return nil
}

// close closes every socket there is and refuses new ones.
func (s *sockets) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, conn := range s.open {
		_ = conn.Close() // pion may have done so
	}
	s.open = nil
}
