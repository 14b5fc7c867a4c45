package relay

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// twoByTwo listens on two ports of two addresses.
func twoByTwo(t *testing.T, ips ...string) (conns []*net.UDPConn) {
	t.Helper()
	for range 20 {
		conns = nil
		var ports [2]int
	next:
		for i := range ports {
			for _, ip := range ips {
				conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip), Port: ports[i]})
				if err != nil { // the other address has that port taken
					break next
				}
				ports[i] = conn.LocalAddr().(*net.UDPAddr).Port
				conns = append(conns, conn)
			}
		}
		if len(conns) == 2*len(ips) {
			return conns
		}
		for _, conn := range conns {
			_ = conn.Close()
		}
	}
	t.Fatal("no two ports are free on both addresses")
	return nil
}

// ask sends a Binding request with CHANGE-REQUEST and returns the answer and
// where it came from.
func ask(t *testing.T, conn *net.UDPConn, to netip.AddrPort, flags uint32, more ...stun.Setter) (*stun.Message, netip.AddrPort) {
	t.Helper()
	m := stun.MustBuild(append([]stun.Setter{
		stun.TransactionID, stun.BindingRequest,
		attr{stun.AttrChangeRequest, binary.BigEndian.AppendUint32(nil, flags)},
	}, more...)...)
	if _, err := conn.WriteToUDPAddrPort(m.Raw, to); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1500)
	_ = conn.SetReadDeadline(time.Now().Add(patient))
	n, from, err := conn.ReadFromUDPAddrPort(buf)
	if err != nil {
		t.Fatal(err)
	}
	answer := &stun.Message{Raw: buf[:n]}
	if err := answer.Decode(); err != nil || answer.TransactionID != m.TransactionID {
		t.Fatal(err)
	}
	if err := stun.Fingerprint.Check(answer); err != nil {
		t.Error(err)
	}
	return answer, from
}

func TestChangeRequest(t *testing.T) {
	conns := twoByTwo(t, "127.0.0.1", "127.0.0.2")
	s := newServer(t, func(c *Config) {
		c.Public = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")}
		c.UDP, c.UDPConns = nil, conns
	})
	udp, _, _ := s.Addrs() // port by port, address by address
	client := newPeer(t, "127.0.0.1")
	for i, to := range udp {
		for flags, want := range map[uint32]int{0: i, changeIP: i ^ 1, changePort: i ^ 2, changeIP | changePort: i ^ 3} {
			answer, from := ask(t, client, to, flags)
			var origin stun.ResponseOrigin
			var other stun.OtherAddress
			var mapped stun.XORMappedAddress
			if origin.GetFrom(answer) != nil || other.GetFrom(answer) != nil || mapped.GetFrom(answer) != nil {
				t.Fatalf("answer %v", answer)
			}
			if from != udp[want] || origin.String() != udp[want].String() || other.String() != udp[i^3].String() ||
				mapped.String() != client.LocalAddr().String() {
				t.Errorf("asked %v with flags %x: answer from %v, origin %v, other %v, mapped %v; want from %v, other %v",
					to, flags, from, origin, other, mapped, udp[want], udp[i^3])
			}
		}
	}
}

func TestChangePortOnly(t *testing.T) {
	s := newServer(t, func(c *Config) { c.UDP = []netip.AddrPort{loopback4, loopback4} })
	udp, _, _ := s.Addrs()
	client := newPeer(t, "127.0.0.1")
	if answer, from := ask(t, client, udp[0], changePort); from != udp[1] || answer.Contains(stun.AttrOtherAddress) {
		t.Errorf("change port: %v from %v", answer, from)
	}
	if answer, from := ask(t, client, udp[0], changeIP); from != udp[0] || errorIn(answer) != stun.CodeUnknownAttribute {
		t.Errorf("change IP, of which there is one: %v from %v", answer, from)
	}
	if answer, _ := ask(t, client, udp[0], 0, attr{stun.AttrPadding, make([]byte, 1000)}); errorIn(answer) != stun.CodeUnknownAttribute || len(answer.Raw) > 100 {
		t.Errorf("PADDING: %v of %d bytes", answer, len(answer.Raw))
	}
	many := make([]stun.Setter, 60)
	for i := range many {
		many[i] = attr{stun.AttrType(0x7000 + i), nil}
	}
	if answer, _ := ask(t, client, udp[0], 0, many...); errorIn(answer) != stun.CodeUnknownAttribute || len(answer.Raw) > 100 {
		t.Errorf("unknown attributes: %v of %d bytes", answer, len(answer.Raw))
	}
}
