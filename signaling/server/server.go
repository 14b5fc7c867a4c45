package server

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/time/rate"

	"tandem/signaling"
	"tandem/signaling/bus"
)

// Server is a signaling server. It is an http.Handler; whoever serves it
// brings the listener and TLS.
type Server struct {
	cfg     Config
	limits  Limits
	log     *slog.Logger
	bus     bus.Bus
	metrics *metrics
	mux     *http.ServeMux

	connects, perIP, plates, guesses, relays *buckets[netip.Prefix]
	messages                                 *buckets[string] // by mailbox

	queued  atomic.Int64  // bytes waiting for all clients
	watches atomic.Int64  // mailboxes watched by all clients
	epoch   atomic.Uint64 // of the latest claim

	misnamed rate.Sometimes // for the log

	stop chan struct{}  // closed by Close
	work sync.WaitGroup // the keeper, every client's reader and writer

	mu       sync.Mutex
	clients  map[*client]struct{}
	byIP     map[netip.Prefix]int
	draining bool
	closed   bool
	empty    chan struct{} // made by Drain, closed when the last client leaves
}

// New makes a server and starts its housekeeping. Close ends it.
func New(cfg Config) *Server {
	limits := cfg.Limits.withDefaults()
	s := &Server{
		cfg:      cfg,
		limits:   limits,
		log:      cfg.Logger,
		bus:      cfg.Bus,
		connects: newBuckets[netip.Prefix](limits.Connects, maxBuckets),
		perIP:    newBuckets[netip.Prefix](limits.MessagesPerIP, maxBuckets),
		plates:   newBuckets[netip.Prefix](limits.Plates, maxBuckets),
		guesses:  newBuckets[netip.Prefix](limits.Guesses, maxBuckets),
		relays:   newBuckets[netip.Prefix](limits.Relays, maxBuckets),
		messages: newBuckets[string](limits.Messages, maxBuckets),
		stop:     make(chan struct{}),
		clients:  make(map[*client]struct{}),
		byIP:     make(map[netip.Prefix]int),
		misnamed: rate.Sometimes{First: 3, Interval: time.Minute},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.bus == nil {
		s.bus = bus.NewLocal()
	}
	registry := cfg.Metrics
	if registry == nil {
		registry = prometheus.NewRegistry()
	}
	s.metrics = newMetrics(registry, s)
	s.mux = http.NewServeMux()
	s.mux.HandleFunc("GET /v1/ws", s.serveWS)
	s.mux.HandleFunc("GET /v1/info", s.serveInfo)
	s.mux.HandleFunc("GET /healthz", s.serveHealth)
	s.mux.HandleFunc("GET /j", servePage)
	s.mux.Handle("GET /metrics", s.operatorOnly(promhttp.HandlerFor(registry, promhttp.HandlerOpts{})))
	s.work.Go(s.keep)
	return s
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// HTTPServer is an http.Server for s with the timeouts a public server needs.
// The caller serves it on a listener of its own and shuts it down.
func (s *Server) HTTPServer() *http.Server {
	return &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// Clients is the number of connections open now.
func (s *Server) Clients() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.clients)
}

// serveWS admits a client, upgrades the connection and claims the mailbox.
// Then a goroutine with a small stack takes over from the HTTP server's.
func (s *Server) serveWS(w http.ResponseWriter, r *http.Request) {
	addr := s.remote(r)
	c := &client{s: s, ip: network(addr.Addr())}
	c.alive()
	if status, why := s.admit(c, r); status != 0 {
		s.metrics.connects.WithLabelValues("refused").Inc()
		if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "5")
		}
		http.Error(w, why, status)
		return
	}
	conn, rw, _, err := ws.HTTPUpgrader{Timeout: s.limits.WriteTimeout}.Upgrade(r, w)
	if err != nil {
		if conn != nil {
			conn.Close()
		}
		s.metrics.connects.WithLabelValues("failed").Inc()
		s.leave(c)
		return
	}
	bound(conn)
	if !c.open(conn, readAhead(conn, rw.Reader), s.limits.ReadTimeout) || !c.claim(r.Context(), signaling.CanonicalHost(r.Host), addr) {
		s.metrics.connects.WithLabelValues("failed").Inc()
		c.finish()
		return
	}
	s.metrics.connects.WithLabelValues("claimed").Inc()
	s.mu.Lock()
	draining := s.draining
	s.mu.Unlock()
	if draining { // Drain may have come before there was a connection to tell it on
		c.drain()
	}
	go c.read() // s.work counts c since admit; finish takes it off
}

// goesBy reports whether a request names one of our names. What another server
// passes on to us names that one.
func (s *Server) goesBy(r *http.Request) bool {
	host := signaling.CanonicalHost(r.Host)
	if len(s.cfg.Hosts) == 0 && !s.cfg.OwnAddresses || slices.Contains(s.cfg.Hosts, host) {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok || !s.cfg.OwnAddresses {
		return false
	}
	at, err := netip.ParseAddrPort(local.String())
	if err != nil {
		return false
	}
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	localhost := net.JoinHostPort("localhost", strconv.Itoa(int(at.Port())))
	return host == signaling.CanonicalHost(at.String()) ||
		at.Addr().IsLoopback() && host == signaling.CanonicalHost(localhost)
}

// admit counts c in, or says with which HTTP status it is turned away.
func (s *Server) admit(c *client, r *http.Request) (status int, why string) {
	if !s.goesBy(r) {
		s.misnamed.Do(func() {
			s.log.Warn("refused a client that takes this server for another", "host", strconv.QuoteToASCII(r.Host))
		})
		return http.StatusMisdirectedRequest, "this server does not go by that name"
	}
	if !s.connects.allow(c.ip, 1) {
		return http.StatusTooManyRequests, "too many connections a second from your address"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed || s.draining:
		return http.StatusServiceUnavailable, "the server is going away"
	case len(s.clients) >= s.limits.Clients:
		return http.StatusServiceUnavailable, "the server is full"
	case s.byIP[c.ip] >= s.limits.ClientsPerIP:
		return http.StatusTooManyRequests, "too many connections from your address"
	}
	s.clients[c] = struct{}{}
	s.byIP[c.ip]++
	s.work.Add(1)
	return 0, ""
}

// leave counts c out. It is the last thing that happens to a client.
func (s *Server) leave(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, c)
	if s.byIP[c.ip]--; s.byIP[c.ip] == 0 {
		delete(s.byIP, c.ip)
	}
	if len(s.clients) == 0 && s.empty != nil {
		close(s.empty)
		s.empty = nil
	}
	s.work.Done()
}

func (s *Server) everyone() []*client {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*client, 0, len(s.clients))
	for c := range s.clients {
		all = append(all, c)
	}
	return all
}

// keep pings silent clients, ends dead ones and renews the leases of
// nameplates, for all clients, until Close.
func (s *Server) keep() {
	every := min(s.limits.PingAfter/4, s.limits.NameplateGrace/4, s.limits.IdleTimeout/4)
	ticker := time.NewTicker(max(every, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
		}
		for _, c := range s.everyone() {
			c.keep(time.Now())
		}
	}
}

// nextEpoch is above all epochs before, also those of an earlier run, as far
// as the clock can be believed.
func (s *Server) nextEpoch() uint64 {
	for {
		last := s.epoch.Load()
		next := max(last+1, uint64(time.Now().UnixNano()))
		if s.epoch.CompareAndSwap(last, next) {
			return next
		}
	}
}

// Drain lets nobody in any more, tells every client to connect again after a
// moment of its own, and waits until all have gone or ctx ends. Close does the rest.
func (s *Server) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	empty := s.empty
	if empty == nil && len(s.clients) > 0 {
		empty = make(chan struct{})
		s.empty = empty
	}
	s.mu.Unlock()
	for _, c := range s.everyone() {
		c.drain()
	}
	if empty == nil {
		return nil
	}
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends all connections and returns when the server's work has ended.
// HTTP requests still in a handler end with their connections.
func (s *Server) Close() error {
	s.mu.Lock()
	already := s.closed
	s.closed = true
	s.mu.Unlock()
	if !already {
		close(s.stop)
	}
	for _, c := range s.everyone() {
		c.kill("server closed")
	}
	s.work.Wait()
	if s.cfg.Bus == nil {
		return s.bus.Close()
	}
	return nil
}

func (s *Server) serveInfo(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	// An error means that the client has gone.
	_ = json.NewEncoder(w).Encode(signaling.Info{
		Service:    signaling.ServiceName,
		Version:    signaling.Version,
		MinVersion: signaling.MinVersion,
		Time:       time.Now().UnixMilli(),
		STUN:       s.cfg.STUN,
		Relays:     s.cfg.RelayURLs,
	})
}

func (s *Server) serveHealth(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	leaving := s.draining || s.closed
	s.mu.Unlock()
	if leaving {
		http.Error(w, "draining", http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}

// operatorOnly answers the machine itself, or everybody if so configured.
func (s *Server) operatorOnly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.cfg.PublicMetrics && !s.remote(r).Addr().Unmap().IsLoopback() {
			http.Error(w, "only from the server itself", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// remote is the client's address: the connection's, or what a trusted proxy
// says it is. Of an X-Forwarded-For only the part that trusted proxies wrote
// counts: the last address that is not one of theirs.
func (s *Server) remote(r *http.Request) netip.AddrPort {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !s.trusted(addr.Addr()) {
		return addr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		ip, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			return addr
		}
		addr = netip.AddrPortFrom(ip, 0)
		if !s.trusted(ip) {
			return addr
		}
	}
	return addr
}

func (s *Server) trusted(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	return slices.ContainsFunc(s.cfg.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// random is an unpredictable number from 0 to n-1.
func random(n int64) int64 {
	i, _ := rand.Int(rand.Reader, big.NewInt(n)) // crypto/rand does not fail
	return i.Int64()
}

// randomNumber is a nameplate's number of so many digits.
func randomNumber(digits int) string {
	low := int64(1)
	for range digits - 1 {
		low *= 10
	}
	return strconv.FormatInt(low+random(9*low), 10)
}
