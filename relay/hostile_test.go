package relay

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// CVE-2026-54909: from anyone with an allocation, a Send indication with DATA
// and an XOR-PEER-ADDRESS without a value ends a server built on stun/v2.
func TestSendIndicationWithEmptyPeer(t *testing.T) {
	s := newServer(t)
	c := newRawClient(t, s, "u")
	if got := c.allocate(1); got != 0 {
		t.Fatalf("allocate: %d", got)
	}
	raw, err := hex.DecodeString(
		"0016" + "000c" + "2112a442" + "000102030405060708090a0b" + // Send indication, 12 bytes
			"0012" + "0000" + // XOR-PEER-ADDRESS, empty
			"0013" + "0004" + "deadbeef") // DATA
	if err != nil || len(raw) != 32 {
		t.Fatal(len(raw), err)
	}
	for n := range 9 { // and every other length that is too short
		grown := append([]byte(nil), raw[:24]...)
		grown[23] = byte(n)
		grown = append(grown, make([]byte, (n+3)&^3)...)
		grown = append(grown, raw[24:]...)
		grown[3] = byte(len(grown) - stunHeader)
		c.write(grown)
	}
	c.write(raw)
	if got := c.request(stun.MethodRefresh); got != 0 {
		t.Errorf("refresh afterwards: %d", got)
	}
	converse(t, allocate(t, connect(t, s, "v")), newPeer(t, "127.0.0.1"))
}

func TestRefusedExtensions(t *testing.T) {
	s := newServer(t)
	c := newRawClient(t, s, "u")
	tcp := attr{stun.AttrRequestedTransport, []byte{6, 0, 0, 0}}
	udp := attr{stun.AttrRequestedTransport, []byte{17, 0, 0, 0}}
	for name, attrs := range map[string][]stun.Setter{
		"TCP allocation":    {tcp},
		"EVEN-PORT":         {udp, attr{stun.AttrEvenPort, []byte{0x80}}},
		"RESERVATION-TOKEN": {udp, attr{stun.AttrReservationToken, []byte("12345678")}},
	} {
		if got := c.request(stun.MethodAllocate, attrs...); got != stun.CodeInsufficientCapacity {
			t.Errorf("%s: %d, want 508", name, got)
		}
	}
	if got := c.allocate(1); got != 0 {
		t.Fatalf("allocate: %d", got)
	}
	// RFC 6062's methods on an allocation that isn't TCP's: no answer, no dialling.
	trap, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer trap.Close()
	c.write(c.build(stun.MethodConnect, rawPeer(addrPort(trap.Addr()))).Raw)
	if got := c.request(stun.MethodRefresh); got != 0 {
		t.Errorf("refresh afterwards: %d", got)
	}
	if s.Allocations() != 1 {
		t.Errorf("%d allocations", s.Allocations())
	}
}

// Messages with absurdly many attributes cost more than they are worth.
func TestAttributesBounded(t *testing.T) {
	s := newServer(t)
	c := newRawClient(t, s, "u")
	if got := c.allocate(1); got != 0 {
		t.Fatalf("allocate: %d", got)
	}
	before := s.stats.malformed.Load()
	many := make([]stun.Setter, maxAttributes)
	for i := range many {
		many[i] = attr{stun.AttrSoftware, nil}
	}
	c.write(c.build(stun.MethodRefresh, many...).Raw)
	if got := c.request(stun.MethodRefresh); got != 0 || s.stats.malformed.Load() != before+1 {
		t.Errorf("refresh: %d; %d messages refused", got, s.stats.malformed.Load()-before)
	}
}

// A refresh needs credentials that still hold, and the same user.
func TestRefresh(t *testing.T) {
	s := newServer(t)
	c := newRawClient(t, s, "u")
	if got := c.allocate(1); got != 0 {
		t.Fatalf("allocate: %d", got)
	}
	c.username, c.password, _ = s.Credentials("u", time.Now().Add(-time.Hour))
	if got := c.request(stun.MethodRefresh); got != stun.CodeUnauthorized {
		t.Errorf("refresh with expired credentials: %d, want 401", got)
	}
	c.username, c.password, _ = s.Credentials("u", time.Now().Add(5*time.Second))
	if got := c.request(stun.MethodRefresh); got != 0 {
		t.Errorf("refresh with renewed credentials: %d", got)
	}
	c.username, c.password, _ = s.Credentials("someone else", time.Now())
	c.write(c.build(stun.MethodRefresh, lifetime(0)).Raw) // ignored
	c.username, c.password, _ = s.Credentials("u", time.Now())
	if got := c.request(stun.MethodRefresh, lifetime(0)); got != 0 || s.Allocations() != 0 {
		t.Errorf("ending: %d, %d allocations left", got, s.Allocations())
	}
}

// An allocation that is about to expire takes no more permissions: see
// allocation.ending.
func TestNoPermissionsAtTheEnd(t *testing.T) {
	s := newServer(t)
	c := newRawClient(t, s, "u")
	if got := c.allocate(1, lifetime(1)); got != 0 {
		t.Fatalf("allocate: %d", got)
	}
	to := rawPeer(netip.MustParseAddrPort("127.0.0.1:4000"))
	c.write(c.build(stun.MethodCreatePermission, to).Raw)
	c.write(c.build(stun.MethodChannelBind, channelNumber(0x4000), to).Raw)
	if got := c.request(stun.MethodRefresh, lifetime(600)); got != 0 {
		t.Fatalf("refresh: %d", got)
	}
	for a := range s.eachAllocation() {
		if a.peers() != 0 {
			t.Error("a permission was added in the last second")
		}
	}
	if got := c.request(stun.MethodCreatePermission, to); got != 0 {
		t.Errorf("permission after the refresh: %d", got)
	}
}

func TestRetransmittedAllocateDoesNotExtend(t *testing.T) {
	s := newServer(t)
	c := newRawClient(t, s, "u")
	m := c.build(stun.MethodAllocate, attr{stun.AttrRequestedTransport, []byte{17, 0, 0, 0}})
	var expires [2]int64
	for i := range expires {
		if got := errorIn(c.exchange(m)); got != 0 {
			t.Fatalf("allocate: %d", got)
		}
		for a := range s.eachAllocation() {
			expires[i] = a.expires.Load()
		}
	}
	if expires[0] == 0 || expires[0] != expires[1] {
		t.Errorf("expires %d, after the retransmission %d", expires[0], expires[1])
	}
}

func TestPeersPerAllocationBounded(t *testing.T) {
	s := newServer(t, func(c *Config) { c.Limits.Peers = 4 })
	c := newRawClient(t, s, "u")
	if got := c.allocate(1); got != 0 {
		t.Fatalf("allocate: %d", got)
	}
	peer := func(last, port int) rawPeer {
		return rawPeer(netip.MustParseAddrPort(fmt.Sprintf("127.0.1.%d:%d", last, port)))
	}
	for i := range 4 {
		if got := c.request(stun.MethodCreatePermission, peer(i, 4000)); got != 0 {
			t.Fatalf("permission %d: %d", i, got)
		}
	}
	if got := c.request(stun.MethodCreatePermission, peer(4, 4000)); got != stun.CodeForbidden {
		t.Errorf("fifth permission: %d, want 403", got)
	}
	if got := c.request(stun.MethodCreatePermission, peer(0, 4000)); got != 0 {
		t.Errorf("refreshing the first permission: %d", got)
	}
	for i := range 5 {
		if got := c.request(stun.MethodChannelBind, channelNumber(uint16(0x4000+i)), peer(0, 4000+i)); got != 0 {
			t.Fatalf("channel %d: %d", i, got)
		}
	}
	eventually(t, "an allocation with too many channels is ended", func() bool { return s.Allocations() == 0 })
}

// Without credentials, one address gets few answers and small ones.
func TestNoAmplifier(t *testing.T) {
	s := newServer(t, func(c *Config) { c.Limits.AnswersPerIP = 5 })
	c := newRawClient(t, s, "u")
	const burst = 20
	for range 10 * burst {
		c.write(stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest)).Raw)
		c.write(stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw)
	}
	answers, buf := 0, make([]byte, 4096)
	for {
		_ = c.conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		n, err := c.conn.Read(buf)
		if err != nil {
			break
		}
		if answers++; n > stunHeader+120 {
			t.Errorf("an answer of %d bytes to a request of %d", n, stunHeader)
		}
	}
	if answers < burst || answers > 2*burst {
		t.Errorf("%d answers, want about %d", answers, burst)
	}
}

func TestConnectionLimits(t *testing.T) {
	serverTLS, _ := testTLS(t)
	s := newServer(t, func(c *Config) {
		c.TCP, c.TLS, c.TLSConfig = []netip.AddrPort{loopback4}, []netip.AddrPort{loopback4}, serverTLS
		c.Limits.ConnsPerIP, c.Limits.AuthTimeout = 3, 200*time.Millisecond
	})
	_, tcp, secure := s.Addrs()
	open := func(addr netip.AddrPort) net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	idle, midway, silent := open(tcp[0]), open(secure[0]), open(tcp[0])
	eventually(t, "three connections", func() bool { return s.conns.now() == 3 })
	for _, conn := range []net.Conn{open(tcp[0]), idle, midway, silent} { // the fourth is refused
		_ = conn.SetReadDeadline(time.Now().Add(patient))
		if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("a connection that says nothing stays open: %v", err)
		}
	}
	if s.stats.refusedConns.Load() != 1 {
		t.Errorf("%d connections refused", s.stats.refusedConns.Load())
	}
	eventually(t, "they are forgotten", func() bool { return s.conns.now() == 0 })
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}

// With an allocation, silence is allowed for longer; without one any more, not.
func TestIdleTimeouts(t *testing.T) {
	s := newServer(t, func(c *Config) {
		c.TCP = []netip.AddrPort{loopback4}
		c.Limits.AuthTimeout = 300 * time.Millisecond
	})
	_, tcp, _ := s.Addrs()
	username, password, _ := s.Credentials("u", time.Now())
	client := newClient(t, dial(t, "tcp", tcp[0], nil), tcp[0], username, password)
	relayed := allocate(t, client)
	time.Sleep(2 * s.cfg.Limits.AuthTimeout)
	converse(t, relayed, newPeer(t, "127.0.0.1"))
	_ = relayed.Close()
	eventually(t, "the connection is closed", func() bool { return s.conns.now() == 0 })
}

// Frames that aren't end their connection, and nobody else's. The lengths
// 65516 and 65532 make a stun.Conn of pion/turn v5.1.1 spin for ever.
func TestStreamFrames(t *testing.T) {
	s := newServer(t, func(c *Config) { c.TCP = []netip.AddrPort{loopback4} })
	_, tcp, _ := s.Addrs()
	username, password, _ := s.Credentials("u", time.Now())
	relayed := allocate(t, newClient(t, dial(t, "tcp", tcp[0], nil), tcp[0], username, password))
	for name, hostile := range map[string]string{
		"STUN of 65516":        "0001ffec2112a442000102030405060708090a0b",
		"STUN of odd length":   "000100012112a442000102030405060708090a0b00",
		"ChannelData of 65532": "4000fffc00000000000000000000000000000000",
		"ChannelData too long": "4000080000000000000000000000000000000000",
		"HTTP":                 hex.EncodeToString([]byte("GET / HTTP/1.1\r\n\r\n")),
		"high bits":            "ffffffffffffffffffffffffffffffffffffffff",
	} {
		raw, err := hex.DecodeString(hostile)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", tcp[0].String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write(raw)
		_ = conn.SetReadDeadline(time.Now().Add(patient))
		if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("%s: the connection stays open: %v", name, err)
		}
		_ = conn.Close()
	}
	converse(t, relayed, newPeer(t, "127.0.0.1"))
}

// A frame may arrive byte by byte, and several at once.
func TestStreamSegmentation(t *testing.T) {
	s := newServer(t, func(c *Config) { c.TCP = []netip.AddrPort{loopback4} })
	_, tcp, _ := s.Addrs()
	conn, err := net.Dial("tcp", tcp[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	one := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	two := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	for _, b := range one.Raw {
		_, _ = conn.Write([]byte{b})
	}
	padded := []byte{0x40, 0, 0, 1, 'x', 0, 0, 0} // ChannelData for no allocation, with padding
	_, _ = conn.Write(bytes.Join([][]byte{two.Raw, padded, one.Raw}, nil))
	_ = conn.SetReadDeadline(time.Now().Add(patient))
	for i, want := range []*stun.Message{one, two, one} {
		raw := make([]byte, 40) // header, XOR-MAPPED-ADDRESS, FINGERPRINT
		if _, err := io.ReadFull(conn, raw); err != nil {
			t.Fatal(err)
		}
		answer := stun.Message{Raw: raw}
		if err := answer.Decode(); err != nil || answer.TransactionID != want.TransactionID {
			t.Fatalf("answer %d: %v, %v", i, &answer, err)
		}
	}
}

// A client that doesn't read loses data, and holds nobody up: not its peers,
// not the other end of a relay-to-relay pair.
func TestSlowStreamClient(t *testing.T) {
	s := newServer(t, func(c *Config) {
		c.TCP = []netip.AddrPort{loopback4}
		c.Limits.UserRate = -1
	})
	_, tcp, _ := s.Addrs()
	base, err := net.Dial("tcp", tcp[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	slow := streamAllocation(t, s, base)
	fast := connect(t, s, "fast")
	relayed := allocate(t, fast)
	payload := bytes.Repeat([]byte{7}, 1200)
	eventually(t, "the queue for the slow client is full", func() bool {
		for range 200 {
			if _, err := relayed.WriteTo(payload, net.UDPAddrFromAddrPort(slow)); err != nil {
				t.Fatal(err)
			}
		}
		return s.stats.dropped.Load() > 0
	})
	converse(t, relayed, newPeer(t, "127.0.0.1"))
}

// streamAllocation makes an allocation with a permission for loopback over a
// TCP connection that nobody reads afterwards.
func streamAllocation(t *testing.T, s *Server, conn net.Conn) netip.AddrPort {
	t.Helper()
	c := &rawClient{t: t}
	c.username, c.password, _ = s.Credentials("slow", time.Now())
	read := func() *stun.Message {
		t.Helper()
		head := make([]byte, stunHeader)
		_ = conn.SetReadDeadline(time.Now().Add(patient))
		if _, err := io.ReadFull(conn, head); err != nil {
			t.Fatal(err)
		}
		n, _ := frameLength(head)
		raw := append(head, make([]byte, n-stunHeader)...)
		if _, err := io.ReadFull(conn, raw[stunHeader:]); err != nil {
			t.Fatal(err)
		}
		m := &stun.Message{Raw: raw}
		if err := m.Decode(); err != nil {
			t.Fatal(err)
		}
		return m
	}
	_, _ = conn.Write(stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest)).Raw)
	var nonce stun.Nonce
	var realm stun.Realm
	challenge := read()
	if nonce.GetFrom(challenge) != nil || realm.GetFrom(challenge) != nil {
		t.Fatal("no nonce")
	}
	c.nonce, c.realm = nonce.String(), realm.String()
	_, _ = conn.Write(c.build(stun.MethodAllocate, attr{stun.AttrRequestedTransport, []byte{17, 0, 0, 0}}).Raw)
	var relayed stun.XORMappedAddress
	if err := relayed.GetFromAs(read(), stun.AttrXORRelayedAddress); err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Write(c.build(stun.MethodCreatePermission, rawPeer(netip.MustParseAddrPort("127.0.0.1:1"))).Raw)
	if got := errorIn(read()); got != 0 {
		t.Fatalf("permission: %d", got)
	}
	return netip.AddrPortFrom(loopback4.Addr(), uint16(relayed.Port))
}

// A flood of rubbish, with and without an allocation, leaves others working.
func TestFlood(t *testing.T) {
	s := newServer(t, func(c *Config) { c.Limits.AnswersPerIP = 1 << 20 }) // all of them share an address here
	relayed, peer := allocate(t, connect(t, s, "honest")), newPeer(t, "127.0.0.1")
	converse(t, relayed, peer)
	random := rand.New(rand.NewPCG(1, 2))
	hostile, stranger := newRawClient(t, s, "hostile"), newRawClient(t, s, "nobody")
	if got := hostile.allocate(1); got != 0 {
		t.Fatalf("allocate: %d", got)
	}
	signed := hostile.build(stun.MethodCreatePermission, rawPeer(addrPort(peer.LocalAddr()))).Raw
	for i := range 4000 {
		var b []byte
		switch i % 4 {
		case 0:
			b = make([]byte, random.IntN(1500))
			for j := range b {
				b[j] = byte(random.Uint32())
			}
		case 1:
			b = append([]byte(nil), signed[:random.IntN(len(signed)+1)]...)
		case 2:
			b = append([]byte(nil), signed...)
			b[random.IntN(len(b))] ^= byte(1 << random.IntN(8))
		case 3:
			b = []byte{0x40, byte(random.IntN(4)), byte(random.Uint32()), byte(random.Uint32()), 1, 2, 3, 4}
		}
		if len(b) > 0 {
			hostile.write(b)
			stranger.write(b)
		}
		if i%500 == 0 {
			converse(t, relayed, peer)
		}
	}
	converse(t, relayed, peer)
	if got := newRawClient(t, s, "late").allocate(1); got != 0 {
		t.Errorf("allocating after the flood: %d", got)
	}
}

// FuzzServer sends raw packets into a running server from a client with an
// allocation, a permission and a channel.
func FuzzServer(f *testing.F) {
	s := newServer(f, func(c *Config) { c.Limits.AnswersPerIP = 1 << 20 })
	c := newRawClient(f, s, "u")
	if got := c.allocate(1); got != 0 {
		f.Fatalf("allocate: %d", got)
	}
	to := rawPeer(netip.MustParseAddrPort("127.0.0.1:9"))
	bind := c.build(stun.MethodChannelBind, channelNumber(0x4000), to)
	if got := errorIn(c.exchange(bind)); got != 0 {
		f.Fatalf("channel: %d", got)
	}
	f.Add(bind.Raw)
	f.Add(c.build(stun.MethodRefresh, lifetime(600)).Raw)
	f.Add(c.build(stun.MethodCreatePermission, to, to).Raw)
	f.Add(stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.Fingerprint).Raw)
	f.Add(stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication), to, attr{stun.AttrData, []byte("x")}).Raw)
	f.Add([]byte{0x40, 0, 0, 4, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 || len(b) > 1400 {
			return
		}
		c.t = t
		c.write(b)
		c.exchange(stun.MustBuild(stun.TransactionID, stun.BindingRequest))
	})
}
