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
	jitter time.Duration
}

const (
	simPacket   = 1156
	simOverhead = 100 // of a packet: IP, UDP, DTLS, SCTP
	simLanes    = 4
	simDelayed  = 200 * time.Millisecond // SCTP's delayed acknowledgement
	simRTO      = time.Second
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
	free   time.Duration // when the link has sent all that waits
	last   time.Duration // when the last packet arrives: they stay in order
	queues []time.Duration
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
		return
	}
	s.queues = append(s.queues, wait)
	s.free = s.now + wait + time.Duration(float64(bytes)*8/s.path.rate*float64(time.Second))
	if s.random.Float64() < s.path.loss {
		return
	}
	at := s.free + s.path.rtt/2 + time.Duration(s.random.Float64()*float64(s.path.jitter))
	s.last = max(s.last, at)
	s.after(s.last-s.now, arrive)
}

// sender is a controller and the lanes below it, which repair losses much as
// SCTP does: three later packets acknowledged, or a second.
type sender struct {
	sim         *sim
	control     *Controller
	lanes       [simLanes]simLane
	outstanding int
	left        int // bytes to be handed to lanes
	arrived     int // bytes
	tripping    bool
	over        int // messages that found more than the cap outstanding
	done        time.Duration
}

type simLane struct {
	packets []*simPacketState
	owed    []*simPacketState // arrived, not acknowledged
}

type simPacketState struct {
	bytes   int
	sent    time.Duration
	arrived bool
	acked   bool
	passed  int // acknowledged packets that were sent later
}

func (s *sim) sender(bytes int) *sender {
	f := &sender{sim: s, control: New(Config{Packet: simPacket, Most: 14 * simPacket, Random: s.random.Float64}, s.clock()), left: bytes}
	s.after(0, f.ping)
	s.after(s.path.rtt+time.Millisecond, f.pump)
	return f
}

func (f *sender) ping() {
	if !f.tripping {
		began := f.sim.now
		f.tripping = true
		answered := false
		pong := func() {
			if answered {
				return
			}
			answered, f.tripping = true, false
			f.control.RoundTrip(f.sim.now-began, f.sim.clock())
		}
		back := func() { f.sim.after(f.sim.path.rtt/2, pong) }
		f.sim.transmit(150, back)
		f.sim.after(simRTO, func() {
			if !answered {
				f.sim.transmit(150, back)
			}
		})
		f.sim.after(3*simRTO, func() { f.tripping = f.tripping && answered })
	}
	f.sim.after(50*time.Millisecond, f.ping)
}

func (f *sender) pump() {
	for f.left > 0 {
		n := min(f.control.MessageSize(), f.left)
		f.control.Acked(f.outstanding, f.sim.clock())
		if wait := f.control.Wait(n, f.sim.clock()); wait > 0 {
			// Sleep is not exact.
			f.sim.after(wait+time.Duration(f.sim.random.Int64N(int64(time.Millisecond))), f.pump)
			return
		}
		if f.outstanding > 0 && f.outstanding+n > f.control.Cap() {
			f.over++
		}
		f.control.Sent(n, f.sim.clock())
		f.left -= n
		f.outstanding += n
		lane := &f.lanes[0]
		for i := range f.lanes {
			if len(f.lanes[i].packets) < len(lane.packets) {
				lane = &f.lanes[i]
			}
		}
		for ; n > 0; n -= simPacket {
			p := &simPacketState{bytes: min(n, simPacket), sent: f.sim.now}
			lane.packets = append(lane.packets, p)
			f.transmit(lane, p)
		}
	}
}

func (f *sender) transmit(lane *simLane, p *simPacketState) {
	p.sent, p.passed = f.sim.now, 0
	sent := p.sent
	f.sim.transmit(p.bytes+simOverhead, func() {
		if !p.arrived {
			p.arrived = true
			f.arrived += p.bytes
		}
		lane.owed = append(lane.owed, p)
		if len(lane.owed) >= 2 {
			f.acknowledge(lane)
		} else {
			f.sim.after(simDelayed, func() { f.acknowledge(lane) })
		}
	})
	f.sim.after(simRTO, func() {
		if !p.acked && p.sent == sent {
			f.transmit(lane, p)
		}
	})
}

func (f *sender) acknowledge(lane *simLane) {
	owed := lane.owed
	lane.owed = nil
	if len(owed) == 0 {
		return
	}
	f.sim.after(f.sim.path.rtt/2, func() {
		for _, p := range owed {
			if p.acked {
				continue
			}
			p.acked = true
			f.outstanding -= p.bytes
			for _, q := range lane.packets {
				if !q.acked && q.sent < p.sent {
					q.passed++
				}
			}
		}
		lane.packets = slices.DeleteFunc(lane.packets, func(p *simPacketState) bool { return p.acked })
		for _, q := range lane.packets {
			if q.passed >= 3 {
				f.transmit(lane, q)
			}
		}
		f.control.Acked(f.outstanding, f.sim.clock())
		if f.left == 0 && f.outstanding == 0 && f.done == 0 {
			f.done = f.sim.now
		}
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
	} {
		for _, depth := range []float64{0.2, 1, 10} {
			p.queue = max(int(depth*float64(bdp(p.rate, p.rtt))), 32<<10)
			t.Run(fmt.Sprintf("%.0fMbit-%v-%.1f%%-%.1f", p.rate/1e6, p.rtt, p.loss*100, depth), func(t *testing.T) {
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
				if want := 0.90 - p.loss; share < want {
					t.Errorf("%.1f%% of the link, want %.1f%%", 100*share, 100*want)
				}
				if want := 35*time.Millisecond + p.rtt/4; queue > want {
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
			p.queue = int(depth * float64(bdp(p.rate, p.rtt)))
			t.Run(fmt.Sprintf("%.0fMbit-%v-%.1f", p.rate/1e6, p.rtt, depth), func(t *testing.T) {
				t.Parallel()
				var first, second float64
				const times = 5
				for seed := range uint64(times) {
					s := newSim(t, p, seed)
					a := s.sender(1 << 40)
					s.run(5*time.Second, never)
					b := s.sender(1 << 40)
					s.run(20*time.Second, never)
					wasA, wasB := a.arrived, b.arrived
					s.run(40*time.Second, never)
					shareA, shareB := s.share(a.arrived-wasA, 20*time.Second), s.share(b.arrived-wasB, 20*time.Second)
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
