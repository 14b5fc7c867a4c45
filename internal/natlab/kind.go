//go:build linux

package natlab

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Kind is how the router of a network treats its hosts.
type Kind int

// The kinds of network. All but Public and IPv6Only have private IPv4 addresses and translate them.
const (
	// Public routes: hosts have global addresses and no firewall.
	Public Kind = iota
	// FullCone maps a host's port to the same outer port, whoever it sends to, and lets anyone
	// send to a mapped port.
	FullCone
	// Home maps like FullCone, but lets in only packets from an address and port the host has
	// sent to: a port-restricted cone, what most home routers are.
	Home
	// Symmetric maps each destination to another, random outer port and filters like Home.
	Symmetric
	// Carrier is a provider's NAT: Home with the shared addresses 100.64.0.0/10. Its customers
	// are the networks made by its NAT method.
	Carrier
	// CGNAT is a Home network whose router is a customer of a Carrier.
	CGNAT
	// UDPBlocked is Home without UDP to the outside.
	UDPBlocked
	// OnlyTCP443 is Home with nothing to the outside but TCP to port 443.
	OnlyTCP443
	// IPv6Only has global IPv6 addresses, no IPv4, and a firewall like Home's.
	IPv6Only

	kinds
)

// Kinds lists every kind.
func Kinds() []Kind {
	all := make([]Kind, kinds)
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// String is the kind's name, in words for a test's name.
func (k Kind) String() string {
	names := [kinds]string{
		"public", "full-cone", "home", "symmetric", "carrier", "cgnat", "udp-blocked", "only-tcp-443", "ipv6-only",
	}
	if k < 0 || k >= kinds {
		return fmt.Sprintf("kind-%d", int(k))
	}
	return names[k]
}

// config is what options change.
type config struct {
	access  Link
	hairpin bool
	v4, v6  bool
	subnet  netip.Prefix
	timeout time.Duration
}

// Option changes a network from what its Kind says.
type Option func(*config)

// DualStack gives hosts routed IPv6 addresses besides IPv4. Except with Public, a firewall lets in
// only what belongs to connections from inside.
func DualStack(c *config) { c.v6 = true }

// Hairpin lets two hosts behind one NAT reach each other through their outer ports.
func Hairpin(c *config) { c.hairpin = true }

// Access gives the site an access link other than a perfect one.
func Access(l Link) Option {
	return func(c *config) { c.access = l }
}

// Subnet chooses the IPv4 network behind a NAT, say to have two homes with the same addresses. Its
// first address is the router's.
func Subnet(p netip.Prefix) Option {
	return func(c *config) { c.subnet = p.Masked() }
}

// UDPTimeout is after how long without traffic the router forgets a UDP mapping, in whole seconds;
// the kernel's default is 30 s, and 120 s once both sides have kept sending.
func UDPTimeout(d time.Duration) Option {
	return func(c *config) { c.timeout = d }
}

// ruleset is the nft ruleset of a router of kind k with the given outer IPv4 address, which is
// invalid without IPv4. Loading it again replaces it and forgets learned ports.
func ruleset(k Kind, outer netip.Addr, hairpin bool) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	chain := func(name, hook string, rules ...string) {
		line("chain %s {\ntype %s\n%s\n}", name, hook, strings.Join(rules, "\n"))
	}
	line("table inet natlab\ndelete table inet natlab")
	if k == Public {
		return b.String()
	}
	line("table inet natlab {")

	translated := outer.IsValid()
	cone := translated && k == FullCone
	hairpin = translated && hairpin
	var inside []string // the interfaces from which a mapped port leads inside
	if cone {
		inside = append(inside, "wan")
	}
	if hairpin {
		inside = append(inside, "lan")
	}
	var learn, inward, source []string
	if translated {
		mode := ""
		if k == Symmetric {
			mode = " random,fully-random"
		}
		source = append(source, `oifname "wan" meta nfproto ipv4 masquerade`+mode)
	}
	if len(inside) > 0 {
		// The kernel tracks connections, not mappings: which inner address and port an outer port
		// stands for is learned from the packets as they leave, after translation.
		for _, proto := range []string{"udp", "tcp"} {
			for _, name := range []string{"inner", "outer"} {
				line("map %s_%s {\ntype ipv4_addr . inet_service : ipv4_addr . inet_service\nflags dynamic\nsize 65535\n}",
					name, proto)
			}
			const inner = "ct original ip saddr . ct original proto-src"
			learn = append(learn,
				fmt.Sprintf(`oifname "wan" ct direction original meta l4proto %[1]s update @inner_%[1]s { ip saddr . %[1]s sport : %[2]s }`, proto, inner),
				fmt.Sprintf(`oifname "wan" ct direction original meta l4proto %[1]s update @outer_%[1]s { %[2]s : ip saddr . %[1]s sport }`, proto, inner))
			for _, from := range inside {
				inward = append(inward, fmt.Sprintf(`iifname %q dnat ip to ip daddr . %s dport map @inner_%[2]s`, from, proto))
			}
			if hairpin {
				source = append(source, fmt.Sprintf(`oifname "lan" ct status dnat snat ip to ip saddr . %s sport map @outer_%[1]s`, proto))
			}
		}
		chain("learn", "filter hook postrouting priority srcnat + 10", learn...)
		chain("inward", "nat hook prerouting priority dstnat", inward...)
	}
	if translated {
		chain("source", "nat hook postrouting priority srcnat", source...)
	}

	// An unsolicited packet has to vanish without a trace: an entry in the connection table would
	// take the outer port, and the host's own packet to that peer would get another.
	input := []string{`iifname "wan" ct state new drop`}
	if translated {
		input = append(input, fmt.Sprintf(`iifname "lan" ip daddr %s drop`, outer))
	}
	chain("to_router", "filter hook input priority filter", input...)
	var forward []string
	if cone {
		forward = append(forward, `iifname "wan" ct state new ct status dnat accept`)
	}
	forward = append(forward, `iifname "wan" ct state new drop`)
	switch k {
	case UDPBlocked:
		forward = append(forward, `oifname "wan" meta l4proto udp drop`)
	case OnlyTCP443:
		forward = append(forward, `oifname "wan" meta l4proto != tcp drop`, `oifname "wan" tcp dport != 443 drop`)
	}
	chain("through", "filter hook forward priority filter", forward...)
	line("}")
	return b.String()
}
