//go:build linux

package natlab

import (
	"encoding/binary"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// bench is a pipe under test: it notes what comes out when, and is drained by hand.
type bench struct {
	*pipe
	start time.Time
	sent  uint64
	got   []uint64        // numbers of the packets that came out
	at    []time.Duration // and when
}

func newBench(l Link) *bench {
	b := &bench{start: time.Now()}
	pool := &sync.Pool{New: func() any { return new(frame) }}
	b.pipe = newPipe("bench", l, pool, func(f *frame) {
		b.got = append(b.got, binary.BigEndian.Uint64(f.bytes()))
		b.at = append(b.at, time.Since(b.start))
	})
	b.run = &runner{} // one without a timer
	return b
}

// offer sends a numbered packet of n bytes.
func (b *bench) offer(n int) {
	f := &frame{n: n}
	binary.BigEndian.PutUint64(f.bytes(), b.sent)
	b.sent++
	b.send(f)
}

// settle lets the pipe deliver what it holds.
func (b *bench) settle() {
	for {
		d := b.drain()
		if d == 0 {
			return
		}
		time.Sleep(d)
	}
}

func TestPerfectLinkDeliversAtOnce(t *testing.T) {
	b := newBench(Link{})
	for range 10 {
		b.offer(1500)
	}
	if len(b.got) != 10 || b.count != (Traffic{Bytes: 15000, Packets: 10}) {
		t.Errorf("of 10 packets %d came out at once, counted as %+v", len(b.got), b.count)
	}
}

func TestDelayAndRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(Link{Delay: 25 * time.Millisecond, Rate: 10_000_000}) // 1.2 ms for 1500 bytes
		for range 50 {
			b.offer(1500)
		}
		b.settle()
		if len(b.got) != 50 {
			t.Fatalf("%d of 50 packets came out", len(b.got))
		}
		for i, at := range b.at {
			due := 25*time.Millisecond + time.Duration(i+1)*1200*time.Microsecond
			if at < due || at > due+leastSleep {
				t.Errorf("packet %d came out after %v, want %v", i, at, due)
			}
		}
	})
}

func TestQueueLimit(t *testing.T) {
	for _, c := range []struct {
		link Link
		want int // of 200 packets of 1500 bytes at once; one of them is being sent, the others wait
	}{
		{Link{Rate: 10_000_000, Queue: 12 * time.Millisecond}, 11},
		{Link{Rate: 10_000_000, QueueBytes: 15000}, 11},
		{Link{Rate: 10_000_000}, 84}, // 100 ms
		{Link{Rate: 1_000_000}, 44},  // 64 KiB
		{Link{Rate: 100_000_000}, 200},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(c.link)
			for range 200 {
				b.offer(1500)
			}
			b.settle()
			if len(b.got) != c.want || b.count.Dropped != int64(200-c.want) {
				t.Errorf("%+v: %d packets came out and %d were dropped, want %d and %d",
					c.link, len(b.got), b.count.Dropped, c.want, 200-c.want)
			}
		})
	}
}

func TestLossIsSeeded(t *testing.T) {
	run := func(seed uint64, delay time.Duration) (got []uint64) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(Link{Loss: 0.1, Seed: seed, Delay: delay})
			for range 10000 {
				b.offer(100)
			}
			b.settle()
			if b.count.Lost+b.count.Packets != 10000 {
				t.Errorf("%d lost and %d delivered of 10000", b.count.Lost, b.count.Packets)
			}
			got = b.got
		})
		return got
	}
	first := run(1, 0)
	if lost := 10000 - len(first); lost < 800 || lost > 1200 {
		t.Errorf("%d of 10000 packets lost at 10 %%", lost)
	}
	if !slices.Equal(first, run(1, 0)) || !slices.Equal(first, run(1, time.Second)) {
		t.Error("the same seed lost other packets")
	}
	if slices.Equal(first, run(2, 0)) {
		t.Error("another seed lost the same packets")
	}
}

func TestMTUSwallows(t *testing.T) {
	b := newBench(Link{MTU: 1280})
	b.offer(1280)
	b.offer(1281)
	if !slices.Equal(b.got, []uint64{0}) || b.count.TooBig != 1 {
		t.Errorf("packets %v passed an MTU of 1280, counted as %+v", b.got, b.count)
	}
}

func TestCutLosesWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(Link{Delay: time.Second})
		b.offer(100)
		b.setCut(true)
		b.offer(100)
		time.Sleep(2 * time.Second)
		b.settle()
		if len(b.got) != 0 || b.count.Cut != 2 {
			t.Errorf("packets %v crossed a cut link, counted as %+v", b.got, b.count)
		}
		b.setCut(false)
		b.offer(100)
		b.settle()
		if !slices.Equal(b.got, []uint64{2}) {
			t.Errorf("after the repair packets %v came out, want packet 2", b.got)
		}
	})
}

// TestPipeKeepsCountAndOrder changes a link at random while packets cross it: packets stay in order,
// none comes early, and each is accounted for.
func TestPipeKeepsCountAndOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A bubble's clock has no deadline, and testing panics when rapid asks for it.
		rapid.Check(struct{ rapid.TB }{t}, func(r *rapid.T) {
			b := newBench(Link{Seed: rapid.Uint64().Draw(r, "seed")})
			var sentAt, least []time.Duration
			r.Repeat(map[string]func(*rapid.T){
				"send": func(r *rapid.T) {
					for range rapid.IntRange(1, 40).Draw(r, "n") {
						sentAt = append(sentAt, time.Since(b.start))
						least = append(least, b.link.Delay)
						b.offer(rapid.IntRange(20, 1500).Draw(r, "size"))
					}
				},
				"change": func(r *rapid.T) {
					b.change(func(l *Link) {
						l.Delay = time.Duration(rapid.IntRange(0, 50).Draw(r, "delay")) * time.Millisecond
						l.Jitter = time.Duration(rapid.IntRange(0, 5).Draw(r, "jitter")) * time.Millisecond
						l.Rate = int64(rapid.IntRange(0, 3).Draw(r, "rate")) * 1_000_000
						l.Loss = float64(rapid.IntRange(0, 2).Draw(r, "loss")) / 4
						l.MTU = rapid.SampledFrom([]int{0, 1280}).Draw(r, "mtu")
					})
				},
				"cut":  func(r *rapid.T) { b.setCut(true) },
				"mend": func(r *rapid.T) { b.setCut(false) },
				"wait": func(r *rapid.T) {
					b.drain()
					time.Sleep(time.Duration(rapid.IntRange(0, 20).Draw(r, "ms")) * time.Millisecond)
					b.drain()
				},
				"": func(r *rapid.T) {
					c := b.count
					sum := c.Packets + c.Lost + c.Dropped + c.TooBig + c.Cut + int64(b.queue.len())
					if sum != int64(b.sent) || c.Packets != int64(len(b.got)) {
						r.Fatalf("%d packets offered, %d came out, %d wait, counted as %+v", b.sent, len(b.got), b.queue.len(), c)
					}
					if !slices.IsSorted(b.got) {
						r.Fatalf("packets came out as %v", b.got)
					}
					for i, n := range b.got {
						if b.at[i] < sentAt[n]+least[n] {
							r.Fatalf("packet %d, sent at %v over %v, came out at %v", n, sentAt[n], least[n], b.at[i])
						}
					}
				},
			})
		})
	})
}

func TestRunner(t *testing.T) {
	ran := make(chan time.Time)
	r := startRunner(func() { ran <- time.Now() })
	defer r.close()
	r.after(time.Hour)
	r.after(0)
	<-ran
	start := time.Now()
	r.after(2 * time.Millisecond)
	if d := (<-ran).Sub(start); d < 2*time.Millisecond {
		t.Errorf("the runner waited %v, asked for 2 ms", d)
	}
}
