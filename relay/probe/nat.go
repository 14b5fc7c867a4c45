package probe

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Dependency says on what of the remote endpoint a NAT's behaviour depends
// (RFC 4787 sections 4.1 and 5).
type Dependency string

// The dependencies.
const (
	Unknown          Dependency = "unknown"
	Independent      Dependency = "endpoint-independent"
	ByAddress        Dependency = "address-dependent"
	ByAddressAndPort Dependency = "address-and-port-dependent"
	// NotByPort is one of the first two: the server had no second address to
	// tell them apart with.
	NotByPort Dependency = "not port-dependent"
)

// NAT is what lies between us and a server.
type NAT struct {
	// Local is our address on the way to the server, and Mapped is what the
	// server sees; they are equal where no NAT is.
	Local, Mapped netip.AddrPort
	// Mapping is on what the mapped address depends. Only with Independent,
	// and with NotByPort if we are lucky, can peers be told where to find us.
	Mapping Dependency
	// Filtering is on what it depends who may send to the mapped address.
	Filtering Dependency
	// RTT is how long the server took to answer.
	RTT time.Duration
}

// Translated reports whether there is a NAT.
func (n NAT) Translated() bool { return n.Mapped != n.Local }

// ErrNoAnswer means that a server didn't answer over UDP: UDP is blocked, or
// the server isn't there.
var ErrNoAnswer = errors.New("no answer over UDP")

// Discover sends Binding requests from conn, of which it reads everything that
// arrives meanwhile, and takes up to three seconds. The others are more
// addresses of STUN servers, of the same family; they help where the first one
// has no OTHER-ADDRESS. One with the address of server and another port is
// taken for the same server. The error is ErrNoAnswer or the context's.
func Discover(ctx context.Context, conn net.PacketConn, server netip.AddrPort, others ...netip.AddrPort) (NAT, error) {
	nat := NAT{Local: localAddr(conn, server), Mapping: Unknown, Filtering: Unknown}
	a := newAsker(conn)
	defer a.close()
	begin := time.Now()
	first, err := a.ask(ctx, server, 0)
	if err != nil {
		return nat, err
	}
	nat.RTT, nat.Mapped = time.Since(begin), first.mapped
	// Filtering goes first: the NAT must not have seen us send elsewhere.
	nat.Filtering = a.filtering(ctx, server, first, others)
	nat.Mapping = a.mapping(ctx, server, first, others)
	return nat, ctx.Err()
}

// localAddr is the address that conn uses towards server.
func localAddr(conn net.PacketConn, server netip.AddrPort) netip.AddrPort {
	local := addrPort(conn.LocalAddr())
	if !local.Addr().IsUnspecified() {
		return local
	}
	// Connecting a UDP socket sends nothing but asks the routing table.
	route, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(server))
	if err != nil {
		return local
	}
	defer route.Close()
	return netip.AddrPortFrom(addrPort(route.LocalAddr()).Addr(), local.Port())
}

// filtering asks for answers from addresses that we haven't sent to.
func (a *asker) filtering(ctx context.Context, server netip.AddrPort, first answer, others []netip.AddrPort) Dependency {
	flags := []uint32{changePort}
	if first.other.IsValid() {
		flags = append(flags, changeIP|changePort)
	}
	outcomes := make([]outcome, len(flags))
	var wg sync.WaitGroup
	for i, flag := range flags {
		wg.Go(func() { outcomes[i] = a.change(ctx, server, flag) })
	}
	wg.Wait()
	port := outcomes[0]
	if len(outcomes) == 1 {
		// Silence means something only if there is a port to answer from.
		for _, addr := range others {
			if port == filtered && addr.Addr() == server.Addr() {
				return ByAddressAndPort
			}
		}
		if port == heard {
			return NotByPort
		}
		return Unknown
	}
	switch both := outcomes[1]; {
	case both == heard:
		return Independent
	case both == filtered && port == heard:
		return ByAddress
	case both == filtered && port == filtered:
		return ByAddressAndPort
	}
	return Unknown
}

type outcome int

const (
	unsupported outcome = iota
	filtered
	heard
)

// change asks for an answer from somewhere else.
func (a *asker) change(ctx context.Context, server netip.AddrPort, flags uint32) outcome {
	got, err := a.ask(ctx, server, flags)
	switch {
	case errors.Is(err, ErrNoAnswer):
		return filtered
	case err != nil || got.failed || got.from == server: // a server that ignores the request
		return unsupported
	}
	return heard
}

// mapping asks several addresses where they see us.
func (a *asker) mapping(ctx context.Context, server netip.AddrPort, first answer, others []netip.AddrPort) Dependency {
	if first.other.IsValid() {
		others = []netip.AddrPort{
			netip.AddrPortFrom(first.other.Addr(), server.Port()),
			first.other,
			netip.AddrPortFrom(server.Addr(), first.other.Port()),
		}
	}
	seen := make([]netip.AddrPort, len(others))
	var wg sync.WaitGroup
	for i, addr := range others {
		if addr == server {
			continue
		}
		wg.Go(func() {
			if got, err := a.ask(ctx, addr, 0); err == nil {
				seen[i] = got.mapped
			}
		})
	}
	wg.Wait()
	var elsewhere, port Dependency // what other addresses and what other ports of the server show
	for i, mapped := range seen {
		switch same := mapped == first.mapped; {
		case !mapped.IsValid():
		case others[i].Addr() == server.Addr() && same:
			port = NotByPort
		case others[i].Addr() == server.Addr():
			port = ByAddressAndPort
		case same:
			elsewhere = Independent
		case elsewhere == "":
			elsewhere = ByAddress
		}
	}
	switch {
	case port == ByAddressAndPort:
		return ByAddressAndPort
	case elsewhere == ByAddress && port == "":
		return ByAddressAndPort // most likely, of the two that are left
	case elsewhere != "":
		return elsewhere
	case port != "":
		return port
	}
	return Unknown
}
