package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"tandem/session"
)

// TestArrivals: whatever copies arrive, in whatever order, each message is read
// once and in order.
func TestArrivals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.SampledFrom([]uint32{0, 7, 1<<32 - 20}).Draw(t, "first")
		messages := rapid.IntRange(1, 80).Draw(t, "messages")
		var kept atomic.Int64
		a := arrivals{kept: &kept, next: first, arrived: first}
		originals := 0 // how many the channel has brought
		var read []int
		take := func() {
			for {
				m, ok := a.take()
				if !ok {
					return
				}
				read = append(read, int(m[0]))
			}
		}
		readOriginal := func() {
			take()
			if originals == messages {
				return
			}
			if a.original() {
				read = append(read, originals)
			}
			originals++
		}
		t.Repeat(map[string]func(*rapid.T){
			"copy": func(t *rapid.T) {
				n := rapid.IntRange(0, messages-1).Draw(t, "number")
				if a.copy(first+uint32(n), []byte{byte(n)}) && n != len(read) {
					t.Fatalf("copy %d wakes a reader who waits for %d", n, len(read))
				}
			},
			"copies": func(*rapid.T) { take() },
			"read":   func(*rapid.T) { readOriginal() },
			"": func(t *rapid.T) {
				if kept.Load() != int64(len(a.ahead)) || len(a.ahead) > copiesAhead {
					t.Fatalf("%d copies kept, %d counted", len(a.ahead), kept.Load())
				}
			},
		})
		for originals < messages {
			readOriginal()
		}
		take()
		for i, n := range read {
			if i != n {
				t.Fatalf("read %v", read)
			}
		}
		if len(read) != messages || kept.Load() != 0 {
			t.Fatalf("read %d of %d, %d copies left", len(read), messages, kept.Load())
		}
	})
}

// TestCopiesAreBounded: a peer can't make us keep much.
func TestCopiesAreBounded(t *testing.T) {
	var kept atomic.Int64
	a := arrivals{kept: &kept}
	for _, n := range []uint32{copiesAhead, copiesAhead + 1, 1 << 31, 1<<32 - 1} {
		if a.copy(n, []byte("x")); len(a.ahead) != 0 {
			t.Fatalf("copy %d was kept", n)
		}
	}
	var all []*arrivals
	for range 2 * copiesKept / copiesAhead {
		one := &arrivals{kept: &kept}
		for n := range uint32(copiesAhead) {
			one.copy(n, []byte("x"))
		}
		all = append(all, one)
	}
	if kept.Load() != copiesKept {
		t.Errorf("%d copies are kept on one connection", kept.Load())
	}
	for _, one := range all {
		one.close()
		if one.copy(0, []byte("x")); len(one.ahead) != 0 {
			t.Error("a copy was kept for a closed channel")
		}
	}
	if kept.Load() != 0 {
		t.Errorf("%d copies are left", kept.Load())
	}
}

// copySender runs act with copies whose frames it returns, and when they left.
func copySender(t *testing.T, halfRTT time.Duration, act func(c *copies)) (frames [][]byte, at []time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := makeCopies(func() time.Duration { return halfRTT })
		began := time.Now()
		c.write = func(frame []byte) {
			frames, at = append(frames, frame), append(at, time.Since(began))
		}
		c.wanted.Store(true)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			c.run(ctx)
		}()
		act(c)
		time.Sleep(time.Minute)
		cancel()
		<-ended
	})
	return frames, at
}

// TestCopiesLeaveTwice: soon, and after half a round trip within limits.
func TestCopiesLeaveTwice(t *testing.T) {
	for halfRTT, second := range map[time.Duration]time.Duration{
		0: copyUnknown, time.Millisecond: copyLeast, 100 * time.Millisecond: 100 * time.Millisecond, time.Second: copyMost,
	} {
		frames, at := copySender(t, halfRTT, func(c *copies) { c.sent(5, 7, []byte("ab")) })
		if want := []time.Duration{copySoon, second}; !slices.Equal(at, want) {
			t.Errorf("half a round trip of %v: copies after %v, want %v", halfRTT, at, want)
		}
		for _, f := range frames {
			if want := []byte{0, 5, 0, 0, 0, 7, 'a', 'b'}; !bytes.Equal(f, want) {
				t.Errorf("frame %x, want %x", f, want)
			}
		}
	}
}

// TestWhatIsCopied: sparse, short messages, to a peer that understands them.
func TestWhatIsCopied(t *testing.T) {
	frames, _ := copySender(t, 0, func(c *copies) {
		c.sent(1, 0, nil)
		c.sent(1, 1, make([]byte, maxCopied+1))
		c.wanted.Store(false)
		c.sent(1, 2, []byte("x"))
	})
	if len(frames) != 0 {
		t.Errorf("copied %x", frames)
	}
	frames, _ = copySender(t, 0, func(c *copies) {
		for n := range uint32(1000) { // for a second
			c.sent(1, n, make([]byte, maxCopied))
			time.Sleep(time.Millisecond)
		}
	})
	if most := 2 * (copyBurst + copyRate); len(frames) > most || len(frames) < most-4 {
		t.Errorf("1000 messages in a second were copied in %d frames, not %d", len(frames), most)
	}
}

func FuzzCopy(f *testing.F) {
	f.Add([]byte{0, 5, 0, 0, 0, 7, 'a', 'b'})
	f.Add([]byte{0, 5, 0, 0, 0, 7})
	f.Add(make([]byte, copyHeader+maxCopied+1))
	f.Fuzz(func(t *testing.T, frame []byte) {
		id, number, message, ok := parseCopy(frame)
		if ok != (len(frame) > copyHeader && len(frame) <= copyHeader+maxCopied) {
			t.Fatalf("%d bytes: %v", len(frame), ok)
		}
		if ok && !bytes.Equal(appendCopy(nil, id, number, message), frame) {
			t.Fatalf("%x is read as %d %d %x", frame, id, number, message)
		}
	})
}

// TestCopyIsFaster: a copy that comes before its message is read in its place,
// and the message is not read again.
func TestCopyIsFaster(t *testing.T) {
	streams := make(chan session.Stream, 1)
	a, b := meet(t, Config{}, Config{Handler: accepted(streams)})
	out, err := a.Open(t.Context(), session.Header{Service: "test/1"})
	if err != nil {
		t.Fatal(err)
	}
	in := <-streams
	const typeData = 2
	read := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(in, got); err != nil || string(got) != want {
			t.Fatalf("read %q, %v; want %q", got, err, want)
		}
	}
	channel := func() *channel {
		c := b.trunk.copies
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.channels[firstOffererID]
	}()
	arrive := func(number uint32, text string) { channel.offer(number, append([]byte{typeData}, text...)) }
	arrived := func() uint32 {
		channel.mu.Lock()
		defer channel.mu.Unlock()
		return channel.arrivals.arrived
	}
	arrive(2, "b") // before the first
	arrive(1, "a") // 0 is the header
	read("ab")
	// One by one, so that each is a message of its own.
	for number, text := range []string{"a", "b", "c"} {
		if _, err := io.WriteString(out, text); err != nil {
			t.Fatal(err)
		}
		for arrived() < uint32(number)+2 {
			time.Sleep(time.Millisecond)
		}
	}
	read("c")
}

// TestLossySession: with every sixth packet lost, small messages come through
// whole and in order.
func TestLossySession(t *testing.T) {
	wireA, wireB := newWire(), newWire()
	a, b := meet(t, wireA.config(Config{}), wireB.config(Config{Handler: echo}))
	if !a.trunk.copies.wanted.Load() || !b.trunk.copies.wanted.Load() {
		t.Fatal("no copies between two of our own")
	}
	for n, w := range []*wire{wireA, wireB} {
		var mu sync.Mutex
		random := rand.New(rand.NewPCG(1, uint64(n)))
		loses := func(p []byte) bool {
			const dtlsData = 23
			mu.Lock()
			defer mu.Unlock()
			return len(p) > 0 && p[0] == dtlsData && random.IntN(6) == 0
		}
		w.loses.Store(&loses)
	}
	s, err := a.Open(t.Context(), session.Header{Service: "echo/1"})
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint32(100) {
		sent, got := binary.BigEndian.AppendUint32(nil, n), make([]byte, 4)
		if _, err := s.Write(sent); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(sent, got) {
			t.Fatalf("echo of %x: %x, %v", sent, got, err)
		}
	}
	for _, w := range []*wire{wireA, wireB} {
		w.loses.Store(nil)
	}
}
