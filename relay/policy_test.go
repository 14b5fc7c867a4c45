package relay

import (
	"net/netip"
	"testing"

	"github.com/pion/stun/v4"
)

// notGlobal are addresses of every kind that the relay must never reach.
var notGlobal = []string{
	"0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "100.127.255.255",
	"127.0.0.1", "127.255.255.254", "168.63.129.16", "169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255",
	"192.0.0.1", "192.0.0.192", "192.0.2.1", "192.31.196.1", "192.52.193.1", "192.88.99.1", "192.168.0.1",
	"192.175.48.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
	"224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
	"::", "::1", "::10.0.0.1", "::8.8.8.8", "64:ff9b::808:808", "64:ff9b:1::1", "100::1",
	"2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1",
	"2002:808:808::1", "2620:4f:8000::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1",
	"ff02::1", "ff0e::1",
	"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0", "::ffff:192.168.1.1",
	"::ffff:0:127.0.0.1", "fe80::1%eth0", "2606:4700::1%eth0",
}

var global = []string{
	"1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.255.255", "172.32.0.1", "192.0.1.1", "198.17.255.255",
	"223.255.255.254", "2606:4700:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888", "2003::1", "::ffff:8.8.8.8",
}

func TestReachable(t *testing.T) {
	for _, s := range notGlobal {
		if Reachable(netip.MustParseAddr(s)) {
			t.Errorf("%s is reachable", s)
		}
	}
	for _, s := range global {
		if !Reachable(netip.MustParseAddr(s)) {
			t.Errorf("%s is not reachable", s)
		}
	}
	if Reachable(netip.Addr{}) {
		t.Error("the zero address is reachable")
	}
}

func testPolicy(allow, deny string) policy {
	p := policy{
		unreachable: unreachable(), global6: global6(), minPort: 50000, maxPort: 50100,
		public:    map[netip.Addr]bool{netip.MustParseAddr("198.51.100.7"): true},
		own:       map[netip.Addr]bool{netip.MustParseAddr("198.51.100.7"): true, netip.MustParseAddr("9.9.9.9"): true},
		listening: map[uint16]bool{3478: true},
	}
	if allow != "" {
		p.allow = []netip.Prefix{netip.MustParsePrefix(allow)}
	}
	if deny != "" {
		p.deny = []netip.Prefix{netip.MustParsePrefix(deny)}
	}
	return p
}

func TestRoute(t *testing.T) {
	none, out, in := route{}, route{outside: true}, route{inside: true}
	for _, c := range []struct {
		allow, deny, peer string
		want              route
	}{
		{"", "", "8.8.8.8:4000", out},
		{"", "", "8.8.8.8:0", none},
		{"", "", "10.0.0.1:4000", none},
		{"10.0.0.0/8", "", "10.0.0.1:4000", out},
		{"10.0.0.0/8", "", "[::ffff:10.0.0.1]:4000", out},
		{"", "8.8.8.0/24", "8.8.8.8:4000", none},
		{"", "8.8.8.0/24", "[::ffff:8.8.8.8]:4000", none},
		{"10.0.0.0/8", "10.0.0.0/8", "10.0.0.1:4000", none},
		// The relay's own address: only where allocations live.
		{"", "", "198.51.100.7:50000", in},
		{"", "", "198.51.100.7:50100", in},
		{"", "", "198.51.100.7:49999", none},
		{"", "", "198.51.100.7:50101", none},
		{"", "", "198.51.100.7:22", none},
		{"", "198.51.100.7/32", "198.51.100.7:50000", none},
		// Another address of an interface, although it is global.
		{"", "", "9.9.9.9:50000", none},
		{"", "", "9.9.9.9:443", none},
		// The operator may open even those, but not the relay's own front door.
		{"198.51.100.7/32", "", "198.51.100.7:22", out},
		{"198.51.100.7/32", "", "198.51.100.7:50000", route{inside: true, outside: true}},
		{"198.51.100.7/32", "", "198.51.100.7:3478", none},
	} {
		if got := testPolicy(c.allow, c.deny).route(netip.MustParseAddrPort(c.peer)); got != c.want {
			t.Errorf("allow %q, deny %q: route(%s) = %+v, want %+v", c.allow, c.deny, c.peer, got, c.want)
		}
	}
}

// A mapped address is the address it maps, for every rule.
func TestPermitsUnmaps(t *testing.T) {
	for _, c := range []struct {
		allow, deny, addr string
		want              bool
	}{
		{"10.0.0.0/8", "", "::ffff:10.0.0.1", true},
		{"", "8.8.8.0/24", "::ffff:8.8.8.8", false},
		{"", "", "::ffff:198.51.100.7", true}, // the relay's own: for allocations
		{"", "", "::ffff:9.9.9.9", false},
	} {
		if got := testPolicy(c.allow, c.deny).permits(netip.MustParseAddr(c.addr)); got != c.want {
			t.Errorf("allow %q, deny %q: permits(%s) = %v", c.allow, c.deny, c.addr, got)
		}
	}
}

// Every address of notGlobal is refused by a server that really runs, whichever
// request asks for it.
func TestBannedPeersRefused(t *testing.T) {
	s := newServer(t, func(c *Config) {
		c.AllowPeers = nil
		c.Public = []netip.Addr{netip.MustParseAddr("127.0.0.2"), loopback6.Addr()}
	})
	for _, family := range []byte{1, 2} {
		c := newRawClient(t, s, "u")
		if got := c.allocate(family); got != 0 {
			t.Fatalf("allocate: %d", got)
		}
		for _, text := range notGlobal {
			addr := netip.MustParseAddr(text).WithZone("")
			if text == "2606:4700::1%eth0" || addr == loopback6.Addr() {
				continue // a zone can't be sent; ::1 is this server's own
			}
			for _, method := range []stun.Method{stun.MethodCreatePermission, stun.MethodChannelBind} {
				got := c.request(method, channelNumber(0x4001), rawPeer(netip.AddrPortFrom(addr, 4000)))
				if got == 0 {
					t.Errorf("%v for %s on an allocation of family %d succeeded", method, text, family)
				}
			}
		}
	}
	for a := range s.eachAllocation() {
		if a.peers() != 0 {
			t.Errorf("tables hold %d refused peers", a.peers())
		}
	}
}

// What gets past the first check doesn't get past the second.
func TestTablesRefuseToo(t *testing.T) {
	s := newServer(t, func(c *Config) { c.AllowPeers = nil; c.Public = []netip.Addr{netip.MustParseAddr("127.0.0.2")} })
	a, err := s.allocate("udp4", "u")
	if err != nil {
		t.Fatal(err)
	}
	defer s.pumps.Done()
	defer a.Close()
	peer := newPeer(t, "127.0.0.1")
	addr := addrPort(peer.LocalAddr())
	a.permit(addr.Addr())
	a.bind(0x4000, addr)
	if _, bound, permitted := a.lookup(addr); bound || permitted {
		t.Error("a refused peer entered the tables")
	}
	a.toPeer(newDatagram(), addr, s.policy.route(addr), &batch{server: s})
	if out, _ := s.Carried(); out != 0 || s.stats.refusedPeers.Load() < 3 {
		t.Errorf("refused %d", s.stats.refusedPeers.Load())
	}
	// The own address with a permission: only from an allocation, not through the socket.
	own := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), 60000)
	a.permit(own.Addr())
	before := s.stats.refusedPeers.Load()
	a.fromPeer(newDatagram(), own, &batch{server: s})
	if s.stats.refusedPeers.Load() != before+1 {
		t.Error("a datagram from the relay's own address came in through the socket")
	}
}

func FuzzPolicy(f *testing.F) {
	for _, s := range append(append([]string{}, notGlobal...), global...) {
		b, _ := netip.MustParseAddr(s).WithZone("").MarshalBinary()
		f.Add(b, uint16(4000))
	}
	f.Add([]byte{198, 51, 100, 7}, uint16(50000))
	p := testPolicy("", "")
	f.Fuzz(func(t *testing.T, b []byte, port uint16) {
		addr, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		got := p.route(netip.AddrPortFrom(addr, port))
		if got != p.route(netip.AddrPortFrom(addr.Unmap(), port)) {
			t.Fatalf("%v: the mapped form is judged differently", addr)
		}
		u := addr.Unmap()
		// The standard library's own idea of these, and the IPv4 address inside.
		bad := u.IsPrivate() || u.IsLoopback() || u.IsLinkLocalUnicast() || u.IsMulticast() || u.IsUnspecified()
		if raw := u.As16(); u.Is6() {
			six4 := raw[0] == 0x20 && raw[1] == 0x02
			nat64 := raw[0] == 0 && raw[1] == 0x64 && raw[2] == 0xff && raw[3] == 0x9b
			bad = bad || six4 || nat64 || raw[0]>>5 != 1
		}
		if bad && (got.outside || got.inside) {
			t.Fatalf("%v is routed %+v", addr, got)
		}
		if got.inside && (u.String() != "198.51.100.7" || port < 50000 || port > 50100) {
			t.Fatalf("%v:%d is inside", addr, port)
		}
	})
}
