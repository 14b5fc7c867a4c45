package link

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/pion/stun/v4"
)

// relaySocket is the socket through which pion's TURN client speaks with a
// relay over UDP. It says that it is IPv4, for the reason that relayConn has,
// and has the client not wait for permissions.
//
// The client sends the first packet to an address only when the relay has
// confirmed a CreatePermission, and ICE, which has one goroutine for
// everything, stands still meanwhile: a round trip to the relay for each relay
// and each address of the peer. So the socket sends the request and confirms it
// by itself. The relay's own answer then matches no transaction, and is ignored.
// Where it is a refusal, packets are lost, as they would be without the
// permission; and the channel binding that the client asks for at the same time
// installs a permission as well (RFC 8656, section 12.1), and minds the answer.
// When the path has been set up, the relay's answers count again.
type relaySocket struct {
	net.PacketConn
	hasty time.Time // until when permissions are not waited for

	mu      sync.Mutex
	answers []answer
}

type answer struct {
	message []byte
	from    net.Addr
}

// hastyFor is longer than a path takes to be set up.
const hastyFor = 10 * time.Second

func newRelaySocket(conn net.PacketConn) *relaySocket {
	return &relaySocket{PacketConn: conn, hasty: time.Now().Add(hastyFor)}
}

func (s *relaySocket) LocalAddr() net.Addr {
	local := &net.UDPAddr{IP: net.IPv4zero}
	if bound, ok := s.PacketConn.LocalAddr().(*net.UDPAddr); ok {
		local.Port = bound.Port
	}
	return local
}

func (s *relaySocket) WriteTo(p []byte, to net.Addr) (int, error) {
	if relay, ok := addrOf(to); ok && !isInside(relay) && namesInside(p) {
		return 0, errInside
	}
	n, err := s.PacketConn.WriteTo(p, to)
	if err == nil && isCreatePermission(p) && time.Now().Before(s.hasty) {
		s.mu.Lock()
		s.answers = append(s.answers, answer{permissionCreated(p), to})
		s.mu.Unlock()
		err = s.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
	}
	return n, err
}

func (s *relaySocket) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		s.mu.Lock()
		if len(s.answers) > 0 {
			a := s.answers[0]
			s.answers = s.answers[1:]
			s.mu.Unlock()
			return copy(p, a.message), a.from, nil
		}
		s.mu.Unlock()
		n, from, err := s.PacketConn.ReadFrom(p)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, from, err
		}
		// Before looking for answers: a writer that comes between wakes us again.
		if err := s.SetReadDeadline(time.Time{}); err != nil {
			return 0, nil, err
		}
	}
}

// errInside is why a permission is not asked for. To pion's client that is the
// end of the packet: nothing else that names the peer's address follows.
var errInside = errors.New("a relay is not told addresses of local networks")

// namesInside reports whether p asks a relay to let through packets from an
// address inside a local network. The peer has such an address as a candidate,
// for who is in the same network. A relay elsewhere could not reach it, and it
// is none of its business.
func namesInside(p []byte) bool {
	if !isCreatePermission(p) {
		return false
	}
	m := stun.Message{Raw: p}
	if m.Decode() != nil {
		return false
	}
	inside := false
	_ = m.ForEach(stun.AttrXORPeerAddress, func(m *stun.Message) error {
		var peer stun.XORMappedAddress
		if err := peer.GetFromAs(m, stun.AttrXORPeerAddress); err != nil {
			return err
		}
		addr, ok := netip.AddrFromSlice(peer.IP)
		inside = inside || ok && isInside(addr)
		return nil
	})
	return inside
}

// shared are the addresses between a provider's NAT and its customers (RFC 6598).
var shared = netip.MustParsePrefix("100.64.0.0/10")

// isInside reports whether addr has a meaning only inside some network.
func isInside(addr netip.Addr) bool {
	addr = addr.Unmap()
	return addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast() || shared.Contains(addr)
}

// addrOf is the IP address of a UDP or TCP address.
func addrOf(a net.Addr) (netip.Addr, bool) {
	switch a := a.(type) {
	case *net.UDPAddr:
		return netip.AddrFromSlice(a.IP)
	case *net.TCPAddr:
		return netip.AddrFromSlice(a.IP)
	}
	return netip.Addr{}, false
}

// The beginnings of STUN messages (RFC 8489, section 5): type, length, cookie.
var (
	createPermission = []byte{0x00, 0x08}
	permissionGiven  = []byte{0x01, 0x08, 0x00, 0x00}
	stunCookie       = []byte{0x21, 0x12, 0xa4, 0x42}
)

const stunHeader = 20

func isCreatePermission(p []byte) bool {
	return len(p) >= stunHeader && bytes.HasPrefix(p, createPermission) && bytes.Equal(p[4:8], stunCookie)
}

// permissionCreated is the success response to a CreatePermission request.
func permissionCreated(request []byte) []byte {
	return append(bytes.Clone(permissionGiven), request[4:stunHeader]...)
}
