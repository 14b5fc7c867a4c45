package link

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"tandem/session"
)

// bulky is pseudo-random content of n bytes, and its hash.
func bulky(n int) (io.Reader, [sha256.Size]byte) {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // never fails
	return bytes.NewReader(b), sha256.Sum256(b)
}

// liveLanes are the lanes a link has now.
func (l *Link) liveLanes() []*lane {
	l.lanes.mu.Lock()
	defer l.lanes.mu.Unlock()
	return append([]*lane(nil), l.lanes.live...)
}

// settled says whether nothing is kept for any bulk stream.
func (ls *lanes) settled() bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.retained == 0 && ls.kept == 0 && len(ls.stripes) == 0
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(4 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen", what)
		}
	}
}

// copyBulk sends content through an echo on one bulk stream.
func copyBulk(t *testing.T, near *Link, size int) {
	t.Helper()
	s, err := near.Open(t.Context(), session.Header{Service: "echo/1", Bulk: true})
	if err != nil {
		t.Fatal(err)
	}
	content, want := bulky(size)
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(s, content)
		if err == nil {
			err = s.CloseWrite()
		}
		sent <- err
	}()
	h := sha256.New()
	n, err := io.Copy(h, s)
	if err != nil || n != int64(size) || [sha256.Size]byte(h.Sum(nil)) != want {
		t.Errorf("%d of %d bytes came back, %v", n, size, err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	_ = s.Close()
}

// notShort skips what moves megabytes: with the race detector on a busy machine
// that takes minutes.
func notShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("moves megabytes; not with -short")
	}
}

// withLanes connects two peers that echo, and keeps them busy until they have
// lanes.
func withLanes(t *testing.T) (near, far *Link) {
	t.Helper()
	notShort(t)
	near, far = meet(t, packetsOnly(Config{}), Config{Handler: echo})
	eventually(t, "a lane on both sides", func() bool {
		copyBulk(t, near, 256<<10)
		return len(near.liveLanes()) > 0 && len(far.liveLanes()) > 0
	})
	return near, far
}

func TestBulkUsesLanes(t *testing.T) {
	t.Parallel()
	near, far := withLanes(t)
	before := near.trunk.sctp.BytesSent()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { copyBulk(t, near, 1<<20) })
	}
	wg.Wait()
	if trunk := near.trunk.sctp.BytesSent() - before; trunk > 2<<20 {
		t.Errorf("%d of %d bytes went by the trunk", trunk, 3<<20)
	}
	for _, l := range []*Link{near, far} {
		eventually(t, "acknowledgement of all", l.lanes.settled)
		var sent, received uint64
		for _, lane := range l.Lanes() {
			sent, received = sent+lane.Sent, received+lane.Received
			if !lane.Remote.Addr.IsValid() || lane.Since.IsZero() {
				t.Errorf("a lane that nobody knows anything about: %+v", lane)
			}
		}
		if sent < 2<<20 || received < 2<<20 {
			t.Errorf("the lanes say that they have carried %d and %d bytes of %d", sent, received, 3<<20)
		}
	}
}

// A peer without lanes, such as a browser, has bulk streams like any others.
func TestBulkWithoutLanes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string][2]Config{
		"dialer": {{NoLanes: true}, {Handler: echo}}, "accepter": {{}, {Handler: echo, NoLanes: true}},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := meet(t, c[0], c[1])
			copyBulk(t, near, 256<<10)
			if len(near.liveLanes())+len(far.liveLanes()) != 0 {
				t.Error("lanes were opened")
			}
		})
	}
}

// Lanes break all the time, and nothing is lost.
func TestBulkOutlivesLanes(t *testing.T) {
	t.Parallel()
	near, far := withLanes(t)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(30 * time.Millisecond):
			}
			side := near
			if i%2 == 1 {
				side = far
			}
			if lanes := side.liveLanes(); len(lanes) > 0 {
				lanes[0].conn.fail(session.Errorf("test", session.Unavailable, "broken by the test"))
			}
		}
	}()
	for range 3 {
		copyBulk(t, near, 1<<20)
	}
	close(stop)
	<-stopped
	for _, l := range []*Link{near, far} {
		eventually(t, "acknowledgement of all", l.lanes.settled)
		if err := l.Err(); err != nil {
			t.Error(err)
		}
	}
}

// The revocation of a permission does not wait for the bulk data before it.
func TestBulkReset(t *testing.T) {
	t.Parallel()
	notShort(t)
	streams := make(chan session.Stream, 1)
	near, far := meet(t, Config{}, Config{Handler: accepted(streams)})
	s, err := near.Open(t.Context(), session.Header{Service: "sink/1", Bulk: true})
	if err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() {
		for buf := make([]byte, 64<<10); ; {
			if _, err := s.Write(buf); err != nil {
				written <- err
				return
			}
		}
	}()
	sink := <-streams
	if _, err := io.CopyN(io.Discard, sink, 1<<20); err != nil {
		t.Fatal(err)
	}
	_ = sink.Reset(session.Errorf("serve", session.Revoked, "permission was withdrawn"))
	if err := <-written; session.KindOf(err) != session.Revoked {
		t.Errorf("Write = %v", err)
	}
	for _, l := range []*Link{near, far} {
		eventually(t, "forgetting", l.lanes.settled)
	}
}

// A peer that offers lanes by the thousand gets a few, and the session goes on.
func TestLaneFlood(t *testing.T) {
	t.Parallel()
	notShort(t)
	near, far := meet(t, Config{}, Config{Handler: echo})
	for n := range 2000 {
		e := envelope{
			Type: typeOffer, From: &session.PeerID{1}, To: &session.PeerID{2}, Nonce: make([]byte, nonceSize),
			Expires: time.Now().Add(offerLifetime).Unix(), SDP: "v=0", Sig: []byte{1},
		}
		b, err := e.marshal()
		if err != nil {
			t.Fatal(err)
		}
		if err := near.trunk.send(envelope{Type: typeLane, Number: uint64(2*n + 1), Lane: b}); err != nil {
			t.Fatal(err)
		}
		far.lanes.mu.Lock()
		open := len(far.lanes.signals)
		far.lanes.mu.Unlock()
		if open > maxLanes {
			t.Fatalf("%d lanes are being set up", open)
		}
	}
	copyBulk(t, near, 1<<20)
}

// The set-up of a lane that was recorded in one session is of no use in another
// between the same peers, nor under another number.
func TestLaneReplay(t *testing.T) {
	t.Parallel()
	alice, bob := newDevice(t), newDevice(t)
	near, far := meet(t, Config{Identity: alice}, Config{Identity: bob, Handler: echo})
	_, other := meet(t, Config{Identity: alice}, Config{Identity: bob, Handler: echo})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sent := make(chan []byte, 8)
	sig := &pipeEnd{in: make(chan []byte), carry: func(b []byte) {
		select {
		case sent <- b:
		default:
		}
	}}
	dialled := make(chan struct{})
	go func() {
		defer close(dialled)
		if c, err := connect(ctx, near.lanes.config, laneKind(1), offerer, bob.ID(), nil, sig, nil); err == nil {
			c.close(nil)
		}
	}()
	offer, err := parseEnvelope(<-sent)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-dialled
	verify := func(l *Link, kind string) error {
		_, _, err := verifyOffer(&offer, bob.ID(), kind, contextDigest(l.lanes.config.Context), time.Now())
		return err
	}
	if err := verify(far, laneKind(1)); err != nil {
		t.Errorf("in its own session: %v", err)
	}
	if err := verify(other, laneKind(1)); session.KindOf(err) != session.Integrity {
		t.Errorf("in another session: %v", err)
	}
	for _, kind := range []string{laneKind(3), kindTrunk} {
		if err := verify(far, kind); session.KindOf(err) != session.Integrity {
			t.Errorf("as %s: %v", kind, err)
		}
	}
}

// bulkPair is a bulk stream and the stripes below its ends.
func bulkPair(t *testing.T) (near, far *Link, ours, theirs *stripe) {
	t.Helper()
	streams := make(chan session.Stream, 1)
	near, far = meet(t, Config{}, Config{Handler: accepted(streams)})
	if _, err := near.Open(t.Context(), session.Header{Service: "sink/1", Bulk: true}); err != nil {
		t.Fatal(err)
	}
	<-streams
	find := func(l *Link) (st *stripe) {
		l.lanes.mu.Lock()
		defer l.lanes.mu.Unlock()
		for _, st = range l.lanes.stripes {
		}
		return st
	}
	return near, far, find(near), find(far)
}

// A peer that numbers its messages as no honest one does ends its session.
func TestLaneLies(t *testing.T) {
	t.Parallel()
	notShort(t)
	data := append([]byte{2}, make([]byte, 16<<10)...)
	for name, lie := range map[string]func(t *testing.T, ours *stripe){
		"far ahead": func(t *testing.T, ours *stripe) {
			if err := ours.byTrunk(ours.number+maxAhead, data); err != nil {
				t.Error(err)
			}
		},
		"never the next one": func(_ *testing.T, ours *stripe) {
			for n := uint32(1); n < maxAhead; n++ {
				if ours.byTrunk(ours.number+n, data) != nil {
					return // the peer has had enough
				}
			}
		},
		"too short": func(t *testing.T, ours *stripe) {
			if err := ours.trunk.write([]byte{1, 2}); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			near, far, ours, _ := bulkPair(t)
			done := make(chan struct{})
			go func() {
				defer close(done)
				lie(t, ours)
			}()
			<-far.Done()
			if kind := session.KindOf(far.Err()); kind != session.Integrity && kind != session.Invalid {
				t.Errorf("the session ended with %v", far.Err())
			}
			_ = near.Close()
			<-done
			far.lanes.mu.Lock()
			defer far.lanes.mu.Unlock()
			if far.lanes.kept > maxKept+len(data)+keptCost {
				t.Errorf("%d bytes are kept", far.lanes.kept)
			}
		})
	}
}

// An acknowledgement of what was never sent frees nothing that is under way.
func TestLaneAcknowledgementLies(t *testing.T) {
	t.Parallel()
	_, _, ours, _ := bulkPair(t)
	ours.mu.Lock()
	ours.number = 10
	ours.mu.Unlock()
	ours.unacked = []unacked{{number: 9, size: 2}}
	ours.lanes.retain(2)
	ours.acknowledged(1000)
	ours.mu.Lock()
	if len(ours.unacked) != 1 || ours.acked > 10 {
		t.Errorf("%d unacknowledged, next %d", len(ours.unacked), ours.acked)
	}
	ours.mu.Unlock()
	ours.acknowledged(10)
	ours.mu.Lock()
	defer ours.mu.Unlock()
	if len(ours.unacked) != 0 {
		t.Error("an acknowledgement was not taken")
	}
}
