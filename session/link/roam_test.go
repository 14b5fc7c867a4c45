package link

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/transport/v4"
	"github.com/pion/turn/v5"

	"tandem/session"
)

// wire is a network that a test can break: sockets opened before a cut stay
// deaf and dumb, and direct traffic can be forbidden altogether.
type wire struct {
	*network
	mu      sync.Mutex
	sockets []*wireSocket
	relay   atomic.Pointer[net.UDPAddr]         // if set, only this address can be reached
	loses   atomic.Pointer[func(p []byte) bool] // if set, says which packets vanish
}

type wireSocket struct {
	transport.UDPConn
	wire *wire
	dead atomic.Bool
}

// nowhere as a relay is a network on which nothing gets through.
var nowhere = &net.UDPAddr{Port: 9}

func newWire() *wire { return &wire{network: systemNetwork()} }

// config makes links use w.
func (w *wire) config(c Config) Config {
	c.network = &network{Net: wireNet{w.Net, w}, interfaces: w.interfaces}
	return c
}

type wireNet struct {
	transport.Net
	wire *wire
}

func (n wireNet) ListenUDP(network string, local *net.UDPAddr) (transport.UDPConn, error) {
	conn, err := n.Net.ListenUDP(network, local)
	if err != nil {
		return nil, err
	}
	s := &wireSocket{UDPConn: conn, wire: n.wire}
	n.wire.mu.Lock()
	n.wire.sockets = append(n.wire.sockets, s)
	n.wire.mu.Unlock()
	return s, nil
}

func (n wireNet) ListenPacket(network, address string) (net.PacketConn, error) {
	local, err := net.ResolveUDPAddr(network, address)
	if err != nil {
		return nil, err
	}
	return n.ListenUDP(network, local)
}

// cut kills every socket that is open now.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.sockets {
		s.dead.Store(true)
	}
}

func (s *wireSocket) blocks(addr net.Addr) bool {
	if s.dead.Load() {
		return true
	}
	only := s.wire.relay.Load()
	if only == nil {
		return false
	}
	udp, ok := addr.(*net.UDPAddr)
	return !ok || udp.Port != only.Port
}

func (s *wireSocket) WriteTo(p []byte, addr net.Addr) (int, error) {
	if loses := s.wire.loses.Load(); s.blocks(addr) || loses != nil && (*loses)(p) {
		return len(p), nil
	}
	return s.UDPConn.WriteTo(p, addr)
}

func (s *wireSocket) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, addr, err := s.UDPConn.ReadFrom(p)
		if err != nil || !s.blocks(addr) {
			return n, addr, err
		}
	}
}

// counting sends numbers over a stream until stop is closed, and checks at the
// other end that none is lost, repeated or out of order.
type counting struct {
	received atomic.Uint64
	once     sync.Once
	stop     chan struct{}
	work     sync.WaitGroup
}

func count(t *testing.T, from *Link, streams <-chan session.Stream) *counting {
	t.Helper()
	s, err := from.Open(t.Context(), session.Header{Service: "count/1"})
	if err != nil {
		t.Fatal(err)
	}
	far := <-streams
	c := &counting{stop: make(chan struct{})}
	t.Cleanup(c.end) // before the links are closed
	c.work.Go(func() {
		defer func() { _ = s.CloseWrite() }()
		ticker := time.NewTicker(2 * time.Millisecond)
		defer ticker.Stop()
		for n := uint64(0); ; n++ {
			if _, err := s.Write(binary.BigEndian.AppendUint64(nil, n)); err != nil {
				t.Error("write:", err)
				return
			}
			select {
			case <-ticker.C:
			case <-c.stop:
				return
			}
		}
	})
	c.work.Go(func() {
		buf := make([]byte, 8)
		for n := uint64(0); ; n++ {
			if _, err := io.ReadFull(far, buf); err != nil {
				if err != io.EOF {
					t.Error("read:", err)
				}
				return
			}
			if got := binary.BigEndian.Uint64(buf); got != n {
				t.Errorf("got %d, want %d", got, n)
				return
			}
			c.received.Add(1)
		}
	})
	return c
}

// progress waits for more numbers to arrive and returns how long that took.
func (c *counting) progress(t *testing.T, limit time.Duration) time.Duration {
	t.Helper()
	began, from := time.Now(), c.received.Load()
	for c.received.Load() < from+10 {
		if time.Since(began) > limit {
			t.Fatalf("nothing arrived for %v", limit)
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(began)
}

// until waits for a path of that kind while the numbers go on.
func (c *counting) until(t *testing.T, l *Link, kind session.PathKind) {
	t.Helper()
	for began := time.Now(); l.Path().Kind != kind; {
		if time.Since(began) > 30*time.Second {
			t.Fatalf("still %+v", l.Path())
		}
		c.progress(t, 10*time.Second)
	}
}

// end stops the numbers and waits for the last one.
func (c *counting) end() {
	c.once.Do(func() { close(c.stop) })
	c.work.Wait()
}

// Both sides lose their sockets; one of them is told.
func TestRebind(t *testing.T) {
	for _, who := range []role{offerer, answerer} {
		t.Run(string(who), func(t *testing.T) {
			t.Parallel()
			w := newWire()
			streams := make(chan session.Stream, 1)
			a, b := meet(t, w.config(Config{}), Config{Handler: accepted(streams)})
			c := count(t, a, streams)
			c.progress(t, 10*time.Second)
			w.cut()
			if who == offerer {
				a.Rebind()
			} else {
				b.Rebind()
			}
			t.Logf("recovered in %v", c.progress(t, 20*time.Second))
			c.end()
			if p := a.Path(); p.Kind != session.Direct || p.Changes == 0 {
				t.Errorf("path %+v", p)
			}
		})
	}
}

// Nobody is told: silence is noticed.
func TestSilentPath(t *testing.T) {
	t.Parallel()
	w := newWire()
	streams := make(chan session.Stream, 1)
	a, _ := meet(t, w.config(Config{}), Config{Handler: accepted(streams)})
	c := count(t, a, streams)
	c.progress(t, 10*time.Second)
	w.cut()
	t.Logf("recovered in %v", c.progress(t, 20*time.Second))
	c.end()
}

// A path can be replaced while it works, without anybody noticing.
func TestReplaceWorkingPath(t *testing.T) {
	t.Parallel()
	streams := make(chan session.Stream, 1)
	a, b := meet(t, Config{}, Config{Handler: accepted(streams)})
	c := count(t, a, streams)
	for range 3 {
		before := a.Path()
		b.Rebind()
		for a.Path().Changes == before.Changes {
			c.progress(t, 10*time.Second)
		}
	}
	c.progress(t, 10*time.Second)
	c.end()
}

// The signaler is down when the path dies: the session waits for it.
func TestSignalingDown(t *testing.T) {
	t.Parallel()
	w := newWire()
	var down atomic.Bool
	sigA, sigB := pipe(func(_ role, b []byte) [][]byte {
		if down.Load() {
			return nil
		}
		return [][]byte{b}
	})
	streams := make(chan session.Stream, 1)
	a, _ := meetOver(t, w.config(Config{}), Config{Handler: accepted(streams)}, sigA, sigB)
	c := count(t, a, streams)
	c.progress(t, 10*time.Second)
	down.Store(true)
	w.cut()
	a.Rebind()
	time.AfterFunc(2*time.Second, func() { down.Store(false) })
	t.Logf("recovered in %v", c.progress(t, 20*time.Second))
	c.end()
}

// The peer is gone for good: the session ends by itself.
func TestDeadPeer(t *testing.T) {
	t.Parallel()
	w := newWire()
	var down atomic.Bool
	sigA, sigB := pipe(func(_ role, b []byte) [][]byte {
		if down.Load() {
			return nil
		}
		return [][]byte{b}
	})
	streams := make(chan session.Stream, 1)
	a, b := meetOver(t, w.config(Config{DeadAfter: time.Second}), Config{Handler: accepted(streams), DeadAfter: time.Second}, sigA, sigB)
	s, err := a.Open(t.Context(), session.Header{Service: "wait/1"})
	if err != nil {
		t.Fatal(err)
	}
	far := <-streams
	down.Store(true)
	w.cut()
	for _, l := range []*Link{a, b} {
		<-l.Done()
		wantKind(t, "session", l.Err(), session.Unavailable)
	}
	_, err = s.Read(make([]byte, 1))
	wantKind(t, "stream", err, session.Unavailable)
	_, err = far.Read(make([]byte, 1))
	wantKind(t, "far stream", err, session.Unavailable)
	_, err = a.Open(t.Context(), session.Header{Service: "late/1"})
	wantKind(t, "open", err, session.Unavailable)
}

// localIP is an IPv4 address of this machine that a peer's candidate may have.
func localIP(t *testing.T) net.IP {
	t.Helper()
	ip := net.IPv4(127, 0, 0, 1)
	interfaces, err := systemNetwork().Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
				ip = n.IP
			}
		}
	}
	return ip
}

// relayServer is a TURN server on loopback or whatever address this machine has.
func relayServer(t *testing.T) (Relay, *net.UDPAddr) {
	t.Helper()
	return relayServerWith(t, func(g turn.RelayAddressGenerator) turn.RelayAddressGenerator { return g })
}

// relayServerWith is relayServer with another way to make its sockets.
func relayServerWith(t *testing.T, wrap func(turn.RelayAddressGenerator) turn.RelayAddressGenerator) (Relay, *net.UDPAddr) {
	t.Helper()
	ip := localIP(t)
	conn, err := net.ListenPacket("udp4", net.JoinHostPort(ip.String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	server, err := turn.NewServer(turn.ServerConfig{
		Realm: "test",
		AuthHandler: func(request *turn.RequestAttributes) (string, []byte, bool) {
			return request.Username, turn.GenerateAuthKey(request.Username, "test", "password"), true
		},
		PacketConnConfigs: []turn.PacketConnConfig{{
			PacketConn:            conn,
			RelayAddressGenerator: wrap(&turn.RelayAddressGeneratorStatic{RelayAddress: ip, Address: ip.String()}),
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	addr := conn.LocalAddr().(*net.UDPAddr)
	return Relay{URLs: []string{"turn:" + addr.String() + "?transport=udp"}, Username: "user", Password: "password"}, addr
}

func relays(r ...Relay) func(context.Context) ([]Relay, error) {
	return func(context.Context) ([]Relay, error) { return r, nil }
}

func TestRelayOnly(t *testing.T) {
	t.Parallel()
	relay, _ := relayServer(t)
	streams := make(chan session.Stream, 1)
	a, b := meet(t, Config{Relays: relays(relay), RelayOnly: true}, Config{Relays: relays(relay), Handler: accepted(streams)})
	c := count(t, a, streams)
	c.progress(t, 10*time.Second)
	c.end()
	for _, l := range []*Link{a, b} {
		if p := l.Path(); p.Kind != session.Relayed || p.WhyNotDirect == "" {
			t.Errorf("path %+v", p)
		}
	}
	if p := a.Path(); p.Local.Type != "relay" || p.Local.Protocol != "udp" {
		t.Errorf("local end %+v", p.Local)
	}
}

// A direct path goes dark: the session goes on through the relay, and back as
// soon as a direct path exists again.
func TestFallBackAndReturn(t *testing.T) {
	t.Parallel()
	relay, addr := relayServer(t)
	w := newWire()
	streams := make(chan session.Stream, 1)
	a, _ := meet(t, w.config(Config{Relays: relays(relay)}), Config{Relays: relays(relay), Handler: accepted(streams)})
	c := count(t, a, streams)
	c.progress(t, 10*time.Second)
	if p := a.Path(); p.Kind != session.Direct {
		t.Fatalf("path %+v", p)
	}
	w.relay.Store(addr)
	t.Logf("relayed after %v", c.progress(t, 20*time.Second))
	c.until(t, a, session.Relayed)
	w.relay.Store(nil)
	began := time.Now()
	c.until(t, a, session.Direct)
	t.Logf("direct again after %v, gap %v", time.Since(began), a.Path().LastGap)
	c.progress(t, 10*time.Second)
	c.end()
}
