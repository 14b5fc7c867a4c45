package relay

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config says what a Server listens on, who may use it and how much.
type Config struct {
	// Public are the addresses at which peers reach this host. The first of
	// each family is where allocations of that family live; at least one is
	// needed. An address that no interface has is taken to be mapped here one
	// to one, ports included.
	Public []netip.Addr

	// UDP, TCP and TLS are addresses to listen on. A host with several
	// addresses should name them instead of using the wildcard, so that answers
	// leave from the address that was asked.
	UDP, TCP, TLS []netip.AddrPort
	// UDPConns, TCPListeners and TLSListeners are more of the same, already
	// open. The server owns them from the moment New succeeds. TLSListeners
	// accept raw connections: the server does the handshake.
	UDPConns     []*net.UDPConn
	TCPListeners []net.Listener
	TLSListeners []net.Listener
	// TLSConfig is needed where TLS is listened for.
	TLSConfig *tls.Config
	// UDPSockets is how many sockets share each address of UDP (SO_REUSEPORT),
	// so that several cores can read. The default is one per core, at most four.
	// Linux only; elsewhere it is 1.
	UDPSockets int

	// MinPort and MaxPort bound the ports of allocations, both included. The
	// default is 49152 to 65535.
	MinPort, MaxPort uint16

	// Realm names the server to clients. The default is "tandem".
	Realm string
	// Secrets are one or two live secrets of at least 16 bytes, the current
	// one first.
	Secrets []string
	// TTL is how long new credentials are valid. The default is ten minutes.
	TTL time.Duration

	// AllowPeers are prefixes that may be peers although Reachable says no;
	// DenyPeers are prefixes that may not, whatever else applies.
	AllowPeers, DenyPeers []netip.Prefix

	// Limits bounds what clients can use; zero fields have defaults.
	Limits Limits

	// Metrics, if set, is where New registers the server's metrics and Close
	// takes them away.
	Metrics prometheus.Registerer
	// Logger, if set, gets debugging output.
	Logger *slog.Logger
}

// Limits bounds what clients can use. Zero means the default.
type Limits struct {
	// Allocations is how many there may be at once; default 8192.
	Allocations int
	// UserAllocations is how many one user may have at once; default 64. One
	// link asks for one per transport and address family, per lane.
	UserAllocations int
	// UserRate is how many payload bytes a second may be relayed for one user,
	// both directions together; default 32 MiB. Negative means no limit.
	UserRate int
	// TotalRate is the same for everyone together; default no limit.
	TotalRate int
	// Peers is how many permissions, and how many channels, one allocation may
	// hold; default 256.
	Peers int
	// Conns is how many TCP and TLS connections there may be at once; default
	// 8192.
	Conns int
	// ConnsPerIP is how many of them one IPv4 address or IPv6 /64 may have;
	// default 256.
	ConnsPerIP int
	// AnswersPerIP is how many requests without valid credentials are answered
	// a second per IPv4 address or IPv6 /64; default 50, with bursts of four
	// times that.
	AnswersPerIP int
	// AuthTimeout is how long a TCP or TLS connection may last without an
	// allocation, the TLS handshake included; default 15 s.
	AuthTimeout time.Duration
	// IdleTimeout is how long a connection with an allocation may be silent;
	// default 12 min, more than the five minutes between refreshes.
	IdleTimeout time.Duration
}

func or[T comparable](value *T, fallback T) {
	var zero T
	if *value == zero {
		*value = fallback
	}
}

// withDefaults fills in what was left out and checks the rest.
func (c Config) withDefaults() (Config, error) {
	or(&c.UDPSockets, min(runtime.GOMAXPROCS(0), 4))
	or(&c.MinPort, 49152)
	or(&c.MaxPort, 65535)
	or(&c.Realm, "tandem")
	or(&c.TTL, 10*time.Minute)
	or(&c.Limits.Allocations, 8192)
	or(&c.Limits.UserAllocations, 64)
	or(&c.Limits.UserRate, 32<<20)
	or(&c.Limits.TotalRate, -1)
	or(&c.Limits.Peers, 256)
	or(&c.Limits.Conns, 8192)
	or(&c.Limits.ConnsPerIP, 256)
	or(&c.Limits.AnswersPerIP, 50)
	or(&c.Limits.AuthTimeout, 15*time.Second)
	or(&c.Limits.IdleTimeout, 12*time.Minute)
	or(&c.Logger, slog.New(slog.DiscardHandler))

	if len(c.Public) == 0 {
		return c, errors.New("relay: no public address configured")
	}
	public := make([]netip.Addr, len(c.Public))
	for i, addr := range c.Public {
		if !addr.IsValid() || addr.IsUnspecified() || addr.Zone() != "" {
			return c, fmt.Errorf("relay: %q can't be a public address", addr)
		}
		public[i] = addr.Unmap()
	}
	c.Public = public
	if c.MinPort > c.MaxPort {
		return c, fmt.Errorf("relay: port range %d to %d is empty", c.MinPort, c.MaxPort)
	}
	if len(c.Secrets) < 1 || len(c.Secrets) > 2 {
		return c, fmt.Errorf("relay: %d secrets configured, want one or two", len(c.Secrets))
	}
	for _, secret := range c.Secrets {
		if len(secret) < 16 {
			return c, errors.New("relay: a secret is shorter than 16 bytes")
		}
	}
	if len(c.UDP)+len(c.UDPConns)+len(c.TCP)+len(c.TCPListeners)+len(c.TLS)+len(c.TLSListeners) == 0 {
		return c, errors.New("relay: nothing to listen on")
	}
	if len(c.TLS)+len(c.TLSListeners) > 0 && c.TLSConfig == nil {
		return c, errors.New("relay: TLS needs a TLS configuration")
	}
	for _, prefix := range append(append([]netip.Prefix(nil), c.AllowPeers...), c.DenyPeers...) {
		if !prefix.IsValid() {
			return c, errors.New("relay: an invalid prefix among the allowed or denied peers")
		}
	}
	return c, nil
}
