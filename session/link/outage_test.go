package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/datachannel"
	"github.com/pion/sctp"
)

// radio is one end of a simulated path: packets take their turn at its rate, wait at
// most queue for that, and travel for delay. What is sent while it is dark is lost.
type radio struct {
	net.Conn
	rate         float64 // bytes per second
	queue, delay time.Duration
	dark         *atomic.Bool
	loss         float64
	random       *rand.Rand

	mu     sync.Mutex
	busy   time.Time // until when the last packet takes its turn
	out    chan<- flying
	in     <-chan flying
	once   sync.Once
	closed chan struct{}
}

type flying struct {
	due    time.Time
	packet []byte
}

func (r *radio) Write(p []byte) (int, error) {
	const headers = 65 // of IP, UDP and DTLS
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.busy.Before(now) {
		r.busy = now
	}
	if r.dark.Load() || r.random.Float64() < r.loss || r.busy.Sub(now) > r.queue {
		return len(p), nil
	}
	r.busy = r.busy.Add(time.Duration(float64(len(p)+headers) / r.rate * float64(time.Second)))
	r.out <- flying{r.busy.Add(r.delay), bytes.Clone(p)}
	return len(p), nil
}

func (r *radio) Read(p []byte) (int, error) {
	select {
	case f := <-r.in:
		time.Sleep(time.Until(f.due))
		return copy(p, f.packet), nil
	case <-r.closed:
		return 0, io.EOF
	}
}

func (r *radio) Close() error {
	r.once.Do(func() { close(r.closed) })
	return nil
}

// trunk is SCTP as a trunk has it between two ends of a simulated path, with
// bulk data, keys and pings from the first end to the second.
type trunk struct {
	near       *conn
	dark       atomic.Bool
	bulk, keys atomic.Int64  // bytes and keys that have arrived
	slowest    atomic.Int64  // of the keys, in nanoseconds
	replaced   chan struct{} // tells the near end of a new path
}

// The channels of a trunk.
const (
	trunkPings = 0
	trunkBulk  = 4
	trunkKeys  = 6
)

const keyEvery = 70 * time.Millisecond

func newTrunk(t *testing.T, rate float64, rtt time.Duration, loss float64) *trunk {
	t.Helper()
	x := &trunk{replaced: make(chan struct{})}
	there, back := make(chan flying, 1<<16), make(chan flying, 1<<16)
	ends := [2]*radio{{out: there, in: back}, {out: back, in: there}}
	var inits [2][]byte
	for i, r := range ends {
		r.loss, r.random = loss, rand.New(rand.NewPCG(uint64(i), 1))
		r.rate, r.queue, r.delay, r.dark, r.closed = rate, 100*time.Millisecond, rtt/2, &x.dark, make(chan struct{})
		var err error
		if inits[i], err = newSCTPInit(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	log := slog.New(slog.DiscardHandler)
	var conns [2]*conn
	var channels [2]map[uint16]*channel
	var work sync.WaitGroup
	var sent, received atomic.Uint64
	for i := range conns {
		a, err := sctp.ClientContext(ctx, append(associationOptions(maxMessageSize, log),
			sctp.WithNetConn(ends[i]), sctp.WithSNAP(inits[i], inits[1-i]))...)
		if err != nil {
			t.Fatal(err)
		}
		c := &conn{carrier: newCarrier(), sctp: a, urged: make(chan struct{}, 1), done: make(chan struct{}), ending: make(chan struct{})}
		if c.copies, err = newCopies(a, c.governor.halfRTT); err != nil {
			t.Fatal(err)
		}
		c.copies.wanted.Store(true)
		work.Go(func() { c.copies.run(ctx) })
		work.Go(c.copies.receive)
		work.Go(func() { c.urge(ctx) })
		conns[i], channels[i] = c, make(map[uint16]*channel)
		for _, id := range []uint16{trunkPings, trunkBulk, trunkKeys} {
			dc, err := datachannel.Dial(a, id, channelConfig(true, log))
			if err != nil {
				t.Fatal(err)
			}
			channels[i][id] = newChannel(c, dc, &sent, &received)
		}
	}
	x.near = conns[0]
	work.Go(func() { x.ping(ctx, channels[0][trunkPings]) })
	work.Go(func() { x.sendBulk(channels[0][trunkBulk]) })
	work.Go(func() { x.sendKeys(channels[0][trunkKeys]) })
	far := channels[1]
	work.Go(func() { eachMessage(far[trunkPings], func(p []byte) { _ = far[trunkPings].write(p) }) })
	work.Go(func() { eachMessage(far[trunkBulk], func(p []byte) { x.bulk.Add(int64(len(p))) }) })
	work.Go(func() {
		eachMessage(far[trunkKeys], func(p []byte) {
			x.keys.Add(1)
			took := time.Since(time.Unix(0, int64(binary.BigEndian.Uint64(p))))
			x.slowest.Store(max(x.slowest.Load(), int64(took)))
		})
	})
	t.Cleanup(func() {
		cancel()
		for i, c := range conns {
			for _, ch := range channels[i] {
				_ = ch.Close()
			}
			_ = c.sctp.Close()
			_ = ends[i].Close()
		}
		work.Wait()
	})
	return x
}

// eachMessage calls take for each message of a channel until that ends.
func eachMessage(ch *channel, take func(p []byte)) {
	buf := make([]byte, maxMessageSize)
	for {
		n, err := ch.ReadMessage(buf)
		if err != nil {
			return
		}
		take(buf[:n])
	}
}

// ping measures as the roamer does.
func (x *trunk) ping(ctx context.Context, ch *channel) {
	pongs := make(chan uint64, 16)
	var reading sync.WaitGroup
	defer reading.Wait()
	reading.Go(func() { eachMessage(ch, func(p []byte) { pongs <- binary.BigEndian.Uint64(p) }) })
	g, ticker := &x.near.governor, time.NewTicker(pingLook)
	defer ticker.Stop()
	var p pinger
	for {
		now := time.Now()
		select {
		case <-ctx.Done():
			return
		case <-x.replaced:
			g.forget(now)
			p.waiting = false
		case number := <-pongs:
			if now = time.Now(); p.pong(number, now) {
				g.roundTrip(p.rtt, x.near.sctp.CWND(), now)
			}
		case now = <-ticker.C:
			interval := g.pingInterval(now)
			if p.due(now, true, time.Minute) || interval != 0 && !p.waiting && now.Sub(p.sent) >= interval {
				_ = ch.write(binary.BigEndian.AppendUint64(nil, p.next(now).Number))
			}
		}
	}
}

func (x *trunk) sendBulk(ch *channel) {
	buf := make([]byte, maxMessageSize)
	for ch.WriteMessage(buf[:ch.MessageSize()]) == nil {
	}
}

func (x *trunk) sendKeys(ch *channel) {
	for ch.WriteMessage(binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano()))) == nil {
		time.Sleep(keyEvery)
	}
}

// A long path that was dark for a moment while bulk data filled it carries keys at
// once again, and bulk data soon: what was lost need not be sent again packet by packet.
func TestOutage(t *testing.T) {
	const rate, rtt, length = 20e6 / 8, 300 * time.Millisecond, 2 * time.Second
	synctest.Test(t, func(t *testing.T) {
		x := newTrunk(t, rate, rtt, 0)
		time.Sleep(15 * time.Second)
		for range 2 {
			x.dark.Store(true)
			time.Sleep(length)
			x.dark.Store(false)
			x.replaced <- struct{}{}
			// Until what was lost has come.
			time.Sleep(5 * time.Second)
			x.slowest.Store(0)
			keys, bulk := x.keys.Load(), x.bulk.Load()
			const after = 10 * time.Second
			time.Sleep(after)
			share := float64(x.bulk.Load()-bulk) / (rate * after.Seconds())
			slowest, arrived := time.Duration(x.slowest.Load()), x.keys.Load()-keys
			t.Logf("then %.0f %% of the path, %d keys, the slowest in %v", 100*share, arrived, slowest)
			if share < 0.15 {
				t.Errorf("only %.1f %% of the path is used", 100*share)
			}
			if arrived < int64((after-time.Second)/keyEvery) || slowest > time.Second {
				t.Errorf("%d keys in %v, the slowest in %v", arrived, after, slowest)
			}
		}
	})
}

// Keys get through beside bulk data where packets are lost.
func TestKeysBesideBulkWithLoss(t *testing.T) {
	const every = 10 * time.Second
	synctest.Test(t, func(t *testing.T) {
		x := newTrunk(t, 20e6/8, 300*time.Millisecond, 0.01)
		for range 6 {
			x.slowest.Store(0)
			keys := x.keys.Load()
			time.Sleep(every)
			arrived := x.keys.Load() - keys
			t.Logf("%d keys, the slowest in %v", arrived, time.Duration(x.slowest.Load()))
			if arrived < int64(every/keyEvery)/2 {
				t.Errorf("%d keys in %v", arrived, every)
			}
		}
	})
}
