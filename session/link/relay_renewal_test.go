package link

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/turn/v5"

	"tandem/session"
)

// expiringRelay is a TURN server on loopback whose credentials last for ttl,
// to the millisecond, and which carries nothing for longer than that.
type expiringRelay struct {
	hostileRelay
	url     string
	ttl     time.Duration
	trust   *tls.Config // of clients
	refused atomic.Int32
}

func startExpiringRelay(t *testing.T, network string, ttl time.Duration) *expiringRelay {
	t.Helper()
	r := &expiringRelay{ttl: ttl}
	check := func(d datagram) []datagram {
		if time.Now().After(d.tap.expires) {
			return nil
		}
		return []datagram{d}
	}
	r.attack, r.checks = check, check
	local := localIP(t)
	r.RelayAddressGenerator = &turn.RelayAddressGeneratorStatic{RelayAddress: local, Address: local.String()}
	config := turn.ServerConfig{
		Realm: "test",
		AuthHandler: func(request *turn.RequestAttributes) (string, []byte, bool) {
			if time.Now().After(expiry(request.Username)) {
				r.refused.Add(1)
				return "", nil, false
			}
			return request.Username, turn.GenerateAuthKey(request.Username, "test", "password"), true
		},
	}
	const at = "127.0.0.1:0"
	if network == "udp" {
		conn, err := net.ListenPacket("udp", at)
		if err != nil {
			t.Fatal(err)
		}
		config.PacketConnConfigs = []turn.PacketConnConfig{{PacketConn: conn, RelayAddressGenerator: r}}
		r.url = "turn:" + conn.LocalAddr().String() + "?transport=udp"
	} else {
		listener, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		r.url = "turn:" + listener.Addr().String() + "?transport=tcp"
		if network == "tls" {
			r.url = "turns:" + listener.Addr().String() + "?transport=tcp"
			var server *tls.Config
			server, r.trust = ownAuthority(t, net.IPv4(127, 0, 0, 1))
			listener = tls.NewListener(listener, server)
		}
		config.ListenerConfigs = []turn.ListenerConfig{{Listener: listener, RelayAddressGenerator: r}}
	}
	server, err := turn.NewServer(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return r
}

func expiry(username string) time.Time {
	at, _ := strconv.ParseInt(username, 10, 64)
	return time.UnixMilli(at)
}

func (r *expiringRelay) AllocatePacketConn(c turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	conn, addr, err := r.hostileRelay.AllocatePacketConn(c)
	if err == nil {
		r.mu.Lock()
		conn.(*tap).expires = expiry(c.UserID)
		r.mu.Unlock()
	}
	return conn, addr, err
}

// fresh hands out credentials as a signaling server does.
func (r *expiringRelay) fresh(context.Context) ([]Relay, error) {
	expires := time.Now().Add(r.ttl)
	return []Relay{{
		URLs: []string{r.url}, Expires: expires,
		Username: strconv.FormatInt(expires.UnixMilli(), 10), Password: "password",
	}}, nil
}

// ownAuthority makes a server's certificate that no system trusts, and what a
// client needs to trust it.
func ownAuthority(t *testing.T, ip net.IP) (server, client *tls.Config) {
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
	authority, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

// A relayed session outlives the credentials it began with, several times over
// and whichever side they belong to, and its path is never gone.
func TestRelayRenewal(t *testing.T) {
	for _, c := range []struct {
		network string
		who     role
	}{{"udp", offerer}, {"tcp", answerer}} {
		t.Run(c.network+" of the "+string(c.who), func(t *testing.T) {
			t.Parallel()
			r := startExpiringRelay(t, c.network, 3*time.Second)
			var gone atomic.Int32
			using := Config{Relays: r.fresh, RelayOnly: true, RelayTLS: r.trust, OnPath: func(p session.Path) {
				if p.Kind == session.NoPath {
					gone.Add(1)
				}
			}}
			streams := make(chan session.Stream, 1)
			dial, accept := using, Config{}
			if c.who == answerer {
				dial, accept = Config{}, using
			}
			accept.Handler = accepted(streams)
			a, b := meet(t, dial, accept)
			user := a
			if c.who == answerer {
				user = b
			}
			n := count(t, a, streams)
			for user.Path().Changes < 4 {
				n.progress(t, 10*time.Second)
			}
			n.progress(t, 10*time.Second)
			n.end()
			if p := user.Path(); p.Kind != session.Relayed || p.Local.Protocol != c.network {
				t.Errorf("path %+v", p)
			}
			if gone.Load() != 0 {
				t.Errorf("the path was gone %d times", gone.Load())
			}
		})
	}
}

// Relays are reached over each transport.
func TestRelayTransports(t *testing.T) {
	for _, network := range []string{"udp", "tcp", "tls"} {
		t.Run(network, func(t *testing.T) {
			r := startExpiringRelay(t, network, time.Hour)
			a, _ := meet(t, Config{Relays: r.fresh, RelayOnly: true, RelayTLS: r.trust}, Config{Handler: echo})
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := exchange(ctx, a, seededBytes(16<<10)); err != nil {
				t.Error(err)
			}
			if p := a.Path(); p.Kind != session.Relayed || p.Local.Protocol != network {
				t.Errorf("path %+v", p)
			}
		})
	}
}

func TestRelayNotTrusted(t *testing.T) {
	r := startExpiringRelay(t, "tls", time.Hour)
	address := r.url[len("turns:") : len(r.url)-len("?transport=tcp")]
	for _, c := range []struct {
		config *tls.Config
		ok     bool
	}{{nil, false}, {r.trust, true}} {
		d := newRelayDialer(map[string]bool{address: true}, nil, time.Now())
		d.config = c.config
		conn, err := d.Dial("tcp4", address)
		var unknown x509.UnknownAuthorityError
		if (err == nil) != c.ok || err != nil && !errors.As(err, &unknown) {
			t.Errorf("with %v: %v", c.config, err)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
}

func TestRenewalTime(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, c := range []struct{ left, want time.Duration }{
		{10 * time.Minute, 9 * time.Minute},
		{time.Hour, 59 * time.Minute},
		{20 * time.Second, 16 * time.Second},
		{5 * time.Second, 3 * time.Second},
		{2 * time.Second, time.Second},
		{0, relayPause},
		{-time.Hour, relayPause},
	} {
		if got := renewal(now.Add(c.left), now).Sub(now); got != c.want {
			t.Errorf("%v before they expire: after %v, want %v", c.left, got, c.want)
		}
	}
}
