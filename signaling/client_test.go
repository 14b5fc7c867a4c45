package signaling_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tandem/signaling"
	"tandem/signaling/bus"
	"tandem/signaling/server"
	"tandem/signaling/signalingtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func client(t *testing.T, key ed25519.PrivateKey, servers ...string) *signaling.Client {
	t.Helper()
	c, err := signaling.New(signaling.Config{Servers: servers, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func online(t *testing.T, c *signaling.Client) *signaling.Client {
	t.Helper()
	if err := c.Online(signalingtest.Within(t)); err != nil {
		t.Fatal(err)
	}
	return c
}

func receive(t *testing.T, c *signaling.Client) signaling.Envelope {
	t.Helper()
	e, err := c.Receive(signalingtest.Within(t))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestIntroduction(t *testing.T) {
	s := signalingtest.Start(t, server.Config{})
	host, guest := online(t, client(t, signalingtest.NewKey(t), s.URL)), online(t, client(t, signalingtest.NewKey(t), s.URL))
	plate, err := host.Nameplate(signalingtest.Within(t))
	if err != nil {
		t.Fatal(err)
	}
	if plate.Server != s.URL || len(plate.Number) != 3 || !signaling.ValidNumber(plate.Number) {
		t.Errorf("plate %+v", plate)
	}
	hello := bytes.Repeat([]byte{0, 0xff, '"'}, signaling.MaxBody/3)
	if err := guest.Send(signalingtest.Within(t), "", signaling.PlateAddress(plate.Number), hello); err != nil {
		t.Fatal(err)
	}
	got := receive(t, host)
	if got.Server != s.URL || got.From != guest.Mailbox() || !bytes.Equal(got.Body, hello) {
		t.Fatalf("got %s %s, %d bytes", got.Server, got.From, len(got.Body))
	}
	if err := host.Send(signalingtest.Within(t), got.Server, got.From, []byte("hi")); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, guest); got.From != host.Mailbox() || string(got.Body) != "hi" {
		t.Fatalf("got %+v", got)
	}
	plate.Release()
	<-plate.Lost()
	signalingtest.Eventually(t, "the nameplate is free", func() bool {
		err := guest.Send(signalingtest.Within(t), "", signaling.PlateAddress(plate.Number), nil)
		return signaling.KindOf(err) == signaling.KindNotFound
	})
}

func TestSendErrors(t *testing.T) {
	s := signalingtest.Start(t, server.Config{})
	c := online(t, client(t, signalingtest.NewKey(t), s.URL))
	nobody := signaling.MailboxOf(signalingtest.NewKey(t).Public().(ed25519.PublicKey))
	for _, test := range []struct {
		server, to string
		size       int
		kind       string
	}{
		{"", nobody, 1, signaling.KindNotFound},
		{s.URL, nobody, 1, signaling.KindNotFound},
		{"", signaling.PlateAddress("999999"), 1, signaling.KindNotFound},
		{"", "bob", 1, signaling.KindInvalid},
		{"", "nameplate/12", 1, signaling.KindInvalid},
		{"", c.Mailbox(), signaling.MaxBody + 1, signaling.KindTooLarge},
		{"http://127.0.0.1:1", nobody, 1, signaling.KindInvalid},
	} {
		err := c.Send(signalingtest.Within(t), test.server, test.to, make([]byte, test.size))
		if signaling.KindOf(err) != test.kind {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// A server is killed and comes back empty: the client connects again, and its
// mailbox and nameplate work as before.
func TestServerRestart(t *testing.T) {
	s := signalingtest.Start(t, server.Config{})
	host, guest := online(t, client(t, signalingtest.NewKey(t), s.URL)), online(t, client(t, signalingtest.NewKey(t), s.URL))
	plate, err := host.Nameplate(signalingtest.Within(t))
	if err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		s.Down()
		signalingtest.Eventually(t, "the client notices", func() bool { return host.Status()[0].Err != nil })
		s.Up()
		body := fmt.Sprint("round ", round)
		signalingtest.Eventually(t, "the nameplate works again", func() bool {
			return guest.Send(signalingtest.Within(t), "", signaling.PlateAddress(plate.Number), []byte(body)) == nil
		})
		if got := receive(t, host); string(got.Body) != body {
			t.Fatalf("got %q", got.Body)
		}
	}
	select {
	case <-plate.Lost():
		t.Error("the nameplate counts as lost")
	default:
	}
}

// Somebody else gets the number, behind the owner's back or while the server
// was away: the owner is told.
func TestNameplateLost(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("restart=", restart), func(t *testing.T) {
			b := bus.NewLocal()
			s := signalingtest.Start(t, server.Config{Bus: b, Limits: server.Limits{NameplateGrace: 200 * time.Millisecond}})
			host := online(t, client(t, signalingtest.NewKey(t), s.URL))
			plate, err := host.Nameplate(signalingtest.Within(t))
			if err != nil {
				t.Fatal(err)
			}
			if restart {
				s.Down()
			}
			ctx := signalingtest.Within(t)
			if err := b.Release(ctx, plate.Number, host.Mailbox()); err != nil {
				t.Fatal(err)
			}
			if err := b.Claim(ctx, plate.Number, "another", time.Hour); err != nil {
				t.Fatal(err)
			}
			if restart {
				s.Up()
			}
			select {
			case <-plate.Lost():
			case <-ctx.Done():
				t.Fatal("the owner never heard of it")
			}
		})
	}
}

func TestSeveralServers(t *testing.T) {
	a, b := signalingtest.Start(t, server.Config{}), signalingtest.Start(t, server.Config{})
	host := client(t, signalingtest.NewKey(t), a.URL, b.URL, a.URL+"/")
	signalingtest.Eventually(t, "both are connected", func() bool {
		st := host.Status()
		return len(st) == 2 && st[0].Connected && st[1].Connected
	})
	plate, err := host.Nameplate(signalingtest.Within(t))
	if err != nil {
		t.Fatal(err)
	}
	onlyA, onlyB := online(t, client(t, signalingtest.NewKey(t), a.URL)), online(t, client(t, signalingtest.NewKey(t), b.URL))
	for _, guest := range []*signaling.Client{onlyA, onlyB} {
		if err := guest.Send(signalingtest.Within(t), "", signaling.PlateAddress(plate.Number), []byte("x")); err != nil {
			t.Fatal(err)
		}
		got := receive(t, host)
		if err := host.Send(signalingtest.Within(t), "", got.From, []byte("y")); err != nil { // wherever the guest is
			t.Fatal(err)
		}
		if got := receive(t, guest); got.From != host.Mailbox() {
			t.Fatalf("got %+v", got)
		}
	}
	a.Down()
	if err := onlyB.Send(signalingtest.Within(t), b.URL, host.Mailbox(), []byte("z")); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, host); got.Server != b.URL {
		t.Fatalf("got %+v", got)
	}
	a.Up() // for its cleanup
}

func TestRebind(t *testing.T) {
	s := signalingtest.Start(t, server.Config{})
	c := online(t, client(t, signalingtest.NewKey(t), s.URL))
	before := c.Status()[0].Observed
	c.Rebind()
	signalingtest.Eventually(t, "another connection", func() bool {
		st := c.Status()[0]
		return st.Connected && st.Observed != before
	})
	if err := c.Send(signalingtest.Within(t), "", c.Mailbox(), []byte("me")); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, c); string(got.Body) != "me" {
		t.Fatalf("got %+v", got)
	}
}

// Two processes with one key: the second takes the mailbox, the first stands
// back and says why, and takes it back when told to.
func TestTwoProcesses(t *testing.T) {
	s := signalingtest.Start(t, server.Config{})
	key := signalingtest.NewKey(t)
	first := online(t, client(t, key, s.URL))
	second := online(t, client(t, key, s.URL))
	signalingtest.Eventually(t, "the first stands back", func() bool {
		return signaling.KindOf(first.Status()[0].Err) == signaling.KindExists
	})
	other := online(t, client(t, signalingtest.NewKey(t), s.URL))
	if err := other.Send(signalingtest.Within(t), "", first.Mailbox(), []byte("x")); err != nil {
		t.Fatal(err)
	}
	receive(t, second)
	first.Rebind()
	signalingtest.Eventually(t, "roles change", func() bool {
		return first.Status()[0].Connected && signaling.KindOf(second.Status()[0].Err) == signaling.KindExists
	})
}

func TestPresence(t *testing.T) {
	s := signalingtest.Start(t, server.Config{})
	watcher := online(t, client(t, signalingtest.NewKey(t), s.URL))
	key := signalingtest.NewKey(t)
	peer := signaling.MailboxOf(key.Public().(ed25519.PublicKey))
	if err := watcher.Watch(signalingtest.Within(t), []string{peer}); err != nil {
		t.Fatal(err)
	}
	var p signaling.Presence
	await := func(want bool) {
		t.Helper()
		for slices.Contains(p.Online, peer) != want {
			var err error
			if p, err = watcher.Presence(signalingtest.Within(t), p.Version); err != nil {
				t.Fatal(err)
			}
		}
	}
	c := online(t, client(t, key, s.URL))
	await(true)
	_ = c.Close()
	await(false)
	c = online(t, client(t, key, s.URL))
	await(true)
	s.Down()
	await(false) // what a lost server said does not count
	s.Up()
	await(true)
	_ = c
	if err := watcher.Watch(signalingtest.Within(t), nil); err != nil {
		t.Fatal(err)
	}
	await(false)
}

func TestRelays(t *testing.T) {
	var asked atomic.Int32
	relays := func(_ context.Context, mailbox string) ([]signaling.Relay, error) {
		asked.Add(1)
		return []signaling.Relay{{URLs: []string{"turn:192.0.2.1:3478?transport=udp"}, Username: mailbox, Password: "p", TTL: 600}}, nil
	}
	a, b := signalingtest.Start(t, server.Config{Relays: relays}), signalingtest.Start(t, server.Config{})
	c := client(t, signalingtest.NewKey(t), a.URL, b.URL)
	signalingtest.Eventually(t, "both are connected", func() bool { return c.Status()[0].Connected && c.Status()[1].Connected })
	for range 3 {
		got, err := c.Relays(signalingtest.Within(t))
		if err != nil || len(got) != 1 || got[0].Username != c.Mailbox() || got[0].TTL != 600 {
			t.Fatalf("relays %+v, %v", got, err)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the server was asked %d times, not once", n)
	}
}

// Credentials may not outlive the server that gave them: the next connection
// fetches new ones. Until there is one, the old ones are the best guess.
func TestRelaysAfterRestart(t *testing.T) {
	var starts atomic.Int32
	relays := func(context.Context, string) ([]signaling.Relay, error) {
		password := fmt.Sprintf("of start %d", starts.Load())
		return []signaling.Relay{{URLs: []string{"turn:192.0.2.1:3478"}, Username: "u", Password: password, TTL: 600}}, nil
	}
	s := signalingtest.Start(t, server.Config{Relays: relays})
	c := online(t, client(t, signalingtest.NewKey(t), s.URL))
	password := func() string {
		got, err := c.Relays(signalingtest.Within(t))
		if err != nil || len(got) != 1 {
			t.Fatalf("relays %+v, %v", got, err)
		}
		return got[0].Password
	}
	if got := password(); got != "of start 0" {
		t.Errorf("%q", got)
	}
	s.Down()
	signalingtest.Eventually(t, "the connection is lost", func() bool { return !c.Status()[0].Connected })
	if got := password(); got != "of start 0" {
		t.Errorf("without a server %q", got)
	}
	starts.Add(1)
	s.Up()
	signalingtest.Eventually(t, "the new credentials come", func() bool { return password() == "of start 1" })
}

// A server that drains sends its clients away, and they come back to the next.
func TestDrain(t *testing.T) {
	s := signalingtest.Start(t, server.Config{Limits: server.Limits{DrainSpread: 50 * time.Millisecond}})
	var clients []*signaling.Client
	for range 10 {
		clients = append(clients, online(t, client(t, signalingtest.NewKey(t), s.URL)))
	}
	if err := s.Drain(signalingtest.Within(t)); err != nil {
		t.Fatal(err)
	}
	if n := s.Clients(); n != 0 {
		t.Errorf("%d clients left", n)
	}
	resp, err := http.Get(s.URL + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("healthz: %s", resp.Status)
	}
	http.DefaultClient.CloseIdleConnections()
	s.Down()
	s.Up()
	for _, c := range clients {
		online(t, c)
	}
}

func TestCloseUnblocks(t *testing.T) {
	c := client(t, signalingtest.NewKey(t), "http://127.0.0.1:1")
	var wg sync.WaitGroup
	for _, wait := range []func() error{
		func() error { return c.Online(context.Background()) },
		func() error { _, err := c.Receive(context.Background()); return err },
		func() error { _, err := c.Presence(context.Background(), 99); return err },
		func() error { return c.Send(context.Background(), "", c.Mailbox(), nil) },
		func() error { _, err := c.Nameplate(context.Background()); return err },
		func() error { _, err := c.Relays(context.Background()); return err },
	} {
		wg.Go(func() {
			if err := wait(); signaling.KindOf(err) != signaling.KindCanceled {
				t.Errorf("got %v", err)
			}
		})
	}
	_ = c.Close()
	wg.Wait()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
