package pace

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// path is a simulated link in one direction; the way back is free.
type path struct {
	rate   float64       // bits per second
	rtt    time.Duration // without a queue
	queue  int           // bytes that wait at most
	loss   float64
	jitter time.Duration // of each packet, in both directions; they stay in order
	free   bool          // they overtake each other instead
	busy   time.Duration // for so long, each peer at times does nothing
}

const (
	simPacket   = 1392
	simOverhead = 37 + 8 + 20 // of a packet: DTLS, UDP, IP
	simLanes    = 2
)

type event struct {
	at  time.Duration
	seq int
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

// sim is a link and the senders that share it.
type sim struct {
	t      testing.TB
	path   path
	random *rand.Rand
	now    time.Duration
	seq    int
	events events
	free   time.Duration    // when the link has sent all that waits
	last   [2]time.Duration // when the last packet arrives, in either direction
	queues []time.Duration

	dropped int // packets that found the queue full
}

func newSim(t testing.TB, p path, seed uint64) *sim {
	return &sim{t: t, path: p, random: rand.New(rand.NewPCG(seed, 1))}
}

func (s *sim) after(d time.Duration, do func()) {
	s.seq++
	heap.Push(&s.events, event{s.now + d, s.seq, do})
}

func (s *sim) run(until time.Duration, done func() bool) {
	for len(s.events) > 0 && s.events[0].at <= until && !done() {
		e := heap.Pop(&s.events).(event)
		s.now = e.at
		e.do()
	}
}

func (s *sim) clock() time.Time { return time.Unix(1e9, 0).Add(s.now) }

// transmit puts a packet on the link; arrive is called if and when it does.
func (s *sim) transmit(bytes int, arrive func()) {
	wait := max(0, s.free-s.now)
	if wait.Seconds()*s.path.rate/8 > float64(s.path.queue) {
		s.dropped++
		return
	}
	s.queues = append(s.queues, wait)
	s.free = s.now + wait + time.Duration(float64(bytes)*8/s.path.rate*float64(time.Second))
	if s.random.Float64() < s.path.loss {
		return
	}
	s.arrive(0, s.free-s.now, arrive)
}

// arrive calls do after the way of a packet, which begins in a while.
func (s *sim) arrive(direction int, in time.Duration, do func()) {
	at := s.now + in + s.path.rtt/2 + time.Duration(s.random.Float64()*float64(s.path.jitter))
	if !s.path.free {
		at = max(s.last[direction], at)
	}
	s.last[direction] = at
	s.after(at-s.now, do)
}

// busy is for how long a peer does nothing now.
func (s *sim) busy() time.Duration {
	if s.path.busy == 0 || s.random.Float64() > 0.02 {
		return 0
	}
	return time.Duration(s.random.Float64() * float64(s.path.busy))
}

// sender is a controller and the lanes below it.
type sender struct {
	sim     *sim
	control *Controller
	lanes   [simLanes]simLane
	again   []parcel // that were lost
	left    int      // bytes not sent yet
	arrived int      // bytes
	twice   int      // of those, that had arrived already
	over    int      // packets that found more than the cap outstanding
	parcels int      // how many were sent
	got     map[int]bool
	done    time.Duration

	awake time.Duration // when pump runs next; what comes in between waits
}

// parcel is what a packet carries.
type parcel struct{ id, size int }

type simLane struct {
	flight   Flight[parcel]
	receipts Receipts
	idle     time.Duration // the receiver does nothing until then
}

func (s *sim) sender(bytes int) *sender {
	f := &sender{sim: s, control: New(Config{Packet: simPacket, Random: s.random.Float64}, s.clock()), left: bytes, got: make(map[int]bool)}
	f.control.Expect(s.path.rtt) // as another connection has measured it
	f.wake(0)
	return f
}

// wake runs pump after a while, if it does not run sooner.
func (f *sender) wake(in time.Duration) {
	at := f.sim.now + in
	if f.awake > f.sim.now && f.awake <= at {
		return
	}
	f.awake = at
	f.sim.after(in, func() {
		if f.awake == at {
			f.awake = 0
			f.pump()
		}
	})
}

func (f *sender) lost(p Packet[parcel]) {
	f.control.Lost(p.Size)
	f.again = append(f.again, p.Item)
}

func (f *sender) pump() {
	wait := time.Second
	for i := range f.lanes {
		if at := f.lanes[i].flight.Lost(f.sim.clock(), f.lost); !at.IsZero() {
			wait = min(wait, at.Sub(f.sim.clock()))
		}
	}
	for f.left > 0 || len(f.again) > 0 {
		p := parcel{f.parcels, min(simPacket, f.left)}
		if len(f.again) > 0 {
			p = f.again[0]
		}
		n := p.size
		if pause := f.control.Wait(n, f.sim.clock()); pause > 0 {
			wait = min(wait, pause)
			break
		}
		if len(f.again) > 0 {
			f.again = f.again[1:]
		} else {
			f.left -= n
			f.parcels++
		}
		lane := &f.lanes[0]
		outstanding := 0
		for i := range f.lanes {
			outstanding += f.lanes[i].flight.Bytes()
			if f.lanes[i].flight.Bytes() < lane.flight.Bytes() {
				lane = &f.lanes[i]
			}
		}
		if outstanding > 0 && outstanding+n > f.control.Cap() {
			f.over++
		}
		number := lane.flight.Next()
		lane.flight.Send(p, n, f.sim.clock())
		f.control.Sent(n, f.sim.clock())
		f.sim.transmit(n+simOverhead, func() { f.receive(lane, number, p) })
	}
	// Sleep is not exact.
	f.wake(wait + f.sim.busy() + time.Duration(f.sim.random.Int64N(int64(time.Millisecond))))
}

// receive is the other end of a lane.
func (f *sender) receive(lane *simLane, number uint32, p parcel) {
	if lane.idle <= f.sim.now {
		lane.idle = f.sim.now + f.sim.busy()
	}
	f.sim.after(max(0, lane.idle-f.sim.now), func() {
		f.arrived += p.size
		if f.got[p.id] {
			f.twice += p.size
		}
		f.got[p.id] = true
		if lane.receipts.Add(number, f.sim.clock()) {
			f.acknowledge(lane)
			return
		}
		f.sim.after(AckDelay, func() {
			if due := lane.receipts.Due(); !due.IsZero() && !due.After(f.sim.clock()) {
				f.acknowledge(lane)
			}
		})
	})
}

func (f *sender) acknowledge(lane *simLane) {
	a := lane.receipts.Ack(f.sim.clock())
	if f.sim.random.Float64() < f.sim.path.loss {
		return
	}
	f.sim.arrive(1, 0, func() {
		bytes := 0
		now := f.sim.clock()
		rtt, ok := lane.flight.Acknowledge(&a, now, func(p Packet[parcel]) {
			bytes += p.Size
			f.control.Took(p.Age(now))
		})
		if !ok {
			f.sim.t.Error("a false acknowledgement")
		}
		f.control.RoundTrip(rtt, now)
		lane.flight.Lost(now, f.lost)
		f.control.Acked(bytes, now)
		if f.left == 0 && len(f.again) == 0 && f.lanes[0].flight.Bytes()+f.lanes[1].flight.Bytes() == 0 && f.done == 0 {
			f.done = f.sim.now
		}
		f.wake(0)
	})
}

// share is what a sender had of the link, over a time, counting the overhead of
// packets as its own.
func (s *sim) share(bytes int, d time.Duration) float64 {
	return float64(bytes) * 8 / d.Seconds() / s.path.rate
}

// quantile of the queues that packets met since the last call.
func (s *sim) quantile(q float64) time.Duration {
	if len(s.queues) == 0 {
		return 0
	}
	slices.Sort(s.queues)
	return s.queues[int(q*float64(len(s.queues)-1))]
}

func bdp(rate float64, rtt time.Duration) int { return int(rate / 8 * rtt.Seconds()) }

// never is for how long to run without an end.
func never() bool { return false }

// TestPathsAreFilled wants the link full, less what packets cost and losses take,
// and a short queue.
func TestPathsAreFilled(t *testing.T) {
	for _, p := range []path{
		{rate: 10e6, rtt: 20 * time.Millisecond},
		{rate: 10e6, rtt: 20 * time.Millisecond, loss: 0.01},
		{rate: 10e6, rtt: 50 * time.Millisecond, loss: 0.03},
		{rate: 20e6, rtt: 20 * time.Millisecond, loss: 0.05, jitter: 5 * time.Millisecond},
		{rate: 20e6, rtt: 50 * time.Millisecond, loss: 0.001},
		{rate: 20e6, rtt: 300 * time.Millisecond, loss: 0.01},
		{rate: 100e6, rtt: 20 * time.Millisecond, loss: 0.01},
		{rate: 100e6, rtt: 50 * time.Millisecond, loss: 0.03},
		{rate: 100e6, rtt: 50 * time.Millisecond, busy: 20 * time.Millisecond},
		{rate: 10e6, rtt: 20 * time.Millisecond, busy: 20 * time.Millisecond, loss: 0.01},
		{rate: 50e6, rtt: 50 * time.Millisecond, jitter: 20 * time.Millisecond, loss: 0.01},
		{rate: 50e6, rtt: 50 * time.Millisecond, jitter: 60 * time.Millisecond},
		{rate: 50e6, rtt: 50 * time.Millisecond, busy: 50 * time.Millisecond},
	} {
		for _, depth := range []float64{1, 0.2, 10} {
			if testing.Short() && depth != 1 {
				continue
			}
			p.queue = max(int(depth*float64(bdp(p.rate, p.rtt))), 32<<10)
			t.Run(fmt.Sprintf("%.0fMbit-%v-%.1f%%-jitter-%v-busy-%v-%.1f", p.rate/1e6, p.rtt, p.loss*100, p.jitter, p.busy, depth), func(t *testing.T) {
				t.Parallel()
				s := newSim(t, p, 1)
				f := s.sender(1 << 40)
				from := 3*time.Second + 10*p.rtt
				s.run(from, never)
				begun := f.arrived
				s.queues = nil
				s.run(from+7*time.Second, never)
				share := s.share(f.arrived-begun, 7*time.Second)
				queue := s.quantile(0.95)
				t.Logf("%.1f%% of the link, queue p50 %v p95 %v; %v", 100*share, s.quantile(0.5), queue, f.control)
				want := 0.90 - p.loss
				if p.jitter > p.rtt/4 {
					want -= 0.15 // that looks like a queue
				}
				if p.jitter > p.rtt {
					want -= 0.25
				}
				if p.busy > p.rtt {
					want -= 0.4
				}
				if share < want {
					t.Errorf("%.1f%% of the link, want %.1f%%", 100*share, 100*want)
				}
				if want := 35*time.Millisecond + p.rtt/4 + p.busy; queue > want {
					t.Errorf("a queue of %v, want at most %v", queue, want)
				}
				if f.over != 0 {
					t.Errorf("%d messages went beyond the cap", f.over)
				}
			})
		}
	}
}

// TestLongPath is a large file over 300 ms with 1 % loss, start-up included.
func TestLongPath(t *testing.T) {
	p := path{rate: 20e6, rtt: 300 * time.Millisecond, loss: 0.01, queue: bdp(20e6, 300*time.Millisecond)}
	s := newSim(t, p, 2)
	const size = 80 << 20
	f := s.sender(size)
	s.run(5*time.Minute, func() bool { return f.done != 0 })
	if share := s.share(size, f.done); f.done == 0 || share < 0.85 {
		t.Errorf("%.1f%% of the link, %v", 100*share, f.control)
	}
}

// TestSteps changes the rate of a path in the midst of a transfer.
func TestSteps(t *testing.T) {
	p := path{rate: 50e6, rtt: 50 * time.Millisecond, loss: 0.005, queue: bdp(50e6, 100*time.Millisecond)}
	s := newSim(t, p, 3)
	f := s.sender(1 << 40)
	at := time.Duration(0)
	for _, rate := range []float64{50e6, 10e6, 80e6, 5e6, 50e6} {
		s.path.rate = rate
		s.run(at+8*time.Second, never)
		before := f.arrived
		s.queues = nil
		s.run(at+14*time.Second, never)
		at += 14 * time.Second
		share, queue := s.share(f.arrived-before, 6*time.Second), s.quantile(0.95)
		t.Logf("%.0f Mbit/s: %.1f%%, queue p95 %v; %v", rate/1e6, 100*share, queue, f.control)
		if share < 0.80 || queue > 100*time.Millisecond {
			t.Errorf("at %.0f Mbit/s %.1f%% of the link, a queue of %v; %v", rate/1e6, 100*share, queue, f.control)
		}
	}
}

// TestTwoSessions share a link that one had alone at first. Which one has more
// differs from time to time; over several times neither should.
func TestTwoSessions(t *testing.T) {
	for _, p := range []path{
		{rate: 20e6, rtt: 20 * time.Millisecond}, {rate: 50e6, rtt: 50 * time.Millisecond, loss: 0.01},
	} {
		for _, depth := range []float64{1, 4} {
			if testing.Short() && depth != 1 {
				continue
			}
			p.queue = int(depth * float64(bdp(p.rate, p.rtt)))
			t.Run(fmt.Sprintf("%.0fMbit-%v-%.1f", p.rate/1e6, p.rtt, depth), func(t *testing.T) {
				t.Parallel()
				var first, second float64
				const times = 3
				for seed := range uint64(times) {
					s := newSim(t, p, seed)
					a := s.sender(1 << 40)
					s.run(5*time.Second, never)
					b := s.sender(1 << 40)
					s.run(15*time.Second, never)
					wasA, wasB := a.arrived, b.arrived
					s.run(30*time.Second, never)
					shareA, shareB := s.share(a.arrived-wasA, 15*time.Second), s.share(b.arrived-wasB, 15*time.Second)
					t.Logf("%.1f%% and %.1f%%; %v; %v", 100*shareA, 100*shareB, a.control, b.control)
					if min(shareA, shareB) < 0.5*max(shareA, shareB) || shareA+shareB < 0.85 {
						t.Errorf("%.1f%% and %.1f%% of the link", 100*shareA, 100*shareB)
					}
					first, second = first+shareA/times, second+shareB/times
				}
				if min(first, second) < 0.8*max(first, second) {
					t.Errorf("on average %.1f%% and %.1f%% of the link", 100*first, 100*second)
				}
			})
		}
	}
}
