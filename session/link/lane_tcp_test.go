package link

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"tandem/session"
	"tandem/session/link/stream"
)

// overTCP is a Config for TCP lanes on a machine however busy.
func overTCP(c Config) Config {
	c.tcpShort = time.Minute
	return c
}

// packetsOnly is a Config without TCP lanes.
func packetsOnly(c Config) Config {
	c.network = systemNetwork()
	c.network.tcp = false
	return c
}

// liveTCP is the TCP lane that a link has now, or nil.
func (l *Link) liveTCP() *tcpLane {
	l.lanes.mu.Lock()
	defer l.lanes.mu.Unlock()
	return l.lanes.tcp.live
}

// awaitTCP keeps two peers busy, of which far echoes, until they have a TCP lane.
func awaitTCP(t *testing.T, near, far *Link) {
	t.Helper()
	eventually(t, "a TCP lane on both sides", func() bool {
		for _, l := range []*Link{near, far} {
			l.lanes.mu.Lock()
			l.lanes.tcp.retry = time.Time{}
			l.lanes.mu.Unlock()
		}
		copyBulk(t, near, 256<<10)
		return near.liveTCP() != nil && far.liveTCP() != nil
	})
}

func withTCP(t *testing.T) (near, far *Link) {
	t.Helper()
	notShort(t)
	near, far = meet(t, overTCP(Config{}), overTCP(Config{Handler: echo}))
	awaitTCP(t, near, far)
	return near, far
}

func TestBulkUsesTCP(t *testing.T) {
	t.Parallel()
	near, far := withTCP(t)
	eventually(t, "a copy beside the trunk", func() bool {
		before := near.trunk.sctp.BytesSent()
		copyBulk(t, near, 8<<20)
		return near.trunk.sctp.BytesSent()-before < 2<<20
	})
	for _, l := range []*Link{near, far} {
		eventually(t, "acknowledgement of all", l.lanes.settled)
		told := false
		for _, lane := range l.Lanes() {
			told = told || lane.Kind == session.TCPLane && lane.Remote.Addr.IsValid() && lane.Sent > 4<<20 && lane.Received > 4<<20
		}
		if !told {
			t.Errorf("no lane says that it has carried much: %+v", l.Lanes())
		}
	}
}

// Who accepts the session may have the bulk data.
func TestAnswererAsksForTCP(t *testing.T) {
	t.Parallel()
	notShort(t)
	near, far := meet(t, overTCP(Config{Handler: echo}), overTCP(Config{}))
	awaitTCP(t, far, near)
}

func TestTCPLaneConn(t *testing.T) {
	notShort(t)
	streams := make(chan session.Stream, 1)
	near, far := meet(t, overTCP(Config{}), overTCP(Config{Handler: func(ctx context.Context, o session.Offer) {
		if o.Header().Service == "echo/1" {
			echo(ctx, o)
		} else {
			accepted(streams)(ctx, o)
		}
	}}))
	awaitTCP(t, near, far)
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		c1, err = near.Open(context.Background(), session.Header{Service: "test/1", Bulk: true})
		if err != nil {
			return nil, nil, nil, err
		}
		c2 = <-streams
		return c1, c2, func() { _ = c1.Close(); _ = c2.Close() }, nil
	})
}

// A peer without TCP lanes, such as an older one, has the others.
func TestBulkWithoutTCP(t *testing.T) {
	t.Parallel()
	notShort(t)
	for name, c := range map[string][2]Config{
		"dialer": {packetsOnly(Config{}), {Handler: echo}}, "accepter": {{}, packetsOnly(Config{Handler: echo})},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := meet(t, overTCP(c[0]), overTCP(c[1]))
			eventually(t, "a lane", func() bool {
				copyBulk(t, near, 256<<10)
				return len(near.liveLanes()) > 0
			})
			if near.liveTCP() != nil || far.liveTCP() != nil {
				t.Error("there is a TCP lane")
			}
		})
	}
}

// Who is told to hide behind relays opens no port, whatever the peer says.
func TestNoTCPFromRelayOnly(t *testing.T) {
	t.Parallel()
	c := Config{RelayOnly: true, onLane: func(envelope) {}}
	if c.prepared().allowsTCP() {
		t.Error("a port would be opened")
	}
	near, far := meet(t, packetsOnly(Config{Handler: echo}), overTCP(Config{Handler: echo}))
	for n := range uint64(50) { // the dialer listens if it is asked, and comes if it is offered
		for _, e := range []envelope{
			{Type: typeTCP, Step: stepAsk}, {Type: typeTCP, Step: stepOffer, Number: n + 1, Port: 1, Print: make([]byte, 32)},
		} {
			near.lanes.envelope(e)
			far.lanes.envelope(e)
		}
	}
	for _, l := range []*Link{near, far} {
		l.lanes.mu.Lock()
		if l.lanes.tcp.setup != nil {
			t.Error("it was begun")
		}
		l.lanes.mu.Unlock()
	}
}

// Lanes break all the time, and nothing is lost.
func TestBulkOutlivesTCP(t *testing.T) {
	t.Parallel()
	near, far := withTCP(t)
	for i := range 6 {
		awaitTCP(t, near, far)
		copied := make(chan struct{})
		go func() {
			defer close(copied)
			copyBulk(t, near, 1<<20)
		}()
		side := near
		if i%2 == 1 {
			side = far
		}
		eventually(t, "something under way", func() bool {
			l := side.liveTCP()
			if l == nil {
				return true
			}
			l.mu.Lock()
			busy := len(l.flight) > 0 || l.window.delivered > 2<<20
			l.mu.Unlock()
			select {
			case <-copied:
				return true
			default:
				return busy
			}
		})
		if l := side.liveTCP(); l != nil {
			l.fail(session.Errorf("test", session.Unavailable, "broken by the test"))
		}
		<-copied
	}
	for _, l := range []*Link{near, far} {
		eventually(t, "acknowledgement of all", l.lanes.settled)
		if err := l.Err(); err != nil {
			t.Error(err)
		}
	}
}

// When nothing gets through any more, what was under way goes another way.
func TestTCPLaneFallsSilent(t *testing.T) {
	t.Parallel()
	near, _ := withTCP(t)
	l := near.liveTCP()
	c := l.conn.NetConn().(*batchConn)
	c.mu.Lock()
	c.w = bufio.NewWriter(io.Discard)
	c.mu.Unlock()
	copyBulk(t, near, 1<<20)
	if near.liveTCP() == l {
		t.Error("the lane is still in use")
	}
}

// A peer that sends what is no frame loses its lane; the session and its streams
// live on.
func TestTCPLaneLies(t *testing.T) {
	t.Parallel()
	near, far := withTCP(t)
	for name, raw := range map[string][]byte{
		"a false acknowledgement": appendTCPAck(nil, 1<<30),
		"an empty message":        {tcpData, 0, 1, 0, 0, 0, 1, 0, 0},
		"a long message":          {tcpData, 0, 1, 0, 0, 0, 1, 0xff, 0xff},
		"another frame":           {9},
	} {
		awaitTCP(t, near, far)
		l, theirs := near.liveTCP(), far.liveTCP()
		_, _ = l.conn.Write(appendTCPData(nil, cargo{st: &stripe{id: 65000}, frame: []byte{2, 1}})) // of no stream
		if _, err := l.conn.Write(raw); err != nil {
			t.Fatal(err)
		}
		if err := l.conn.NetConn().(*batchConn).Flush(); err != nil {
			t.Fatal(err)
		}
		<-theirs.done
		if session.KindOf(theirs.err) != session.Invalid {
			t.Errorf("%s: %v", name, theirs.err)
		}
		copyBulk(t, near, 256<<10)
	}
	for _, l := range []*Link{near, far} {
		if err := l.Err(); err != nil {
			t.Errorf("the session ended: %v", err)
		}
	}
}

// A peer that wants ports by the thousand gets one at a time, and few.
func TestTCPSetupFlood(t *testing.T) {
	t.Parallel()
	near, far := meet(t, overTCP(Config{Handler: echo}), overTCP(Config{Handler: echo}))
	began, start := 0, time.Now()
	far.lanes.mu.Lock()
	begin := far.lanes.tcp.start
	far.lanes.tcp.start = func(s *tcpSetup) { began++; begin(s) } // under lanes.mu
	far.lanes.mu.Unlock()
	for n := range uint64(2000) {
		e := envelope{Type: typeTCP, Step: stepOffer, Number: n + 1, Port: 1, Print: make([]byte, 32)}
		if err := near.trunk.send(e); err != nil {
			t.Fatal(err)
		}
	}
	copyBulk(t, near, 64<<10) // those before have arrived, most of them
	far.lanes.mu.Lock()
	defer far.lanes.mu.Unlock()
	if limit := tcpBurst + 1 + tcpRate*time.Since(start).Seconds(); float64(began) > limit {
		t.Errorf("%d set-ups were begun", began)
	}
}

// ends is a listening end of a lane, and what its peer knows.
type ends struct {
	setup    *tcpSetup
	listener net.Listener
	own      *certificate
	peer     *certificate
}

func newEnds(t *testing.T) *ends {
	t.Helper()
	var certs [2]*certificate
	for i := range certs {
		var err error
		if certs[i], err = newCertificate(time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	loopback := netip.MustParseAddr("127.0.0.1")
	return &ends{&tcpSetup{local: loopback, remote: loopback}, listener, certs[0], certs[1]}
}

func (e *ends) port() uint16 { return uint16(e.listener.Addr().(*net.TCPAddr).Port) }

// Others may know the port, come first, say anything or nothing: the lane is with the
// peer, and with nobody if that does not come.
func TestTCPLaneStrangers(t *testing.T) {
	t.Parallel()
	stranger, err := newCertificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	raw := func(t *testing.T, e *ends, say string) {
		t.Helper()
		c, err := net.Dial("tcp", e.listener.Addr().String())
		if err != nil {
			return // too late, on a busy machine
		}
		t.Cleanup(func() { _ = c.Close() })
		_, _ = io.WriteString(c, say) // it may be closed
	}
	for name, attack := range map[string]func(t *testing.T, e *ends){
		"nobody":    func(*testing.T, *ends) {},
		"says junk": func(t *testing.T, e *ends) { raw(t, e, "GET / HTTP/1.1\r\nHost: x\r\n\r\n") },
		"says nothing": func(t *testing.T, e *ends) {
			for range 2 * tcpHandshakes {
				raw(t, e, "")
			}
		},
		"says a little": func(t *testing.T, e *ends) { raw(t, e, "\x16\x03\x01") },
		"has a certificate of its own": func(t *testing.T, e *ends) {
			if c, err := e.setup.dial(t.Context(), e.port(), tcpTLS(stranger, e.own.print)); err == nil {
				t.Cleanup(func() { _ = c.NetConn().Close() })
			}
		},
		"comes from elsewhere": func(t *testing.T, e *ends) { // where such an address can be used
			elsewhere := &tcpSetup{local: netip.MustParseAddr("127.0.0.2"), remote: e.setup.local}
			if c, err := elsewhere.dial(t.Context(), e.port(), tcpTLS(e.peer, e.own.print)); err == nil {
				t.Cleanup(func() { _ = c.NetConn().Close() })
			}
		},
		"speaks another protocol": func(t *testing.T, e *ends) {
			config := tcpTLS(e.peer, e.own.print)
			config.NextProtos, config.VerifyConnection = nil, nil
			if c, err := e.setup.dial(t.Context(), e.port(), config); err == nil {
				t.Cleanup(func() { _ = c.NetConn().Close() })
			}
		},
	} {
		for _, comes := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				e := newEnds(t)
				wait := 20 * time.Second
				if !comes {
					wait = 300 * time.Millisecond
				}
				ctx, cancel := context.WithTimeout(t.Context(), wait)
				defer cancel()
				var work sync.WaitGroup
				defer work.Wait()
				attacked := make(chan struct{})
				work.Go(func() {
					<-attacked
					for comes && ctx.Err() == nil {
						if c, err := e.setup.dial(ctx, e.port(), tcpTLS(e.peer, e.own.print)); err == nil {
							<-ctx.Done()
							_ = c.NetConn().Close()
						}
					}
				})
				work.Go(func() {
					defer close(attacked)
					attack(t, e)
				})
				c, err := e.setup.await(ctx, e.listener, tcpTLS(e.own, e.peer.print))
				if (err == nil) != comes {
					t.Fatalf("await = %v", err)
				}
				if err == nil {
					_ = c.NetConn().Close()
				}
				if c, err := net.Dial("tcp", e.listener.Addr().String()); err == nil {
					_ = c.Close()
					t.Error("the port is still open")
				}
				cancel()
			})
		}
	}
}

// Whoever answers at the peer's address is not believed to be the peer.
func TestTCPLaneWrongServer(t *testing.T) {
	t.Parallel()
	e := newEnds(t)
	stranger, err := newCertificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	awaited := make(chan struct{})
	go func() {
		defer close(awaited)
		if c, err := e.setup.await(ctx, e.listener, tcpTLS(stranger, e.peer.print)); err == nil {
			_ = c.NetConn().Close()
		}
	}()
	eventually(t, "a refusal", func() bool { // a busy machine may be late for the handshake
		c, err := e.setup.dial(t.Context(), e.port(), tcpTLS(e.peer, e.own.print))
		if err == nil {
			_ = c.NetConn().Close()
			t.Error("the stranger is believed")
		}
		return err == nil || session.KindOf(err) == session.Integrity
	})
	cancel()
	<-awaited
}

// Where the answerer can't reach the offerer, that comes to it.
func TestTCPLaneOtherWayRound(t *testing.T) {
	t.Parallel()
	near, far := meet(t, overTCP(Config{}), overTCP(Config{}))
	offered := make(chan *tcpSetup, 1)
	far.lanes.mu.Lock()
	far.lanes.tcp.start = func(s *tcpSetup) { offered <- s }
	far.lanes.mu.Unlock()
	eventually(t, "an offer", func() bool {
		near.lanes.mu.Lock()
		defer near.lanes.mu.Unlock()
		near.lanes.wantTCP(time.Now())
		return near.lanes.tcp.setup != nil
	})
	s := <-offered
	cert, err := newCertificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := far.trunk.send(envelope{Type: typeTCP, Number: s.number, Step: stepAnswer, Print: cert.print[:]}); err != nil {
		t.Fatal(err)
	}
	listener, err := s.listen(t.Context(), stepTurn, cert)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.await(t.Context(), listener, tcpTLS(cert, fingerprint(s.offer.Print)))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a lane", func() bool { return near.liveTCP() != nil })
	_ = c.NetConn().Close()
	eventually(t, "the end of the lane", func() bool { return near.liveTCP() == nil })
}

func TestTCPSetupBeside(t *testing.T) {
	at := func(s string) session.Endpoint { return session.Endpoint{Addr: netip.MustParseAddrPort(s)} }
	s := &tcpSetup{local: netip.MustParseAddr("192.0.2.1"), remote: netip.MustParseAddr("192.0.2.2")}
	for _, c := range []struct {
		path session.Path
		want bool
	}{
		{session.Path{Kind: session.Direct, Local: at("192.0.2.1:1"), Remote: at("192.0.2.2:2")}, true},
		{session.Path{Kind: session.Relayed, Local: at("192.0.2.1:1"), Remote: at("192.0.2.2:2")}, false},
		{session.Path{Kind: session.Direct, Local: at("192.0.2.3:1"), Remote: at("192.0.2.2:2")}, false},
		{session.Path{Kind: session.Direct, Local: at("192.0.2.1:1"), Remote: at("192.0.2.3:2")}, false},
	} {
		if got := s.beside(c.path); got != c.want {
			t.Errorf("%+v: %v", c.path, got)
		}
	}
}

// What is under way follows the rate and is never more than a few milliseconds of it.
func TestTCPWindow(t *testing.T) {
	const rtt = time.Millisecond
	var w tcpWindow
	now := time.Unix(0, 0)
	type flying struct {
		n  int
		at time.Time
	}
	var flight []flying
	for _, rate := range []int{100e6, 1e6, 10e6} { // bytes a second
		free, most := now, 0
		for end := now.Add(5 * time.Second); now.Before(end); now = now.Add(100 * time.Microsecond) {
			for len(flight) > 0 && !flight[0].at.After(now) {
				w.acked(flight[0].n, now)
				flight = flight[1:]
			}
			for w.room() > 0 {
				n := min(w.room(), 16<<10)
				if free.Before(now) {
					free = now
				}
				free = free.Add(time.Duration(n) * time.Second / time.Duration(rate))
				flight = append(flight, flying{n, free.Add(rtt)})
				w.sent(n, now)
			}
			if end.Sub(now) < time.Second {
				most = max(most, w.outstanding)
			}
		}
		if free.Sub(now) < -time.Millisecond {
			t.Errorf("%d bytes a second: the path is idle for %v", rate, now.Sub(free))
		}
		if limit := max(rate/1000*15, 2*tcpLeast); most > limit {
			t.Errorf("%d bytes a second: %d under way, over %d", rate, most, limit)
		}
	}
	if s := w.silent(now.Add(tcpSilent)); s < tcpSilent/2 {
		t.Errorf("silent for %v", s)
	}
}

// A path that loses every hundredth packet is not for TCP; one that is full now and
// then is.
func TestTCPLossCount(t *testing.T) {
	var c tcpLossCount
	for _, x := range []struct {
		sent, again uint32
		want        bool
	}{
		{100, 50, false},
		{tcpCounted, 0, false},
		{2*tcpCounted - 1, 500, false},
		{2 * tcpCounted, 5, false},
		{3 * tcpCounted, 5 + tcpCounted/100, true},
		{4 * tcpCounted, 5 + tcpCounted/100, false},
		{0, 0, false},
		{5 * tcpCounted, 6 + tcpCounted/100, false},
	} {
		if got := c.lossy(x.sent, x.again); got != x.want {
			t.Errorf("%+v: %v", x, got)
		}
	}
}

func TestTCPLossesAreCounted(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("can't be told here")
	}
	e := newEnds(t)
	c, err := net.Dial("tcp", e.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(); _ = e.listener.Close() }()
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "segments", func() bool {
		sent, again := tcpLosses(c)
		return sent >= 2 && again < sent
	})
}

func TestGoldenTCPFrames(t *testing.T) {
	b := appendTCPData(nil, cargo{st: &stripe{id: 0x0102}, number: 0x03040506, frame: []byte("\x02hi")})
	b = appendTCPAck(b, 7)
	if got := hex.EncodeToString(b); got != "0101020304050600030268690200000007" {
		t.Errorf("frames are %s", got)
	}
}

func FuzzTCPFrame(f *testing.F) {
	f.Add(appendTCPAck(appendTCPData(nil, cargo{st: &stripe{id: 5}, number: 9, frame: []byte("\x02data")}), 3))
	f.Add([]byte{tcpData, 0, 1, 0, 0, 0, 1, 0xff, 0xff})
	f.Add([]byte{3})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, rest := bufio.NewReader(bytes.NewReader(b)), b
		for {
			frame, err := readTCPFrame(r, new(frames))
			if err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && session.KindOf(err) != session.Invalid {
					t.Fatal(err)
				}
				return
			}
			var again []byte
			if frame.body == nil {
				again = appendTCPAck(nil, frame.count)
			} else if again = appendTCPData(nil, cargo{st: &stripe{id: frame.id}, number: frame.message, frame: frame.body}); len(frame.body) > stream.MaxFrame {
				t.Fatalf("%d bytes", len(frame.body))
			}
			if !bytes.HasPrefix(rest, again) {
				t.Fatalf("%x became %x", rest, again)
			}
			rest = rest[len(again):]
		}
	})
}
