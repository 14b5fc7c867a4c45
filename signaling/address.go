package signaling

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// address is a server's URL, checked.
type address struct {
	base *url.URL // http or https, without query, fragment and trailing slash
}

// ServerURL checks a server's address and gives it its one spelling. It takes
// http, https, ws and wss URLs, with or without a path before /v1, and bare
// hosts with or without a port; a bare host means https, except for loopback
// and private addresses, where it means http as an embedded server on a LAN speaks.
//
// Plain http to anything but loopback, private and link-local addresses,
// localhost and names under .local is refused unless insecure is true. What
// the server carries is sealed from end to end either way; without TLS, whoever
// is on the path learns what the server learns and can do what it could do.
func ServerURL(server string, insecure bool) (string, error) {
	a, err := parseAddress(server, insecure)
	if err != nil {
		return "", err
	}
	return a.String(), nil
}

func parseAddress(server string, insecure bool) (address, error) {
	bad := func(text, hint string) (address, error) {
		return address{}, &Error{Op: "server address", Kind: KindInvalid, Text: printable(server) + " " + text, Hint: hint}
	}
	const form = "write it like https://signal.example.org or 192.168.1.5:8080"
	text := strings.TrimSpace(server)
	if len(text) > maxString {
		return bad("is not the address of a server", form)
	}
	bare := !strings.Contains(text, "://")
	if bare {
		// A bare IPv6 address wants its brackets.
		if ip, err := netip.ParseAddr(text); err == nil && ip.Is6() {
			text = "[" + text + "]"
		}
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Opaque != "" {
		return bad("is not the address of a server", form)
	}
	switch u.Scheme {
	case "http", "https":
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	default:
		return bad("is not the address of a server: "+u.Scheme+" is not spoken here", form)
	}
	host, err := asciiHost(u.Hostname())
	if err != nil || host == "" { // of a name of soft hyphens nothing remains
		return bad("is not the address of a server", form)
	}
	near := nearby(host)
	if bare && near {
		u.Scheme = "http"
	}
	if u.Scheme == "http" && !near && !insecure {
		return bad("has no TLS", "use https://"+u.Host+", or set insecure (TANDEM_INSECURE=1) if you accept that anyone on the way sees who talks to whom")
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if p := u.Port(); p != "" && (u.Scheme != "http" || p != "80") && (u.Scheme != "https" || p != "443") {
		host += ":" + p
	}
	clean := &url.URL{Scheme: u.Scheme, Host: host, Path: path.Clean("/" + u.Path)}
	if clean.Path == "/" {
		clean.Path = ""
	}
	if len(clean.String()) > maxString {
		return bad("is too long", form)
	}
	return address{clean}, nil
}

// zoneCharacters may stand in a zone without being escaped (RFC 6874).
const zoneCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"

// asciiHost is a host as it stands in a Host header: an IP address, or a name
// whose labels are ASCII (RFC 5891).
func asciiHost(host string) (string, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		if strings.Trim(ip.Zone(), zoneCharacters) != "" {
			return "", errors.New("no zone of an address")
		}
		return ip.Unmap().String(), nil
	}
	if !utf8.ValidString(host) { // idna would make a name of it
		return "", errors.New("not UTF-8")
	}
	return idna.Lookup.ToASCII(host)
}

// nearby reports whether host is on this machine or its networks, as far as
// its spelling tells.
func nearby(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap()
		return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast()
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".local")
}

func (a address) String() string { return a.base.String() }

// host is what a claim signs. A zone is nobody else's business (RFC 6874), and
// HTTP does not send it.
func (a address) host() string {
	host := a.base.Host
	if start, end := strings.IndexByte(host, '%'), strings.IndexByte(host, ']'); 0 < start && start < end {
		host = host[:start] + host[end:]
	}
	return CanonicalHost(host)
}

func (a address) at(p string) string { return a.base.JoinPath(p).String() }

// otherScheme is the address with TLS if it has none, and the reverse.
func (a address) otherScheme() string {
	other := "https"
	if a.base.Scheme == "https" {
		other = "http"
	}
	return fmt.Sprintf("%s://%s", other, a.base.Host)
}
