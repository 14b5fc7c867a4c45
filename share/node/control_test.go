package node

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tandem/session"
	"tandem/session/link/stream"
	"tandem/share/folder"
	"tandem/signaling/server"
	"tandem/signaling/signalingtest"
)

// connectTo is what a verb in another process has: a Backend of the node.
func connectTo(t testing.TB, cfg Config) Backend {
	t.Helper()
	b, err := Connect(within(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// everyBackend runs a test with a node itself and with one over its socket.
func TestControlSocket(t *testing.T) {
	url := signalingtest.Start(t, server.Config{}).URL
	alice, bob := begin(t, "alice", url), begin(t, "bob", url)
	shared := alice.share(t, Share{Folders: []Folder{{Dir: folderOf(t, "project")}}})
	verb := connectTo(t, bob.cfg)
	if _, ok := verb.(*Client); !ok {
		t.Fatalf("a verb beside a node gets %T", verb)
	}

	if _, err := verb.Join(within(t), "4821-not-a-code", nil); session.KindOf(err) != session.Invalid || session.Hint(err) == "" {
		t.Errorf("errors lose their kind or hint: %v", err)
	}
	joined, err := verb.Join(within(t), shared.Code, nil)
	if err != nil || joined.Alias != "alice" || len(joined.Offers) != 1 {
		t.Fatalf("joined %+v, %v", joined, err)
	}
	peers, err := verb.Peers(within(t))
	if err != nil || len(peers) != 1 || !peers[0].Connected {
		t.Errorf("peers: %+v, %v", peers, err)
	}
	if status, err := verb.Why(within(t), "alice"); err != nil || status.Path.Kind != session.Direct {
		t.Errorf("why: %+v, %v", status, err)
	}
	if _, err := verb.Open(within(t), "carol", session.Header{}); session.KindOf(err) != session.NotFound || session.Hint(err) == "" {
		t.Errorf("a stranger: %v", err)
	}
	// What a peer refuses arrives as it would without the socket between.
	refused, err := verb.Open(within(t), "alice", session.Header{Service: folder.Name, Resource: "project", Action: "write"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := refused.Read(make([]byte, 1)); session.KindOf(err) != session.Denied {
		t.Errorf("a refusal: %v", err)
	}
	_ = refused.Close()
	accepted, err := verb.Open(within(t), "alice", session.Header{Service: folder.Name, Resource: "project", Action: "read"})
	if err != nil {
		t.Fatal(err)
	}
	alice.await(t, EventOpened, 1)
	_ = accepted.Close()
	alice.await(t, EventClosed, 1)

	ended := make(chan error, 1)
	go func() { ended <- verb.Ended(within(t), "alice") }()
	if err := alice.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("a session ended for no reason")
	}
	if err := verb.Close(); err != nil {
		t.Error(err)
	}
}

// What a caller has asked for ends when it goes away.
func TestCallerGoesAway(t *testing.T) {
	url := signalingtest.Start(t, server.Config{}).URL
	alice, bob := begin(t, "alice", url), begin(t, "bob", url)
	shared := alice.offer(t, Share{Folders: []Folder{{Dir: folderOf(t, "project")}}})
	verb := connectTo(t, bob.cfg)
	ctx, cancel := context.WithCancel(context.Background())
	joined := make(chan error, 1)
	go func() {
		_, err := verb.Join(ctx, shared.Code, nil)
		joined <- err
	}()
	request := alice.await(t, EventRequest, 1)
	cancel()
	if err := <-joined; !errors.Is(err, context.Canceled) {
		t.Errorf("join: %v", err)
	}
	if e := alice.await(t, EventSettled, 1); e.Request != request.Request {
		t.Errorf("alice still has to answer %q: %+v", request.Request, e)
	}
	if e := alice.await(t, EventRefused, 1); e.Reason != "the guest has left" {
		t.Errorf("alice hears %q", e.Reason)
	}
}

// A node may end with the program that ran it; another takes its place.
func TestNextNodeTakesOver(t *testing.T) {
	cfg, _ := newConfig(t, "alice")
	first := connectTo(t, cfg)
	if _, ok := first.(*Node); !ok {
		t.Fatalf("the first program gets %T", first)
	}
	verbs := []Backend{connectTo(t, cfg), connectTo(t, cfg), connectTo(t, cfg)}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := verbs[0].Open(within(t), Own, session.Header{Service: folder.Name}); err == nil {
		t.Error("what the first program offered goes on in another")
	}
	var all sync.WaitGroup
	for _, v := range verbs {
		all.Go(func() {
			if _, err := v.Peers(within(t)); err != nil {
				t.Error("peers: ", err)
			}
		})
	}
	all.Wait()
	hosts := 0
	for _, v := range verbs {
		if v.(*Client).Hosts() {
			hosts++
		}
	}
	if hosts != 1 {
		t.Errorf("%d of them say that the node ends with them", hosts)
	}
	for _, v := range verbs {
		if err := v.Close(); err != nil {
			t.Error("close: ", err)
		}
		if _, err := v.Peers(within(t)); session.KindOf(err) != session.Canceled {
			t.Errorf("after its end: %v", err)
		}
	}
}

// Of twenty who begin at once, one becomes the node.
func TestTwentyBeginAtOnce(t *testing.T) {
	cfg, _ := newConfig(t, "alice")
	backends := make(chan Backend, 20)
	for range cap(backends) {
		go func() {
			b, err := Connect(within(t), cfg)
			if err != nil {
				t.Error("connect: ", err)
			}
			backends <- b
		}()
	}
	nodes := 0
	all := make([]Backend, 0, cap(backends))
	for range cap(backends) {
		b := <-backends
		if _, ok := b.(*Node); ok {
			nodes++
		}
		all = append(all, b)
	}
	if nodes != 1 {
		t.Errorf("%d of them became the node", nodes)
	}
	for _, b := range all {
		if b == nil {
			continue
		}
		if _, err := b.Peers(within(t)); err != nil {
			t.Error("peers: ", err)
		}
	}
	for _, b := range all {
		if b != nil {
			_ = b.Close()
		}
	}
}

// Processes that are killed leave nothing that keeps the next from starting.
func TestSocketLeftBehind(t *testing.T) {
	cfg, _ := newConfig(t, "alice")
	path := socketPath(cfg.Home)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(cfg.Home.State, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	b := connectTo(t, cfg)
	defer func() { _ = b.Close() }()
	if _, ok := b.(*Node); !ok {
		t.Fatalf("Connect = %T", b)
	}
	info, err := os.Stat(filepath.Dir(path))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the socket's folder is open to others: %v, %v", info.Mode(), err)
	}
}

// headerFrame is what opens a stream on the socket: package stream's HEADER with
// its length ahead.
func headerFrame(h session.Header) []byte {
	body, err := json.Marshal(h)
	if err != nil {
		panic(err)
	}
	frame := append([]byte{1}, body...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...)
}

// raw is a connection to a node's socket on which a test writes what it likes.
func raw(t testing.TB, cfg Config) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", socketPath(cfg.Home))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(soon))
	return conn
}

func TestHostileCallers(t *testing.T) {
	alice := begin(t, "alice")
	header := headerFrame
	node := session.Header{Service: controlService}
	for what, b := range map[string][]byte{
		"huge length":     {0xff, 0xff, 0xff, 0xff, 1},
		"empty frame":     {0, 0, 0, 0},
		"no JSON":         append([]byte{0, 0, 0, 4, 1}, "{{{"...),
		"another frame":   {0, 0, 0, 2, 2, 'x'},
		"unknown service": header(session.Header{Service: "node/9", Action: actionPeers}),
		"unknown action":  header(session.Header{Service: controlService, Action: "format"}),
		"no parameters":   header(session.Header{Service: controlService, Action: actionOpen}),
		"bad parameters":  header(session.Header{Service: controlService, Action: actionJoin, Params: []byte(`[1]`)}),
		"long peer":       header(session.Header{Service: controlService, Action: actionWhy, Params: []byte(`{"peer":"` + strings.Repeat("x", 50_000) + `"}`)}),
	} {
		t.Run(what, func(t *testing.T) {
			conn := raw(t, alice.cfg)
			if _, err := conn.Write(b); err != nil {
				t.Fatal(err)
			}
			if c, ok := conn.(*net.UnixConn); ok {
				_ = c.CloseWrite()
			}
			if reply, err := io.ReadAll(conn); err != nil && !errors.Is(err, syscall.ECONNRESET) || len(reply) > 64<<10 {
				t.Errorf("the node answers with %d bytes and %v", len(reply), err)
			}
		})
	}
	// Connections that say nothing, and one that stops half-way, hold up nobody.
	for range 300 {
		raw(t, alice.cfg)
	}
	half := header(node)
	if _, err := raw(t, alice.cfg).Write(half[:len(half)/2]); err != nil {
		t.Fatal(err)
	}
	if _, err := connectTo(t, alice.cfg).Peers(within(t)); err != nil {
		t.Errorf("an honest caller: %v", err)
	}
	before := runtime.NumGoroutine()
	if err := alice.Close(); err != nil {
		t.Fatal(err)
	}
	if after := runtime.NumGoroutine(); after >= before {
		t.Errorf("%d goroutines before the end, %d after", before, after)
	}
}

// A caller that never reads its answer is dropped in the end, and ends with the
// node in any case.
func TestCallerThatReadsNothing(t *testing.T) {
	alice := begin(t, "alice")
	s, err := stream.Open(stream.FrameConn(raw(t, alice.cfg)), session.Header{Service: controlService, Action: actionPeers}, stream.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.Close(); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
}

// Nor does a program of this device's own that has stopped in the midst of a
// copy keep its node from ending.
func TestCloseDuringOwnCopy(t *testing.T) {
	alice := begin(t, "alice", signalingtest.Start(t, server.Config{}).URL)
	dir := folderOf(t, "project")
	if err := os.WriteFile(filepath.Join(dir, "large"), make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	alice.share(t, Share{Folders: []Folder{{Dir: dir}}})
	for _, through := range []Backend{alice.Node, connectTo(t, alice.cfg)} {
		s, err := through.Open(within(t), Own, session.Header{Service: folder.Name, Action: folder.Read})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		request := []byte(`{"id":1,"op":"read","path":"large"}`)
		if _, err := s.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(request))), request...)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(s, make([]byte, 1000)); err != nil { // and no more
			t.Fatal(err)
		}
	}
	closed := make(chan error, 1)
	go func() { closed <- alice.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(soon):
		t.Fatal("the node waits for a program that reads nothing")
	}
}

// asOther makes the test binary, run by somebody else, call a socket.
const asOther = "TANDEM_TEST_CALL"

// callAsOther says what somebody else gets at a socket.
func callAsOther(path string) string {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return "no connection"
	}
	_ = conn.SetDeadline(time.Now().Add(soon))
	_, _ = conn.Write(headerFrame(session.Header{Service: controlService, Action: actionPeers}))
	if n, _ := conn.Read(make([]byte, 1)); n == 0 {
		return "thrown out"
	}
	return "answered"
}

// Another user is refused by the socket's folder, and were that open, by the
// node.
func TestAnotherUserIsRefused(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can call as another user")
	}
	alice := begin(t, "alice")
	path := socketPath(alice.cfg.Home)
	binary, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "tandem")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program := filepath.Join(dir, "caller")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(program, binary, 0o755)); err != nil {
		t.Fatal(err)
	}
	call := func() string {
		cmd := exec.Command(program)
		cmd.Dir = "/"
		cmd.Env = []string{asOther + "=" + path}
		cmd.SysProcAttr = credential(65534)
		var out bytes.Buffer
		cmd.Stdout = &out
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if got := call(); got != "no connection" {
		t.Errorf("through a closed folder: %q", got)
	}
	for at := path; at != filepath.Dir(alice.cfg.Home.State); at = filepath.Dir(at) {
		if err := os.Chmod(at, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Dir(alice.cfg.Home.State), 0o777); err != nil {
		t.Fatal(err)
	}
	if got := call(); got != "thrown out" {
		t.Errorf("through an open folder: %q", got)
	}
}
