package relay

import "net/netip"

// unreachable lists what is not global unicast, by the IANA special-purpose
// registries (RFC 6890 and later), with the transition prefixes behind which
// any IPv4 address can hide, and one cloud's metadata address that is global.
func unreachable() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"),         // this network
		netip.MustParsePrefix("10.0.0.0/8"),        // private
		netip.MustParsePrefix("100.64.0.0/10"),     // carrier-grade NAT
		netip.MustParsePrefix("127.0.0.0/8"),       // loopback
		netip.MustParsePrefix("168.63.129.16/32"),  // Azure's host endpoint
		netip.MustParsePrefix("169.254.0.0/16"),    // link-local, metadata services
		netip.MustParsePrefix("172.16.0.0/12"),     // private
		netip.MustParsePrefix("192.0.0.0/24"),      // protocol assignments
		netip.MustParsePrefix("192.0.2.0/24"),      // documentation
		netip.MustParsePrefix("192.31.196.0/24"),   // AS112
		netip.MustParsePrefix("192.52.193.0/24"),   // automatic multicast tunneling
		netip.MustParsePrefix("192.88.99.0/24"),    // 6to4 relays
		netip.MustParsePrefix("192.168.0.0/16"),    // private
		netip.MustParsePrefix("192.175.48.0/24"),   // AS112
		netip.MustParsePrefix("198.18.0.0/15"),     // benchmarks
		netip.MustParsePrefix("198.51.100.0/24"),   // documentation
		netip.MustParsePrefix("203.0.113.0/24"),    // documentation
		netip.MustParsePrefix("224.0.0.0/3"),       // multicast, reserved, broadcast
		netip.MustParsePrefix("2001::/23"),         // Teredo, ORCHID, benchmarks, assignments
		netip.MustParsePrefix("2001:db8::/32"),     // documentation
		netip.MustParsePrefix("2002::/16"),         // 6to4
		netip.MustParsePrefix("2620:4f:8000::/48"), // AS112
		netip.MustParsePrefix("3fff::/20"),         // documentation
	}
}

// global6 is the whole of IPv6 global unicast. Being outside it excludes the
// unspecified and loopback addresses, IPv4-compatible ::/96, NAT64's 64:ff9b::/96
// and 64:ff9b:1::/48, unique local, link-local, site-local and multicast.
func global6() netip.Prefix { return netip.MustParsePrefix("2000::/3") }

// policy decides who may be a peer. It is immutable.
type policy struct {
	unreachable, allow, deny []netip.Prefix
	global6                  netip.Prefix
	public                   map[netip.Addr]bool
	own                      map[netip.Addr]bool // public and the interfaces'
	minPort, maxPort         uint16
	listening                map[uint16]bool // ports of this server on its own addresses
}

// route says how datagrams may get to a peer, or from it. The zero route is a
// refusal.
type route struct {
	inside  bool // to another allocation of this server
	outside bool // through a socket
}

// Reachable reports whether addr, after Unmap, is global unicast: not private,
// loopback, link-local, carrier-grade NAT, NAT64, 6to4, Teredo, unique local,
// multicast, unspecified, reserved, for documentation or benchmarks, or the
// address of a metadata service.
func Reachable(addr netip.Addr) bool {
	return policy{unreachable: unreachable(), global6: global6()}.global(addr)
}

func (p policy) global(addr netip.Addr) bool {
	if !addr.IsValid() || addr.Zone() != "" {
		return false
	}
	addr = addr.Unmap()
	return !within(addr, p.unreachable) && (addr.Is4() || p.global6.Contains(addr))
}

func within(addr netip.Addr, prefixes []netip.Prefix) bool {
	for _, prefix := range prefixes {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// permits reports whether addr may be a peer on some port.
func (p policy) permits(addr netip.Addr) bool {
	addr = addr.Unmap()
	if !addr.IsValid() || addr.Zone() != "" || within(addr, p.deny) {
		return false
	}
	if p.public[addr] || within(addr, p.allow) {
		return true
	}
	return !p.own[addr] && p.global(addr)
}

// route says how to reach peer, if at all.
func (p policy) route(peer netip.AddrPort) route {
	addr, port := peer.Addr().Unmap(), peer.Port()
	if port == 0 || !p.permits(addr) || p.own[addr] && p.listening[port] {
		return route{}
	}
	return route{
		inside:  p.public[addr] && p.minPort <= port && port <= p.maxPort,
		outside: !p.own[addr] || within(addr, p.allow),
	}
}
