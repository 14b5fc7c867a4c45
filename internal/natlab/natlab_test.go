//go:build linux

package natlab

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// socket is a UDP socket on a node, with the few things probes do.
type socket struct {
	t *testing.T
	net.PacketConn
}

// listener is a *Host or *NAT, as far as sockets are concerned.
type listener interface {
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
}

func open(t *testing.T, n listener, address string) socket {
	t.Helper()
	c, err := n.ListenPacket(t.Context(), "udp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return socket{t, c}
}

func (s socket) send(to netip.AddrPort, text string) {
	s.t.Helper()
	if _, err := s.WriteTo([]byte(text), net.UDPAddrFromAddrPort(to)); err != nil {
		s.t.Fatal(err)
	}
}

// receive waits for a packet and returns it with where it seems to come from.
func (s socket) receive() (string, netip.AddrPort) {
	s.t.Helper()
	text, from, err := s.poll(10 * time.Second)
	if err != nil {
		s.t.Fatal(err)
	}
	return text, from
}

func (s socket) poll(d time.Duration) (string, netip.AddrPort, error) {
	buf := make([]byte, 2048)
	if err := s.SetReadDeadline(time.Now().Add(d)); err != nil {
		return "", netip.AddrPort{}, err
	}
	n, from, err := s.ReadFrom(buf)
	if err != nil {
		return "", netip.AddrPort{}, err
	}
	ap := from.(*net.UDPAddr).AddrPort()
	return string(buf[:n]), netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}

// outside is the socket's address as the socket srv on host on sees it.
func (s socket) outside(srv socket, on *Host) netip.AddrPort {
	s.t.Helper()
	s.send(at(on, srv), "where am I")
	_, from := srv.receive()
	return from
}

// at is the address of socket s on h.
func at(h *Host, s socket) netip.AddrPort {
	return netip.AddrPortFrom(h.Addr(), s.LocalAddr().(*net.UDPAddr).AddrPort().Port())
}

// eventually waits for something that other goroutines or the kernel are about to do.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 5000 {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("%s did not happen within 5 s", what)
}

// patience is how long to wait for something that should happen, or should not.
func patience(should bool) time.Duration {
	if should {
		return 10 * time.Second
	}
	return 300 * time.Millisecond
}

// arrivals counts the packets that reach the router of n from the WAN.
func arrivals(n *NAT) int64 {
	_, down := n.Wire().Stats()
	return down.Packets
}
