package forward

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"tandem/session"
	"tandem/session/sessiontest"
)

func TestRemote(t *testing.T) {
	target := listenTCP(t, whole)
	b := newBench(t, Config{}, "listen localhost:*")
	r, at := forwardOne(t, b.alice, Remote, "0:"+target.String())
	for _, text := range []string{"", "x", strings.Repeat("y", 1<<20)} {
		if got, err := converse(t, dial(t, at), text); err != nil || got != "got "+text {
			t.Errorf("%d bytes came back as %d, %v", len(text), len(got), err)
		}
	}
	// Several at once, beyond what may wait to be taken.
	conns := make([]net.Conn, 2*maxWaiting)
	for i := range conns {
		conns[i] = dial(t, at)
	}
	for i, conn := range conns {
		if got, err := converse(t, conn, "z"); err != nil || got != "got z" {
			t.Fatalf("connection %d: %q, %v", i, got, err)
		}
	}
	totals, err := r.stop()
	if err != nil || totals.Connections != uint64(3+len(conns)) {
		t.Errorf("%+v, %v", totals, err)
	}
	if conn, err := net.Dial("tcp", at.Address); err == nil {
		// The host hears of the end a moment later.
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("the listener has outlived its guest")
		}
		conn.Close()
	}
}

func TestRemoteToClosedPort(t *testing.T) {
	closed := closedPort(t)
	b := newBench(t, Config{}, "listen localhost:*")
	r, at := forwardOne(t, b.alice, Remote, "0:"+closed.String())
	if conn, err := net.Dial("tcp", at.Address); err == nil { // it may be reset before Dial returns
		if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("who connected at the host saw %v", err)
		}
		conn.Close()
	}
	if e := r.await(Failed, 1); ReasonOf(e.Err) != Refused || e.Address.IsZero() {
		t.Errorf("reported %+v", e)
	}
}

func TestRemoteReset(t *testing.T) {
	target := listenTCP(t, func(conn net.Conn) {
		_, _ = io.ReadFull(conn, make([]byte, 1))
		abort(conn)
	})
	b := newBench(t, Config{}, "listen localhost:*")
	_, at := forwardOne(t, b.alice, Remote, "0:"+target.String())
	conn := dial(t, at)
	_, _ = conn.Write([]byte("x"))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("who connected at the host saw %v", err)
	}
}

func TestWhereAHostListens(t *testing.T) {
	b := newBench(t, Config{}, "listen localhost:*", "listen any", "listen 127.0.0.2:0-1", "listen [::]:1")
	for _, a := range []Address{
		TCPAddress("*", 0), TCPAddress("0.0.0.0", 0), TCPAddress("::", 0), TCPAddress("127.0.0.2", 0), TCPAddress("169.254.169.254", 80),
		UnixAddress(filepath.Join(t.TempDir(), "x")),
	} {
		if _, err := (&runner{host: b.alice}).ask(t.Context(), Forward{Listen: a}, 0); ReasonOf(err) != NotGranted {
			t.Errorf("%s: %v", a, err)
		}
	}
	b.give(t, "listen 0.0.0.0:*")
	r, at := forwardOne(t, b.alice, Remote, "*:0:localhost:1")
	if host, _, _ := at.split(); host != "0.0.0.0" {
		t.Errorf("listens on %s", at)
	}
	if _, err := r.stop(); err != nil {
		t.Error(err)
	}
}

func TestRemoteSocket(t *testing.T) {
	target := listenTCP(t, whole)
	path := filepath.Join(t.TempDir(), "r.sock")
	b := newBench(t, Config{}, "listen unix:"+path)
	r, at := forwardOne(t, b.alice, Remote, path+":"+target.String())
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if got, err := converse(t, dial(t, at), "x"); err != nil || got != "got x" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := r.stop(); err != nil {
		t.Error(err)
	}
	for late := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) { // the host has to hear of it
		_, err := os.Lstat(path)
		if errors.Is(err, os.ErrNotExist) {
			break
		}
		if time.Now().After(late) {
			t.Fatalf("the socket is left: %v", err)
		}
	}
	// What is there is not replaced.
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (&runner{host: b.again()}).ask(t.Context(), Forward{Listen: UnixAddress(path)}, 0); ReasonOf(err) != InUse {
		t.Errorf("%v", err)
	}
	if p, err := os.ReadFile(path); err != nil || string(p) != "precious" {
		t.Errorf("%q, %v", p, err)
	}
}

func TestRemoteRevoked(t *testing.T) {
	target := listenTCP(t, echo)
	b := newBench(t, Config{})
	g := b.give(t, "listen localhost:*")
	r, at := forwardOne(t, b.alice, Remote, "0:"+target.String())
	conn := dial(t, at)
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	g.Revoke()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("who connected at the host saw %v", err)
	}
	<-r.done // nothing is left to forward
	if session.KindOf(r.err) != session.Revoked {
		t.Errorf("Run: %v", r.err)
	}
	if conn, err := net.Dial("tcp", at.Address); err == nil {
		conn.Close()
		t.Error("the listener has outlived its right")
	}
}

// The guest gets its port again, though the host doesn't know yet that the old
// session is lost.
func TestRemoteListensAgain(t *testing.T) {
	target := listenTCP(t, whole)
	b := newBench(t, Config{}, "listen localhost:*")
	var d redial
	second := b.again()
	d.s.Store(b.alice)
	r, at := forwardOne(t, &d, Remote, "0:"+target.String())
	// Only the guest notices: the listener's stream, of which it has lost hold,
	// stays at the host.
	lost := &deaf{Opener: b.alice}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	before, err := (&runner{host: lost}).ask(ctx, Forward{Listen: TCPAddress("localhost", 0)}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (&runner{host: second}).ask(ctx, Forward{Listen: before.status.Address}, 0); ReasonOf(err) != InUse {
		t.Errorf("listening twice: %v", err)
	}
	after, err := (&runner{host: second}).ask(ctx, Forward{Listen: before.status.Address}, before.status.Listener)
	if err != nil || after.status.Address != before.status.Address || after.status.Listener == before.status.Listener {
		t.Fatalf("%+v, %v", after, err)
	}
	// A whole session is cut, and Run finds the other.
	d.s.Store(second)
	b.alice.Cut()
	r.await(Lost, 1)
	if e := r.await(Ready, 2); e.Address != at {
		t.Errorf("listens on %s, before on %s", e.Address, at)
	}
	if got, err := converse(t, dial(t, at), "x"); err != nil || got != "got x" {
		t.Errorf("%q, %v", got, err)
	}
}

// deaf is an opener whose streams' owner never closes them.
type deaf struct{ Opener }

// Nobody can take another guest's connections, or end its listeners.
func TestListenersBelongToTheirGuest(t *testing.T) {
	b := newBench(t, Config{}, "listen localhost:*")
	l, err := (&runner{host: b.alice}).ask(t.Context(), Forward{Listen: TCPAddress("localhost", 0)}, 0)
	if err != nil {
		t.Fatal(err)
	}
	conn := dial(t, l.status.Address)
	a, err := readArrival(l.stream, 0)
	if err != nil {
		t.Fatal(err)
	}
	if want := conn.LocalAddr().String(); a.From != want {
		t.Errorf("comes from %s, want %s", a.From, want)
	}
	if _, err := b.table.Give(sessiontest.Peer("bob").ID, rights("listen localhost:*"), 0); err != nil {
		t.Fatal(err)
	}
	_, mallory := sessiontest.Pair(t, sessiontest.Guarded(b.table, b.service), nil)
	for _, p := range []params{{Listener: l.status.Listener, Conn: a.Conn}, {Listener: l.status.Listener, Conn: a.Conn + 1}, {Listener: 99, Conn: 1}} {
		st, err := request(t.Context(), mallory, Listen, p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Read(make([]byte, 1)); session.KindOf(err) != session.NotFound {
			t.Errorf("%+v: %v", p, err)
		}
	}
	other, err := (&runner{host: mallory}).ask(t.Context(), Forward{Listen: TCPAddress("localhost", 0)}, l.status.Listener)
	if err != nil {
		t.Fatal(err)
	}
	defer other.stream.Close()
	// Alice's connection is hers still, once.
	st, err := request(t.Context(), b.alice, Listen, params{Listener: l.status.Listener, Conn: a.Conn})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(st, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	twice, err := request(t.Context(), b.alice, Listen, params{Listener: l.status.Listener, Conn: a.Conn})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := twice.Read(make([]byte, 1)); session.KindOf(err) != session.NotFound {
		t.Errorf("taken twice: %v", err)
	}
}

// A guest that takes nothing keeps a bounded number of connections waiting,
// and those not for long.
func TestConnectionsNobodyTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := &offering{conns: make(chan net.Conn), closed: make(chan struct{})}
		ctx, stop := context.WithCancelCause(t.Context())
		l := newListener(ln, stop)
		go l.accept(ctx, discard{})
		var ends []net.Conn
		for range maxWaiting {
			near, far := net.Pipe()
			ends = append(ends, near)
			ln.conns <- far
		}
		synctest.Wait()
		near, far := net.Pipe()
		select {
		case ln.conns <- far:
			t.Fatal("one more than there is room for was accepted")
		case <-time.After(takeTimeout / 2):
		}
		if conn := l.take(1); conn == nil {
			t.Error("the first connection is gone too early")
		} else {
			conn.Close()
		}
		ln.conns <- far
		time.Sleep(2 * takeTimeout)
		for i, end := range append(ends, near) {
			if _, err := end.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("connection %d: %v", i, err)
			}
		}
		if len(l.waiting) != 0 || len(l.room) != 1 { // one for the next
			t.Errorf("%d wait, %d have room", len(l.waiting), len(l.room))
		}
		stop(nil)
		ln.Close()
	})
}

// offering is a listener whose connections a test makes.
type offering struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (o *offering) Accept() (net.Conn, error) {
	select {
	case conn := <-o.conns:
		return conn, nil
	case <-o.closed:
		return nil, net.ErrClosed
	}
}

func (o *offering) Close() error   { close(o.closed); return nil }
func (o *offering) Addr() net.Addr { return &net.TCPAddr{} }

// discard is a stream that takes everything.
type discard struct{ session.Stream }

func (discard) Write(p []byte) (int, error) { return len(p), nil }
