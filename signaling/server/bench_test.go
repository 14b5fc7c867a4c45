package server_test

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"tandem/signaling"
	"tandem/signaling/server"
)

// TestBenchSignaling measures a server in a process of its own and prints the
// memory of an idle client, with and without TLS, and introductions a second.
// It runs only with TANDEM_BENCH set; TANDEM_BENCH_CLIENTS says how many clients (5000; two
// file descriptors each are needed in all).
func TestBenchSignaling(t *testing.T) {
	if os.Getenv("TANDEM_BENCH") == "" {
		t.Skip("set TANDEM_BENCH=1 to measure")
	}
	clients := 5000
	if n, err := strconv.Atoi(os.Getenv("TANDEM_BENCH_CLIENTS")); err == nil {
		clients = n
	}
	for _, secure := range []bool{false, true} {
		b := fork(t, secure)
		before := b.rss()
		idle := make([]*benchClient, clients)
		start := time.Now()
		parallel(50, clients, func(i int) { idle[i] = b.client(t) })
		elapsed := time.Since(start)
		after := b.rss()
		each := float64(after-before) / float64(clients)
		name := "plain"
		if secure {
			name = "TLS"
		}
		fmt.Printf("%-5s  idle clients %d  server RSS %.1f -> %.1f MiB  %.1f KiB each  %.0f per GiB (goal 100000, ratio %.2f)  connects %.0f/s\n",
			name, clients, mib(before), mib(after), each/1024, (1<<30)/each, (1<<30)/each/100_000, float64(clients)/elapsed.Seconds())

		const pairs = 50
		rounds := 40
		start = time.Now()
		parallel(pairs, pairs, func(i int) {
			for range rounds {
				introduce(t, idle[2*i], idle[2*i+1])
			}
		})
		elapsed = time.Since(start)
		fmt.Printf("%-5s  introductions %.0f/s (nameplate, 3 messages there and 2 back, release; %d at once, both ends and the server on %d cores)\n",
			name, float64(pairs*rounds)/elapsed.Seconds(), pairs, runtime.NumCPU())
		for _, c := range idle {
			_ = c.conn.Close()
		}
		b.stop()
	}
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

func parallel(workers, n int, do func(i int)) {
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				do(i)
			}
		})
	}
	wg.Wait()
}

// introduce is what pairing asks of a server.
func introduce(t *testing.T, host, guest *benchClient) {
	number := host.ask(t, signaling.Message{Type: signaling.TypeNameplate, ID: 1}).Number
	to := signaling.PlateAddress(number)
	body := make([]byte, 500)
	for i := range 3 {
		guest.ask(t, signaling.Message{Type: signaling.TypeSend, ID: 1, To: to, Body: body})
		m := host.read(t)
		if to = m.From; i < 2 {
			host.ask(t, signaling.Message{Type: signaling.TypeSend, ID: 1, To: m.From, Body: body})
			to = guest.read(t).From
		}
	}
	host.ask(t, signaling.Message{Type: signaling.TypeRelease, ID: 1, Number: number})
}

// benchServer is a server in another process.
type benchServer struct {
	t      *testing.T
	addr   string
	secure bool
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
}

func fork(t *testing.T, secure bool) *benchServer {
	t.Helper()
	b := &benchServer{t: t, secure: secure, cmd: exec.Command(os.Args[0])}
	b.cmd.Env = append(os.Environ(), "SIGNALING_BENCH_SERVER="+strconv.FormatBool(secure))
	b.cmd.Stderr = os.Stderr
	var err error
	if b.in, err = b.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	b.out = bufio.NewReader(out)
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b.addr = b.line()
	return b
}

func (b *benchServer) line() string {
	b.t.Helper()
	line, err := b.out.ReadString('\n')
	if err != nil {
		b.t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// rss is the server's resident memory in bytes, once it has settled.
func (b *benchServer) rss() int64 {
	b.t.Helper()
	if _, err := io.WriteString(b.in, "rss\n"); err != nil {
		b.t.Fatal(err)
	}
	n, err := strconv.ParseInt(b.line(), 10, 64)
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

func (b *benchServer) stop() {
	_ = b.in.Close()
	if err := b.cmd.Wait(); err != nil {
		b.t.Error(err)
	}
}

// runForked is the other process: it serves until its input ends.
func runForked() bool {
	secure, forked := os.LookupEnv("SIGNALING_BENCH_SERVER")
	if !forked {
		return false
	}
	unlimited := server.Rate{PerSecond: 1e9, Burst: 1e9}
	s := server.New(server.Config{Limits: server.Limits{
		Clients: 1e6, ClientsPerIP: 1e6, Connects: unlimited, Messages: unlimited, MessagesPerIP: unlimited,
		Plates: unlimited, Guesses: unlimited, IdleTimeout: time.Hour,
	}})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr())
	h := s.HTTPServer()
	if secure == "true" {
		// The test certificate of httptest.
		t := httptest.NewUnstartedServer(http.NotFoundHandler())
		t.StartTLS()
		h.TLSConfig = &tls.Config{Certificates: t.TLS.Certificates}
		t.Close()
		listener = tls.NewListener(listener, h.TLSConfig)
	}
	go func() { _ = h.Serve(listener) }()
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		// What matters is what stays: collect often enough for stacks to shrink.
		for range 5 {
			runtime.GC()
		}
		debug.FreeOSMemory()
		statm, err := os.ReadFile("/proc/self/statm")
		if err != nil {
			panic(err)
		}
		pages, err := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
		if err != nil {
			panic(err)
		}
		fmt.Println(pages * int64(os.Getpagesize()))
	}
	_ = h.Close()
	_ = s.Close()
	return true
}

// benchClient is a client that costs little, so that many fit beside the server.
type benchClient struct {
	conn    net.Conn
	mailbox string
}

func (b *benchServer) client(t *testing.T) *benchClient {
	conn, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
	if b.secure {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // the certificate is for another name
	}
	request := "GET /v1/ws HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		t.Error(err)
		runtime.Goexit()
	}
	for tail := ""; tail != "\r\n\r\n"; { // byte by byte, so that nothing of the welcome is taken
		var c [1]byte
		if _, err := conn.Read(c[:]); err != nil {
			t.Error(err)
			runtime.Goexit()
		}
		tail += string(c[:])
		tail = tail[max(0, len(tail)-4):]
	}
	c := &benchClient{conn: conn}
	welcome := c.read(t)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
	c.mailbox = c.ask(t, signaling.Message{
		Type: signaling.TypeClaim, Version: 1, Key: key.Public().(ed25519.PublicKey),
		Signature: ed25519.Sign(key, signaling.ClaimBytes(welcome.Nonce, "bench")),
	}).Mailbox
	return c
}

// ask writes m and reads the next message, which answers it here.
func (c *benchClient) ask(t *testing.T, m signaling.Message) signaling.Message {
	data, err := json.Marshal(m)
	if err == nil {
		err = ws.WriteFrame(c.conn, ws.MaskFrame(ws.NewTextFrame(data)))
	}
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
	return c.read(t)
}

func (c *benchClient) read(t *testing.T) signaling.Message {
	f, err := ws.ReadFrame(c.conn)
	var m signaling.Message
	if err == nil {
		m, err = signaling.Decode(f.Payload)
	}
	if err == nil && m.Type == signaling.TypeError {
		err = fmt.Errorf("%s: %s", m.Kind, m.Text)
	}
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
	return m
}
