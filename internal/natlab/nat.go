//go:build linux

package natlab

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// NAT is a network: a router with a local network behind it. Despite the name the router of some
// kinds translates nothing.
type NAT struct {
	node
	kind    Kind
	conf    config
	at      *site // nil for a LAN of its own
	carrier *NAT  // nil if the router is on the WAN itself
	outer   netip.Addr
	lan4    netip.Prefix // invalid without IPv4
	lan6    netip.Prefix // invalid without IPv6

	ports   int // made on the bridge so far
	given   int // addresses given out on the LAN, the router's included
	outers  int // outer IPv4 addresses used so far
	subnets int // IPv6 networks of the site given out; counted by the router on the WAN
}

// NAT adds a site with a network of the given kind.
func (w *WAN) NAT(k Kind, opts ...Option) *NAT {
	w.lab.t.Helper()
	if k == CGNAT {
		carrier := append(slices.Clone(opts), func(c *config) { c.subnet = netip.Prefix{} })
		return w.NAT(Carrier, carrier...).NAT(Home, opts...)
	}
	n := newNAT(w.lab, k, opts)
	name := fmt.Sprintf("%v-%d", k, len(w.sites)+1)
	n.ns = w.lab.space(name)
	w.lab.must(n.conf.access.check())
	w.lab.must(n.prepare())
	at, err := w.attach(name, n.ns, n.conf.access)
	w.lab.must(err)
	n.at = at

	script := []string{"link set dev wan mtu 1500 txqueuelen 10000 addrgenmode none", "link set dev wan up"}
	if n.conf.v4 {
		if k == Public {
			n.lan4 = block4(at.number)
		} else {
			n.outers = 1
			n.outer = nth(block4(at.number), 1)
			n.lan4 = n.subnet(netip.AddrFrom4([4]byte{192, 168, byte(at.number), 0}))
			script = append(script, fmt.Sprintf("addr add %s/32 dev wan", n.outer))
		}
		script = append(script, "route add 0.0.0.0/0 dev wan")
	}
	if n.conf.v6 {
		n.lan6 = n.delegate()
		script = append(script, "route add ::/0 dev wan")
	}
	w.lab.must(n.finish(script))
	return n
}

// NAT adds a network whose router is a host of this one: a customer of a Carrier, or a second
// router at home.
func (n *NAT) NAT(k Kind, opts ...Option) *NAT {
	n.lab.t.Helper()
	if k == Public || k == CGNAT || n.at == nil || n.carrier != nil && n.conf.v6 {
		n.lab.t.Fatalf("natlab: there is no %v network behind a %v network", k, n.kind)
	}
	in := newNAT(n.lab, k, opts)
	in.at, in.carrier = n.at, n
	in.conf.v4 = in.conf.v4 && n.conf.v4
	in.conf.v6 = in.conf.v6 && n.conf.v6
	in.ns = n.lab.space(fmt.Sprintf("%v-behind-%v", k, n))
	n.lab.must(in.prepare())
	port, err := n.plug(in.ns, "wan")
	n.lab.must(err)

	script := []string{"link set dev wan up"}
	if in.conf.v4 {
		in.outer = n.next4()
		in.outers = 1
		in.lan4 = in.subnet(netip.AddrFrom4([4]byte{10, byte(n.at.number), byte(n.given), 0}))
		script = append(script, fmt.Sprintf("addr add %s/%d dev wan", in.outer, n.lan4.Bits()),
			fmt.Sprintf("route add 0.0.0.0/0 via %s dev wan", nth(n.lan4, 1)))
	}
	var address netip.Addr
	if in.conf.v6 {
		in.lan6 = in.delegate()
		address = n.next6()
		script = append(script, fmt.Sprintf("addr add %s/64 dev wan nodad", address),
			fmt.Sprintf("route add ::/0 via %s dev wan", nth(n.lan6, 1)))
		n.lab.must(n.ns.ip(fmt.Sprintf("route add %s via %s", in.lan6, address)))
	}
	n.lab.must(in.finish(script))
	n.lab.must(in.ns.await6(address))
	n.lab.must(n.ready(port))
	return in
}

func buildLAN(l *Lab) *NAT {
	l.t.Helper()
	n := newNAT(l, Public, nil)
	n.ns = l.space("lan")
	l.must(n.prepare())
	n.lan4 = n.subnet(netip.AddrFrom4([4]byte{192, 168, 0, 0}))
	l.must(n.finish(nil))
	return n
}

func newNAT(l *Lab, k Kind, opts []Option) *NAT {
	n := &NAT{node: node{lab: l}, kind: k, conf: config{v4: true}}
	for _, o := range opts {
		o(&n.conf)
	}
	if k == IPv6Only {
		n.conf.v4, n.conf.v6 = false, true
	}
	return n
}

// subnet is the IPv4 network behind the router, by default the /24 at base.
func (n *NAT) subnet(base netip.Addr) netip.Prefix {
	if n.conf.subnet.IsValid() {
		return n.conf.subnet
	}
	if n.kind == Carrier {
		b := base.As4()
		base = netip.AddrFrom4([4]byte{100, 64, b[2], 0})
	}
	return netip.PrefixFrom(base, 24)
}

// delegate gives out the site's next IPv6 network.
func (n *NAT) delegate() netip.Prefix {
	top := n
	for top.carrier != nil {
		top = top.carrier
	}
	top.subnets++
	b := block6(n.at.number).Addr().As16()
	b[7] = byte(top.subnets)
	return netip.PrefixFrom(netip.AddrFrom16(b), 64)
}

// prepare makes the namespace a router, before it has interfaces.
func (n *NAT) prepare() error {
	settings := map[string]string{
		"ipv4/ip_forward":               "1",
		"-ipv6/conf/all/forwarding":     "1",
		"-ipv6/conf/default/accept_ra":  "0",
		"-ipv6/conf/all/accept_dad":     "0",
		"-ipv6/conf/default/accept_dad": "0",
		// Bridged packets are no business of the router's rules.
		"-bridge/bridge-nf-call-iptables":  "0",
		"-bridge/bridge-nf-call-ip6tables": "0",
	}
	if n.conf.timeout > 0 {
		seconds := strconv.Itoa(max(1, int(n.conf.timeout.Seconds())))
		settings["netfilter/nf_conntrack_udp_timeout"] = seconds
		settings["netfilter/nf_conntrack_udp_timeout_stream"] = seconds
	}
	return n.ns.sysctl(settings)
}

// finish runs script, which makes the outer side work, and adds the local network and the rules.
func (n *NAT) finish(script []string) error {
	script = append(script, "link set dev lo up",
		"link add name lan type bridge stp_state 0 mcast_snooping 0",
		"link set dev lan up")
	n.given = 1
	if n.lan4.IsValid() {
		script = append(script, fmt.Sprintf("addr add %s/%d dev lan", nth(n.lan4, 1), n.lan4.Bits()))
	}
	if n.lan6.IsValid() {
		script = append(script, fmt.Sprintf("addr add %s/64 dev lan nodad", nth(n.lan6, 1)))
	}
	if err := n.ns.ip(script...); err != nil {
		return err
	}
	if n.lan6.IsValid() {
		if err := n.ns.await6(nth(n.lan6, 1)); err != nil {
			return err
		}
	}
	return n.ns.nft(ruleset(n.kind, n.outer, n.conf.hairpin))
}

// plug connects a new interface dev of ns to the local network and returns the port it is at.
func (n *NAT) plug(ns *namespace, dev string) (port string, err error) {
	n.ports++
	port = fmt.Sprintf("port%d", n.ports)
	// Far from the other end's index: the kernel holds news of a link whose two ends have the same
	// index back for up to a second.
	return port, n.ns.ip(
		fmt.Sprintf("link add name %s index %d type veth peer name %s netns %s", port, 1000+n.ports, dev, ns.path()),
		fmt.Sprintf("link set dev %s master lan addrgenmode none", port), // before it is up
		fmt.Sprintf("link set dev %s up", port))
}

// ready waits until the interface at a port of the local network passes packets, which the kernel
// arranges behind the back of the command that set it up.
func (n *NAT) ready(port string) error {
	for range 1000 {
		out, err := n.ns.exec("", n.lab.tools.ip, "-detail", "link", "show", "dev", port)
		if err != nil || strings.Contains(out, " state forwarding ") {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("%v: %s does not come up", n, port)
}

// next4 and next6 give out the next address on the local network; they count together.
func (n *NAT) next4() netip.Addr { n.given++; return nth(n.lan4, n.given) }
func (n *NAT) next6() netip.Addr { return nth(n.lan6, n.given) }

// Kind is what the network was made as; the network of a CGNAT site is Home, behind a Carrier.
func (n *NAT) Kind() Kind { return n.kind }

// Carrier is the network the router is a customer of, nil if it is on the WAN itself.
func (n *NAT) Carrier() *NAT { return n.carrier }

// Addr is the address the network has outside: that of the outermost router which translates, or
// the zero Addr without IPv4 translation.
func (n *NAT) Addr() netip.Addr {
	if n.carrier != nil && n.carrier.outer.IsValid() {
		return n.carrier.Addr()
	}
	return n.outer
}

// Wire is the site's access link to the WAN, nil for a LAN of its own.
func (n *NAT) Wire() *Wire {
	if n.at == nil {
		return nil
	}
	return &Wire{up: n.at.up, down: n.at.down}
}

func (n *NAT) site() *site { return n.at }

// Rebind gives the router another outer IPv4 address and returns it. The router forgets every
// mapping: what hosts send goes out from the new address, what peers send to the old one vanishes.
func (n *NAT) Rebind() netip.Addr {
	n.lab.t.Helper()
	if !n.outer.IsValid() {
		n.lab.t.Fatalf("natlab: %v has no outer address to change", n)
	}
	old, bits, gateway := n.outer, 32, ""
	if n.carrier != nil {
		n.outer, bits = n.carrier.next4(), n.carrier.lan4.Bits()
		gateway = fmt.Sprintf("via %s ", nth(n.carrier.lan4, 1))
	} else {
		n.outers++
		n.outer = nth(block4(n.at.number), n.outers)
	}
	n.lab.must(n.ns.ip(
		fmt.Sprintf("addr del %s/%d dev wan", old, bits),
		fmt.Sprintf("addr add %s/%d dev wan", n.outer, bits),
		fmt.Sprintf("route replace 0.0.0.0/0 %sdev wan", gateway)))
	n.Forget()
	return n.outer
}

// Forget makes the router lose every mapping and connection it knows, as a restart does.
func (n *NAT) Forget() {
	n.lab.t.Helper()
	n.lab.must(n.ns.nft(ruleset(n.kind, n.outer, n.conf.hairpin)))
	n.lab.must(n.ns.flushConntrack())
}

// Counters are what the router's outer interface has carried.
func (n *NAT) Counters() Counters {
	n.lab.t.Helper()
	c, err := n.ns.counters("wan")
	n.lab.must(err)
	return c
}

// nth is the address n places after p's first.
func nth(p netip.Prefix, n int) netip.Addr {
	a := p.Masked().Addr()
	for range n {
		a = a.Next()
	}
	return a
}
