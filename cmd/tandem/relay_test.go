package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"tandem/relay"
	"tandem/session"
	"tandem/session/identity"
	"tandem/session/link"
	"tandem/share/node"
	"tandem/signaling"
	"tandem/signaling/server"
)

// mailbag is one end of an in-process Signaler.
type mailbag struct{ in, out chan []byte }

func (m mailbag) Send(_ context.Context, b []byte) error {
	select {
	case m.out <- bytes.Clone(b):
	default: // best effort, as signaling is
	}
	return nil
}

func (m mailbag) Receive(ctx context.Context) ([]byte, error) {
	select {
	case b := <-m.in:
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// thisHost is an address of this machine that both a relay and a peer may have.
func thisHost(t *testing.T) netip.Addr {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	host := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLinkLocalUnicast() {
			host = p.Addr()
		}
	}
	return host
}

// relayAuthority is a certificate for ip, and what trusts it.
func relayAuthority(t *testing.T, ip net.IP) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{ip}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// A peer that reaches our relay by IPv4 or by IPv6 alone, over any transport,
// meets a peer at an IPv4 address through it, and goes on with new credentials
// before the first ones expire.
func TestRelayedLink(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "::1"} {
		for _, transport := range []string{"udp", "tcp", "tls"} {
			t.Run(transport+" "+ip, func(t *testing.T) {
				t.Parallel()
				relayedLink(t, transport, netip.MustParseAddr(ip))
			})
		}
	}
}

func relayedLink(t *testing.T, transport string, ip netip.Addr) {
	const ttl = 3 * time.Second
	if l, err := net.Listen("tcp", netip.AddrPortFrom(ip, 0).String()); err != nil {
		t.Skip("no such address here: ", err)
	} else if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	host := thisHost(t)
	config := relay.Config{
		Public: []netip.Addr{host}, AllowPeers: []netip.Prefix{netip.PrefixFrom(host, 32)},
		Secrets: []string{"a secret of enough bytes"}, TTL: ttl,
	}
	at := []netip.AddrPort{netip.AddrPortFrom(ip, 0)}
	var roots *x509.CertPool
	switch transport {
	case "udp":
		config.UDP = at
	case "tcp":
		config.TCP = at
	case "tls":
		var certificate tls.Certificate
		certificate, roots = relayAuthority(t, ip.AsSlice())
		config.TLS, config.TLSConfig = at, &tls.Config{Certificates: []tls.Certificate{certificate}}
	}
	server, err := relay.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	udp, tcp, secure := server.Addrs()
	url := "turn:"
	if transport == "tls" {
		url = "turns:"
	}
	url += append(append(udp, tcp...), secure...)[0].String() + "?transport="
	if transport == "udp" {
		url += "udp"
	} else {
		url += "tcp"
	}

	near := meetThrough(t, link.Config{
		RelayOnly: true, RelayTLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		Relays: func(context.Context) ([]link.Relay, error) {
			username, password, ttl := server.Credentials("someone", time.Now())
			return []link.Relay{{
				URLs: []string{url}, Username: username, Password: password, Expires: time.Now().Add(ttl),
			}}, nil
		},
	}, link.Config{Handler: func(_ context.Context, o session.Offer) {
		if s, err := o.Accept(); err == nil {
			_, _ = io.Copy(s, s)
			_ = s.Close()
		}
	}})
	s, err := near.Open(t.Context(), session.Header{Service: "echo/1"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	defer context.AfterFunc(ctx, func() { s.Reset(ctx.Err()) })()
	for n := byte(0); near.Path().Changes < 1; n++ {
		buf := []byte{n}
		if _, err := s.Write(buf); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(s, buf); err != nil || buf[0] != n {
			t.Fatalf("echo %v of %d: %v", buf, n, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if p := near.Path(); p.Kind != session.Relayed || p.Local.Protocol != transport {
		t.Errorf("path %+v", p)
	}
}

// meetThrough connects two devices in this process and returns the dialler's end.
func meetThrough(t *testing.T, dial, accept link.Config) *link.Link {
	t.Helper()
	var a, b *link.Link
	for _, c := range []*link.Config{&dial, &accept} {
		device, err := identity.New("someone")
		if err != nil {
			t.Fatal(err)
		}
		c.Identity = device
	}
	there, back := make(chan []byte, 64), make(chan []byte, 64)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	var work sync.WaitGroup
	var errA, errB error
	work.Go(func() {
		b, errB = link.Accept(ctx, accept, func(session.PeerID) error { return nil }, mailbag{there, back})
	})
	a, errA = link.Dial(ctx, dial, accept.Identity.ID(), mailbag{back, there})
	work.Wait()
	t.Cleanup(func() {
		for _, l := range []*link.Link{a, b} {
			if l != nil {
				_ = l.Close()
			}
		}
	})
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	return a
}

// Two nodes that trust an authority of their own meet at a server and through a
// relay that have its certificate; one that doesn't trust it gets nowhere.
func TestOwnAuthority(t *testing.T) {
	host := thisHost(t)
	certificate, roots := relayAuthority(t, net.IPv4(127, 0, 0, 1))
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	turn, err := relay.New(relay.Config{
		Public: []netip.Addr{host}, AllowPeers: []netip.Prefix{netip.PrefixFrom(host, 32)},
		Secrets: []string{"a secret of enough bytes"},
		TLS:     []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, TLSConfig: config,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = turn.Close() })
	_, _, secure := turn.Addrs()
	s := server.New(server.Config{Relays: func(_ context.Context, mailbox string) ([]signaling.Relay, error) {
		user, password, ttl := turn.Credentials(mailbox, time.Now())
		return []signaling.Relay{{
			URLs: []string{"turns:" + secure[0].String() + "?transport=tcp"}, Username: user, Password: password, TTL: int(ttl.Seconds()),
		}}, nil
	}})
	t.Cleanup(func() { _ = s.Close() })
	web := httptest.NewUnstartedServer(s)
	web.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	web.TLS = config
	web.StartTLS()
	t.Cleanup(web.Close)

	begin := func(name string, trust *x509.CertPool) *node.Node {
		n, err := node.StartGuest(t.Context(), node.Config{Name: name, Servers: []string{web.URL}, Roots: trust, RelayOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Close() }) // the other one may have gone first
		return n
	}
	alice, bob := begin("alice", roots), begin("bob", roots)
	shared, err := alice.StartShare(t.Context(), node.Share{
		Folders: []node.Folder{{Dir: t.TempDir()}}, Uses: 1, Expires: time.Hour, Always: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := begin("mallory", nil).Join(t.Context(), shared.Code, nil); session.KindOf(err) != session.Integrity {
		t.Errorf("without the authority: %v", err)
	}
	joined, err := bob.Join(t.Context(), shared.Link, nil)
	if err != nil {
		t.Fatal(err)
	}
	if joined.Path.Kind != session.Relayed || joined.Path.Local.Protocol != "tls" {
		t.Errorf("path %+v", joined.Path)
	}
}
