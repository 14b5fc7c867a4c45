package link

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"flag"
	"io"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tandem/session"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Those that run in parallel wait most of the time, whatever the machine.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// device is an Identity in memory.
type device struct{ key ed25519.PrivateKey }

func newDevice(t testing.TB) *device {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &device{key}
}

func (d *device) ID() session.PeerID         { return session.PeerID(d.key.Public().(ed25519.PublicKey)) }
func (d *device) Sign(message []byte) []byte { return ed25519.Sign(d.key, message) }

// pipeEnd is one end of an in-process Signaler; whoever carries envelopes may
// do as it likes to them.
type pipeEnd struct {
	in    chan []byte
	carry func([]byte)
}

func (p *pipeEnd) Send(ctx context.Context, b []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p.carry(bytes.Clone(b))
	return nil
}

func (p *pipeEnd) Receive(ctx context.Context) ([]byte, error) {
	select {
	case b := <-p.in:
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipeEnd) deliver(b []byte) {
	select {
	case p.in <- b:
	default: // best effort
	}
}

// pipe makes two connected Signalers. mangle sees each envelope on its way,
// with the side it comes from, and returns what arrives; nil means to leave it
// alone.
func pipe(mangle func(from role, b []byte) [][]byte) (a, b *pipeEnd) {
	a, b = &pipeEnd{in: make(chan []byte, 256)}, &pipeEnd{in: make(chan []byte, 256)}
	carry := func(from role, to *pipeEnd) func([]byte) {
		return func(body []byte) {
			bodies := [][]byte{body}
			if mangle != nil {
				bodies = mangle(from, body)
			}
			for _, body := range bodies {
				to.deliver(body)
			}
		}
	}
	a.carry, b.carry = carry(offerer, b), carry(answerer, a)
	return a, b
}

func anyone(session.PeerID) error { return nil }

// echo answers every offer by sending back what it reads.
func echo(_ context.Context, o session.Offer) {
	s, err := o.Accept()
	if err != nil {
		return
	}
	_, _ = io.Copy(s, s)
	_ = s.Close()
}

// meet connects two peers and closes them with the test.
func meet(t testing.TB, dial, accept Config) (a, b *Link) {
	t.Helper()
	sigA, sigB := pipe(nil)
	return meetOver(t, dial, accept, sigA, sigB)
}

func meetOver(t testing.TB, dial, accept Config, sigA, sigB session.Signaler) (a, b *Link) {
	t.Helper()
	if dial.Identity == nil {
		dial.Identity = newDevice(t)
	}
	if accept.Identity == nil {
		accept.Identity = newDevice(t)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	var errA, errB error
	wg.Go(func() { b, errB = Accept(ctx, accept, anyone, sigB) })
	a, errA = Dial(ctx, dial, accept.Identity.ID(), sigA)
	wg.Wait()
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(a.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	})
	return a, b
}

func TestMeet(t *testing.T) {
	a, b := meet(t, Config{Handler: echo}, Config{Handler: echo, Name: func(session.PeerID) string { return "Ada" }})
	if b.Peer().Name != "Ada" {
		t.Errorf("name %q", b.Peer().Name)
	}
	for _, l := range []*Link{a, b} {
		s, err := l.Open(t.Context(), session.Header{Service: "echo/1"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(s, "hello"); err != nil {
			t.Fatal(err)
		}
		if err := s.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(s)
		if err != nil || string(got) != "hello" {
			t.Fatalf("echo %q, %v", got, err)
		}
		_ = s.Close()
		if p := l.Path(); p.Kind != session.Direct || p.Local.Type != "host" {
			t.Errorf("path %+v", p)
		}
	}
}
