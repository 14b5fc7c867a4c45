package relay

import (
	"encoding/binary"
	"iter"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/stun/v4"
)

func quiet() logging.LoggerFactory {
	f := logging.NewDefaultLoggerFactory()
	f.DefaultLogLevel = logging.LogLevelDisabled
	return f
}

// rawClient speaks TURN by hand over UDP, so that it can speak it badly.
type rawClient struct {
	t                  testing.TB
	conn               *net.UDPConn
	username, password string
	realm, nonce       string
}

func newRawClient(t testing.TB, s *Server, user string) *rawClient {
	t.Helper()
	udp, _, _ := s.Addrs()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(udp[0]))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := &rawClient{t: t, conn: conn}
	c.username, c.password, _ = s.Credentials(user, time.Now())
	return c
}

func (c *rawClient) write(b []byte) {
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// exchange sends a request and reads the answer to it.
func (c *rawClient) exchange(m *stun.Message) *stun.Message {
	c.t.Helper()
	c.write(m.Raw)
	buf := make([]byte, 4096)
	for {
		_ = c.conn.SetReadDeadline(time.Now().Add(patient))
		n, err := c.conn.Read(buf)
		if err != nil {
			c.t.Fatalf("%v: %v", m.Type, err)
		}
		answer := &stun.Message{Raw: append([]byte(nil), buf[:n]...)}
		if answer.Decode() == nil && answer.TransactionID == m.TransactionID {
			return answer
		}
	}
}

// build signs a request.
func (c *rawClient) build(method stun.Method, attrs ...stun.Setter) *stun.Message {
	c.t.Helper()
	if c.nonce == "" {
		m := stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest))
		answer := c.exchange(m)
		var nonce stun.Nonce
		var realm stun.Realm
		if nonce.GetFrom(answer) != nil || realm.GetFrom(answer) != nil {
			c.t.Fatalf("no nonce in %v", answer)
		}
		c.nonce, c.realm = nonce.String(), realm.String()
	}
	setters := []stun.Setter{stun.TransactionID, stun.NewType(method, stun.ClassRequest)}
	setters = append(setters, attrs...)
	setters = append(setters, stun.NewUsername(c.username), stun.NewRealm(c.realm), stun.NewNonce(c.nonce),
		stun.NewLongTermIntegrity(c.username, c.realm, c.password), stun.Fingerprint)
	m, err := stun.Build(setters...)
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

// request does one transaction and returns the error code in the answer, 0 for
// success.
func (c *rawClient) request(method stun.Method, attrs ...stun.Setter) stun.ErrorCode {
	c.t.Helper()
	return errorIn(c.exchange(c.build(method, attrs...)))
}

func errorIn(answer *stun.Message) stun.ErrorCode {
	var code stun.ErrorCodeAttribute
	if answer.Type.Class == stun.ClassErrorResponse {
		_ = code.GetFrom(answer)
		return code.Code
	}
	return 0
}

// allocate asks for a relayed address of family 1 (IPv4) or 2 (IPv6).
func (c *rawClient) allocate(family byte, attrs ...stun.Setter) stun.ErrorCode {
	c.t.Helper()
	return c.request(stun.MethodAllocate, append([]stun.Setter{
		attr{stun.AttrRequestedTransport, []byte{17, 0, 0, 0}},
		attr{stun.AttrRequestedAddressFamily, []byte{family, 0, 0, 0}},
	}, attrs...)...)
}

// attr is any attribute.
type attr struct {
	kind  stun.AttrType
	value []byte
}

func (a attr) AddTo(m *stun.Message) error { m.Add(a.kind, a.value); return nil }

func channelNumber(n uint16) attr {
	return attr{stun.AttrChannelNumber, append(binary.BigEndian.AppendUint16(nil, n), 0, 0)}
}

func lifetime(seconds uint32) attr {
	return attr{stun.AttrLifetime, binary.BigEndian.AppendUint32(nil, seconds)}
}

// rawPeer is an XOR-PEER-ADDRESS that keeps IPv4-mapped addresses mapped.
type rawPeer netip.AddrPort

func (p rawPeer) AddTo(m *stun.Message) error {
	addr := netip.AddrPort(p)
	ip := addr.Addr().AsSlice()
	mask := append(binary.BigEndian.AppendUint32(nil, stunCookie), m.TransactionID[:]...)
	value := []byte{0, byte(1 + len(ip)/16)}
	value = binary.BigEndian.AppendUint16(value, addr.Port()^stunCookie>>16)
	for i := range ip {
		value = append(value, ip[i]^mask[i])
	}
	m.Add(stun.AttrXORPeerAddress, value)
	return nil
}

// peers is how many permissions and channels the allocation has.
func (a *allocation) peers() int {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return len(a.permissions) + len(a.byAddr)
}

// eachAllocation is what the server has now.
func (s *Server) eachAllocation() iter.Seq[*allocation] {
	return func(yield func(*allocation) bool) {
		s.mu.RLock()
		defer s.mu.RUnlock()
		for _, a := range s.allocations {
			if !yield(a) {
				return
			}
		}
	}
}
