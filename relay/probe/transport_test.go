package probe

import (
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
	"testing"
	"time"

	"tandem/relay"
)

func testTLS(t *testing.T) (server, client *tls.Config) {
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

func TestCheckRelays(t *testing.T) {
	serverTLS, clientTLS := testTLS(t)
	four, six := netip.MustParseAddrPort("127.0.0.1:0"), netip.MustParseAddrPort("[::1]:0")
	both := []netip.AddrPort{four, six}
	s, err := relay.New(relay.Config{
		Public: []netip.Addr{four.Addr(), six.Addr()}, UDP: both, TCP: both, TLS: both, TLSConfig: serverTLS,
		Secrets: []string{"a secret of sufficient length"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	username, password, _ := s.Credentials("u", time.Now())
	udp, tcp, secure := s.Addrs()
	var accesses []Access
	for i := range both {
		for _, url := range []string{
			fmt.Sprintf("turn:%s?transport=udp", udp[i]), fmt.Sprintf("turn:%s?transport=tcp", tcp[i]), fmt.Sprintf("turns:%s?transport=tcp", secure[i]),
		} {
			accesses = append(accesses, Access{URL: url, Username: username, Password: password, TLS: clientTLS})
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for i, r := range CheckRelays(ctx, accesses...) {
		if r.Err != nil || r.Step != Done || r.Relayed.Addr() != both[i/3].Addr() || r.Mapped.Addr() != both[i/3].Addr() ||
			r.Allocated == 0 || r.Allocated < r.Connected {
			t.Errorf("%s: %+v", accesses[i].URL, r)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); s.Allocations() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the probe's allocations stay")
		}
	}
}

func TestCheckRelayFailures(t *testing.T) {
	serverTLS, _ := testTLS(t)
	four := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	s, err := relay.New(relay.Config{
		Public: []netip.Addr{four[0].Addr()}, UDP: four, TCP: four, TLS: four, TLSConfig: serverTLS,
		Secrets: []string{"a secret of sufficient length"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	udp, tcp, secure := s.Addrs()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	username, password, _ := s.Credentials("u", time.Now().Add(-time.Hour))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	soon, cancelSoon := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancelSoon()
	for _, c := range []struct {
		hurry bool // give up soon
		url   string
		step  Step
		code  int
	}{
		{false, "http://127.0.0.1", Parse, 0},
		{false, "stun:127.0.0.1:3478", Parse, 0},
		{false, "turn:127.0.0.1:99999", Parse, 0},
		{false, "turns:127.0.0.1:443?transport=udp", Connect, 0},
		{false, "turn:" + closed.Addr().String() + "?transport=tcp", Connect, 0},
		{false, "turns:" + secure[0].String() + "?transport=tcp", Secure, 0}, // a certificate we don't trust
		{true, "turn:" + silent.LocalAddr().String(), Allocate, 0},
		{false, "turn:" + udp[0].String(), Allocate, 401},
		{false, "turn:" + tcp[0].String() + "?transport=tcp", Allocate, 401},
	} {
		ctx := ctx
		if c.hurry {
			ctx = soon
		}
		r := CheckRelay(ctx, Access{URL: c.url, Username: username, Password: password})
		if r.Step != c.step || r.Err == nil || r.Code != c.code {
			t.Errorf("%s: step %s, code %d, %v; want %s, %d", c.url, r.Step, r.Code, r.Err, c.step, c.code)
		}
		if c.hurry && !errors.Is(r.Err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", c.url, r.Err)
		}
	}
}
