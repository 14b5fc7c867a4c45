package link

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"golang.org/x/net/http/httpproxy"
	"golang.org/x/net/proxy"
)

// relayDialTimeout bounds reaching a relay over TCP, proxy and TLS included.
const relayDialTimeout = 10 * time.Second

// relayDialer reaches TURN servers over TCP and TLS, through the HTTP CONNECT
// proxy that HTTPS_PROXY names, unless NO_PROXY excludes the relay.
// It exists because pion/ice, given a dialer, leaves TLS to it, and because
// pion/ice by itself reaches no relay by IPv6.
type relayDialer struct {
	proxy func(*url.URL) (*url.URL, error)
	// tls holds the host:port of the relays that speak TLS.
	tls map[string]bool
	// config says which certificates to trust; nil means the system's.
	config *tls.Config
	// unneeded is closed when there is a relay over UDP, or when none is wanted
	// any more; needed is when to assume that there won't be one over UDP.
	unneeded <-chan struct{}
	needed   time.Time
}

var _ proxy.Dialer = (*relayDialer)(nil)

func newRelayDialer(tlsRelays map[string]bool, unneeded <-chan struct{}, needed time.Time) *relayDialer {
	return &relayDialer{proxy: httpproxy.FromEnvironment().ProxyFunc(), tls: tlsRelays, unneeded: unneeded, needed: needed}
}

var errUnneeded = errors.New("a relay over UDP will do")

// Dial connects to a relay, whatever the family of its address: pion/ice asks
// for tcp4 always. It waits a little whether UDP reaches a relay: every relay
// is an allocation there, and more pairs to check here.
func (d *relayDialer) Dial(_, address string) (net.Conn, error) {
	wait := time.NewTimer(time.Until(d.needed))
	defer wait.Stop()
	select {
	case <-d.unneeded:
		return nil, errUnneeded
	case <-wait.C:
	}
	ctx, cancel := context.WithTimeout(context.Background(), relayDialTimeout)
	watched := make(chan struct{})
	defer func() { cancel(); <-watched }()
	go func() {
		defer close(watched)
		select {
		case <-d.unneeded:
			cancel()
		case <-ctx.Done():
		}
	}()
	via, err := d.proxy(&url.URL{Scheme: "https", Host: address})
	if err != nil {
		return nil, err
	}
	var conn net.Conn
	if via == nil {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", address)
	} else {
		conn, err = connectThrough(ctx, via, address, d.config)
	}
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	relay, err := netip.ParseAddr(host)
	if err != nil && via == nil { // a name
		relay, _ = addrOf(conn.RemoteAddr())
	}
	inside := relay.IsValid() && isInside(relay)
	if !d.tls[address] {
		return relayConn{conn, inside}, nil
	}
	secure := tls.Client(conn, tlsConfig(d.config, host))
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return relayConn{secure, inside}, nil
}

// tlsConfig is config, or the system's defaults, for a server of that name.
func tlsConfig(config *tls.Config, server string) *tls.Config {
	if config == nil {
		return &tls.Config{ServerName: server, MinVersion: tls.VersionTLS12}
	}
	config = config.Clone()
	config.ServerName = server
	return config
}

// relayConn is a connection to a relay. Its local address says that it is TCP
// and IPv4, and nothing else: pion/turn asks for a relayed address of that
// family. An IPv4 one reaches the peers that have no IPv6, and those that have
// need no relay for want of a common family.
type relayConn struct {
	net.Conn
	inside bool // the relay is in a local network itself
}

func (relayConn) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4zero} }

// Write takes one message of pion's TURN client.
func (c relayConn) Write(p []byte) (int, error) {
	if !c.inside && namesInside(p) {
		return 0, errInside
	}
	return c.Conn.Write(p)
}

// connectThrough asks an HTTP proxy for a tunnel (RFC 9110, section 9.3.6).
func connectThrough(ctx context.Context, via *url.URL, address string, config *tls.Config) (net.Conn, error) {
	if via.Scheme != "http" && via.Scheme != "https" {
		dialer, err := proxy.FromURL(via, proxy.Direct)
		if err != nil {
			return nil, err
		}
		return dialer.Dial("tcp", address)
	}
	host := via.Host
	if via.Port() == "" {
		host = net.JoinHostPort(via.Hostname(), map[string]string{"http": "80", "https": "443"}[via.Scheme])
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	tunnel := conn
	if via.Scheme == "https" {
		tunnel = tls.Client(conn, tlsConfig(config, via.Hostname()))
	}
	if err := requestTunnel(tunnel, via, address); err != nil {
		_ = conn.Close()
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	return tunnel, nil
}

func requestTunnel(tunnel net.Conn, via *url.URL, address string) error {
	request := &http.Request{
		Method: http.MethodConnect,
		URL:    &url.URL{Opaque: address},
		Host:   address,
		Header: make(http.Header),
	}
	if user := via.User; user != nil {
		password, _ := user.Password()
		credentials := base64.StdEncoding.EncodeToString([]byte(user.Username() + ":" + password))
		request.Header.Set("Proxy-Authorization", "Basic "+credentials)
	}
	if err := request.Write(tunnel); err != nil {
		return err
	}
	// One byte at a time: what follows the response belongs to the tunnel.
	response, err := http.ReadResponse(bufio.NewReaderSize(oneByte{tunnel}, 16), request)
	if err != nil {
		return err
	}
	_ = response.Body.Close() // a CONNECT response has none
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the proxy answered %s", response.Status)
	}
	return nil
}

type oneByte struct{ net.Conn }

func (r oneByte) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return r.Conn.Read(p[:1])
}
