package link

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// watched is one end of a simulated path: what is on its way to it, and what it
// makes of that.
type watched struct {
	vigil    vigil
	arriving []parcel // by time of arrival
	heard    time.Duration
	rtt      time.Duration // smoothed as SCTP's
	look     time.Duration // when to look next
	alarms   int
}

// parcel is a packet on its way: it asks for an answer, or is one to what was
// sent then.
type parcel struct {
	at, sent time.Duration
	asks     bool
}

// simulation is a path between two ends that both keep a vigil.
type simulation struct {
	loss   float64
	delay  func(now time.Duration) time.Duration // one way
	data   time.Duration                         // between two packets of the first end; 0 is none
	cut    time.Duration                         // when nothing gets through any more; 0 is never
	random *rand.Rand
	ends   [2]watched
}

func (s *simulation) send(now time.Duration, to *watched, p parcel) {
	if s.random.Float64() < s.loss || s.cut != 0 && now >= s.cut {
		return
	}
	p.at = now + s.delay(now)
	i, _ := slices.BinarySearchFunc(to.arriving, p.at, func(p parcel, at time.Duration) int { return int(p.at - at) })
	to.arriving = slices.Insert(to.arriving, i, p)
}

// run returns when either end first called the path dead, or 0.
func (s *simulation) run(length time.Duration) (first time.Duration) {
	const step = 5 * time.Millisecond
	start := time.Now()
	var nextData time.Duration
	for now := time.Duration(0); now < length; now += step {
		if s.data != 0 && now >= nextData {
			nextData = now + s.data
			s.send(now, &s.ends[1], parcel{sent: now, asks: true})
		}
		for i := range s.ends {
			self, peer := &s.ends[i], &s.ends[1-i]
			for len(self.arriving) > 0 && self.arriving[0].at <= now {
				p := self.arriving[0]
				self.arriving, self.heard = self.arriving[1:], now
				switch measured := now - p.sent; {
				case p.asks:
					s.send(now, peer, parcel{sent: p.sent})
				case self.rtt == 0:
					self.rtt = measured
				default:
					self.rtt += (measured - self.rtt) / 8
				}
			}
			if now < self.look {
				continue
			}
			probe, dead, next := self.vigil.look(start.Add(now), now-self.heard, self.rtt, true)
			self.look = now + next
			if probe {
				s.send(now, peer, parcel{sent: now, asks: true})
			}
			if dead {
				self.alarms++
				self.vigil.falseAlarm()
				self.vigil.probes = 0
				if first == 0 {
					first = now
				}
			}
		}
	}
	return first
}

func always(d time.Duration) func(time.Duration) time.Duration {
	return func(time.Duration) time.Duration { return d }
}

// A path that loses packets, is long or has a deep queue is not called dead in
// ten minutes, whether data flows or not.
func TestVigilIsCalm(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	jitter := func(least, most time.Duration) func(time.Duration) time.Duration {
		return func(time.Duration) time.Duration { return least + time.Duration(random.Int64N(int64(most-least))) }
	}
	for name, s := range map[string]simulation{
		"5 % of loss":       {loss: 0.05, delay: always(10 * time.Millisecond)},
		"5 % of loss, long": {loss: 0.05, delay: always(150 * time.Millisecond)},
		"a deep queue":      {loss: 0.01, delay: jitter(200*time.Millisecond, 800*time.Millisecond)},
		"a queue that breathes": {
			loss: 0.01,
			delay: func(now time.Duration) time.Duration {
				// From empty to a second deep and back, in eight seconds.
				phase := now % (8 * time.Second)
				return 10*time.Millisecond + min(phase, 8*time.Second-phase)/4
			},
		},
	} {
		for _, data := range []time.Duration{0, 10 * time.Millisecond, 700 * time.Millisecond} {
			for seed := range uint64(5) {
				s := s
				s.data, s.random = data, rand.New(rand.NewPCG(seed, 7))
				if at := s.run(10 * time.Minute); at != 0 {
					t.Errorf("%s, data every %v: called dead after %v", name, data, at)
				}
			}
		}
	}
}

// A dead path is called so within a second, or what a long one takes.
func TestVigilIsQuick(t *testing.T) {
	for _, c := range []struct{ rtt, within time.Duration }{
		{time.Millisecond, 700 * time.Millisecond},
		{50 * time.Millisecond, 800 * time.Millisecond},
		{300 * time.Millisecond, 1500 * time.Millisecond},
	} {
		const cut = 20 * time.Second
		s := simulation{
			loss: 0.05, delay: always(c.rtt / 2), data: 10 * time.Millisecond, cut: cut,
			random: rand.New(rand.NewPCG(3, 4)),
		}
		if at := s.run(cut + 10*time.Second); at < cut || at > cut+c.within {
			t.Errorf("round trip %v: called dead after %v, not within %v of %v", c.rtt, at, c.within, cut)
		}
	}
}

// A path that pauses for half a second every few seconds is left a few times and
// then borne with.
func TestVigilLearns(t *testing.T) {
	s := simulation{
		delay: func(now time.Duration) time.Duration {
			if phase := now % (5 * time.Second); phase < 900*time.Millisecond {
				return 900*time.Millisecond - phase + 10*time.Millisecond // all that waited comes at once
			}
			return 10 * time.Millisecond
		},
		data: 10 * time.Millisecond, random: rand.New(rand.NewPCG(5, 6)),
	}
	s.run(10 * time.Minute)
	for _, end := range s.ends {
		if end.alarms > 2 {
			t.Errorf("%d false alarms", end.alarms)
		}
	}
}

// A process that did not run has heard nothing, and that is not the path's
// fault.
func TestVigilAfterAPause(t *testing.T) {
	var v vigil
	now := time.Now()
	for range vigilProbes - 1 {
		now = now.Add(10 * time.Second)
		if _, dead, _ := v.look(now, time.Hour, 20*time.Millisecond, true); dead {
			t.Fatal("called dead without enough probes")
		}
	}
}

// Six probes, then the time for an answer; the first thing that comes ends it.
func TestVigil(t *testing.T) {
	var v vigil
	now := time.Now()
	probe, dead, next := v.look(now, vigilQuiet-1, time.Millisecond, true)
	if probe || dead || next != 1 {
		t.Errorf("before its time: %v %v %v", probe, dead, next)
	}
	if probe, _, _ := v.look(now, vigilQuiet, time.Millisecond, false); probe {
		t.Error("a probe although nobody uses the path")
	}
	sent := 0
	for range 100 {
		probe, dead, next = v.look(now, vigilQuiet, time.Millisecond, true)
		if probe {
			sent++
		}
		if dead {
			break
		}
		now = now.Add(next)
	}
	if !dead || sent != vigilProbes {
		t.Errorf("dead %v after %d probes", dead, sent)
	}
	if _, dead, _ = v.look(now, 0, time.Millisecond, true); dead {
		t.Error("dead although something came")
	}
}
