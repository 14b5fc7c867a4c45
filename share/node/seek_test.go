package node

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"tandem/session"
	"tandem/session/host"
	"tandem/signaling"
	"tandem/signaling/bus"
	"tandem/signaling/server"
	"tandem/signaling/signalingtest"
)

// nobody is the address of a server that isn't there.
func nobody(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// beginNear is begin for a node on whose local network a server has every
// nameplate.
func beginNear(t testing.TB, name, near string, servers ...string) *person {
	t.Helper()
	cfg, l := newConfig(t, name, servers...)
	cfg.nearby = func(context.Context, string) ([]string, error) { return []string{near}, nil }
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

// A code is looked for on the local network as well when the servers that were
// configured can't be reached, and when they know nothing of it.
func TestJoinNearby(t *testing.T) {
	near := signalingtest.Start(t, server.Config{})
	for name, configured := range map[string][]string{
		"no server": nil, "unreachable": {nobody(t)}, "knows nothing": {signalingtest.Start(t, server.Config{}).URL},
		"one of each": {nobody(t), signalingtest.Start(t, server.Config{}).URL},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alice, bob := begin(t, "alice", near.URL), beginNear(t, "bob", near.URL, configured...)
			bob.meet(t, alice.share(t, Share{Folders: []Folder{{Dir: folderOf(t, "project")}}}).Code)
		})
	}
}

// While a server that is waited for can't be reached, the person hears why.
func TestComplaint(t *testing.T) {
	cfg, events := newConfig(t, "bob", nobody(t))
	cfg.nearby = func(ctx context.Context, _ string) ([]string, error) { <-ctx.Done(); return nil, ctx.Err() }
	bob, err := Start(within(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	joined := make(chan error, 1)
	ctx, giveUp := context.WithCancel(within(t))
	go func() {
		_, err := bob.Join(ctx, "4821-wolf-paper-lunar", nil)
		joined <- err
	}()
	if e := events.await(t, EventWaiting, 1); !strings.Contains(e.Reason, "nothing answers at "+cfg.Servers[0]) {
		t.Errorf("bob hears %q", e.Reason)
	}
	giveUp()
	if err := <-joined; err == nil {
		t.Errorf("join: %v", err)
	}
	if err := bob.Close(); err != nil {
		t.Error(err)
	}
}

// inviteUnder opens an invite of p's under a number of our choice, which stands
// for p on a server.
func (p *person) inviteUnder(t testing.TB, number string, numbers ...bus.Bus) *host.Invite {
	t.Helper()
	for _, b := range numbers {
		if err := b.Claim(within(t), number, p.contact().Mailbox, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	i, err := p.host.Invite(host.InviteConfig{
		Nameplate: number,
		Admit:     func(context.Context, session.Peer) ([]Right, error) { return nil, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = i.Close() }) // the node may have done so
	return i
}

// attempts are those that p has counted at its one invite.
func (p *person) attempts(t testing.TB) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(p.cfg.Home.State, "invites", "*.invite"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	lines, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(lines), "\nattempt ")
}

// numbered is a server on which a test may give out nameplates.
func numbered(t testing.TB) (string, bus.Bus) {
	t.Helper()
	numbers := bus.NewLocal()
	t.Cleanup(func() { _ = numbers.Close() })
	return signalingtest.Start(t, server.Config{Bus: numbers}).URL, numbers
}

// Two servers have given the same number to two hosts: each guest finds the one
// that has the words of its code.
func TestTwoHostsWithOneNumber(t *testing.T) {
	const number = "482199"
	one, numbers1 := numbered(t)
	two, numbers2 := numbered(t)
	alice, carol := begin(t, "alice", one), begin(t, "carol", two)
	online(t, alice, carol)
	ofAlice, ofCarol := alice.inviteUnder(t, number, numbers1), carol.inviteUnder(t, number, numbers2)
	bob, dora := begin(t, "bob", one, two), begin(t, "dora", two, one)
	online(t, bob, dora)
	if joined := bob.meet(t, ofAlice.Code()); joined.Peer.Name != "alice" {
		t.Errorf("bob met %v", joined.Peer)
	}
	if joined := dora.meet(t, ofCarol.Code()); joined.Peer.Name != "carol" {
		t.Errorf("dora met %v", joined.Peer)
	}
	if a, c := alice.attempts(t), carol.attempts(t); a > 2 || c > 2 {
		t.Errorf("%d and %d attempts were spent", a, c)
	}
}

// A wrong code costs one attempt, however many servers know the host.
func TestWrongCodeAtTwoServers(t *testing.T) {
	const number = "482198"
	one, numbers1 := numbered(t)
	two, numbers2 := numbered(t)
	alice, bob := begin(t, "alice", one, two), begin(t, "bob", one, two)
	online(t, alice, bob)
	alice.inviteUnder(t, number, numbers1, numbers2)
	if _, err := bob.Join(within(t), number+"-able-able-able", nil); session.KindOf(err) != session.Integrity {
		t.Errorf("a wrong code: %v", err)
	}
	if n := alice.attempts(t); n != 1 {
		t.Errorf("%d attempts were spent", n)
	}
}

// online waits until nodes are connected to all their servers.
func online(t testing.TB, people ...*person) {
	t.Helper()
	for _, p := range people {
		signalingtest.Eventually(t, p.cfg.Name+" is connected", func() bool { return len(p.post.connected()) == len(p.cfg.Servers) })
	}
}

// late is a server whose clock is an hour behind: what stands between changes
// the first message.
func late(t testing.TB, upstream string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		there, _, err := websocket.Dial(ctx, upstream+r.URL.Path, &websocket.DialOptions{Host: r.Host})
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer there.CloseNow()
		here, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer here.CloseNow()
		pass := func(to, from *websocket.Conn) {
			defer cancel()
			for {
				kind, data, err := from.Read(ctx)
				if err != nil {
					return
				}
				if m, err := signaling.Decode(data); err == nil && m.Type == signaling.TypeWelcome {
					m.Time -= time.Hour.Milliseconds()
					data, _ = signaling.Encode(m)
				}
				if to.Write(ctx, kind, data) != nil {
					return
				}
			}
		}
		done := make(chan struct{})
		go func() { defer close(done); pass(there, here) }()
		pass(here, there)
		<-done
	}))
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.String()
}

// A server's clock is a hint, told once; everything works nevertheless.
func TestClockDiffersFromServers(t *testing.T) {
	url := late(t, signalingtest.Start(t, server.Config{}).URL)
	alice, bob := begin(t, "alice", url), begin(t, "bob", url)
	bob.meet(t, alice.share(t, Share{Folders: []Folder{{Dir: folderOf(t, "project")}}}).Code)
	for _, p := range []*person{alice, bob} {
		if e := p.await(t, EventClock, 1); !strings.Contains(e.Reason, "1h0m0s ahead of the server's") {
			t.Errorf("%s hears %q", p.cfg.Name, e.Reason)
		}
		p.checkClock()
		if n := len(p.all(EventClock)); n != 1 {
			t.Errorf("%s hears it %d times", p.cfg.Name, n)
		}
	}
	err := bob.aboutClocks(session.Errorf("link", session.Expired, "the two clocks differ"))
	if hint := session.Hint(err); !strings.Contains(hint, "Set the clock here") {
		t.Errorf("the hint is %q", hint)
	}
}

// A server that is down costs no session the relays of another, nor the time
// that it would have to answer.
func TestRelaysBesideDeadServer(t *testing.T) {
	alive := signalingtest.Start(t, server.Config{
		Relays: func(context.Context, string) ([]signaling.Relay, error) {
			return []signaling.Relay{{URLs: []string{"turn:127.0.0.1:1"}, TTL: 60}}, nil
		},
	})
	p := begin(t, "alice", alive.URL, nobody(t))
	relays, err := p.post.relays(t.Context()) // which would wait for both until the test ends
	if err != nil || len(relays) != 1 {
		t.Errorf("relays %+v, %v", relays, err)
	}
}
