package forward

import (
	"net"
	"net/netip"
	"path"
	"regexp"
	"strconv"
	"strings"

	"tandem/session"
)

// The networks.
const (
	TCP  = "tcp"
	Unix = "unix"
)

// everywhere is the host to listen on for every address of the device.
const everywhere = "*"

const (
	// maxPath is the longest path of a socket, in bytes; systems allow less.
	maxPath = 255
	// maxName is the longest name of a host, in bytes (RFC 1035, section 2.3.4).
	maxName = 253
)

// Address is where to connect or listen; see the package comment.
type Address struct {
	Network string `json:"network,omitempty"`
	Address string `json:"address,omitempty"`
}

// TCPAddress is a port of a host, which is a name or an IP address.
func TCPAddress(host string, port uint16) Address {
	return Address{TCP, net.JoinHostPort(host, strconv.Itoa(int(port)))}
}

// UnixAddress is a socket's path.
func UnixAddress(path string) Address { return Address{Unix, path} }

func (a Address) String() string { return a.Address }

// IsZero reports whether a is no address.
func (a Address) IsZero() bool { return a == Address{} }

// addressOf is a as a connection or listener has it.
func addressOf(a net.Addr) Address { return Address{a.Network(), a.String()} }

// split takes a TCP address apart. The port is 0 only in an address to listen
// on.
func (a Address) split() (host string, port uint16, err error) {
	host, number, err := net.SplitHostPort(a.Address)
	if err != nil {
		return "", 0, session.Errorf("forward", session.Invalid, "%q is not HOST:PORT", session.Printable(a.Address))
	}
	n, err := parsePort(number)
	return host, n, err
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || s != strconv.FormatUint(n, 10) {
		return 0, session.Errorf("forward", session.Invalid, "%q is not a port", session.Printable(s))
	}
	return uint16(n), nil
}

// A name's labels; underscores stand in the names of services and containers.
var hostPattern = regexp.MustCompile(`^\w([\w-]*\w)?(\.\w([\w-]*\w)?)*$`)

// parseHost makes of a host its IP address, without wrapping, or its name in
// lower case and without the final dot.
func parseHost(host string) (name string, addr netip.Addr, err error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return "", addr.Unmap(), nil
	}
	name = strings.ToLower(strings.TrimSuffix(host, "."))
	if _, err := netip.ParseAddr(name); err == nil || len(name) > maxName || !hostPattern.MatchString(name) {
		return "", netip.Addr{}, session.Errorf("forward", session.Invalid, "%q is not the name of a host", session.Printable(host))
	}
	return name, netip.Addr{}, nil
}

// check refuses an address that can't be meant, to connect to or listen on.
func (a Address) check(listen bool) error {
	switch a.Network {
	case TCP:
		host, port, err := a.split()
		switch {
		case err != nil:
			return err
		case port == 0 && !listen:
			return session.Errorf("forward", session.Invalid, "port 0 can't be connected to")
		case listen && host == everywhere:
			return nil
		}
		name, _, err := parseHost(host)
		if err == nil && listen && name != "" && name != localhost {
			return session.Errorf("forward", session.Invalid, "to listen, give an IP address, localhost or *, not %s", name)
		}
		return err
	case Unix:
		return checkPath(a.Address)
	}
	return session.Errorf("forward", session.Invalid, "no network %q", session.Printable(a.Network))
}

func checkPath(p string) error {
	if len(p) > maxPath || !path.IsAbs(p) || path.Clean(p) != p || strings.ContainsRune(p, 0) {
		return session.Errorf("forward", session.Invalid, "%q is not the absolute path of a socket", session.Printable(p))
	}
	return nil
}

// localhost is the one name that means the same everywhere (RFC 6761).
const localhost = "localhost"

var loopback = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
