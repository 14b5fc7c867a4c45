package link

import (
	"bytes"
	"errors"
	"net"
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
