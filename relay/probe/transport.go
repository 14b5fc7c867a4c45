package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/pion/logging"
	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"
)

// Access is one transport of a relay and what opens it.
type Access struct {
	// URL is a TURN URI (RFC 7065): turn:HOST:PORT?transport=udp or tcp, or
	// turns:HOST:PORT?transport=tcp.
	URL string
	// Network is "ip", "ip4" or "ip6": which of the host's addresses to use.
	// Empty means "ip".
	Network            string
	Username, Password string
	// TLS is used for turns; nil means the system's roots.
	TLS *tls.Config
}

// Step is a stage of reaching a relay.
type Step string

// The steps, in order.
const (
	Parse    Step = "parse"    // the URL
	Resolve  Step = "resolve"  // the host
	Connect  Step = "connect"  // TCP only
	Secure   Step = "secure"   // TLS only
	Allocate Step = "allocate" // credentials and capacity; the first step of UDP
	Done     Step = "done"
)

// Relay is how far a transport of a relay was reached.
type Relay struct {
	Access Access
	// Step is what failed, with Err, or Done.
	Step Step
	Err  error
	// Code is the STUN error code (RFC 8489 section 14.8) if the relay refused
	// to allocate: 401 for credentials that don't hold, 486 for a full quota,
	// 508 for a full or draining relay.
	Code int
	// Connected and Allocated are how long it took, from the start, until the
	// connection stood (TLS included) and until there was a relayed address.
	Connected, Allocated time.Duration
	// Server is the address used; Mapped is ours as the relay sees it;
	// Relayed is the one it gave us, and has taken back.
	Server, Mapped, Relayed netip.AddrPort
}

// CheckRelays tries several at once. The results are in the order of the
// arguments. Every failure, the context's end too, is in a result.
func CheckRelays(ctx context.Context, accesses ...Access) []Relay {
	relays := make([]Relay, len(accesses))
	var wg sync.WaitGroup
	for i, access := range accesses {
		wg.Go(func() { relays[i] = CheckRelay(ctx, access) })
	}
	wg.Wait()
	return relays
}

// CheckRelay asks for a relayed address and gives it back. Where nothing
// answers it goes on until ctx ends, over UDP for at most half a minute.
func CheckRelay(ctx context.Context, access Access) (r Relay) {
	r = Relay{Access: access, Step: Parse}
	begin := time.Now()
	uri, err := stun.ParseURI(access.URL)
	if err != nil || uri.Scheme != stun.SchemeTypeTURN && uri.Scheme != stun.SchemeTypeTURNS ||
		uri.Port < 1 || uri.Port > 65535 {
		r.Err = fmt.Errorf("%q is not the URL of a TURN relay", access.URL)
		return r
	}
	r.Step = Resolve
	if r.Server, r.Err = resolve(ctx, access.Network, uri.Host, uri.Port); r.Err != nil {
		return r
	}
	conn, err := r.connect(ctx, uri)
	if err != nil {
		r.Err = err
		return r
	}
	r.Connected = time.Since(begin)
	r.Step = Allocate
	if r.Err = r.allocate(ctx, conn); r.Err != nil {
		var refused *stun.TurnError
		if errors.As(r.Err, &refused) {
			r.Code = int(refused.ErrorCodeAttr.Code)
		}
		return r
	}
	r.Allocated, r.Step = time.Since(begin), Done
	return r
}

func resolve(ctx context.Context, network, host string, port int) (netip.AddrPort, error) {
	if network == "" {
		network = "ip"
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, network, host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(addrs[0].Unmap(), uint16(port)), nil
}

// connect makes the socket that the TURN messages go through.
func (r *Relay) connect(ctx context.Context, uri *stun.URI) (net.PacketConn, error) {
	r.Step = Connect
	if uri.Proto == stun.ProtoTypeUDP && uri.Scheme == stun.SchemeTypeTURN {
		return net.ListenUDP("udp", &net.UDPAddr{IP: net.IP(localAddrFor(r.Server).AsSlice())})
	}
	if uri.Proto != stun.ProtoTypeTCP {
		return nil, errors.New("TURN over DTLS is not supported")
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.Server.String())
	if err != nil {
		return nil, err
	}
	if uri.Scheme == stun.SchemeTypeTURN {
		return turn.NewSTUNConn(conn), nil
	}
	r.Step = Secure
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if r.Access.TLS != nil {
		config = r.Access.TLS.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = uri.Host
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return turn.NewSTUNConn(secure), nil
}

// localAddrFor is the wildcard, or loopback for a server there, of the family.
func localAddrFor(server netip.AddrPort) netip.Addr {
	switch addr := server.Addr(); {
	case addr.IsLoopback():
		return addr
	case addr.Is4():
		return netip.IPv4Unspecified()
	default:
		return netip.IPv6Unspecified()
	}
}

// allocate does so through conn, which it closes.
func (r *Relay) allocate(ctx context.Context, conn net.PacketConn) error {
	server := net.JoinHostPort(r.Server.Addr().String(), strconv.Itoa(int(r.Server.Port())))
	loggers := logging.NewDefaultLoggerFactory()
	loggers.DefaultLogLevel = logging.LogLevelDisabled
	family := turn.RequestedAddressFamilyIPv4
	if r.Server.Addr().Is6() {
		family = turn.RequestedAddressFamilyIPv6
	}
	client, err := turn.NewClient(&turn.ClientConfig{
		STUNServerAddr: server, TURNServerAddr: server, Conn: conn, LoggerFactory: loggers,
		Username: r.Access.Username, Password: r.Access.Password, RequestedAddressFamily: family,
	})
	if err != nil {
		_ = conn.Close()
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				client.Close() // ends what waits for an answer
				return
			}
			_, _ = client.HandleInbound(buf[:n], from)
		}
	})
	defer wg.Wait()
	defer conn.Close()
	relayed, err := client.AllocateWithContext(ctx)
	if err != nil {
		return errors.Join(err, ctx.Err())
	}
	r.Relayed = addrPort(relayed.LocalAddr())
	stop := context.AfterFunc(ctx, client.Close)
	defer stop()
	if mapped, err := client.SendBindingRequest(); err == nil {
		r.Mapped = addrPort(mapped)
	}
	_ = relayed.Close() // the relay forgets the allocation; if this is lost, when it expires
	return nil
}
