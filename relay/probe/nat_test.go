package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/logging"
	"github.com/pion/stun/v4"
	"github.com/pion/transport/v4/vnet"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stunServer answers Binding requests on two ports of each address, as relay's
// does: with two addresses it gives OTHER-ADDRESS.
type stunServer struct {
	conns map[netip.AddrPort]net.PacketConn
	full  bool // has two addresses
	mute  bool // ignores CHANGE-REQUEST as servers older than it do
}

func (s *stunServer) serve(at netip.AddrPort, other func(ip, port bool) netip.AddrPort) {
	buf := make([]byte, 1500)
	for {
		n, from, err := s.conns[at].ReadFrom(buf)
		if err != nil {
			return
		}
		m := stun.Message{Raw: buf[:n]}
		if m.Decode() != nil {
			continue
		}
		sender := at
		if value, err := m.Get(stun.AttrChangeRequest); err == nil && !s.mute {
			sender = other(value[3]&changeIP != 0, value[3]&changePort != 0)
		}
		client := from.(*net.UDPAddr)
		setters := []stun.Setter{stun.NewTransactionIDSetter(m.TransactionID)}
		if s.conns[sender] == nil {
			sender = at
			setters = append(setters, stun.BindingError, stun.CodeUnknownAttribute)
		} else {
			setters = append(setters, stun.BindingSuccess, &stun.XORMappedAddress{IP: client.IP, Port: client.Port})
		}
		if s.full {
			o := other(true, true)
			setters = append(setters, &stun.OtherAddress{IP: o.Addr().AsSlice(), Port: int(o.Port())})
		}
		_, _ = s.conns[sender].WriteTo(stun.MustBuild(setters...).Raw, from)
	}
}

var (
	serverIPs   = []string{"198.51.100.1", "198.51.100.2"}
	serverPorts = []uint16{3478, 3479}
	primary     = netip.MustParseAddrPort("198.51.100.1:3478")
	secondPort  = netip.MustParseAddrPort("198.51.100.1:3479")
)

// lab is a client behind a NAT, or on the open network if nat is nil, and a
// server with that many addresses.
func lab(t *testing.T, nat *vnet.NATType, ips int, mute bool) net.PacketConn {
	t.Helper()
	loggers := logging.NewDefaultLoggerFactory()
	loggers.DefaultLogLevel = logging.LogLevelDisabled
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	wan, err := vnet.NewRouter(&vnet.RouterConfig{CIDR: "0.0.0.0/0", LoggerFactory: loggers})
	must(err)
	host, err := vnet.NewNet(&vnet.NetConfig{StaticIPs: serverIPs[:ips]})
	must(err)
	must(wan.AddNet(host))
	var clientNet *vnet.Net
	local := "27.1.1.1:0"
	if nat == nil {
		clientNet, err = vnet.NewNet(&vnet.NetConfig{StaticIPs: []string{"27.1.1.1"}})
		must(err)
		must(wan.AddNet(clientNet))
	} else {
		lan, err := vnet.NewRouter(&vnet.RouterConfig{CIDR: "192.168.0.0/24", StaticIPs: []string{"27.1.1.1"}, NATType: nat, LoggerFactory: loggers})
		must(err)
		clientNet, err = vnet.NewNet(&vnet.NetConfig{StaticIPs: []string{"192.168.0.2"}})
		must(err)
		must(lan.AddNet(clientNet))
		must(wan.AddRouter(lan))
		local = "192.168.0.2:0"
	}
	must(wan.Start())
	server := &stunServer{conns: make(map[netip.AddrPort]net.PacketConn), full: ips == 2, mute: mute}
	for _, ip := range serverIPs[:ips] {
		for _, port := range serverPorts {
			at := netip.AddrPortFrom(netip.MustParseAddr(ip), port)
			server.conns[at], err = host.ListenPacket("udp4", at.String())
			must(err)
		}
	}
	for at, conn := range server.conns {
		go server.serve(at, func(ip, port bool) netip.AddrPort {
			i, p := at.Addr().String(), at.Port()
			if ip {
				i = serverIPs[0]
				if at.Addr().String() == i {
					i = serverIPs[1]
				}
			}
			if port {
				p = serverPorts[0] + serverPorts[1] - p
			}
			return netip.AddrPortFrom(netip.MustParseAddr(i), p)
		})
		t.Cleanup(func() { _ = conn.Close() })
	}
	client, err := clientNet.ListenPacket("udp4", local)
	must(err)
	t.Cleanup(func() { _ = client.Close(); _ = wan.Stop() })
	return client
}

var kinds = map[vnet.EndpointDependencyType]Dependency{
	vnet.EndpointIndependent:       Independent,
	vnet.EndpointAddrDependent:     ByAddress,
	vnet.EndpointAddrPortDependent: ByAddressAndPort,
}

func TestEveryNAT(t *testing.T) {
	for mapping, wantMapping := range kinds {
		for filtering, wantFiltering := range kinds {
			t.Run(fmt.Sprintf("mapping %s, filtering %s", wantMapping, wantFiltering), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					conn := lab(t, &vnet.NATType{MappingBehavior: mapping, FilteringBehavior: filtering, MappingLifeTime: time.Minute}, 2, false)
					nat, err := Discover(t.Context(), conn, primary)
					if err != nil {
						t.Fatal(err)
					}
					if nat.Mapping != wantMapping || nat.Filtering != wantFiltering || !nat.Translated() {
						t.Errorf("Discover = %+v", nat)
					}
				})
			})
		}
	}
}

func TestServerWithOneAddress(t *testing.T) {
	for _, c := range []struct {
		mapping, filtering         vnet.EndpointDependencyType
		wantMapping, wantFiltering Dependency
	}{
		{vnet.EndpointIndependent, vnet.EndpointIndependent, NotByPort, NotByPort},
		{vnet.EndpointAddrDependent, vnet.EndpointAddrDependent, NotByPort, NotByPort},
		{vnet.EndpointAddrPortDependent, vnet.EndpointAddrPortDependent, ByAddressAndPort, ByAddressAndPort},
	} {
		synctest.Test(t, func(t *testing.T) {
			conn := lab(t, &vnet.NATType{MappingBehavior: c.mapping, FilteringBehavior: c.filtering, MappingLifeTime: time.Minute}, 1, false)
			nat, err := Discover(t.Context(), conn, primary, secondPort)
			if err != nil || nat.Mapping != c.wantMapping || nat.Filtering != c.wantFiltering {
				t.Errorf("Discover = %+v, %v; want %s, %s", nat, err, c.wantMapping, c.wantFiltering)
			}
		})
	}
}

func TestOpenNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nat, err := Discover(t.Context(), lab(t, nil, 2, false), primary)
		if err != nil || nat.Translated() || nat.Mapping != Independent || nat.Filtering != Independent {
			t.Errorf("Discover = %+v, %v", nat, err)
		}
	})
}

// A server that answers CHANGE-REQUEST from where it was asked says nothing
// about filtering.
func TestServerWithoutChangeRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := lab(t, &vnet.NATType{MappingLifeTime: time.Minute}, 1, true)
		nat, err := Discover(t.Context(), conn, primary)
		if err != nil || nat.Mapping != Unknown || nat.Filtering != Unknown || !nat.Mapped.IsValid() {
			t.Errorf("Discover = %+v, %v", nat, err)
		}
	})
}

func TestNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := lab(t, nil, 1, false)
		nobody := netip.MustParseAddrPort("198.51.100.9:3478")
		if _, err := Discover(t.Context(), conn, nobody); !errors.Is(err, ErrNoAnswer) {
			t.Errorf("Discover = %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Discover(ctx, conn, nobody); !errors.Is(err, context.Canceled) {
			t.Errorf("Discover = %v", err)
		}
		// The socket is still good.
		if nat, err := Discover(t.Context(), conn, primary); err != nil || nat.Mapped != nat.Local {
			t.Errorf("Discover = %+v, %v", nat, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(stun.MustBuild(stun.TransactionID, stun.BindingSuccess, &stun.XORMappedAddress{IP: net.IPv4(192, 0, 2, 1), Port: 1}).Raw)
	f.Add(stun.MustBuild(stun.TransactionID, stun.BindingSuccess, &stun.MappedAddress{IP: net.ParseIP("2001:db8::1"), Port: 1},
		&stun.OtherAddress{IP: net.IPv4(192, 0, 2, 1), Port: 1}).Raw)
	f.Add(stun.MustBuild(stun.TransactionID, stun.BindingError, stun.CodeUnknownAttribute).Raw)
	f.Fuzz(func(t *testing.T, b []byte) {
		m := stun.Message{Raw: b}
		if m.Decode() != nil {
			return
		}
		if got, ok := parse(&m, primary); ok && !got.failed && !got.mapped.IsValid() {
			t.Fatalf("parse = %+v", got)
		}
	})
}
