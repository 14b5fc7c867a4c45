package relay

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if listen := os.Getenv(roleVar); listen != "" {
		if err := runAsRelay(listen); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

const (
	secretA = "a secret of sufficient length"
	secretB = "another secret, just as long"
	patient = 10 * time.Second // nothing here takes long unless it is broken
)

var (
	loopback4 = netip.MustParseAddrPort("127.0.0.1:0")
	loopback6 = netip.MustParseAddrPort("[::1]:0")
)

// testTLS makes a certificate for the loopback addresses.
func testTLS(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12},
		&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

// newServer starts a relay on IPv4 loopback, where loopback may be a peer.
func newServer(t testing.TB, change ...func(*Config)) *Server {
	t.Helper()
	cfg := Config{
		Public:     []netip.Addr{loopback4.Addr(), loopback6.Addr()},
		UDP:        []netip.AddrPort{loopback4},
		Secrets:    []string{secretA, secretB},
		AllowPeers: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
	}
	for _, f := range change {
		f(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// dial connects a TURN client's base socket.
func dial(t testing.TB, transport string, addr netip.AddrPort, config *tls.Config) net.PacketConn {
	t.Helper()
	var conn net.PacketConn
	switch transport {
	case "udp":
		udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr.Addr(), 0)))
		if err != nil {
			t.Fatal(err)
		}
		conn = udp
	case "tcp":
		tcp, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		conn = turn.NewSTUNConn(tcp)
	case "tls":
		secure, err := tls.Dial("tcp", addr.String(), config)
		if err != nil {
			t.Fatal(err)
		}
		conn = turn.NewSTUNConn(secure)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// newClient is pion's TURN client with credentials.
func newClient(t testing.TB, conn net.PacketConn, addr netip.AddrPort, username, password string) *turn.Client {
	t.Helper()
	c, err := turn.NewClient(&turn.ClientConfig{
		STUNServerAddr: addr.String(), TURNServerAddr: addr.String(), Conn: conn,
		Username: username, Password: password, LoggerFactory: quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// connect is dial and newClient with fresh credentials for the user, over UDP.
func connect(t testing.TB, s *Server, user string) *turn.Client {
	t.Helper()
	udp, _, _ := s.Addrs()
	username, password, _ := s.Credentials(user, time.Now())
	return newClient(t, dial(t, "udp", udp[0], nil), udp[0], username, password)
}

func allocate(t testing.TB, c *turn.Client) net.PacketConn {
	t.Helper()
	relayed, err := c.Allocate()
	if err != nil {
		t.Fatalf("allocate: %v", err)
	}
	t.Cleanup(func() { _ = relayed.Close() })
	return relayed
}

// newPeer is a plain socket somewhere else.
func newPeer(t testing.TB, addr string) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(addr), 0)))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadBuffer(frontBuffer) // these tests aren't about loss
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// receive reads one datagram.
func receive(t testing.TB, conn net.PacketConn) (string, net.Addr) {
	t.Helper()
	buf := make([]byte, 4096)
	_ = conn.SetReadDeadline(time.Now().Add(patient))
	n, from, err := conn.ReadFrom(buf)
	if err != nil {
		t.Fatalf("receive: %v", err)
	}
	return string(buf[:n]), from
}

// converse sends both ways between an allocation and a peer, long enough that
// the client moves from indications to a channel.
func converse(t testing.TB, relayed net.PacketConn, peer *net.UDPConn) {
	t.Helper()
	for i := range 8 {
		out := fmt.Sprintf("to the peer %d %s", i, strings.Repeat("x", i*37))
		if _, err := relayed.WriteTo([]byte(out), peer.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		got, from := receive(t, peer)
		if got != out || from.String() != relayed.LocalAddr().String() {
			t.Fatalf("the peer got %q from %v, want %q from %v", got, from, out, relayed.LocalAddr())
		}
		back := fmt.Sprintf("to the client %d %s", i, strings.Repeat("y", i*41))
		if _, err := peer.WriteTo([]byte(back), from); err != nil {
			t.Fatal(err)
		}
		if got, from = receive(t, relayed); got != back || from.String() != peer.LocalAddr().String() {
			t.Fatalf("the client got %q from %v, want %q from %v", got, from, back, peer.LocalAddr())
		}
		time.Sleep(2 * time.Millisecond) // the client binds the channel meanwhile
	}
}

func TestTransports(t *testing.T) {
	serverTLS, clientTLS := testTLS(t)
	s := newServer(t, func(c *Config) {
		c.UDP = []netip.AddrPort{loopback4, loopback6, netip.MustParseAddrPort("[::]:0")}
		c.TCP = []netip.AddrPort{loopback4, loopback6}
		c.TLS = []netip.AddrPort{loopback4, loopback6}
		c.TLSConfig = serverTLS
	})
	udp, tcp, secure := s.Addrs()
	for _, c := range []struct {
		transport string
		addrs     []netip.AddrPort
	}{{"udp", udp}, {"tcp", tcp}, {"tls", secure}} {
		for _, addr := range c.addrs {
			if addr.Addr().IsUnspecified() { // an IPv4 client on an IPv6 socket
				addr = netip.AddrPortFrom(loopback4.Addr(), addr.Port())
			}
			t.Run(c.transport+" "+addr.String(), func(t *testing.T) {
				username, password, ttl := s.Credentials("user", time.Now())
				if ttl != 10*time.Minute {
					t.Errorf("ttl = %v", ttl)
				}
				conn := dial(t, c.transport, addr, clientTLS)
				client := newClient(t, conn, addr, username, password)
				mapped, err := client.SendBindingRequest()
				if err != nil || mapped.String() != conn.LocalAddr().String() {
					t.Fatalf("mapped to %v, %v; want %v", mapped, err, conn.LocalAddr())
				}
				relayed := allocate(t, client)
				if got := addrPort(relayed.LocalAddr()); got.Addr() != addr.Addr() || got.Port() < 49152 {
					t.Errorf("relayed address %v", got)
				}
				converse(t, relayed, newPeer(t, addr.Addr().String()))
				if err := relayed.Close(); err != nil {
					t.Fatal(err)
				}
				eventually(t, "the allocation is gone", func() bool { return s.Allocations() == 0 })
			})
		}
	}
	if out, in := s.Carried(); out == 0 || in == 0 {
		t.Errorf("Carried = %d, %d", out, in)
	}
}

// eventually waits for something that happens in another goroutine.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patient); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// Two clients that have only the relay in common meet on its own address.
func TestRelayToRelay(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			s := newServer(t, func(c *Config) {
				c.AllowPeers = nil
				c.TCP = []netip.AddrPort{loopback4}
			})
			udp, tcp, _ := s.Addrs()
			addr := udp[0]
			if transport == "tcp" {
				addr = tcp[0]
			}
			var ends [2]net.PacketConn
			for i, user := range []string{"one", "two"} {
				username, password, _ := s.Credentials(user, time.Now())
				ends[i] = allocate(t, newClient(t, dial(t, transport, addr, nil), addr, username, password))
			}
			// A permission at each end, before either is heard.
			for i := range ends {
				if _, err := ends[i].WriteTo([]byte("knock"), ends[1-i].LocalAddr()); err != nil {
					t.Fatal(err)
				}
			}
			for round := range 6 {
				for i := range ends {
					want := fmt.Sprintf("%d from %d", round, i)
					if _, err := ends[i].WriteTo([]byte(want), ends[1-i].LocalAddr()); err != nil {
						t.Fatal(err)
					}
					got, from := receive(t, ends[1-i])
					for got == "knock" {
						got, from = receive(t, ends[1-i])
					}
					if got != want || from.String() != ends[i].LocalAddr().String() {
						t.Fatalf("got %q from %v, want %q from %v", got, from, want, ends[i].LocalAddr())
					}
				}
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	s := newServer(t)
	udp, _, _ := s.Addrs()
	now := time.Now()
	old := Issuer{Secret: secretB, TTL: time.Minute}
	stranger := Issuer{Secret: "a secret the relay doesn't know", TTL: time.Minute}
	for _, c := range []struct {
		name string
		make func() (string, string, time.Duration)
		ok   bool
	}{
		{"current secret", func() (string, string, time.Duration) { return s.Credentials("u", now) }, true},
		{"previous secret", func() (string, string, time.Duration) { return old.Credentials("u", now) }, true},
		{"unknown secret", func() (string, string, time.Duration) { return stranger.Credentials("u", now) }, false},
		{"expired", func() (string, string, time.Duration) { return s.Credentials("u", now.Add(-11*time.Minute)) }, false},
		{"no user", func() (string, string, time.Duration) { return s.Credentials("", now) }, false},
		{"long user", func() (string, string, time.Duration) { return s.Credentials(strings.Repeat("u", 200), now) }, false},
		{"expiry changed", func() (string, string, time.Duration) {
			username, password, ttl := s.Credentials("u", now)
			return "9" + username, password, ttl
		}, false},
		{"no expiry", func() (string, string, time.Duration) { return "u", password64(secretA, "u"), 0 }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			username, password, _ := c.make()
			client := newClient(t, dial(t, "udp", udp[0], nil), udp[0], username, password)
			relayed, err := client.Allocate()
			if !c.ok {
				if code(err) != stun.CodeUnauthorized {
					t.Fatalf("allocate: %v, want 401", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			_ = relayed.Close()
		})
	}
}

// code is the STUN error in err, or 0.
func code(err error) stun.ErrorCode {
	var failed *stun.TurnError
	if errors.As(err, &failed) {
		return failed.ErrorCodeAttr.Code
	}
	return 0
}

// coturn's documentation gives the scheme; these bytes are what its formula
// makes: openssl dgst -sha1 -hmac "a secret of sufficient length" -binary | base64.
func TestCredentialsGolden(t *testing.T) {
	username, password, _ := Issuer{Secret: secretA, TTL: time.Minute}.Credentials("alice", time.Unix(1700000000, 0))
	if username != "1700000060:alice" || password != "7LtOvW9NYD5w3ZXcQR14njgKhBA=" {
		t.Errorf("Credentials = %q, %q", username, password)
	}
}

func TestUserLimitOnAllocations(t *testing.T) {
	s := newServer(t, func(c *Config) { c.Limits.UserAllocations = 2; c.Limits.Allocations = 3 })
	first := allocate(t, connect(t, s, "greedy"))
	allocate(t, connect(t, s, "greedy"))
	if _, err := connect(t, s, "greedy").Allocate(); code(err) != stun.CodeAllocQuotaReached {
		t.Errorf("third allocation: %v, want 486", err)
	}
	allocate(t, connect(t, s, "modest"))
	if _, err := connect(t, s, "late").Allocate(); code(err) != stun.CodeInsufficientCapacity {
		t.Errorf("allocation over the total: %v, want 508", err)
	}
	_ = first.Close()
	eventually(t, "there is room again", func() bool { return s.Allocations() == 2 })
	allocate(t, connect(t, s, "greedy"))
}

func TestByteRate(t *testing.T) {
	for name, limit := range map[string]func(*Limits){
		"user":  func(l *Limits) { l.UserRate = 1 },
		"total": func(l *Limits) { l.TotalRate = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, func(c *Config) { limit(&c.Limits) })
			relayed, peer := allocate(t, connect(t, s, "u")), newPeer(t, "127.0.0.1")
			payload := bytes.Repeat([]byte{1}, 1000)
			for range 200 {
				if _, err := relayed.WriteTo(payload, peer.LocalAddr()); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "the excess is dropped", func() bool { return s.stats.dropped.Load() >= 200-66 })
			if out, _ := s.Carried(); out > 66_000 {
				t.Errorf("%d bytes carried, want at most the burst of 64 KiB", out)
			}
		})
	}
}

func TestDrain(t *testing.T) {
	s := newServer(t, func(c *Config) { c.TCP = []netip.AddrPort{loopback4} })
	_, tcp, _ := s.Addrs()
	username, password, _ := s.Credentials("u", time.Now())
	client := newClient(t, dial(t, "tcp", tcp[0], nil), tcp[0], username, password)
	relayed := allocate(t, client)
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(context.Background()) }()
	eventually(t, "no new connections", func() bool {
		conn, err := net.Dial("tcp", tcp[0].String())
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	if _, err := connect(t, s, "v").Allocate(); code(err) != stun.CodeInsufficientCapacity {
		t.Errorf("allocating while draining: %v, want 508", err)
	}
	converse(t, relayed, newPeer(t, "127.0.0.1"))
	select {
	case err := <-drained:
		t.Fatalf("Drain returned %v with an allocation alive", err)
	default:
	}
	_ = relayed.Close()
	select {
	case err := <-drained:
		if err != nil {
			t.Errorf("Drain = %v", err)
		}
	case <-time.After(patient):
		t.Fatal("Drain goes on without allocations")
	}
}

// TestDrainOfVanishedClients: a client that is gone without a word keeps nobody
// waiting, and one that uses its allocation is not taken for it.
func TestDrainOfVanishedClients(t *testing.T) {
	s := newServer(t)
	allocate(t, connect(t, s, "gone"))
	relayed := allocate(t, connect(t, s, "here"))
	if s.sent() {
		t.Error("an allocation alone counts as use")
	}
	for range 2 {
		converse(t, relayed, newPeer(t, "127.0.0.1"))
		if !s.sent() || s.sent() {
			t.Error("use counts never, or for ever")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	if err := s.drain(ctx, 10*time.Millisecond); err != nil || s.Allocations() != 0 {
		t.Errorf("Drain = %v, with %d allocations left", err, s.Allocations())
	}
}

func TestDrainGivesUp(t *testing.T) {
	s := newServer(t)
	allocate(t, connect(t, s, "u"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Drain = %v", err)
	}
	if s.Allocations() != 0 {
		t.Error("allocations outlive the server")
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	s := newServer(t, func(c *Config) { c.Metrics = registry })
	relayed := allocate(t, connect(t, s, "u"))
	converse(t, relayed, newPeer(t, "127.0.0.1"))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			got[family.GetName()] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	if got["tandem_relay_allocations"] != 1 || got["tandem_relay_bytes_total"] == 0 || got["tandem_relay_requests_total"] == 0 {
		t.Errorf("metrics: %v", got)
	}
	_ = s.Close()
	if families, _ := registry.Gather(); len(families) != 0 {
		t.Errorf("%d metrics left after Close", len(families))
	}
}

func TestConfigChecked(t *testing.T) {
	good := Config{Public: []netip.Addr{loopback4.Addr()}, UDP: []netip.AddrPort{loopback4}, Secrets: []string{secretA}}
	for name, spoil := range map[string]func(*Config){
		"no address":   func(c *Config) { c.Public = nil },
		"wildcard":     func(c *Config) { c.Public = []netip.Addr{netip.IPv4Unspecified()} },
		"no secret":    func(c *Config) { c.Secrets = nil },
		"short secret": func(c *Config) { c.Secrets = []string{"short"} },
		"many secrets": func(c *Config) { c.Secrets = []string{secretA, secretA, secretA} },
		"no listener":  func(c *Config) { c.UDP = nil },
		"no TLS":       func(c *Config) { c.TLS = []netip.AddrPort{loopback4} },
		"empty range":  func(c *Config) { c.MinPort, c.MaxPort = 3, 2 },
		"bad prefix":   func(c *Config) { c.AllowPeers = []netip.Prefix{{}} },
	} {
		cfg := good
		spoil(&cfg)
		if s, err := New(cfg); err == nil {
			_ = s.Close()
			t.Errorf("%s: no error", name)
		}
	}
}

// A client with IPv6 alone asks for no family and gets an IPv4 address, to
// meet peers with IPv4 alone; a relay without IPv4 gives what it has.
func TestFamilyByDefault(t *testing.T) {
	for _, c := range []struct {
		public []netip.Addr
		want   netip.Addr
	}{
		{[]netip.Addr{loopback6.Addr(), loopback4.Addr()}, loopback4.Addr()},
		{[]netip.Addr{loopback6.Addr()}, loopback6.Addr()},
	} {
		s := newServer(t, func(cfg *Config) {
			cfg.Public, cfg.UDP = c.public, []netip.AddrPort{loopback6}
		})
		conn := dial(t, "udp", addrPort(s.udp[0].LocalAddr()), nil)
		user, password, _ := s.Credentials("user", time.Now())
		client, err := turn.NewClient(&turn.ClientConfig{
			TURNServerAddr: s.udp[0].LocalAddr().String(), Conn: conn, Username: user, Password: password,
			RequestedAddressFamily: turn.RequestedAddressFamilyIPv4, // which pion/turn does by asking for none
			LoggerFactory:          quiet(),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close(); _ = conn.Close() })
		if err := client.Listen(); err != nil {
			t.Fatal(err)
		}
		if got := addrPort(allocate(t, client).LocalAddr()).Addr(); got != c.want {
			t.Errorf("public %v: the relayed address is %v, want %v", c.public, got, c.want)
		}
	}
}
