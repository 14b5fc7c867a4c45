package link

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/datachannel"

	"tandem/session"
	"tandem/session/link/stream"
)

// within runs f and wants it to return in time.
func within(t *testing.T, limit time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatalf("%s took more than %v", what, limit)
	}
}

// Nobody answers: the dialler fails when its context does, and so does a
// waiting answerer.
func TestNobodyThere(t *testing.T) {
	sig, far := pipe(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := Dial(ctx, Config{Identity: newDevice(t)}, newDevice(t).ID(), sig)
	wantKind(t, "dial", err, session.Timeout)
	far.in = make(chan []byte) // nothing ever arrives
	_, err = Accept(ctx, Config{Identity: newDevice(t)}, anyone, far)
	wantKind(t, "accept", err, session.Timeout)
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	_, err = Dial(ctx, Config{Identity: newDevice(t)}, newDevice(t).ID(), sig)
	wantKind(t, "canceled", err, session.Canceled)
}

// The peer vanishes after S1, after S2, after DTLS.
func TestVanishes(t *testing.T) {
	t.Run("after S1", func(t *testing.T) {
		t.Parallel()
		sigA, sigB := pipe(nil)
		bob := newDevice(t)
		dialCtx, cancelDial := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancelDial()
		_, err := Dial(dialCtx, Config{Identity: newDevice(t)}, bob.ID(), sigA)
		wantKind(t, "dial", err, session.Timeout)
		ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
		defer cancel()
		_, err = Accept(ctx, Config{Identity: bob}, anyone, sigB)
		wantKind(t, "accept", err, session.Timeout)
	})
	t.Run("after S2", func(t *testing.T) {
		t.Parallel()
		w := newWire()
		w.relay.Store(nowhere) // S1 and S2 get through, nothing else does
		sigA, sigB := pipe(nil)
		bob := newDevice(t)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := Accept(ctx, w.config(Config{Identity: bob}), anyone, sigB)
			wantKind(t, "accept", err, session.Timeout)
		})
		_, err := Dial(ctx, w.config(Config{Identity: newDevice(t)}), bob.ID(), sigA)
		wantKind(t, "dial", err, session.Timeout)
		wg.Wait()
	})
	t.Run("after DTLS", func(t *testing.T) {
		t.Parallel()
		err := hostile(t, Config{}, nothing, func(p *conn) { _ = p.dtls.Close() })
		wantKind(t, "accept", err, session.Unavailable)
	})
	t.Run("after S3", func(t *testing.T) {
		t.Parallel()
		err := hostile(t, Config{}, nothing, func(p *conn) {
			if err := p.confirm(); err != nil {
				t.Error(err)
			}
			_ = p.dtls.Close()
		})
		wantKind(t, "accept", err, session.Unavailable)
	})
}

// One peer closes: the other learns it at once, and so do streams and handlers
// on both sides.
func TestClose(t *testing.T) {
	var ended atomic.Int32
	streams := make(chan session.Stream, 1)
	a, b := meet(t, Config{}, Config{Handler: func(ctx context.Context, o session.Offer) {
		s, err := o.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		streams <- s
		<-ctx.Done()
		ended.Add(1)
	}})
	s, err := a.Open(t.Context(), session.Header{Service: "wait/1"})
	if err != nil {
		t.Fatal(err)
	}
	far := <-streams
	if a.Err() != nil || b.Err() != nil {
		t.Errorf("%v %v before the end", a.Err(), b.Err())
	}
	within(t, 2*time.Second, "Close", func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	within(t, 2*time.Second, "the peer's Done", func() { <-b.Done() })
	for what, err := range map[string]error{"here": a.Err(), "there": b.Err()} {
		wantKind(t, what, err, session.Canceled)
	}
	for what, s := range map[string]session.Stream{"here": s, "there": far} {
		_, err := s.Read(make([]byte, 1))
		wantKind(t, "stream "+what, err, session.Canceled)
	}
	if err := errors.Join(b.Close(), a.Close()); err != nil {
		t.Error(err)
	}
	if ended.Load() != 1 {
		t.Error("the handler's context did not end")
	}
}

// What was written before a stream was closed arrives although the session is
// closed right after.
func TestCloseFlushes(t *testing.T) {
	const size = 200 << 10
	got := make(chan int, 1)
	a, _ := meet(t, Config{}, Config{Handler: func(_ context.Context, o session.Offer) {
		s, err := o.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		n, _ := io.Copy(io.Discard, s)
		_ = s.Close()
		got <- int(n)
	}})
	s, err := a.Open(t.Context(), session.Header{Service: "sink/1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(s); err != nil { // the far end has read it all
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if n := <-got; n != size {
		t.Errorf("%d of %d bytes arrived", n, size)
	}
}

func TestUnanswered(t *testing.T) {
	a, b := meet(t, Config{}, Config{Handler: func(context.Context, session.Offer) {}})
	for what, l := range map[string]*Link{"a handler that does nothing": a, "no handler": b} {
		s, err := l.Open(t.Context(), session.Header{Service: "x/1"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Read(make([]byte, 1))
		wantKind(t, what, err, session.Unsupported)
	}
}

// A peer that opens what is not a stream of ours harms nobody but itself.
func TestOddChannels(t *testing.T) {
	a, b := meet(t, Config{}, Config{Handler: echo})
	open := func(id uint16, config *datachannel.Config, first []byte) *datachannel.DataChannel {
		dc, err := datachannel.Dial(a.trunk.sctp, id, config)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := dc.Write(first); err != nil {
			t.Fatal(err)
		}
		return dc
	}
	header := append([]byte{1}, `{"service":"echo/1"}`...)
	unreliable := channelConfig(false, a.trunk.log)
	unreliable.ChannelType = datachannel.ChannelTypePartialReliableRexmit
	for what, dc := range map[string]*datachannel.DataChannel{
		"the answerer's ID":  open(1000, channelConfig(false, a.trunk.log), header),
		"unreliable":         open(1001, unreliable, header),
		"without a DCEP":     open(1003, channelConfig(true, a.trunk.log), header),
		"without a header":   open(1005, channelConfig(false, a.trunk.log), []byte{2, 'x'}),
		"an unknown frame":   open(1007, channelConfig(false, a.trunk.log), []byte{99}),
		"a malformed header": open(1009, channelConfig(false, a.trunk.log), []byte{1, '{'}),
	} {
		within(t, 5*time.Second, what, func() {
			buf := make([]byte, 1<<16)
			for {
				if _, err := dc.Read(buf); err != nil {
					return
				}
			}
		})
	}
	s, err := a.Open(t.Context(), session.Header{Service: "echo/1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(s, make([]byte, 1)); err != nil {
		t.Error("a good stream after them:", err)
	}
	if b.Err() != nil {
		t.Error(b.Err())
	}
}

func TestTooManyStreams(t *testing.T) {
	a, b := meet(t, Config{}, Config{Handler: func(ctx context.Context, o session.Offer) {
		if _, err := o.Accept(); err != nil {
			t.Error(err)
		}
	}})
	b.mu.Lock()
	b.incoming = MaxStreams // as if that many were open
	b.mu.Unlock()
	s, err := a.Open(t.Context(), session.Header{Service: "x/1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err = s.Read(make([]byte, 1))
	wantKind(t, "the peer's limit", err, session.Busy)
	a.mu.Lock()
	a.opened = MaxStreams
	a.mu.Unlock()
	_, err = a.Open(t.Context(), session.Header{Service: "x/1"})
	wantKind(t, "our own", err, session.Busy)
}

// Stream IDs go round without meeting one that is in use.
func TestStreamIDs(t *testing.T) {
	for _, r := range []role{offerer, answerer} {
		l := &Link{config: Config{}.prepared(), streams: make(map[uint16]*stream.Stream), nextID: maxStreamID - 3, role: r}
		if r == answerer {
			l.nextID = maxStreamID - 2
		}
		first, err := l.reserve()
		if err != nil {
			t.Fatal(err)
		}
		seen := map[uint16]bool{first: true}
		for range 10 {
			id, err := l.reserve()
			if err != nil {
				t.Fatal(err)
			}
			if seen[id] || id%2 != first%2 || id == 0 || id > maxStreamID {
				t.Fatalf("%s: %d after %v", r, id, seen)
			}
			seen[id] = true
		}
	}
}
