package sshd

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"tandem/session"
)

// fake is a peer whose programs are functions and whose connections are pipes.
type fake struct {
	// run is what programs do; nil refuses them.
	run func(ctx context.Context, p *fakeProgram) (Exit, error)
	// connect is what connections are answered with; nil refuses them.
	connect func(network, address string, far net.Conn)

	mu        sync.Mutex
	started   []Request
	listeners []*fakeListener
	work      sync.WaitGroup
	ended     sync.WaitGroup // programs
}

var errDenied = &session.Error{Op: "x", Kind: session.Denied, Text: "you have not been granted\x1b[2J that", Hint: "Ask."}

func (f *fake) Start(ctx context.Context, r Request) (Program, error) {
	if f.run == nil {
		return nil, errDenied
	}
	f.mu.Lock()
	f.started = append(f.started, r)
	f.mu.Unlock()
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := &fakeProgram{request: r, fake: f, ctx: ctx, cancel: cancel, signals: make(chan string, 16), sizes: make(chan [2]uint32, 16)}
	p.in, p.stdin = io.Pipe()
	return p, nil
}

func (f *fake) requests() []Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.started)
}

// fakeProgram is one that runs.
type fakeProgram struct {
	request     Request
	fake        *fake
	ctx         context.Context //nolint:containedctx // its life
	cancel      context.CancelFunc
	in          *io.PipeReader
	stdin       *io.PipeWriter
	out, errors io.Writer
	signals     chan string
	sizes       chan [2]uint32
}

func (p *fakeProgram) Write(b []byte) (int, error) { return p.stdin.Write(b) }
func (p *fakeProgram) CloseWrite() error           { return p.stdin.Close() }

func (p *fakeProgram) Resize(cols, rows uint32) error {
	p.sizes <- [2]uint32{cols, rows}
	return nil
}

func (p *fakeProgram) Signal(name string) error {
	if name == "WINCH" {
		return errors.ErrUnsupported
	}
	p.signals <- name
	return nil
}

func (p *fakeProgram) Output(stdout, stderr io.Writer) (Exit, error) {
	p.out, p.errors = stdout, stderr
	p.fake.ended.Add(1)
	defer p.fake.ended.Done()
	exit, err := p.fake.run(p.ctx, p)
	_ = p.in.CloseWithError(io.ErrClosedPipe)
	return exit, err
}

func (p *fakeProgram) Close() error {
	p.cancel()
	return p.in.CloseWithError(io.ErrClosedPipe)
}

func (f *fake) Connect(_ context.Context, network, address string) (Conn, error) {
	if f.connect == nil {
		return nil, errDenied
	}
	near, far := halves()
	f.work.Go(func() { f.connect(network, address, far) })
	return near, nil
}

// half is one end of a connection in memory whose directions end separately.
type half struct {
	net.Conn // for what a pipe does as well
	r        *io.PipeReader
	w        *io.PipeWriter
}

func halves() (half, half) {
	ar, bw := io.Pipe()
	br, aw := io.Pipe()
	return half{r: ar, w: aw}, half{r: br, w: bw}
}

func (h half) Read(b []byte) (int, error)  { return h.r.Read(b) }
func (h half) Write(b []byte) (int, error) { return h.w.Write(b) }
func (h half) CloseWrite() error           { return h.w.Close() }
func (h half) Close() error                { return errors.Join(h.w.Close(), h.r.Close()) }

type fakeListener struct {
	network, address string
	dial             Dial
	closed           chan struct{}
}

func (l *fakeListener) Address() string {
	if host, port, err := net.SplitHostPort(l.address); err == nil && port == "0" {
		return net.JoinHostPort(host, "4711")
	}
	return l.address
}

func (l *fakeListener) Close() error {
	close(l.closed)
	return nil
}

func (f *fake) Listen(_ context.Context, network, address string, dial Dial) (Listener, error) {
	if f.run == nil {
		return nil, errDenied
	}
	l := &fakeListener{network, address, dial, make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listeners = append(f.listeners, l)
	return l, nil
}

func (f *fake) listener(i int) *fakeListener {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.listeners[i]
}

// serve runs a server for f and returns a client, and how the server ended.
func serve(t *testing.T, f *fake, config Config) (*ssh.Client, <-chan error) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	config.HostKey, err = ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	near, far := loopback(t)
	served := make(chan error, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		served <- Serve(t.Context(), far, f, config)
	}()
	conn, channels, requests, err := ssh.NewClientConn(near, "peer", &ssh.ClientConfig{
		User: "anyone", HostKeyCallback: ssh.FixedHostKey(config.HostKey.PublicKey()),
	})
	if err != nil {
		t.Fatal(err)
	}
	client := ssh.NewClient(conn, channels, requests)
	t.Cleanup(func() {
		_ = client.Close()
		<-ended
		f.work.Wait()
	})
	return client, served
}

// loopback is a connection: both ends of SSH speak first, which a pipe in
// memory would not bear.
func loopback(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = near.Close() })
	return near, far
}

func newSession(t *testing.T, client *ssh.Client) *ssh.Session {
	t.Helper()
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}
