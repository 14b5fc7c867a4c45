//go:build linux

package natlab

import (
	"fmt"
	"net/netip"
)

// Host is a computer with one interface, eth0.
type Host struct {
	node
	nat          *NAT
	port         string // of the router, where eth0 is plugged in
	addr4, addr6 netip.Addr
}

// Host adds a site with a single host that has global addresses; the options are its network's.
func (w *WAN) Host(name string, opts ...Option) *Host {
	w.lab.t.Helper()
	return w.NAT(Public, opts...).Host(name)
}

// Host adds a host to the local network.
func (n *NAT) Host(name string) *Host {
	n.lab.t.Helper()
	h := &Host{node: node{lab: n.lab, ns: n.lab.space(name)}}
	n.lab.must(h.ns.sysctl(map[string]string{
		"-ipv6/conf/default/accept_ra":  "0",
		"-ipv6/conf/all/accept_dad":     "0",
		"-ipv6/conf/default/accept_dad": "0",
	}))
	h.join(n)
	return h
}

// join connects the host to n with new addresses.
func (h *Host) join(n *NAT) {
	h.lab.t.Helper()
	port, err := n.plug(h.ns, "eth0")
	h.lab.must(err)
	h.nat, h.port = n, port
	h.take()
	h.configure("link set dev lo up", "link set dev eth0 up")
}

// take gets the host its next addresses.
func (h *Host) take() {
	h.addr4, h.addr6 = netip.Addr{}, netip.Addr{}
	if h.nat.lan4.IsValid() {
		h.addr4 = h.nat.next4()
	} else {
		h.nat.given++
	}
	if h.nat.lan6.IsValid() {
		h.addr6 = h.nat.next6()
	}
}

// configure runs an ip script, then gives eth0 the host's addresses and routes and waits until it
// passes packets.
func (h *Host) configure(script ...string) {
	h.lab.t.Helper()
	if h.addr4.IsValid() {
		script = append(script,
			fmt.Sprintf("addr replace %s/%d dev eth0", h.addr4, h.nat.lan4.Bits()),
			fmt.Sprintf("route replace 0.0.0.0/0 via %s dev eth0", nth(h.nat.lan4, 1)))
	}
	if h.addr6.IsValid() {
		script = append(script,
			fmt.Sprintf("addr replace %s/64 dev eth0 nodad", h.addr6),
			fmt.Sprintf("route replace ::/0 via %s dev eth0", nth(h.nat.lan6, 1)))
	}
	h.lab.must(h.ns.ip(script...))
	h.lab.must(h.ns.await6(h.addr6))
	h.lab.must(h.nat.ready(h.port))
}

// Addr is the host's IPv4 address, or its IPv6 address if it has no other.
func (h *Host) Addr() netip.Addr {
	if h.addr4.IsValid() {
		return h.addr4
	}
	return h.addr6
}

// Addr6 is the host's global IPv6 address, the zero Addr if it has none.
func (h *Host) Addr6() netip.Addr { return h.addr6 }

// NAT is the network the host is on.
func (h *Host) NAT() *NAT { return h.nat }

// Wire is the access link of the host's site, nil on a LAN of its own.
func (h *Host) Wire() *Wire { return h.nat.Wire() }

func (h *Host) site() *site { return h.nat.at }

// Readdress gives the host other addresses on the same network, as DHCP may. The old ones are gone:
// sockets bound to them can't send.
func (h *Host) Readdress() {
	h.lab.t.Helper()
	var script []string
	if h.addr4.IsValid() {
		script = append(script, fmt.Sprintf("addr del %s/%d dev eth0", h.addr4, h.nat.lan4.Bits()))
	}
	if h.addr6.IsValid() {
		script = append(script, fmt.Sprintf("addr del %s/64 dev eth0", h.addr6))
	}
	h.take()
	h.configure(script...)
}

// Move takes the host to another network of the same lab, as one carries a laptop from a home to a
// train: eth0 goes and comes back with other addresses.
func (h *Host) Move(to *NAT) {
	h.lab.t.Helper()
	h.lab.must(h.nat.ns.ip("link del dev " + h.port))
	h.join(to)
}

// Unplug pulls the cable: eth0 goes down, and with it the routes.
func (h *Host) Unplug() {
	h.lab.t.Helper()
	h.lab.must(h.ns.ip("link set dev eth0 down"))
}

// Plug puts the cable back, with the addresses from before.
func (h *Host) Plug() {
	h.lab.t.Helper()
	h.configure("link set dev eth0 up")
}

// Counters are what eth0 has carried since the host came to its network.
func (h *Host) Counters() Counters {
	h.lab.t.Helper()
	c, err := h.ns.counters("eth0")
	h.lab.must(err)
	return c
}
