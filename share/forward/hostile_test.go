package forward

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"tandem/session"
	"tandem/session/sessiontest"
)

// host answers requests as a test says.
func host(t testing.TB, answer func(h session.Header, st session.Stream)) Opener {
	s, _ := sessiontest.Pair(t, nil, func(_ context.Context, o session.Offer) {
		st, err := o.Accept()
		if err != nil {
			return
		}
		answer(o.Header(), st)
	})
	return s
}

func TestHostThatLies(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":         "",
		"noise":           "\xff\xff\xff\xffxxxx",
		"no JSON":         message("hello"),
		"half a status":   message(`{"network":"tcp","address":"127.0.0.1:80"}`)[:9],
		"a strange error": message(`{"error":{"kind":"root","text":"\u001b]0;x\u0007"}}`),
		"escapes":         message(`{"network":"unix","address":"/\u001b[2J/../x"}`),
	} {
		h := host(t, func(_ session.Header, st session.Stream) {
			_, _ = io.WriteString(st, in)
			_ = st.Close()
		})
		st, at, err := Dial(t.Context(), h, TCPAddress("x", 80))
		if err == nil || strings.ContainsRune(err.Error(), '\x1b') {
			t.Errorf("%s: %v, %v, %v", name, st, at, err)
		}
	}
}

// A host announces connections that no guest asked for: none of it reaches
// anything but what the person said, and nothing repeats.
func TestArrivalsOfALyingHost(t *testing.T) {
	for name, in := range map[string]string{
		"repeated": message(`{"conn":1}`) + message(`{"conn":1}`),
		"falling":  message(`{"conn":2}`) + message(`{"conn":1}`),
		"zero":     message(`{"conn":0}`),
		"noise":    "\x00\x00\x00\x01{",
		"huge":     "\x7f\xff\xff\xff",
	} {
		reset := make(chan error, 1)
		h := host(t, func(h session.Header, st session.Stream) {
			var p params
			_ = json.Unmarshal(h.Params, &p)
			if p.Listener != 0 {
				_ = st.Reset(session.Errorf("x", session.NotFound, "gone"))
				return
			}
			_ = writeMessage(st, status{Address: TCPAddress("127.0.0.1", 9), Listener: 1})
			_, _ = io.WriteString(st, in)
			_, err := st.Read(make([]byte, 1))
			select {
			case reset <- err:
			default:
			}
		})
		f, _ := Parse(Remote, "9:"+closedPort(t).String())
		r := run(t, h, Plan{Forwards: []Forward{f}})
		<-r.done
		if session.KindOf(r.err) != session.Invalid {
			t.Errorf("%s: Run: %v", name, r.err)
		}
		if err := <-reset; session.KindOf(err) != session.Invalid {
			t.Errorf("%s: the host saw %v", name, err)
		}
	}
}

// Only so many connections are carried at once, however many a host announces.
func TestFloodOfArrivals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far, near := net.Pipe()
		st := &half{Conn: near}
		hang := &hanging{begun: make(chan struct{}, 10*maxConns)}
		r := &runner{host: nowhere{}, plan: Plan{Dialer: hang}, slots: make(chan struct{}, maxConns)}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- r.serveAway(ctx, Forward{Listen: TCPAddress("x", 1), Target: TCPAddress("y", 2)}, &away{stream: st})
		}()
		sent := make(chan uint64, 1)
		go func() {
			n := uint64(0)
			for writeMessage(far, arrival{Conn: n + 1}) == nil {
				n++
			}
			sent <- n
		}()
		synctest.Wait()
		if n := len(hang.begun); n != maxConns {
			t.Errorf("%d connections are being made", n)
		}
		cancel()
		<-done
		r.conns.Wait()
		far.Close()
		if n := <-sent; n > maxConns+1 {
			t.Errorf("%d announcements were read", n)
		}
	})
}

// half is a stream over a pipe.
type half struct{ net.Conn }

func (h *half) CloseWrite() error { return h.Close() }
func (h *half) Reset(error) error { return h.Close() }

// nowhere opens nothing.
type nowhere struct{}

func (nowhere) Open(context.Context, session.Header) (session.Stream, error) {
	return nil, session.Errorf("open", session.Unavailable, "nobody is there")
}

// hanging is a dialer whose connections never come about.
type hanging struct{ begun chan struct{} }

func (h *hanging) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	h.begun <- struct{}{}
	<-ctx.Done()
	return nil, ctx.Err()
}

// One guest's connections that never come about are bounded in number and
// time, and leave room for other guests.
func TestFloodOfDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const requests = maxDialling + 50
		hang := &hanging{begun: make(chan struct{}, 2*requests)}
		b := newBench(t, Config{Dialer: hang}, "connect any")
		streams := make([]session.Stream, 0, requests)
		for range requests {
			st, err := request(t.Context(), b.alice, Connect, params{Address: TCPAddress("10.0.0.1", 80)})
			if err != nil {
				t.Fatal(err)
			}
			streams = append(streams, st)
		}
		synctest.Wait()
		if n := len(hang.begun); n != maxDialling {
			t.Errorf("%d connections are being made", n)
		}
		if _, err := b.table.Give(sessiontest.Peer("bob").ID, rights("connect any"), 0); err != nil {
			t.Fatal(err)
		}
		_, other := sessiontest.Pair(t, sessiontest.Guarded(b.table, b.service), nil)
		if _, err := request(t.Context(), other, Connect, params{Address: TCPAddress("10.0.0.1", 80)}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := len(hang.begun); n != maxDialling+1 {
			t.Errorf("another guest waits for the first: %d connections are being made", n)
		}
		time.Sleep(dialTimeout)
		for i, st := range streams {
			if _, err := readStatus(st, Connect); session.KindOf(err) != session.Timeout && session.KindOf(err) != session.Busy {
				t.Fatalf("connection %d ended with %v", i, err)
			}
		}
	})
}

func TestTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := &hanging{begun: make(chan struct{}, 100)}
		b := newBench(t, Config{Dialer: hang, Resolver: &slow{}}, "connect any")
		begun := time.Now()
		_, _, err := Dial(t.Context(), b.alice, TCPAddress("10.0.0.1", 80))
		if ReasonOf(err) != TimedOut || session.KindOf(err) != session.Timeout || time.Since(begun) != dialTimeout {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		begun = time.Now()
		_, _, err = Dial(t.Context(), b.alice, TCPAddress("slow.example", 80))
		if session.KindOf(err) != session.Timeout || time.Since(begun) != resolveTimeout {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		b.alice.Close()
	})
}

// slow is a resolver that never answers.
type slow struct{}

func (slow) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestTooManyListeners(t *testing.T) {
	b := newBench(t, Config{}, "listen localhost:*")
	r := &runner{host: b.alice}
	var last *away
	for range maxListeners {
		l, err := r.ask(t.Context(), Forward{Listen: TCPAddress("localhost", 0)}, 0)
		if err != nil {
			t.Fatal(err)
		}
		last = l
	}
	if _, err := r.ask(t.Context(), Forward{Listen: TCPAddress("localhost", 0)}, 0); session.KindOf(err) != session.Busy {
		t.Errorf("one too many: %v", err)
	}
	// Room is made by what is replaced.
	if _, err := r.ask(t.Context(), Forward{Listen: TCPAddress("localhost", 0)}, last.status.Listener); err != nil {
		t.Error(err)
	}
}

// A guest that sends on a listener's stream, or asks for what no guest asks
// for, loses that stream and nothing else.
func TestGuestThatBreaksTheRules(t *testing.T) {
	target := listenTCP(t, echo)
	b := newBench(t, Config{}, "connect localhost:*", "listen localhost:*")
	l, err := (&runner{host: b.alice}).ask(t.Context(), Forward{Listen: TCPAddress("localhost", 0)}, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = l.stream.Write([]byte("x"))
	if _, err := l.stream.Read(make([]byte, 1)); session.KindOf(err) != session.Invalid {
		t.Errorf("a listener that talks: %v", err)
	}
	for _, h := range []session.Header{
		{Service: ServiceName, Action: Connect, Params: []byte(`{"network":"tcp"}`)},
		{Service: ServiceName, Action: Connect, Params: []byte(`[]`)},
		{Service: ServiceName, Action: Listen},
	} {
		st, err := b.alice.Open(t.Context(), h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Read(make([]byte, 1)); session.KindOf(err) != session.Invalid {
			t.Errorf("%+v: %v", h, err)
		}
	}
	st, _, err := Dial(t.Context(), b.alice, target)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := converse(t, st, "x"); err != nil || got != "x" {
		t.Errorf("%q, %v", got, err)
	}
}

// A target that sends without end to a client that doesn't read is slowed
// down; others are not.
func TestBackPressure(t *testing.T) {
	var mu sync.Mutex
	sent := 0
	firehose := listenTCP(t, func(conn net.Conn) {
		p := make([]byte, 64<<10)
		for {
			n, err := conn.Write(p)
			mu.Lock()
			sent += n
			mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	b := newBench(t, Config{}, "connect localhost:*")
	st, _, err := Dial(t.Context(), b.alice, firehose)
	if err != nil {
		t.Fatal(err)
	}
	// The stream's credit and the kernel's buffers fill, and then it stops.
	for before := -1; ; {
		time.Sleep(50 * time.Millisecond)
		mu.Lock()
		now := sent
		mu.Unlock()
		if now == before {
			break
		}
		if before = now; now > 64<<20 {
			t.Fatalf("%d bytes were taken from a target for nobody", now)
		}
	}
	other := listenTCP(t, echo)
	st2, _, err := Dial(t.Context(), b.alice, other)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := converse(t, st2, "x"); err != nil || got != "x" {
		t.Errorf("beside a stalled connection: %q, %v", got, err)
	}
	if err := st.Reset(errors.New("enough")); err != nil {
		t.Error(err)
	}
}

func TestClosedService(t *testing.T) {
	target := listenTCP(t, echo)
	b := newBench(t, Config{}, "connect localhost:*", "listen localhost:*")
	st, _, err := Dial(t.Context(), b.alice, target)
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&runner{host: b.alice}).ask(t.Context(), Forward{Listen: TCPAddress("localhost", 0)}, 0)
	if err != nil {
		t.Fatal(err)
	}
	waiting := dial(t, l.status.Address)
	if _, err := readArrival(l.stream, 0); err != nil {
		t.Fatal(err)
	}
	if err := b.service.Close(); err != nil { // waits
		t.Fatal(err)
	}
	if _, err := waiting.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection that waited ended with %v", err)
	}
	for _, st := range []session.Stream{st, l.stream} {
		if _, err := st.Read(make([]byte, 1)); session.KindOf(err) != session.Canceled {
			t.Errorf("an open stream ended with %v", err)
		}
	}
	if conn, err := net.Dial("tcp", l.status.Address.Address); err == nil {
		conn.Close()
		t.Error("a listener has outlived its service")
	}
	if err := Probe(t.Context(), b.alice, target); session.KindOf(err) != session.Canceled {
		t.Errorf("a new request: %v", err)
	}
}

func TestTooManyStreams(t *testing.T) {
	s := New(Config{})
	alice, bob := sessiontest.Peer("alice").ID, sessiontest.Peer("bob").ID
	for range maxStreams {
		if _, err := s.enter(alice); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.enter(alice); session.KindOf(err) != session.Busy {
		t.Errorf("one too many: %v", err)
	}
	if g, err := s.enter(bob); err != nil {
		t.Errorf("another guest: %v", err)
	} else {
		s.leave(bob, g)
	}
	for range maxStreams {
		s.leave(alice, s.guests[alice])
	}
	if len(s.guests) != 0 {
		t.Errorf("%d guests are remembered", len(s.guests))
	}
}

// Who connects to the proxy and says nothing holds its place only so long.
func TestSilentClientOfTheProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		r := &runner{host: nowhere{}}
		begun := time.Now()
		go r.socks(Forward{Kind: Dynamic})(t.Context(), far)
		if _, err := near.Read(make([]byte, 1)); err != io.EOF || time.Since(begun) != greetingTimeout {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

// stale grants list a target whose right has just ended.
type stale struct{ grants }

func (stale) Targets(session.PeerID, string) []string { return []string{"localhost:*"} }

func TestRightThatHasJustEnded(t *testing.T) {
	b := newBench(t, Config{})
	b.service.config.Grants = stale{grants{b.table}}
	if err := Probe(t.Context(), b.alice, TCPAddress("localhost", 80)); ReasonOf(err) != NotGranted {
		t.Errorf("connecting: %v", err)
	}
	if _, err := (&runner{host: b.alice}).ask(t.Context(), Forward{Listen: TCPAddress("localhost", 0)}, 0); ReasonOf(err) != NotGranted {
		t.Errorf("listening: %v", err)
	}
}
