package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"tandem/relay"
	"tandem/session"
	"tandem/share/node"
	"tandem/signaling"
	"tandem/signaling/server"
)

// serverOptions are the flags of tandem server.
type serverOptions struct {
	listen        string
	publicIPs     []string
	domain        string
	hosts         []string
	email, acme   string
	cert, key     string
	insecure      bool
	relayPort     uint16
	relayPorts    string
	relayAllow    []string
	relayRate     int
	secretFile    string
	noRelay       bool
	proxies       []string
	publicMetrics bool
	drain         time.Duration
}

func newServer(io stdio, f *flags) *cobra.Command {
	var o serverOptions
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Host the signaling server and the relay",
		Long: strings.TrimSpace(`
Host the signaling server, which introduces peers, and the relay, which
carries their encrypted bytes where no direct path exists. Neither can read
what peers say, and neither keeps anything that a restart could lose.

The relay needs --public-ip: the address at which the Internet reaches this
machine. It answers on --relay-port over UDP and TCP, and on the signaling
port itself as well, for networks that let nothing else out.`),
		Example: `  tandem server --domain tandem.example --public-ip 203.0.113.7
  tandem server --tls-cert cert.pem --tls-key key.pem --public-ip 203.0.113.7
  # on a LAN
  tandem server --insecure-http --listen :8080 --no-relay`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return runServer(cmd.Context(), io, f, o) },
	}
	fs := cmd.Flags()
	fs.StringVar(&o.listen, "listen", "", "address of the signaling server (default :443, or :8080 with --insecure-http)")
	fs.StringSliceVar(&o.publicIPs, "public-ip", nil, "address the Internet reaches this machine at; one of IPv4 and one of IPv6")
	fs.StringVar(&o.domain, "domain", "", "name of this server; its certificate is obtained and renewed automatically")
	fs.StringSliceVar(&o.hosts, "host", nil, "name under which clients reach this server, besides its domain, its addresses and its certificate's names; needed behind a proxy")
	fs.StringVar(&o.email, "email", "", "address for the certificate authority's notices, with --domain")
	fs.StringVar(&o.acme, "acme-directory", certmagic.LetsEncryptProductionCA, "the certificate authority's directory (RFC 8555), with --domain")
	fs.StringVar(&o.cert, "tls-cert", "", "file with the certificate chain, in PEM")
	fs.StringVar(&o.key, "tls-key", "", "file with the certificate's key, in PEM")
	fs.BoolVar(&o.insecure, "insecure-http", false, "speak plain HTTP: on a LAN, or behind a proxy that adds TLS")
	fs.Uint16Var(&o.relayPort, "relay-port", 3478, "port of the relay, UDP and TCP")
	fs.StringVar(&o.relayPorts, "relay-ports", "49152-65535", "range of UDP ports for relayed traffic")
	fs.StringSliceVar(&o.relayAllow, "relay-allow", nil, "network the relay may reach although it isn't on the public Internet, such as 10.0.0.0/8")
	fs.IntVar(&o.relayRate, "relay-rate", 0, "most bytes a second relayed for one user (default 32 MiB; -1 is no limit)")
	fs.StringVar(&o.secretFile, "relay-secret-file", "", "file with one or two secrets, one a line, shared with other relays; the first makes new credentials")
	fs.BoolVar(&o.noRelay, "no-relay", false, "don't run a relay")
	fs.StringSliceVar(&o.proxies, "trusted-proxy", nil, "network of reverse proxies whose X-Forwarded-For is believed")
	fs.BoolVar(&o.publicMetrics, "public-metrics", false, "let anybody read /metrics, not only this machine")
	fs.DurationVar(&o.drain, "drain", 20*time.Second, "how long to wait for clients to leave when told to stop")
	cmd.MarkFlagsMutuallyExclusive("domain", "tls-cert", "insecure-http")
	cmd.MarkFlagsRequiredTogether("tls-cert", "tls-key")
	cmd.MarkFlagsMutuallyExclusive("no-relay", "public-ip")
	return cmd
}

func runServer(ctx context.Context, io stdio, f *flags, o serverOptions) error {
	if o.listen == "" {
		o.listen = ":443"
		if o.insecure {
			o.listen = ":8080"
		}
	}
	if f.log == "" {
		f.log = "info"
	}
	log, err := logger(io, f.log)
	if err != nil {
		return err
	}
	tlsConfig, err := serverTLS(ctx, io, f, o)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return &session.Error{
			Op: "listen", Err: err,
			Hint: "Is another server running? Ports below 1024 need root or the capability net_bind_service.",
		}
	}
	if tlsConfig != nil {
		listener = tls.NewListener(listener, tlsConfig)
	}
	port := newSplitListener(listener)
	defer func() { _ = port.Close() }()

	metrics := prometheus.NewRegistry()
	names := certificateNames(tlsConfig)
	cfg := server.Config{
		Hosts: o.names(names, addrPort(listener)), OwnAddresses: true,
		Metrics: metrics, PublicMetrics: o.publicMetrics, Logger: log,
	}
	if cfg.TrustedProxies, err = parsePrefixes("--trusted-proxy", o.proxies); err != nil {
		return err
	}
	var turn *relay.Server
	if !o.noRelay {
		if turn, err = newRelay(o, port, metrics, log); err != nil {
			return err
		}
		defer func() { _ = turn.Close() }()
		cfg.STUN, cfg.RelayURLs = relayURLs(o, names, addrPort(listener), tlsConfig != nil)
		cfg.Relays = func(_ context.Context, mailbox string) ([]signaling.Relay, error) {
			user, password, ttl := turn.Credentials(mailbox, time.Now())
			return []signaling.Relay{
				{URLs: cfg.STUN},
				{URLs: cfg.RelayURLs, Username: user, Password: password, TTL: int(ttl.Seconds())},
			}, nil
		}
	}
	s := server.New(cfg)
	httpServer := s.HTTPServer()
	serving := make(chan error, 1)
	go func() { serving <- httpServer.Serve(port.web) }()

	scheme := "https"
	if tlsConfig == nil {
		scheme = "http"
	}
	log.Info("listening", "signaling", scheme+"://"+listener.Addr().String(), "relay", cfg.RelayURLs)
	if f.json {
		err := json.NewEncoder(io.out).Encode(map[string]any{
			"event": "listening", "scheme": scheme, "addr": listener.Addr().String(), "relays": cfg.RelayURLs,
		})
		if err != nil {
			return err
		}
	}

	select {
	case err = <-serving:
		_ = s.Close() // the listener's failure is what matters
		return err
	case <-ctx.Done():
	}
	relayed := 0
	if turn != nil {
		relayed = turn.Allocations()
	}
	log.Info("draining", "clients", s.Clients(), "relayed", relayed)
	drainCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.drain)
	defer cancel()
	var draining errgroup.Group
	draining.Go(func() error { return s.Drain(drainCtx) })
	if turn != nil {
		draining.Go(func() error {
			if err := turn.Drain(drainCtx); err != nil {
				return fmt.Errorf("relayed connections were in use until the end: %w", err)
			}
			return nil
		})
	}
	if err := draining.Wait(); err != nil {
		log.Warn("some clients did not leave in time", "error", err)
	}
	_ = httpServer.Close()
	if err := <-serving; !errors.Is(err, http.ErrServerClosed) {
		return errors.Join(err, s.Close())
	}
	return s.Close()
}

// certificateNames are those that a certificate of our own is for, names and
// addresses; wildcards are none.
func certificateNames(cfg *tls.Config) (names []string) {
	if cfg == nil || len(cfg.Certificates) == 0 {
		return nil
	}
	leaf := cfg.Certificates[0].Leaf
	for _, name := range leaf.DNSNames {
		if !strings.Contains(name, "*") {
			names = append(names, name)
		}
	}
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// names are the Hosts by which clients may call this server, besides its own
// addresses, given the certificate's.
func (o serverOptions) names(certificate []string, port uint16) (hosts []string) {
	add := func(name string) { hosts = append(hosts, signaling.CanonicalHost(name)) }
	for _, name := range slices.Concat([]string{o.domain}, certificate, o.publicIPs) {
		if name != "" {
			add(net.JoinHostPort(name, strconv.Itoa(int(port))))
		}
	}
	for _, name := range o.hosts {
		add(name) // as the proxy in front has it, or complete
		if _, _, err := net.SplitHostPort(name); err != nil {
			add(net.JoinHostPort(strings.Trim(name, "[]"), strconv.Itoa(int(port))))
		}
	}
	return hosts
}

// serverTLS is nil for plain HTTP.
func serverTLS(ctx context.Context, io stdio, f *flags, o serverOptions) (*tls.Config, error) {
	switch {
	case o.insecure:
		return nil, nil
	case o.cert != "":
		pair, err := tls.LoadX509KeyPair(o.cert, o.key)
		if err != nil {
			return nil, &session.Error{Op: "load the certificate", Kind: session.Invalid, Err: err}
		}
		// HTTP/2 has no WebSocket upgrade that clients use.
		return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}, nil
	case o.domain != "":
		home, err := node.FindHome(io.env)
		if err != nil {
			return nil, err
		}
		settings, err := readConfig(io, home, f)
		if err != nil {
			return nil, err
		}
		roots, err := settings.roots()
		if err != nil {
			return nil, err
		}
		var magic *certmagic.Config
		cache := certmagic.NewCache(certmagic.CacheOptions{
			GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return magic, nil },
		})
		magic = certmagic.New(cache, certmagic.Config{
			Storage: &certmagic.FileStorage{Path: filepath.Join(home.State, "certificates")},
		})
		magic.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(magic, certmagic.ACMEIssuer{
			CA: o.acme, TrustedRoots: roots, Email: o.email, Agreed: true,
			DisableHTTPChallenge: true, // only the TLS port is ours
		})}
		if err := magic.ManageAsync(ctx, []string{o.domain}); err != nil {
			return nil, &session.Error{Op: "obtain a certificate", Err: err}
		}
		cfg := magic.TLSConfig()
		cfg.NextProtos = append([]string{"http/1.1"}, cfg.NextProtos...)
		cfg.NextProtos = without(cfg.NextProtos, "h2")
		return cfg, nil
	}
	return nil, usagef("give --domain, or --tls-cert and --tls-key, or --insecure-http for plain HTTP on a LAN or behind a proxy")
}

func without(list []string, item string) []string {
	var kept []string
	for _, s := range list {
		if s != item {
			kept = append(kept, s)
		}
	}
	return kept
}

func newRelay(o serverOptions, port *splitListener, metrics prometheus.Registerer, log *slog.Logger) (*relay.Server, error) {
	cfg := relay.Config{TCPListeners: []net.Listener{port.turn}, Metrics: metrics, Logger: log}
	for _, s := range o.publicIPs {
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return nil, usagef("--public-ip takes an address, not %q", s)
		}
		cfg.Public = append(cfg.Public, addr)
	}
	if len(cfg.Public) == 0 {
		return nil, usagef("the relay needs --public-ip, the address at which peers reach this machine; or give --no-relay")
	}
	for _, addr := range cfg.Public {
		wildcard := netip.IPv4Unspecified()
		if addr.Is6() {
			wildcard = netip.IPv6Unspecified()
		}
		if local, err := isLocal(addr); err != nil {
			return nil, err
		} else if local {
			wildcard = addr // answers must leave from the address that was asked
		}
		cfg.UDP = append(cfg.UDP, netip.AddrPortFrom(wildcard, o.relayPort))
		cfg.TCP = append(cfg.TCP, netip.AddrPortFrom(wildcard, o.relayPort))
	}
	low, high, ok := strings.Cut(o.relayPorts, "-")
	minPort, err1 := strconv.ParseUint(low, 10, 16)
	maxPort, err2 := strconv.ParseUint(high, 10, 16)
	if !ok || err1 != nil || err2 != nil {
		return nil, usagef("--relay-ports takes a range such as 49152-65535, not %q", o.relayPorts)
	}
	cfg.MinPort, cfg.MaxPort = uint16(minPort), uint16(maxPort)
	var err error
	if cfg.AllowPeers, err = parsePrefixes("--relay-allow", o.relayAllow); err != nil {
		return nil, err
	}
	cfg.Limits.UserRate = o.relayRate
	if cfg.Secrets, err = relaySecrets(o.secretFile); err != nil {
		return nil, err
	}
	s, err := relay.New(cfg)
	if err != nil {
		return nil, &session.Error{
			Op: "start the relay", Err: err,
			Hint: fmt.Sprintf("Is port %d free? Another TURN server may have it.", o.relayPort),
		}
	}
	return s, nil
}

// relaySecrets reads the secrets from a file, or makes one that lives as long
// as the process: clients ask for new credentials after a restart.
func relaySecrets(path string) ([]string, error) {
	if path == "" {
		return []string{rand.Text()}, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, &session.Error{Op: "read the relay's secrets", Kind: session.Invalid, Err: err}
	}
	return strings.Fields(string(data)), nil
}

// relayURLs are the STUN and TURN URIs (RFC 7064, RFC 7065) clients are told,
// in the order of preference. Over TLS a name is used that the certificate is for.
func relayURLs(o serverOptions, certificate []string, signalingPort uint16, secure bool) (stun, turn []string) {
	names := o.publicIPs
	if o.domain != "" {
		names = []string{o.domain}
	}
	for _, name := range names {
		at := net.JoinHostPort(name, strconv.Itoa(int(o.relayPort)))
		stun = append(stun, "stun:"+at)
		turn = append(turn, "turn:"+at+"?transport=udp", "turn:"+at+"?transport=tcp")
		scheme := "turn"
		if secure {
			scheme = "turns"
			if len(certificate) > 0 && !slices.Contains(certificate, name) {
				name = certificate[0]
			}
		}
		last := fmt.Sprintf("%s:%s?transport=tcp", scheme, net.JoinHostPort(name, strconv.Itoa(int(signalingPort))))
		if !slices.Contains(turn, last) {
			turn = append(turn, last)
		}
	}
	return stun, turn
}

func parsePrefixes(flag string, list []string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, usagef("%s takes a network such as 10.0.0.0/8, not %q", flag, s)
		}
		prefixes = append(prefixes, p.Masked())
	}
	return prefixes, nil
}

// isLocal reports whether an interface of this machine has addr.
func isLocal(addr netip.Addr) (bool, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false, err
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr() == addr {
			return true, nil
		}
	}
	return false, nil
}

func addrPort(l net.Listener) uint16 { return uint16(l.Addr().(*net.TCPAddr).Port) }
