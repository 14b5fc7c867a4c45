package forward

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tandem/session"
	"tandem/session/grant"
	"tandem/session/sessiontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// grants are a grant.Table as a node has it.
type grants struct{ *grant.Table }

func (g grants) Targets(peer session.PeerID, action string) []string {
	var all []string
	for _, r := range g.Rights(peer) {
		if r.Service == ServiceName && slices.Contains(r.Actions, action) {
			all = append(all, r.Resource)
		}
	}
	return all
}

// bench is alice, the guest, and bob, the host.
type bench struct {
	table   *grant.Table
	service *Service
	alice   *sessiontest.Session
	again   func() *sessiontest.Session // another session of the two
}

// rights of alice's: "connect TARGET" or "listen TARGET".
func rights(texts ...string) []grant.Right {
	all := []grant.Right{{Service: ServiceName, Actions: []string{Connect, Listen}}}
	for _, text := range texts {
		action, target, _ := strings.Cut(text, " ")
		all = append(all, grant.Right{Service: ServiceName, Resource: target, Actions: []string{action}})
	}
	return all
}

func newBench(t testing.TB, config Config, texts ...string) *bench {
	t.Helper()
	b := &bench{table: new(grant.Table)}
	config.Grants = grants{b.table}
	b.service = New(config)
	b.give(t, texts...)
	t.Cleanup(func() { // after the sessions
		b.table.Close()
		if err := b.service.Close(); err != nil {
			t.Error(err)
		}
	})
	b.again = func() *sessiontest.Session {
		s, _ := sessiontest.Pair(t, nil, sessiontest.Guarded(b.table, b.service))
		return s
	}
	b.alice = b.again()
	return b
}

func (b *bench) give(t testing.TB, texts ...string) *grant.Grant {
	t.Helper()
	g, err := b.table.Give(sessiontest.Peer("alice").ID, rights(texts...), 0)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// serve answers each connection of a listener until the test ends.
func serve(t testing.TB, ln net.Listener, answer func(net.Conn)) Address {
	t.Helper()
	var work sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	work.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer conn.Close()
				defer context.AfterFunc(ctx, func() { conn.Close() })()
				answer(conn)
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		ln.Close()
		work.Wait()
	})
	return addressOf(ln.Addr())
}

func listenTCP(t testing.TB, answer func(net.Conn)) Address {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, ln, answer)
}

// echo sends back what it gets, until the end.
func echo(conn net.Conn) { _, _ = io.Copy(conn, conn) }

// summed waits for the end before it answers with how much there was.
func whole(conn net.Conn) {
	all, err := io.ReadAll(conn)
	if err == nil {
		_, _ = conn.Write(append([]byte("got "), all...))
	}
}

func port(t testing.TB, a Address) uint16 {
	t.Helper()
	_, p, err := a.split()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// closedPort is one that nothing listens on.
func closedPort(t testing.TB) Address {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return addressOf(ln.Addr())
}

// running is a Run.
type running struct {
	t      testing.TB
	cancel context.CancelFunc
	done   chan struct{}
	totals Totals
	err    error

	mu      sync.Mutex
	events  []Event
	changed chan struct{}
}

func run(t testing.TB, host Opener, plan Plan) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, cancel: cancel, done: make(chan struct{}), changed: make(chan struct{})}
	plan.Events = func(e Event) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.events = append(r.events, e)
		close(r.changed)
		r.changed = make(chan struct{})
	}
	go func() {
		defer close(r.done)
		r.totals, r.err = Run(ctx, host, plan)
	}()
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *running) stop() (Totals, error) {
	r.cancel()
	<-r.done
	return r.totals, r.err
}

// await waits for the nth event of a kind.
func (r *running) await(event string, n int) Event {
	r.t.Helper()
	late := time.After(20 * time.Second)
	for {
		r.mu.Lock()
		left, changed := n, r.changed
		for _, e := range r.events {
			if e.Event == event {
				if left--; left == 0 {
					r.mu.Unlock()
					return e
				}
			}
		}
		last := r.events[max(len(r.events)-3, 0):]
		r.mu.Unlock()
		select {
		case <-changed:
		case <-r.done:
			r.t.Fatalf("Run has ended with %v; after %+v", r.err, last)
		case <-late:
			r.t.Fatalf("no %s number %d; the last %+v", event, n, last)
		}
	}
}

// forward runs one forward and returns where it listens.
func forwardOne(t testing.TB, host Opener, kind Kind, text string) (*running, Address) {
	t.Helper()
	f, err := Parse(kind, text)
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, host, Plan{Forwards: []Forward{f}})
	return r, r.await(Ready, 1).Address
}

func dial(t testing.TB, a Address) net.Conn {
	t.Helper()
	conn, err := net.Dial(a.Network, a.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// converse sends a text and its end, and returns the answer.
func converse(t testing.TB, conn net.Conn, text string) (string, error) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return "", err
	}
	all, err := io.ReadAll(conn)
	return string(all), err
}

func TestLocal(t *testing.T) {
	target := listenTCP(t, whole)
	b := newBench(t, Config{}, "connect localhost:*")
	r, at := forwardOne(t, b.alice, Local, "0:"+target.String())
	for _, size := range []int{0, 1, 5000, 3 << 20} {
		text := strings.Repeat("x", size)
		// The answer comes after the end: half-close passes in both directions.
		if got, err := converse(t, dial(t, at), text); err != nil || got != "got "+text {
			t.Errorf("%d bytes came back as %d, %v", size, len(got), err)
		}
	}
	r.await(Closed, 4)
	totals, err := r.stop()
	size := uint64(5001 + 3<<20)
	if want := (Totals{Connections: 4, Sent: size, Received: size + 16}); err != nil || totals != want {
		t.Errorf("%+v, %v; want %+v", totals, err, want)
	}
}

// The server ends first and still gets what the client says afterwards.
func TestServerEndsFirst(t *testing.T) {
	got := make(chan string, 1)
	target := listenTCP(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "hello")
		_ = conn.(*net.TCPConn).CloseWrite()
		all, err := io.ReadAll(conn)
		got <- string(all) + errText(err)
	})
	b := newBench(t, Config{}, "connect localhost:*")
	_, at := forwardOne(t, b.alice, Local, "0:"+target.String())
	conn := dial(t, at)
	all, err := io.ReadAll(conn)
	if err != nil || string(all) != "hello" {
		t.Fatalf("%q, %v", all, err)
	}
	if _, err := io.WriteString(conn, "goodbye"); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if s := <-got; s != "goodbye" {
		t.Errorf("the server got %q", s)
	}
}

func errText(err error) string {
	if err != nil {
		return " " + err.Error()
	}
	return ""
}

func TestResetsPass(t *testing.T) {
	got := make(chan error, 2)
	target := listenTCP(t, func(conn net.Conn) {
		for range 2 {
			_, err := conn.Read(make([]byte, 1))
			got <- err
		}
	})
	b := newBench(t, Config{}, "connect localhost:*")
	r, at := forwardOne(t, b.alice, Local, "0:"+target.String())
	conn := dial(t, at)
	_, _ = conn.Write([]byte("x"))
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	r.await(Opened, 1)
	abort(conn)
	if err := <-got; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the server saw %v", err)
	}
	if e := r.await(Closed, 1); e.Err == nil {
		t.Error("the reset is not reported")
	}

	// And the other way.
	resetter := listenTCP(t, func(conn net.Conn) {
		_, _ = io.ReadFull(conn, make([]byte, 1))
		abort(conn)
	})
	_, at = forwardOne(t, b.alice, Local, "0:"+resetter.String())
	conn = dial(t, at)
	_, _ = conn.Write([]byte("x"))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client saw %v", err)
	}
}

// A client that ends at once must not be taken for one that was reset.
func TestEndsAtOnce(t *testing.T) {
	got := make(chan error, 1)
	target := listenTCP(t, func(conn net.Conn) {
		_, err := conn.Read(make([]byte, 1))
		got <- err
	})
	b := newBench(t, Config{}, "connect localhost:*")
	_, at := forwardOne(t, b.alice, Local, "0:"+target.String())
	dial(t, at).Close()
	if err := <-got; err != io.EOF {
		t.Errorf("the server saw %v", err)
	}
}

func TestClosedPort(t *testing.T) {
	b := newBench(t, Config{}, "connect localhost:*")
	closed := closedPort(t)
	r, at := forwardOne(t, b.alice, Local, "0:"+closed.String())
	if conn, err := net.Dial("tcp", at.Address); err == nil { // it may be reset before Dial returns
		if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the client saw %v", err)
		}
		conn.Close()
	}
	e := r.await(Failed, 1)
	if ReasonOf(e.Err) != Refused || !strings.Contains(e.Err.Error(), closed.String()) || session.Hint(e.Err) == "" {
		t.Errorf("reported %v, reason %q", e.Err, ReasonOf(e.Err))
	}
	if totals, err := r.stop(); err != nil || totals.Failed != 1 || totals.Connections != 0 {
		t.Errorf("%+v, %v", totals, err)
	}
}

func TestNotGranted(t *testing.T) {
	target := listenTCP(t, echo)
	b := newBench(t, Config{}, "connect 10.0.0.0/8:*", "connect localhost:1", "listen localhost:*", "connect nonsense", "connect any")
	for _, a := range []Address{
		target, TCPAddress("::ffff:127.0.0.1", port(t, target)), TCPAddress("localhost", port(t, target)), TCPAddress("0.0.0.0", port(t, target)),
		TCPAddress("::", port(t, target)), UnixAddress("/run/x.sock"), TCPAddress("169.254.169.254", 80),
	} {
		st, _, err := Dial(t.Context(), b.alice, a)
		if session.KindOf(err) != session.Denied || ReasonOf(err) != NotGranted || !strings.Contains(session.Hint(err), "--forward "+strings.TrimPrefix(a.String(), "/")) && a.Network == TCP {
			t.Errorf("%s: %v, %v, hint %q", a, st, err, session.Hint(err))
		}
		if err := Probe(t.Context(), b.alice, a); ReasonOf(err) != NotGranted {
			t.Errorf("probe of %s: %v", a, err)
		}
	}
	if err := Probe(t.Context(), b.alice, Address{}); err != nil {
		t.Error(err)
	}
	f, _ := Parse(Local, "0:"+target.String())
	if _, err := Run(t.Context(), b.alice, Plan{Forwards: []Forward{f}}); ReasonOf(err) != NotGranted {
		t.Errorf("Run: %v", err)
	}
}

// Who holds other rights, such as to a terminal, is told by the dispatcher; a
// right to the service without a target gives nothing either.
func TestNothingGranted(t *testing.T) {
	b := newBench(t, Config{})
	b.table.RevokePeer(sessiontest.Peer("alice").ID)
	err := Probe(t.Context(), b.alice, TCPAddress("localhost", 80))
	if session.KindOf(err) != session.Denied || !strings.Contains(session.Hint(err), "--forward localhost:80") {
		t.Errorf("without rights: %v, hint %q", err, session.Hint(err))
	}
	b.give(t)
	for _, a := range []Address{{}, TCPAddress("localhost", 80)} {
		if err := Probe(t.Context(), b.alice, a); ReasonOf(err) != NotGranted {
			t.Errorf("with the service alone, %s: %v", a, err)
		}
	}
	f, _ := Parse(Remote, "0:localhost:80")
	if _, err := Run(t.Context(), b.alice, Plan{Forwards: []Forward{f}}); ReasonOf(err) != NotGranted || !strings.Contains(session.Hint(err), "--forward-listen") {
		t.Errorf("listening: %v, hint %q", err, session.Hint(err))
	}
}

// zone is a resolver whose answers differ from one call to the next.
type zone struct {
	answers [][]string
	calls   atomic.Int64
}

func (z *zone) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	n := int(z.calls.Add(1)) - 1
	if n >= len(z.answers) || host == "missing.example" {
		return nil, &net.DNSError{Name: host, IsNotFound: true}
	}
	var all []netip.Addr
	for _, text := range z.answers[n] {
		all = append(all, netip.MustParseAddr(text))
	}
	return all, nil
}

// dialled notes what is dialled.
type dialled struct {
	net.Dialer
	mu  sync.Mutex
	all []string
	to  string // instead
}

func (d *dialled) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	d.mu.Lock()
	d.all = append(d.all, address)
	d.mu.Unlock()
	if d.to != "" && address == d.to || d.to == "" {
		return d.Dialer.DialContext(ctx, network, address)
	}
	return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
}

func TestOnlyAllowedAddressesAreDialled(t *testing.T) {
	target := listenTCP(t, echo)
	p := port(t, target)
	z := &zone{answers: [][]string{{"169.254.169.254", "127.0.0.9", "::ffff:10.1.2.3", "192.168.7.7", "::1", "::ffff:127.0.0.1"}}}
	d := &dialled{to: target.String()}
	b := newBench(t, Config{Resolver: z, Dialer: d}, "connect localhost:*", "connect 10.0.0.0/8:*")
	st, at, err := Dial(t.Context(), b.alice, TCPAddress("App.Example.", p))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if at != target {
		t.Errorf("connected to %s", at)
	}
	want := []string{TCPAddress("10.1.2.3", p).String(), TCPAddress("::1", p).String(), target.String()}
	if !slices.Equal(d.all, want) {
		t.Errorf("dialled %v, want %v", d.all, want)
	}
	if got, err := converse(t, st, "x"); err != nil || got != "x" {
		t.Errorf("%q, %v", got, err)
	}
}

// A name that leads elsewhere when it is asked for again is asked for once.
func TestRebinding(t *testing.T) {
	target := listenTCP(t, echo)
	z := &zone{answers: [][]string{{"127.0.0.1"}, {"169.254.169.254"}}}
	d := &dialled{}
	b := newBench(t, Config{Resolver: z, Dialer: d}, "connect localhost:*")
	st, _, err := Dial(t.Context(), b.alice, TCPAddress("rebind.example", port(t, target)))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if n := z.calls.Load(); n != 1 || !slices.Equal(d.all, []string{target.String()}) {
		t.Errorf("asked %d times, dialled %v", n, d.all)
	}
	// The second time it is checked anew.
	if _, _, err := Dial(t.Context(), b.alice, TCPAddress("rebind.example", port(t, target))); ReasonOf(err) != NotGranted || len(d.all) != 1 {
		t.Errorf("%v, dialled %v", err, d.all)
	}
}

func TestNames(t *testing.T) {
	z := &zone{answers: [][]string{{"10.0.0.7"}, {"10.0.0.7", "127.0.0.1"}, {}}}
	d := &dialled{to: "nothing"}
	b := newBench(t, Config{Resolver: z, Dialer: d}, "connect db.example:5432", "connect missing.example:80")
	for _, a := range []Address{
		TCPAddress("db.example", 5433), TCPAddress("other.example", 5432), TCPAddress("10.0.0.7", 5432), TCPAddress("secret.internal", 80),
	} {
		if err := Probe(t.Context(), b.alice, a); ReasonOf(err) != NotGranted {
			t.Errorf("%s: %v", a, err)
		}
	}
	if n := z.calls.Load(); n != 0 {
		t.Errorf("%d names were looked up that no target admits", n)
	}
	if err := Probe(t.Context(), b.alice, TCPAddress("DB.example", 5432)); err != nil || len(d.all) != 0 {
		t.Errorf("probe: %v, dialled %v", err, d.all)
	}
	_, _, err := Dial(t.Context(), b.alice, TCPAddress("db.example", 5432))
	if ReasonOf(err) != Refused || !slices.Equal(d.all, []string{"10.0.0.7:5432"}) {
		t.Errorf("%v, dialled %v", err, d.all)
	}
	if strings.Contains(err.Error(), "10.0.0.7") {
		t.Errorf("%v tells where a name leads", err)
	}
	for _, name := range []string{"db.example:5432", "missing.example:80"} { // no address; no such name
		if _, _, err := Dial(t.Context(), b.alice, Address{TCP, name}); ReasonOf(err) != NoSuchName || session.KindOf(err) != session.NotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnixSockets(t *testing.T) {
	dir := t.TempDir()
	there, here := filepath.Join(dir, "there"), filepath.Join(dir, "here")
	ln, err := net.Listen("unix", there)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, ln, whole)
	b := newBench(t, Config{}, "connect unix:"+there, "connect unix:"+there+"-not")
	_, at := forwardOne(t, b.alice, Local, here+":"+there)
	if at != UnixAddress(here) {
		t.Errorf("listens on %s", at)
	}
	if got, err := converse(t, dial(t, at), "x"); err != nil || got != "got x" {
		t.Errorf("%q, %v", got, err)
	}
	for path, want := range map[string]Reason{there + "-not": NoSocket, there + "-never": NotGranted, dir: NotGranted} {
		if _, _, err := Dial(t.Context(), b.alice, UnixAddress(path)); ReasonOf(err) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestRevocationEndsConnections(t *testing.T) {
	target := listenTCP(t, echo)
	b := newBench(t, Config{})
	g := b.give(t, "connect localhost:*")
	r, at := forwardOne(t, b.alice, Local, "0:"+target.String())
	conn := dial(t, at)
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	// The right to the service itself lasts: that of the target has ended.
	g.Revoke()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client saw %v", err)
	}
	if e := r.await(Closed, 1); session.KindOf(e.Err) != session.Revoked {
		t.Errorf("reported %v", e.Err)
	}
	if conn, err := net.Dial("tcp", at.Address); err == nil {
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("there is a connection after revocation")
		}
		conn.Close()
	}
	if e := r.await(Failed, 1); ReasonOf(e.Err) != NotGranted {
		t.Errorf("reported %v", e.Err)
	}
}

// redial opens streams on whatever session there is.
type redial struct {
	s atomic.Pointer[sessiontest.Session]
}

func (d *redial) Open(ctx context.Context, h session.Header) (session.Stream, error) {
	return d.s.Load().Open(ctx, h)
}

func TestLocalOutlivesASession(t *testing.T) {
	target := listenTCP(t, echo)
	b := newBench(t, Config{}, "connect localhost:*")
	var d redial
	d.s.Store(b.alice)
	r, at := forwardOne(t, &d, Local, "0:"+target.String())
	conn := dial(t, at)
	_, _ = conn.Write([]byte("x"))
	r.await(Opened, 1)
	b.alice.Cut()
	if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a cut connection ended with %v", err)
	}
	if conn, err := net.Dial("tcp", at.Address); err == nil { // it may be reset before Dial returns
		if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("without a session: %v", err)
		}
		conn.Close()
	}
	r.await(Failed, 1)
	d.s.Store(b.again())
	if got, err := converse(t, dial(t, at), "back"); err != nil || got != "back" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestPortInUse(t *testing.T) {
	taken := listenTCP(t, echo)
	b := newBench(t, Config{}, "connect localhost:*", "listen localhost:*")
	for _, kind := range []Kind{Local, Remote} {
		first, _ := Parse(kind, "0:localhost:80")
		second, _ := Parse(kind, taken.String()+":localhost:80")
		_, err := Run(t.Context(), b.alice, Plan{Forwards: []Forward{first, second}})
		if ReasonOf(err) != InUse || session.KindOf(err) != session.Exists || session.Hint(err) == "" || !strings.Contains(err.Error(), taken.String()) {
			t.Errorf("%s: %v, hint %q", kind, err, session.Hint(err))
		}
	}
}
