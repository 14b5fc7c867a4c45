package server_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/gobwas/ws"
	"go.uber.org/goleak"

	"tandem/signaling"
	"tandem/signaling/server"
	"tandem/signaling/signalingtest"
)

func TestMain(m *testing.M) {
	if runForked() {
		return
	}
	goleak.VerifyTestMain(m)
}

func speak(t testing.TB, s *signalingtest.Server) *signalingtest.Raw {
	t.Helper()
	return signalingtest.Speak(t, s.URL, signalingtest.NewKey(t))
}

// works checks that a connection is alive and well.
func works(t testing.TB, r *signalingtest.Raw) {
	t.Helper()
	r.Send(signaling.Message{Type: signaling.TypePing, ID: 99})
	if m := r.Expect(signaling.TypePong); m.ID != 99 || m.Time == 0 {
		t.Fatalf("pong %+v", m)
	}
}

func TestWelcome(t *testing.T) {
	s := signalingtest.Start(t, server.Config{})
	a, b := speak(t, s), speak(t, s)
	w := a.Welcome
	if w.Version != 1 || w.MinVersion != 1 || len(w.Nonce) != signaling.NonceSize || bytes.Equal(w.Nonce, b.Welcome.Nonce) ||
		w.Host != strings.TrimPrefix(s.URL, "http://") || w.Limits == nil || w.Limits.Frame != signaling.MaxFrame {
		t.Errorf("welcome %+v", w)
	}
	if ap, err := netip.ParseAddrPort(w.Observed); err != nil || !ap.Addr().IsLoopback() || ap.Port() == 0 {
		t.Errorf("observed %q", w.Observed)
	}
	if skew := time.Since(time.UnixMilli(w.Time)).Abs(); skew > time.Minute {
		t.Errorf("time is off by %v", skew)
	}
}

func TestClaims(t *testing.T) {
	s := signalingtest.Start(t, server.Config{})
	victim := signalingtest.NewKey(t)
	holder := signalingtest.Speak(t, s.URL, victim)
	for name, change := range map[string]func(r *signalingtest.Raw, m *signaling.Message){
		"another key's signature": func(r *signalingtest.Raw, m *signaling.Message) {
			m.Signature = r.Claim(s.URL, signalingtest.NewKey(t)).Signature
		},
		"an old nonce": func(r *signalingtest.Raw, m *signaling.Message) {
			m.Signature = holder.Claim(s.URL, victim).Signature
		},
		"another host": func(r *signalingtest.Raw, m *signaling.Message) {
			m.Signature = r.Claim("http://evil.example", victim).Signature
		},
	} {
		r := signalingtest.Connect(t, s.URL)
		m := r.Claim(s.URL, victim)
		change(r, &m)
		r.Send(m)
		r.ExpectEnd(signaling.KindDenied)
		works(t, holder)
		_ = name
	}
	r := signalingtest.Connect(t, s.URL)
	m := r.Claim(s.URL, victim)
	m.Version = 2
	r.Send(m)
	r.ExpectEnd(signaling.KindUnsupported)
	works(t, holder)
}

// What does not belong ends the connection it came on, and no other.
func TestMalformed(t *testing.T) {
	s := signalingtest.Start(t, server.Config{})
	bystander := speak(t, s)
	text := func(s string) func(*signalingtest.Raw) {
		return func(r *signalingtest.Raw) { r.Write(websocket.MessageText, []byte(s)) }
	}
	for _, c := range []struct {
		name    string
		claimed bool
		do      func(*signalingtest.Raw)
		kind    string
	}{
		{"not JSON", true, text("hello"), signaling.KindInvalid},
		{"not JSON before the claim", false, text("hello"), signaling.KindInvalid},
		{"out of order", false, text(`{"type":"ping","id":1}`), signaling.KindInvalid},
		{"a claim too many", true, func(r *signalingtest.Raw) { r.Send(r.Claim(s.URL, signalingtest.NewKey(t))) }, signaling.KindInvalid},
		{"binary", true, func(r *signalingtest.Raw) { r.Write(websocket.MessageBinary, []byte(`{"type":"ping"}`)) }, signaling.KindInvalid},
		{"oversized", true, text(strings.Repeat(" ", signaling.MaxFrame+1)), signaling.KindTooLarge},
		{"far oversized", true, text(strings.Repeat(" ", 3*signaling.MaxFrame)), signaling.KindTooLarge},
		{"a wrong field", true, text(`{"type":"send","id":1,"to":"bob"}`), signaling.KindInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := signalingtest.Connect(t, s.URL)
			if c.claimed {
				r.Send(r.Claim(s.URL, signalingtest.NewKey(t)))
				r.Expect(signaling.TypeClaimed)
			}
			c.do(r)
			r.ExpectEnd(c.kind)
			works(t, bystander)
		})
	}
	r := speak(t, s)
	text(`{"type":"dance","id":5}`)(r)
	if m := r.Expect(signaling.TypeError); m.ID != 5 || m.Kind != signaling.KindUnsupported {
		t.Errorf("unknown request: %+v", m)
	}
	r.Send(signaling.Message{Type: signaling.TypeWelcome, ID: 6, Version: 1, MinVersion: 1, Nonce: make([]byte, 32)})
	if m := r.Expect(signaling.TypeError); m.ID != 6 || m.Kind != signaling.KindUnsupported {
		t.Errorf("a server's message: %+v", m)
	}
	works(t, r)
}

// frame is a client's frame by hand, masked with zeros.
func frame(first byte, masked bool, length int, payload string) []byte {
	out := []byte{first}
	mask := byte(0)
	if masked {
		mask = 0x80
	}
	switch {
	case 0 <= length && length < 126:
		out = append(out, mask|byte(length))
	case 0 <= length && length < 1<<16:
		out = append(out, mask|126, byte(length>>8), byte(length))
	default:
		out = append(out, mask|127, byte(length>>56), byte(length>>48), byte(length>>40), byte(length>>32), byte(length>>24), byte(length>>16), byte(length>>8), byte(length))
	}
	if masked {
		out = append(out, 0, 0, 0, 0)
	}
	return append(out, payload...)
}

// dialRaw does the WebSocket handshake by hand and reads the welcome.
func dialRaw(t testing.TB, s *signalingtest.Server, early []byte) (net.Conn, *bufio.Reader) {
	t.Helper()
	host := strings.TrimPrefix(s.URL, "http://")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	request := "GET /v1/ws HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	if _, err := conn.Write(append([]byte(request), early...)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", resp, err)
	}
	return conn, r
}

func TestMalformedFrames(t *testing.T) {
	s := signalingtest.Start(t, server.Config{Limits: server.Limits{ReadTimeout: 100 * time.Millisecond, ClaimTimeout: 100 * time.Millisecond}})
	bystander := speak(t, s)
	const text, cont, ping, fin = 1, 0, 9, 0x80
	for name, c := range map[string]struct {
		data []byte
		code ws.StatusCode
	}{
		"unmasked":              {frame(fin|text, false, 2, "{}"), ws.StatusProtocolError},
		"reserved bits":         {frame(fin|0x40|text, true, 2, "{}"), ws.StatusProtocolError},
		"unknown opcode":        {frame(fin|3, true, 0, ""), ws.StatusProtocolError},
		"continuation of none":  {frame(fin|cont, true, 2, "{}"), ws.StatusProtocolError},
		"text within a message": {append(frame(text, true, 1, "{"), frame(fin|text, true, 1, "}")...), ws.StatusProtocolError},
		"fragmented ping":       {frame(ping, true, 0, ""), ws.StatusProtocolError},
		"long ping":             {frame(fin|ping, true, 200, strings.Repeat("x", 200)), ws.StatusProtocolError},
		"negative length":       {frame(fin|text, true, -1, ""), ws.StatusProtocolError},
		"endless length":        {frame(fin|text, true, 1<<62, ""), ws.StatusMessageTooBig},
		"too long by a byte":    {frame(fin|text, true, signaling.MaxFrame+1, ""), ws.StatusMessageTooBig},
		"endless fragments": {append(frame(text, true, 40000, strings.Repeat("x", 40000)),
			frame(cont, true, 40000, "x")...), ws.StatusMessageTooBig},
		"stalled message":   {frame(fin|text, true, 60000, "{"), ws.StatusPolicyViolation},
		"stalled fragments": {frame(text, true, 1, "{"), ws.StatusPolicyViolation},
		"nothing at all":    {nil, ws.StatusPolicyViolation},
	} {
		t.Run(name, func(t *testing.T) {
			_, r := dialRaw(t, s, c.data) // also shows that what comes early is not lost
			var last ws.Frame
			for {
				f, err := ws.ReadFrame(r)
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatalf("the server did not hang up: %v", err)
				}
				last = f
			}
			if code, _ := ws.ParseCloseFrameData(last.Payload); last.Header.OpCode != ws.OpClose || code != c.code {
				t.Errorf("the end is %v %d, want %d", last.Header.OpCode, code, c.code)
			}
			works(t, bystander)
		})
	}
}

// A message may come in fragments, with pings in between.
func TestFragments(t *testing.T) {
	s := signalingtest.Start(t, server.Config{})
	r := signalingtest.Connect(t, s.URL)
	claim, err := json.Marshal(r.Claim(s.URL, signalingtest.NewKey(t)))
	if err != nil {
		t.Fatal(err)
	}
	ctx := signalingtest.Within(t)
	w, err := r.WS.Writer(ctx, websocket.MessageText)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range claim {
		if _, err := w.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r.Expect(signaling.TypeClaimed)
	works(t, r)
}

func TestTakeover(t *testing.T) {
	s := signalingtest.Start(t, server.Config{})
	key := signalingtest.NewKey(t)
	old := signalingtest.Speak(t, s.URL, key)
	old.Send(signaling.Message{Type: signaling.TypeNameplate, ID: 1})
	number := old.Expect(signaling.TypeNameplate).Number
	fresh := signalingtest.Speak(t, s.URL, key)
	old.ExpectEnd(signaling.KindReplaced)
	fresh.Send(signaling.Message{Type: signaling.TypeNameplate, ID: 1, Number: number})
	fresh.Expect(signaling.TypeNameplate)
	other := speak(t, s)
	other.Send(signaling.Message{Type: signaling.TypeSend, ID: 1, To: signaling.PlateAddress(number), Body: []byte("x")})
	other.Expect(signaling.TypeSent)
	if m := fresh.Expect(signaling.TypeMessage); m.From != other.Mailbox {
		t.Errorf("got %+v", m)
	}
	shy := signalingtest.Connect(t, s.URL)
	m := shy.Claim(s.URL, key)
	m.Yield = true
	shy.Send(m)
	shy.ExpectEnd(signaling.KindExists)
	works(t, fresh)
}

func TestNameplates(t *testing.T) {
	s := signalingtest.Start(t, server.Config{Limits: server.Limits{NameplateGrace: 100 * time.Millisecond}})
	key := signalingtest.NewKey(t)
	a, b := signalingtest.Speak(t, s.URL, key), speak(t, s)
	numbers := make(map[string]bool)
	for id := range uint64(4) {
		a.Send(signaling.Message{Type: signaling.TypeNameplate, ID: id + 1})
		numbers[a.Expect(signaling.TypeNameplate).Number] = true
	}
	if len(numbers) != 4 {
		t.Fatalf("numbers %v", numbers)
	}
	a.Send(signaling.Message{Type: signaling.TypeNameplate, ID: 9})
	if m := a.Expect(signaling.TypeError); m.Kind != signaling.KindBusy {
		t.Errorf("a fifth nameplate: %+v", m)
	}
	claim := func(r *signalingtest.Raw, number string) signaling.Message {
		r.Send(signaling.Message{Type: signaling.TypeNameplate, ID: 7, Number: number})
		m, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	var first string
	for first = range numbers {
		break
	}
	if m := claim(b, first); m.Kind != signaling.KindExists {
		t.Errorf("another's nameplate: %+v", m)
	}
	// Longer than the grace, and it is still held.
	time.Sleep(300 * time.Millisecond)
	if m := claim(b, first); m.Kind != signaling.KindExists {
		t.Errorf("another's nameplate, later: %+v", m)
	}
	if m := claim(a, first); m.Number != first {
		t.Errorf("one's own nameplate: %+v", m)
	}
	a.Send(signaling.Message{Type: signaling.TypeRelease, ID: 8, Number: first})
	a.Expect(signaling.TypeReleased)
	if m := claim(b, first); m.Number != first {
		t.Errorf("a released nameplate: %+v", m)
	}
	delete(numbers, first)
	_ = a.WS.CloseNow()
	for number := range numbers {
		signalingtest.Eventually(t, "the nameplate is free", func() bool { return claim(b, number).Number == number })
		break
	}
}

// A number comes from the shortest range that is at most half taken.
func TestNameplateRange(t *testing.T) {
	s := signalingtest.Start(t, server.Config{Limits: server.Limits{
		Nameplates: 1000, Plates: server.Rate{PerSecond: 1e6, Burst: 1e6},
		Messages: server.Rate{PerSecond: 1e6, Burst: 1e6}, MessagesPerIP: server.Rate{PerSecond: 1e6, Burst: 1e6},
		NameplateGrace: time.Hour,
	}})
	r := speak(t, s)
	digits := make(map[int]int)
	deadline := time.Now().Add(15 * time.Second)
	for digits[4] == 0 && time.Now().Before(deadline) && digits[3] < 900 {
		r.Send(signaling.Message{Type: signaling.TypeNameplate, ID: 1})
		digits[len(r.Expect(signaling.TypeNameplate).Number)]++
		if digits[3] > 440 {
			time.Sleep(20 * time.Millisecond) // the count is a second old
		}
	}
	if digits[4] == 0 || digits[3] < 450 || digits[3] > 600 {
		t.Errorf("numbers by digits: %v", digits)
	}
}

func TestPresence(t *testing.T) {
	s := signalingtest.Start(t, server.Config{Limits: server.Limits{Watches: 300, AllWatches: 400}})
	w := speak(t, s)
	peers := make([]string, signaling.MaxWatches)
	for i := range peers {
		peers[i] = signaling.MailboxOf(signalingtest.NewKey(t).Public().(ed25519.PublicKey))
	}
	key := signalingtest.NewKey(t)
	one := signalingtest.Speak(t, s.URL, key)
	peers[0] = one.Mailbox
	w.Send(signaling.Message{Type: signaling.TypeWatch, ID: 1, Mailboxes: peers})
	state := make(map[string]bool)
	update := func(m signaling.Message) {
		for _, mailbox := range m.Online {
			state[mailbox] = true
		}
		for _, mailbox := range m.Offline {
			state[mailbox] = false
		}
	}
	for acknowledged := false; !acknowledged || len(state) < len(peers); {
		m, err := w.Next()
		if err != nil {
			t.Fatal(err)
		}
		acknowledged = acknowledged || m.Type == signaling.TypeWatching
		update(m)
	}
	if !state[one.Mailbox] {
		t.Error("who is there counts as offline")
	}
	_ = one.WS.CloseNow()
	for state[one.Mailbox] {
		update(w.Expect(signaling.TypePresence))
	}
	other := speak(t, s)
	other.Send(signaling.Message{Type: signaling.TypeWatch, ID: 1, Mailboxes: peers})
	if m := other.Expect(signaling.TypeError); m.Kind != signaling.KindBusy {
		t.Errorf("more watches than the server has: %+v", m)
	}
	w.Send(signaling.Message{Type: signaling.TypeWatch, ID: 2})
	w.Expect(signaling.TypeWatching)
	other.Send(signaling.Message{Type: signaling.TypeWatch, ID: 2, Mailboxes: peers})
	other.Expect(signaling.TypeWatching)
}

func TestRelays(t *testing.T) {
	s := signalingtest.Start(t, server.Config{
		Relays: func(_ context.Context, mailbox string) ([]signaling.Relay, error) {
			return []signaling.Relay{{URLs: []string{"turn:192.0.2.1"}, Username: mailbox, Password: "p", TTL: 60}}, nil
		},
		Limits: server.Limits{Relays: server.Rate{PerSecond: 1e-9, Burst: 2}},
	})
	r := speak(t, s)
	for range 2 {
		r.Send(signaling.Message{Type: signaling.TypeRelay, ID: 1})
		if m := r.Expect(signaling.TypeRelays); len(m.Relays) != 1 || m.Relays[0].Username != r.Mailbox {
			t.Errorf("relays %+v", m)
		}
	}
	r.Send(signaling.Message{Type: signaling.TypeRelay, ID: 1})
	if m := r.Expect(signaling.TypeError); m.Kind != signaling.KindBusy {
		t.Errorf("relays beyond the rate: %+v", m)
	}
}

func TestOtherResources(t *testing.T) {
	s := signalingtest.Start(t, server.Config{STUN: []string{"stun:192.0.2.1:3478"}, RelayURLs: []string{"turn:192.0.2.1:3478"}})
	speak(t, s)
	get := func(path string) (*http.Response, string) {
		t.Helper()
		resp, err := http.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(body)
	}
	defer http.DefaultClient.CloseIdleConnections()
	if resp, body := get("/healthz"); resp.StatusCode != 200 || body != "ok\n" {
		t.Errorf("healthz: %s %q", resp.Status, body)
	}
	var info signaling.Info
	if _, body := get("/v1/info"); json.Unmarshal([]byte(body), &info) != nil || info.Service != signaling.ServiceName ||
		info.Version != 1 || len(info.STUN) != 1 || len(info.Relays) != 1 {
		t.Errorf("info: %s", body)
	}
	signalingtest.Eventually(t, "the metrics count the client", func() bool {
		_, body := get("/metrics")
		return strings.Contains(body, "tandem_signaling_clients 1\n") &&
			strings.Contains(body, `tandem_signaling_connects_total{result="claimed"} 1`)
	})
	resp, body := get("/j")
	csp := resp.Header.Get("Content-Security-Policy")
	if !strings.Contains(body, "tandem join") || strings.Contains(body, "<script") || !strings.HasPrefix(csp, "default-src 'none'") ||
		resp.Header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("page: %v\n%s", resp.Header, body)
	}
	if resp, _ := get("/v1/ws"); resp.StatusCode < 400 {
		t.Errorf("a GET of the socket: %s", resp.Status)
	}
	if resp, _ := get("/"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("nothing: %s", resp.Status)
	}
}

// get asks a handler directly, as if from somewhere else.
func status(t *testing.T, s *server.Server, remote, path string, header ...string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://signal.example.org"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.RemoteAddr = remote
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := &recorder{header: make(http.Header), status: 200}
	s.ServeHTTP(w, r)
	return w.status
}

type recorder struct {
	header http.Header
	status int
}

func (w *recorder) Header() http.Header         { return w.header }
func (w *recorder) Write(b []byte) (int, error) { return len(b), nil }
func (w *recorder) WriteHeader(status int)      { w.status = status }

func TestProxies(t *testing.T) {
	s := server.New(server.Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	defer s.Close()
	const xff = "X-Forwarded-For"
	for _, c := range []struct {
		remote string
		header []string
		want   int
	}{
		{"127.0.0.1:5", nil, 200},
		{"[::1]:5", nil, 200},
		{"192.0.2.1:5", nil, 403},
		{"192.0.2.1:5", []string{xff, "127.0.0.1"}, 403}, // not from a proxy of ours
		{"10.0.0.1:5", nil, 403},
		{"10.0.0.1:5", []string{xff, "127.0.0.1"}, 200},
		{"10.0.0.1:5", []string{xff, "127.0.0.1, 192.0.2.1"}, 403}, // the first part is the client's invention
		{"10.0.0.1:5", []string{xff, "127.0.0.1", xff, "192.0.2.1, 10.0.0.2"}, 403},
		{"10.0.0.1:5", []string{xff, "nonsense"}, 403},
	} {
		if got := status(t, s, c.remote, "/metrics", c.header...); got != c.want {
			t.Errorf("from %s %v: %d, want %d", c.remote, c.header, got, c.want)
		}
	}
}

func TestHosts(t *testing.T) {
	s := server.New(server.Config{Hosts: []string{"other.example.org"}})
	defer s.Close()
	if got := status(t, s, "192.0.2.1:5", "/v1/ws"); got != http.StatusMisdirectedRequest {
		t.Errorf("a name that is not ours: %d", got)
	}
}

func TestManyClients(t *testing.T) {
	const clients = 1000
	unlimited := server.Rate{PerSecond: 1e6, Burst: 1e6}
	s := signalingtest.Start(t, server.Config{Limits: server.Limits{ClientsPerIP: 2 * clients, Connects: unlimited, MessagesPerIP: unlimited}})
	conns := make([]*signalingtest.Raw, clients)
	var wg sync.WaitGroup
	for worker := range 20 {
		wg.Go(func() {
			for i := worker; i < clients; i += 20 {
				conns[i] = speak(t, s)
			}
		})
	}
	wg.Wait()
	if n := s.Clients(); n != clients {
		t.Fatalf("%d clients", n)
	}
	for i := range conns { // each writes to the next
		to := conns[(i+1)%clients]
		conns[i].Send(signaling.Message{Type: signaling.TypeSend, To: to.Mailbox, Body: []byte{1}})
	}
	for i := range conns {
		from := conns[(i+clients-1)%clients]
		if m := conns[i].Expect(signaling.TypeMessage); m.From != from.Mailbox {
			t.Fatalf("%d got %+v", i, m)
		}
	}
}
