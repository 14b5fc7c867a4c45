package sessiontest

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"sync"
	"testing"
	"time"

	"tandem/session"
	"tandem/session/link/stream"
)

// Option changes a Pair.
type Option func(*Session)

// Delay makes every message take d to arrive.
func Delay(d time.Duration) Option { return func(s *Session) { s.delay = d } }

// Peer makes a peer called name, always the same.
func Peer(name string) session.Peer {
	seed := sha256.Sum256([]byte(name))
	p := session.Peer{Name: name}
	copy(p.ID[:], ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey))
	return p
}

// Pair connects "alice" and "bob": a is alice's session with bob, b is bob's
// with alice. Streams that bob opens are offered to alice, and those that
// alice opens to bob; a nil Handler rejects everything as NotFound. Both
// sessions are closed when the test ends.
func Pair(t testing.TB, alice, bob session.Handler, opts ...Option) (a, b *Session) {
	a, b = newSession(Peer("bob"), alice), newSession(Peer("alice"), bob)
	a.other, b.other = b, a
	for _, o := range opts {
		o(a)
		o(b)
	}
	t.Cleanup(func() {
		_ = a.Close() // Close returns nil
		_ = b.Close()
	})
	return a, b
}

// Session is one end of a Pair.
type Session struct {
	peer    session.Peer
	handler session.Handler
	other   *Session
	delay   time.Duration
	started time.Time

	done chan struct{}
	work sync.WaitGroup

	mu      sync.Mutex
	err     error
	streams map[*stream.Stream]struct{}
}

var _ session.Session = (*Session)(nil)

func newSession(peer session.Peer, h session.Handler) *Session {
	if h == nil {
		h = Serve()
	}
	return &Session{
		peer: peer, handler: h, started: time.Now(),
		done: make(chan struct{}), streams: make(map[*stream.Stream]struct{}),
	}
}

// Peer is who is at the other end.
func (s *Session) Peer() session.Peer { return s.peer }

// Path is direct.
func (s *Session) Path() session.Path {
	return session.Path{Kind: session.Direct, Since: s.started, RTT: 2 * s.delay}
}

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err is why.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Open offers a stream to the other end's Handler.
func (s *Session) Open(ctx context.Context, h session.Header) (session.Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ours, theirs := Channels(s.delay)
	opts := stream.Options{Peer: s.peer, Local: stream.Addr(s.other.peer.ID.String())}
	st, err := stream.Open(ours, h, opts)
	if err != nil {
		return nil, err
	}
	if err := s.track(st); err != nil {
		_ = theirs.Close() // in memory
		return nil, err
	}
	s.other.serve(theirs)
	return st, nil
}

// serve answers the offer on ch.
func (s *Session) serve(ch stream.Channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		_ = ch.Close() // in memory
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.work.Go(func() { // the session's end is that of the context
		defer cancel()
		select {
		case <-s.done:
		case <-ctx.Done():
		}
	})
	s.work.Go(func() {
		defer cancel()
		o, err := stream.Receive(ctx, ch, stream.Options{Peer: s.peer, Local: stream.Addr(s.other.peer.ID.String())})
		if err != nil || s.track(o.Stream()) != nil {
			return
		}
		s.handler(ctx, o)
		_ = o.Reject(session.Internal, "not answered") // nothing if it was
	})
}

// track makes the end of the session the end of st.
func (s *Session) track(st *stream.Stream) error {
	s.mu.Lock()
	err := s.err
	if err == nil {
		s.streams[st] = struct{}{}
		s.work.Go(func() {
			<-st.Done()
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.streams, st)
		})
	}
	s.mu.Unlock()
	if err != nil {
		st.Fail(err)
		<-st.Done()
	}
	return err
}

// Close ends the session at both ends, as the peer sees it leave. It returns
// when our handlers have returned, so a handler must not call it.
func (s *Session) Close() error {
	s.fail(&session.Error{Op: "session", Kind: session.Canceled, Text: "the session was closed"})
	s.other.fail(&session.Error{Op: "session", Kind: session.Unavailable, Text: "the peer closed the session"})
	s.work.Wait()
	return nil
}

// Cut breaks the path: both sessions die at once, with every stream.
func (s *Session) Cut() {
	err := &session.Error{Op: "session", Kind: session.Unavailable, Text: "the connection to the peer was lost"}
	s.fail(err)
	s.other.fail(err)
}

func (s *Session) fail(err error) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	s.err = err
	streams := s.streams
	s.streams = make(map[*stream.Stream]struct{})
	s.mu.Unlock()
	for st := range streams {
		st.Fail(err)
	}
	close(s.done)
}
