package forward

import (
	"fmt"
	"net/netip"
	"strings"

	"tandem/session"
)

// Target is what a right to connect or listen covers; the package comment has
// its forms. The zero Target covers nothing.
type Target struct {
	path   string       // of a socket, or
	name   string       // of a host, or
	prefix netip.Prefix // addresses, or
	any    bool         // every address
	// Ports from low to high; 0 is what "*" adds, to listen on a free one.
	low, high uint16
}

// special are ranges that lead elsewhere than to the network that a person has
// in mind. A target must lie within such a range to cover any of it.
var special = prefixes(
	"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4",
	"::/128", "::1/128", "fe80::/10", "fec0::/10", "ff00::/8",
	// IPv4 in IPv6, besides what Unmap unwraps: compatible, translated, NAT64
	// (RFC 6052, RFC 8215), Teredo, 6to4.
	"::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16",
	// Metadata services outside the link-local range and in it.
	"169.254.169.254/32", "169.254.170.2/32", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32",
	"fd00:ec2::254/128", "fd20:ce::254/128",
)

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		all[i] = netip.MustParsePrefix(t)
	}
	return all
}

// ParseTarget reads what String wrote and what people write: a port alone, or
// "*", is that of localhost. Its error has kind Invalid.
func ParseTarget(text string) (Target, error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		return Target{path: path}, checkPath(path)
	}
	host, ports := "", ""
	if rest, ok := strings.CutPrefix(text, "["); ok {
		if host, ports, ok = strings.Cut(rest, "]:"); !ok {
			return Target{}, badTarget(text)
		}
	} else if i := strings.LastIndexByte(text, ':'); i >= 0 {
		if host, ports = text[:i], text[i+1:]; strings.Contains(host, ":") {
			return Target{}, badTarget(text) // an IPv6 address without brackets
		}
	} else if host, ports = text, "*"; text != "any" {
		host, ports = localhost, text
	}
	var t Target
	var err error
	if t.low, t.high, err = parsePorts(ports); err != nil {
		return Target{}, badTarget(text)
	}
	switch {
	case host == "any" || host == "*":
		t.any = true
	case strings.Contains(host, "/"):
		if t.prefix, err = netip.ParsePrefix(host); err == nil {
			t.prefix = t.prefix.Masked()
			if t.prefix.Addr().Is4In6() && t.prefix.Bits() >= 96 {
				t.prefix = netip.PrefixFrom(t.prefix.Addr().Unmap(), t.prefix.Bits()-96)
			}
		}
	default:
		var addr netip.Addr
		if t.name, addr, err = parseHost(host); err == nil && addr.IsValid() {
			t.prefix = netip.PrefixFrom(addr.WithZone(""), addr.BitLen())
		}
	}
	if err != nil {
		return Target{}, badTarget(text)
	}
	return t, nil
}

func badTarget(text string) error {
	return &session.Error{
		Op: "forward", Kind: session.Invalid, Text: fmt.Sprintf("%q is nothing to forward to", session.Printable(text)),
		Hint: "Give localhost:80, 10.0.0.0/8:*, any:443, any or unix:/path.",
	}
}

func parsePorts(s string) (low, high uint16, err error) {
	if s == "*" {
		return 0, 65535, nil
	}
	first, last, ranged := strings.Cut(s, "-")
	if low, err = parsePort(first); err != nil {
		return 0, 0, err
	}
	if high = low; ranged {
		high, err = parsePort(last)
	}
	if err == nil && (low == 0 || high < low) {
		err = session.Errorf("forward", session.Invalid, "no ports %s", session.Printable(s))
	}
	return low, high, err
}

// String is the target as the resource of a right.
func (t Target) String() string {
	ports := "*"
	switch {
	case t.path != "":
		return "unix:" + t.path
	case t.any && t.low == 0:
		return "any"
	case t.low == 0:
	case t.low == t.high:
		ports = fmt.Sprint(t.low)
	default:
		ports = fmt.Sprintf("%d-%d", t.low, t.high)
	}
	host := t.name
	switch {
	case t.any:
		host = "any"
	case t.prefix.IsSingleIP():
		host = t.prefix.Addr().String()
	case t.prefix.IsValid():
		host = t.prefix.String()
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + ports
}

// coversPort reports whether port is among the target's.
func (t Target) coversPort(port uint16) bool { return t.path == "" && t.low <= port && port <= t.high }

// worthResolving reports whether t could admit an address of a name.
func (t Target) worthResolving(name string, port uint16) bool {
	return t.coversPort(port) && (t.any || t.prefix.IsValid() || t.name == localhost || t.name == name)
}

// admits reports whether t covers a port of addr, which was found under name
// if that is not empty. Addr must have been unwrapped.
func (t Target) admits(name string, addr netip.Addr, port uint16) bool {
	if !t.coversPort(port) || !addr.IsValid() {
		return false
	}
	addr = addr.WithZone("")
	covered, bits := t.any, 0
	switch {
	case t.prefix.IsValid():
		covered, bits = t.prefix.Contains(addr), t.prefix.Bits()
	case t.name == localhost:
		return addr == loopback[0] || addr == loopback[1]
	case t.name != "":
		covered = t.name == name
	}
	if !covered {
		return false
	}
	for _, s := range special {
		// Both contain addr, so the longer lies within the shorter.
		if s.Contains(addr) && bits < s.Bits() {
			return false
		}
	}
	return true
}
