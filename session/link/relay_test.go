package link

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// relayPair is a relaySocket and the socket of the relay it speaks with.
func relayPair(t *testing.T) (*relaySocket, net.PacketConn) {
	t.Helper()
	var conns [2]net.PacketConn
	for i := range conns {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		conns[i] = conn
	}
	return newRelaySocket(conns[0]), conns[1]
}

func permissionRequest(t *testing.T) *stun.Message {
	t.Helper()
	m, err := stun.Build(stun.TransactionID, stun.NewType(stun.MethodCreatePermission, stun.ClassRequest),
		stun.NewUsername("guest"), stun.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestPermissionIsNotAwaited: the client gets its answer without the relay,
// which still gets the request.
func TestPermissionIsNotAwaited(t *testing.T) {
	s, relay := relayPair(t)
	answers := make(chan *stun.Message)
	go func() {
		defer close(answers)
		buf := make([]byte, 1500)
		for {
			n, from, err := s.ReadFrom(buf)
			if err != nil {
				return
			}
			m := &stun.Message{Raw: bytes.Clone(buf[:n])}
			if err := m.Decode(); err != nil {
				t.Errorf("read %x: %v", buf[:n], err)
			}
			if from.String() != relay.LocalAddr().String() {
				t.Errorf("an answer of %v", from)
			}
			answers <- m
		}
	}()
	buf := make([]byte, 1500)
	for range 3 {
		request := permissionRequest(t)
		if _, err := s.WriteTo(request.Raw, relay.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		answer := <-answers
		if answer.TransactionID != request.TransactionID ||
			answer.Type != stun.NewType(stun.MethodCreatePermission, stun.ClassSuccessResponse) {
			t.Fatalf("answered %v to %v", answer, request)
		}
		n, _, err := relay.ReadFrom(buf)
		if err != nil || !bytes.Equal(buf[:n], request.Raw) {
			t.Fatalf("the relay got %x, %v", buf[:n], err)
		}
	}
	// What the relay sends arrives as before.
	other := stun.MustBuild(stun.TransactionID, stun.BindingSuccess)
	if _, err := relay.WriteTo(other.Raw, s.PacketConn.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if got := <-answers; got.TransactionID != other.TransactionID {
		t.Fatalf("read %v, want %v", got, other)
	}
	_ = s.Close()
	if m, ok := <-answers; ok {
		t.Fatalf("read %v from a closed socket", m)
	}
}

// TestOnlyPermissionsAreAnswered: everything else, and every request once the
// path is set up, is the relay's to answer.
func TestOnlyPermissionsAreAnswered(t *testing.T) {
	s, relay := relayPair(t)
	bind, err := stun.Build(stun.TransactionID, stun.NewType(stun.MethodChannelBind, stun.ClassRequest))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range [][]byte{bind.Raw, createPermission, bytes.Repeat([]byte{0, 8}, 20)} {
		if _, err := s.WriteTo(p, relay.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	s.hasty = time.Now()
	if _, err := s.WriteTo(permissionRequest(t).Raw, relay.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if len(s.answers) != 0 {
		t.Errorf("%d answers that are not ours to give", len(s.answers))
	}
}

// TestStreamRelayWaits: a relay over TCP is not reached where one over UDP was,
// and is where none was in time.
func TestStreamRelayWaits(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	address := listener.Addr().String()

	reached := make(chan struct{})
	close(reached)
	if _, err := newRelayDialer(nil, reached, time.Now().Add(time.Hour)).Dial("tcp4", address); !errors.Is(err, errUnneeded) {
		t.Errorf("with a relay over UDP: %v", err)
	}
	conn, err := newRelayDialer(nil, make(chan struct{}), time.Now().Add(time.Millisecond)).Dial("tcp4", address)
	if err != nil {
		t.Fatalf("without a relay over UDP: %v", err)
	}
	_ = conn.Close()
}

// packets is a socket that keeps what is written to it.
type packets struct {
	net.PacketConn
	sent [][]byte
}

func (p *packets) WriteTo(b []byte, _ net.Addr) (int, error) {
	p.sent = append(p.sent, bytes.Clone(b))
	return len(b), nil
}

func (p *packets) Write(b []byte) (int, error)     { return p.WriteTo(b, nil) }
func (p *packets) Read([]byte) (int, error)        { return 0, net.ErrClosed }
func (p *packets) RemoteAddr() net.Addr            { return nil }
func (p *packets) SetReadDeadline(time.Time) error { return nil }

// TestRelayLearnsNoLocalAddress: a relay out there is not asked about the
// peer's address in its own network, which it would otherwise learn.
func TestRelayLearnsNoLocalAddress(t *testing.T) {
	for _, c := range []struct {
		relay, peer string
		told        bool
	}{
		{"203.0.113.5", "198.51.100.7", true},
		{"203.0.113.5", "192.168.1.7", false},
		{"203.0.113.5", "10.0.0.7", false},
		{"203.0.113.5", "100.64.3.7", false},
		{"203.0.113.5", "127.0.0.1", false},
		{"203.0.113.5", "2001:db8::7", true},
		{"2001:db8::5", "fd00::7", false},
		{"2001:db8::5", "fe80::7", false},
		{"192.168.1.5", "192.168.1.7", true}, // a relay in the local network needs it
		{"127.0.0.1", "127.0.0.1", true},
	} {
		for _, extra := range []string{"", "198.51.100.8"} {
			setters := []stun.Setter{stun.TransactionID, stun.NewType(stun.MethodCreatePermission, stun.ClassRequest)}
			for _, peer := range []string{extra, c.peer} {
				if peer != "" {
					setters = append(setters, xorPeer(peer))
				}
			}
			request := stun.MustBuild(append(setters, stun.Fingerprint)...)
			relay := net.ParseIP(c.relay)

			udp := &packets{}
			_, err := newRelaySocket(udp).WriteTo(request.Raw, &net.UDPAddr{IP: relay, Port: 3478})
			if (err == nil) != c.told || (len(udp.sent) == 1) != c.told {
				t.Errorf("%s over UDP about %s: %v, %d packets", c.relay, c.peer, err, len(udp.sent))
			}
			tcp := &packets{}
			inside := isInside(netip.MustParseAddr(c.relay))
			_, err = relayConn{tcp, inside}.Write(request.Raw)
			if (err == nil) != c.told || (len(tcp.sent) == 1) != c.told {
				t.Errorf("%s over TCP about %s: %v, %d packets", c.relay, c.peer, err, len(tcp.sent))
			}
		}
	}
}

// xorPeer adds an XOR-PEER-ADDRESS.
type xorPeer string

func (p xorPeer) AddTo(m *stun.Message) error {
	return stun.XORMappedAddress{IP: net.ParseIP(string(p)), Port: 4242}.AddToAs(m, stun.AttrXORPeerAddress)
}
