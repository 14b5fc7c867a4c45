package signaling_test

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"tandem/signaling"
	"tandem/signaling/server"
	"tandem/signaling/signalingtest"
)

// hostile serves one handler in place of /v1/ws.
func hostile(t *testing.T, handle func(ctx context.Context, ws *websocket.Conn, host string)) string {
	t.Helper()
	var work sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		work.Add(1)
		defer work.Done()
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = ws.CloseNow() }()
		ws.SetReadLimit(-1)
		handle(ctx, ws, r.Host)
	}))
	t.Cleanup(func() {
		cancel()
		s.CloseClientConnections()
		work.Wait()
		s.Close()
	})
	return s.URL
}

func say(ctx context.Context, ws *websocket.Conn, format string, args ...any) error {
	return ws.Write(ctx, websocket.MessageText, fmt.Appendf(nil, format, args...))
}

// admit does what a server does up to claimed.
func admit(ctx context.Context, ws *websocket.Conn, host string) (mailbox string) {
	_ = say(ctx, ws, `{"type":"welcome","version":1,"min_version":1,"host":%q,"nonce":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="}`, host)
	_, data, err := ws.Read(ctx)
	if err != nil {
		return ""
	}
	m, err := signaling.Decode(data)
	if err != nil || len(m.Key) == 0 {
		return ""
	}
	mailbox = signaling.MailboxOf(m.Key)
	_ = say(ctx, ws, `{"type":"claimed","mailbox":%q}`, mailbox)
	return mailbox
}

// Whatever a server says, the client has an honest one beside it and goes on:
// no panic, bounded queues, and the honest one's envelopes arrive.
func TestHostileServer(t *testing.T) {
	honest := signalingtest.Start(t, server.Config{})
	var said atomic.Int64
	evil := hostile(t, func(ctx context.Context, ws *websocket.Conn, host string) {
		mailbox := admit(ctx, ws, host)
		if mailbox == "" {
			return
		}
		lines := []string{
			`{"type":"message","from":"` + mailbox + `","body":"` + strings.Repeat("AAAA", 8000) + `"}`,
			`{"type":"sent","id":1}`, `{"type":"sent","id":999999}`, `{"type":"error","id":1,"kind":"root","text":"\u001b[31m"}`,
			`{"type":"pong","id":1}`, `{"type":"pong","id":2}`, `{"type":"claimed","mailbox":"` + mailbox + `"}`,
			`{"type":"welcome","version":1,"min_version":1,"nonce":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="}`,
			`{"type":"presence","online":["` + mailbox + `"]}`, `{"type":"released","number":"4821"}`,
			`{"type":"nameplate","id":3,"number":"4821"}`, `{"type":"nameplate","id":4}`, `{"type":"dance"}`,
			`{"type":"relays","id":3,"relays":[{"urls":["turn:192.0.2.1"]}]}`, `{"type":"draining","after_ms":60000}`,
		}
		for ctx.Err() == nil {
			if said.Load() > 3000 && rand.N(100) == 0 { // from now on it is also rude
				lines = append(lines, `{"type":"error","kind":"internal"}`, `garbage`, `{"type":"message","from":"x"}`, `{"type":"draining"}`)
			}
			if say(ctx, ws, "%s", lines[rand.N(len(lines))]) != nil {
				return
			}
			said.Add(1)
		}
	})
	c := client(t, signalingtest.NewKey(t), evil, honest.URL)
	signalingtest.Eventually(t, "the honest server is connected", func() bool { return c.Status()[1].Connected })
	other := online(t, client(t, signalingtest.NewKey(t), honest.URL))
	signalingtest.Eventually(t, "the evil server has flooded us", func() bool {
		return said.Load() > 2900 && c.Status()[0].Dropped > 100
	})
	for i := range 10 {
		want := fmt.Sprint("hello ", i)
		if err := other.Send(signalingtest.Within(t), "", c.Mailbox(), []byte(want)); err != nil {
			t.Fatal(err)
		}
		for {
			if e := receive(t, c); e.Server == honest.URL {
				if string(e.Body) != want {
					t.Fatalf("got %q, want %q", e.Body, want)
				}
				break
			}
		}
	}
	if err := c.Send(signalingtest.Within(t), honest.URL, other.Mailbox(), []byte("hi")); err != nil {
		t.Fatal(err)
	}
}

// What a server says about mailboxes nobody asked for is not kept.
func TestHostilePresence(t *testing.T) {
	a, b := strings.Repeat("a", 32), strings.Repeat("b", 32)
	evil := hostile(t, func(ctx context.Context, ws *websocket.Conn, host string) {
		admit(ctx, ws, host)
		for {
			_, data, err := ws.Read(ctx)
			if err != nil {
				return
			}
			if m, err := signaling.Decode(data); err == nil && m.Type == signaling.TypeWatch {
				_ = say(ctx, ws, `{"type":"presence","online":[%q,%q]}`, b, a)
				_ = say(ctx, ws, `{"type":"watching","id":%d}`, m.ID)
			}
		}
	})
	c := online(t, client(t, signalingtest.NewKey(t), evil))
	if err := c.Watch(signalingtest.Within(t), []string{a}); err != nil {
		t.Fatal(err)
	}
	p, err := c.Presence(signalingtest.Within(t), 0)
	if err != nil || len(p.Online) != 1 || p.Online[0] != a {
		t.Errorf("present are %v, %v", p.Online, err)
	}
}

// A server that takes a claim made for another host, or that is not who it
// says, gets nothing it could use.
func TestHostileClaims(t *testing.T) {
	victim := signalingtest.NewKey(t)
	s := signalingtest.Start(t, server.Config{})
	// It passes the honest server's nonce on, under its own host's name.
	for _, host := range []string{"", strings.TrimPrefix(s.URL, "http://")} {
		claimed := make(chan error, 1)
		relay := hostile(t, func(ctx context.Context, ws *websocket.Conn, own string) {
			there := signalingtest.Connect(t, s.URL)
			name := host
			if name == "" {
				name = own
			}
			m := there.Welcome
			m.Host = name
			data, _ := signaling.Encode(m)
			_ = ws.Write(ctx, websocket.MessageText, data)
			_, data, err := ws.Read(ctx)
			if err == nil {
				there.Write(websocket.MessageText, data)
				var m signaling.Message
				if m, err = there.Next(); err == nil && m.Type != signaling.TypeClaimed {
					err = fmt.Errorf("%s: %s", m.Kind, m.Text)
				}
			}
			select {
			case claimed <- err:
			default:
			}
			<-ctx.Done()
		})
		c := client(t, victim, relay)
		select {
		case err := <-claimed:
			if err == nil {
				t.Errorf("named %q, another server claimed the mailbox", host)
			}
		case <-signalingtest.Within(t).Done():
			t.Fatal("nothing happened")
		}
		_ = c.Close()
	}
}

func TestDialErrors(t *testing.T) {
	plain := func(status int, body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if status == http.StatusFound {
				w.Header().Set("Location", "https://elsewhere.example/")
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	welcome := func(text string) string {
		return hostile(t, func(ctx context.Context, ws *websocket.Conn, _ string) {
			_ = say(ctx, ws, "%s", text)
			<-ctx.Done()
		})
	}
	tlsServer, _ := serveTLS(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + listener.Addr().String()
	_ = listener.Close()
	renamed := signalingtest.Start(t, server.Config{Hosts: []string{"signal.example.org"}})
	const nonce = `"nonce":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="`

	for _, c := range []struct {
		name, url, kind, hint string
	}{
		{"nobody listens", closed, signaling.KindUnavailable, "running"},
		{"no such page", plain(404, "<html>not here"), signaling.KindUnsupported, "address"},
		{"a web site", plain(200, "<html>welcome"), signaling.KindUnsupported, "address"},
		{"a redirect", plain(302, ""), signaling.KindUnsupported, "right server"},
		{"overloaded", plain(503, ""), signaling.KindUnavailable, "minute"},
		{"too many", plain(429, ""), signaling.KindBusy, "minute"},
		{"unknown authority", tlsServer.URL, signaling.KindIntegrity, "authority"},
		{"http to https", strings.Replace(tlsServer.URL, "https", "http", 1), signaling.KindUnsupported, "https://"},
		{"https to http", strings.Replace(renamed.URL, "http", "https", 1), signaling.KindUnsupported, "http://"},
		{"another name", renamed.URL, signaling.KindDenied, "name"},
		{"older", welcome(`{"type":"welcome","version":0}`), signaling.KindUnavailable, "version"},
		{"newer", welcome(`{"type":"welcome","version":9,"min_version":7}`), signaling.KindUnsupported, "update tandem"},
		{"wrong host", welcome(`{"type":"welcome","version":1,"min_version":1,"host":"x",` + nonce + `}`), signaling.KindDenied, "Host"},
		{"wrong order", welcome(`{"type":"claimed","mailbox":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}`), signaling.KindUnavailable, "tandem server"},
		{"garbage", welcome(`hello`), signaling.KindUnavailable, "tandem server"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := client(t, signalingtest.NewKey(t), c.url)
			signalingtest.Eventually(t, "an error", func() bool { return cl.Status()[0].Err != nil })
			check := func(err error) {
				t.Helper()
				e, ok := err.(*signaling.Error)
				if !ok || e.Kind != c.kind || !strings.Contains(e.Hint, c.hint) || strings.ContainsRune(e.Text, '\x1b') {
					t.Errorf("got %#v", err)
				}
			}
			check(cl.Status()[0].Err)
			hopeless := c.kind == signaling.KindUnsupported || c.kind == signaling.KindIntegrity || c.kind == signaling.KindDenied
			ctx := signalingtest.Within(t)
			if !hopeless { // it may get better, so Online waits
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 100*time.Millisecond)
				defer cancel()
			}
			err := cl.Online(ctx)
			e, ok := err.(*signaling.Error)
			if !ok || e.Hint == "" || e.Text == "" || hopeless == (ctx.Err() != nil) {
				t.Errorf("Online: %#v", err)
			}
		})
	}
}

// serveTLS runs a server with a certificate that only roots vouches for.
func serveTLS(t *testing.T) (h *httptest.Server, roots *x509.CertPool) {
	t.Helper()
	srv := server.New(server.Config{})
	h = httptest.NewUnstartedServer(srv)
	h.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	h.EnableHTTP2 = true // as http.Server does by itself; a WebSocket is to get HTTP/1.1 all the same
	h.StartTLS()
	t.Cleanup(func() {
		_ = srv.Close()
		h.Close()
	})
	return h, h.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
}

func TestTLS(t *testing.T) {
	h, roots := serveTLS(t)
	cfg := signaling.Config{Servers: []string{h.URL}, Key: signalingtest.NewKey(t), TLS: &tls.Config{RootCAs: roots}}
	c, err := signaling.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	online(t, c)
	if err := c.Send(signalingtest.Within(t), "", c.Mailbox(), []byte("me")); err != nil {
		t.Fatal(err)
	}
	receive(t, c)
	got, err := signaling.Probe(signalingtest.Within(t), cfg, h.URL)
	if err != nil || got.Version != signaling.Version || got.RTT <= 0 || signaling.ClockWarning(got.ClockSkew) != "" {
		t.Errorf("Probe = %+v, %v", got, err)
	}
	if _, err := signaling.Probe(signalingtest.Within(t), signaling.Config{}, h.URL); signaling.KindOf(err) != signaling.KindIntegrity {
		t.Errorf("Probe without the authority: %v", err)
	}
	if signaling.ClockWarning(-time.Minute) == "" || signaling.ClockWarning(time.Minute) == "" {
		t.Error("no warning of a clock that is off by a minute")
	}
}

func TestNewRefuses(t *testing.T) {
	key := signalingtest.NewKey(t)
	for _, cfg := range []signaling.Config{
		{},
		{Key: key},
		{Servers: []string{"https://a.example"}},
		{Servers: []string{"https://a.example"}, Key: ed25519.PrivateKey("short")},
		{Servers: []string{"http://a.example"}, Key: key},
		{Servers: []string{"https://a.example", "?"}, Key: key},
	} {
		if c, err := signaling.New(cfg); signaling.KindOf(err) != signaling.KindInvalid {
			t.Errorf("New = %v, %v", c, err)
		}
	}
}
