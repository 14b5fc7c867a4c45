package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tandem/session"
	"tandem/signaling"
	"tandem/signaling/bus"
	"tandem/signaling/server"
	"tandem/signaling/signalingtest"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(asOther); path != "" {
		_, _ = os.Stdout.WriteString(callAsOther(path))
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// soon bounds what should happen; nothing depends on how soon.
const soon = 30 * time.Second

// within is a context for something that should happen.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	t.Cleanup(cancel)
	return ctx
}

// log collects a node's events.
type log struct {
	mu     sync.Mutex
	events []Event
	change chan struct{}
}

func (l *log) add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
	close(l.change)
	l.change = make(chan struct{})
}

// await is the nth event of a kind, counted from 1.
func (l *log) await(t testing.TB, kind string, nth int) Event {
	t.Helper()
	timeout := time.After(soon)
	for {
		l.mu.Lock()
		change, n := l.change, 0
		for _, e := range l.events {
			if e.Event != kind {
				continue
			}
			if n++; n == nth {
				l.mu.Unlock()
				return e
			}
		}
		l.mu.Unlock()
		select {
		case <-change:
		case <-timeout:
			t.Fatalf("never: %s number %d", kind, nth)
		}
	}
}

// all are the events of a kind so far.
func (l *log) all(kind string) (all []Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if e.Event == kind {
			all = append(all, e)
		}
	}
	return all
}

// person is a node and what it reports.
type person struct {
	*Node
	*log
	cfg Config
}

func newHome(t testing.TB) Home {
	t.Helper()
	// Socket names are short; test names need not be.
	dir, err := os.MkdirTemp("", "tandem")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	state := filepath.Join(dir, "state")
	return Home{Config: state, State: state}
}

func newConfig(t testing.TB, name string, servers ...string) (Config, *log) {
	t.Helper()
	l := &log{change: make(chan struct{})}
	return Config{Home: newHome(t), Name: name, Servers: servers, Events: l.add}, l
}

// begin starts a node that ends with the test.
func begin(t testing.TB, name string, servers ...string) *person {
	t.Helper()
	cfg, l := newConfig(t, name, servers...)
	n, err := Start(within(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("%s closes: %v", name, err)
		}
	})
	return &person{n, l, cfg}
}

// share opens a share that lets everybody in.
func (p *person) share(t testing.TB, s Share) ShareStatus {
	t.Helper()
	s.Always = true
	return p.offer(t, s)
}

// offer opens a share whose guests wait for an answer.
func (p *person) offer(t testing.TB, s Share) ShareStatus {
	t.Helper()
	shared, err := p.StartShare(within(t), s)
	if err != nil {
		t.Fatal(err)
	}
	return shared
}

// meet joins with a code or link.
func (p *person) meet(t testing.TB, invite string) Joined {
	t.Helper()
	joined, err := p.Join(within(t), invite, nil)
	if err != nil {
		t.Fatal("join: ", err)
	}
	return joined
}

// folderOf makes a folder with one file.
func folderOf(t testing.TB, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "hello.txt"), []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestShareAndJoin(t *testing.T) {
	url := signalingtest.Start(t, server.Config{}).URL
	alice, bob := begin(t, "alice", url), begin(t, "bob", url)
	shared := alice.share(t, Share{Folders: []Folder{{Dir: folderOf(t, "project")}}})
	joined := bob.meet(t, shared.Code)
	if joined.Alias != "alice" || joined.Peer.ID != alice.device.ID() || joined.Path.Kind == session.NoPath || len(joined.Offers) != 1 {
		t.Errorf("joined %+v", joined)
	}
	if e := bob.await(t, EventMet, 1); e.Peer.ID != alice.device.ID() {
		t.Errorf("bob met %v", e.Peer)
	}
	if e := alice.await(t, EventRequest, 1); e.Peer.Name != "bob" || len(e.Words) != 12 {
		t.Errorf("alice was asked about %+v", e)
	}
	alice.await(t, EventApproved, 1)
	alice.await(t, EventJoined, 1)
	if e := alice.await(t, EventSpent, 1); e.Reason == "" {
		t.Error("spent for no reason")
	}
	peers, err := bob.Peers(within(t))
	if err != nil || len(peers) != 1 || !peers[0].Connected {
		t.Errorf("bob's peers: %+v, %v", peers, err)
	}
	if status, err := alice.Why(within(t), "bob"); err != nil || !status.Connected || status.Path.Kind != session.Direct {
		t.Errorf("why: %+v, %v", status, err)
	}
	if err := bob.Close(); err != nil {
		t.Fatal(err)
	}
	if e := alice.await(t, EventLeft, 1); e.Peer.Name != "bob" {
		t.Errorf("left: %+v", e)
	}
}

// Without a server the host runs one, which a link leads to.
func TestShareWithoutServer(t *testing.T) {
	alice, bob := begin(t, "alice"), begin(t, "bob")
	shared := alice.share(t, Share{Folders: []Folder{{Dir: folderOf(t, "project")}}, Uses: 2})
	bob.meet(t, shared.Link)
	// Another share goes through the same server, and has a number of its own.
	if again := alice.share(t, Share{Folders: []Folder{{Dir: folderOf(t, "other")}}}); again.Code[:4] == shared.Code[:4] {
		t.Errorf("two shares under one number: %s and %s", shared.Code, again.Code)
	}
}

// A link leads to the server that has given the number and to no other, where
// somebody else may have it.
func TestLinkNamesTheNumbersServer(t *testing.T) {
	a, b := signalingtest.Start(t, server.Config{}).URL, signalingtest.Start(t, server.Config{}).URL
	alice, bob := begin(t, "alice", a, b), begin(t, "bob")
	shared := alice.share(t, Share{Folders: []Folder{{Dir: folderOf(t, "project")}}})
	ticket, err := parseInvite(shared.Link)
	if err != nil || len(ticket.Servers) != 1 || ticket.Servers[0] != shared.Server {
		t.Errorf("the link leads to %v, the number is from %s: %v", ticket.Servers, shared.Server, err)
	}
	bob.meet(t, shared.Link)
}

func TestOwnInvite(t *testing.T) {
	url := signalingtest.Start(t, server.Config{}).URL
	alice := begin(t, "alice", url)
	shared := alice.share(t, Share{Folders: []Folder{{Dir: folderOf(t, "project")}}})
	for _, invite := range []string{shared.Code, shared.Link} {
		if _, err := alice.Join(within(t), invite, nil); session.KindOf(err) != session.Exists {
			t.Errorf("joining one's own share: %v", err)
		}
	}
	// A share beside the node of the home is a node of its own.
	cfg := alice.cfg
	cfg.Events = nil
	second, err := Serve(within(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = second.Close() }()
	shared, err = second.StartShare(within(t), Share{Folders: []Folder{{Dir: folderOf(t, "other")}}, Always: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, invite := range []string{shared.Code, shared.Link} {
		if _, err := alice.Join(within(t), invite, nil); session.KindOf(err) != session.Exists {
			t.Errorf("joining a second node's share: %v", err)
		}
	}
	// As somebody else it works, on the same machine.
	guest, err := StartGuest(within(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := guest.Join(within(t), shared.Code, nil); err != nil {
		t.Errorf("joining as a guest: %v", err)
	}
	if err := guest.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(guest.cfg.temporary); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a guest leaves %s behind: %v", guest.cfg.temporary, err)
	}
}

// When an invite's time is over, its sharer hears of it and its number is free.
func TestInviteExpires(t *testing.T) {
	url := signalingtest.Start(t, server.Config{}).URL
	alice := begin(t, "alice", url)
	shared := alice.share(t, Share{Folders: []Folder{{Dir: folderOf(t, "project")}}, Expires: 200 * time.Millisecond})
	if e := alice.await(t, EventSpent, 1); e.Reason == "" {
		t.Error("spent for no reason")
	}
	raw := signalingtest.Speak(t, url, signalingtest.NewKey(t))
	number := shared.Code[:len(shared.Code)-len(trimNumber(shared.Code))]
	signalingtest.Eventually(t, "the number is free", func() bool {
		raw.Send(signaling.Message{Type: signaling.TypeSend, ID: 7, To: "nameplate/" + number, Body: []byte("x")})
		m, err := raw.Next()
		return err == nil && m.Type == signaling.TypeError && m.Kind == signaling.KindNotFound
	})
	if n := len(alice.all(EventSpent)); n != 1 {
		t.Errorf("the invite was spent %d times", n)
	}
}

// trimNumber is a code without the number it begins with.
func trimNumber(code string) string {
	for code != "" && code[0] >= '0' && code[0] <= '9' {
		code = code[1:]
	}
	return code
}

// A server that was restarted has given the number to somebody else: the sharer
// hears that, and what to do.
func TestNumberLost(t *testing.T) {
	numbers := bus.NewLocal()
	t.Cleanup(func() { _ = numbers.Close() })
	s := signalingtest.Start(t, server.Config{Bus: numbers})
	alice := begin(t, "alice", s.URL)
	shared := alice.share(t, Share{Folders: []Folder{{Dir: folderOf(t, "project")}}})
	number := shared.Code[:len(shared.Code)-len(trimNumber(shared.Code))]
	s.Down()
	holder, err := numbers.Lookup(within(t), number)
	if err != nil {
		t.Fatal(err)
	}
	if err := numbers.Release(within(t), number, holder); err != nil {
		t.Fatal(err)
	}
	if err := numbers.Claim(within(t), number, "somebody else", time.Hour); err != nil {
		t.Fatal(err)
	}
	s.Up()
	if e := alice.await(t, EventSpent, 1); e.Reason == "" {
		t.Error("spent for no reason")
	}
}

// A server that comes back lets guests in by the same code.
func TestServerRestart(t *testing.T) {
	s := signalingtest.Start(t, server.Config{})
	alice, bob := begin(t, "alice", s.URL), begin(t, "bob", s.URL)
	shared := alice.share(t, Share{Folders: []Folder{{Dir: folderOf(t, "project")}}})
	s.Down()
	s.Up()
	signalingtest.Eventually(t, "bob is in", func() bool {
		_, err := bob.Join(within(t), shared.Code, nil)
		return err == nil
	})
	if n := len(alice.all(EventSpent)); n > 1 {
		t.Errorf("the invite was spent %d times", n)
	}
}

// Who was met once is dialled by name, through the server it registers with.
func TestDialByName(t *testing.T) {
	url := signalingtest.Start(t, server.Config{}).URL
	alice, bob := begin(t, "alice", url), begin(t, "bob") // bob has no server of his own
	shared := alice.share(t, Share{Folders: []Folder{{Dir: folderOf(t, "project")}}})
	bob.meet(t, shared.Link)
	if err := bob.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Start(within(t), bob.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	if status, err := again.Why(within(t), "alice"); err != nil || !status.Connected {
		t.Errorf("why: %+v, %v", status, err)
	}
	if _, err := again.Why(within(t), "carol"); session.KindOf(err) != session.NotFound {
		t.Errorf("a stranger: %v", err)
	}
	if err := alice.Close(); err != nil {
		t.Fatal(err)
	}
	signalingtest.Eventually(t, "alice is away", func() bool {
		_, err := again.Open(within(t), "alice", session.Header{Service: "folder/1"})
		return session.KindOf(err) == session.Unavailable
	})
}

func TestStartRefuses(t *testing.T) {
	cfg, _ := newConfig(t, "alice")
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if n, err := Start(ended, cfg); n != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("Start = %v, %v", n, err)
	}
	n, err := Start(within(t), cfg) // nothing is left of the first
	if err != nil {
		t.Fatal(err)
	}
	if other, err := Start(within(t), cfg); other != nil || !errors.Is(err, errRunning) {
		t.Errorf("a second node: %v, %v", other, err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Errorf("a second close: %v", err)
	}
	cfg.Servers = []string{"nonsense://x"}
	if n, err := Start(within(t), cfg); n != nil || session.KindOf(err) != session.Invalid {
		t.Errorf("a server that is none: %v, %v", n, err)
	}
}
