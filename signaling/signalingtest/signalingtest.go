// Package signalingtest runs signaling servers for tests, and speaks to them
// by hand.
package signalingtest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"tandem/signaling/server"
)

// patience bounds what should come soon; nothing depends on how soon.
const patience = 20 * time.Second

// Within is a context for something that should happen soon.
func Within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// Server is a signaling server on a loopback port. It can be stopped and started again on the
// same address.
type Server struct {
	*server.Server
	URL string

	t    testing.TB
	cfg  server.Config
	addr string
	http *http.Server
	done sync.WaitGroup
}

// Start runs a server until the test ends.
func Start(t testing.TB, cfg server.Config) *Server {
	t.Helper()
	s := &Server{t: t, cfg: cfg, addr: "127.0.0.1:0"}
	s.Up()
	s.URL = "http://" + s.addr
	t.Cleanup(s.Down)
	return s
}

// Up starts the server again after Down, with nothing remembered.
func (s *Server) Up() {
	s.t.Helper()
	listener, err := net.Listen("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.addr = listener.Addr().String()
	s.Server = server.New(s.cfg)
	s.http = s.HTTPServer()
	h := s.http
	s.done.Go(func() { _ = h.Serve(listener) })
}

// Down stops the server without a word to its clients.
func (s *Server) Down() {
	_ = s.http.Close()
	_ = s.Server.Close() //nolint:staticcheck // the field says whose Close it is
	s.done.Wait()
}

// NewKey makes a mailbox key.
func NewKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Eventually waits until ok, asking again and again.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx := Within(t)
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatal("never: ", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
