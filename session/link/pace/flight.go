package pace

import (
	"cmp"
	"slices"
	"time"
)

const (
	// reorderShare of the least round trip is by how much packets may overtake each
	// other before those behind count as lost, within these bounds, as long as no packet
	// has come later than that.
	reorderShare = 8
	reorderLeast = 2 * time.Millisecond
	reorderMost  = 30 * time.Millisecond
	// lateMemory, and lateTrips round trips if that is more, is for how long it counts at
	// least that one has.
	lateMemory = 5 * time.Second
	lateTrips  = 16
	// tookShare is the part that each packet has in how long they take.
	tookShare = 64
	// maxGiven is how many packets that were given up are known should they arrive.
	maxGiven = 4096
	// timeoutLeast and timeoutMost bound the time after which silence means loss.
	// The first holds until a round trip was measured.
	timeoutFirst = 500 * time.Millisecond
	timeoutLeast = 50 * time.Millisecond
	timeoutMost  = time.Second
	// allSilences in a row mean that all is lost.
	allSilences = 2
)

// A receiver acknowledges what it is sent within AckDelay, and every AckEvery
// packets.
const (
	AckDelay = 5 * time.Millisecond
	AckEvery = 8
)

// Packet is one that was sent and not yet acknowledged.
type Packet[T any] struct {
	Item T
	Size int // bytes
	sent time.Time
	over bool // acknowledged, or given up
}

// Age is for how long it was under way.
func (p *Packet[T]) Age(now time.Time) time.Duration { return now.Sub(p.sent) }

// Flight is what is under way on one connection, by number: 0, 1 and so on. It
// finds what is lost as RACK does (RFC 8985): a packet is lost if one that was sent
// noticeably later has arrived, or, when nothing arrives, after a time.
type Flight[T any] struct {
	packets []Packet[T]
	first   uint32 // the number of packets[0]
	bytes   int

	least, smooth, varied time.Duration // round trips
	newest                time.Time     // when the last one to arrive had been sent
	heard                 time.Time     // when the timer of silence began
	silences              uint

	took      time.Duration    // by packets until they were acknowledged, smoothed
	late      [2]time.Duration // by how much packets came after others sent later, at most: now and before
	lateSince time.Time
	given     []given // packets that were given up, by number
}

// given is a packet that was given up.
type given struct {
	number uint32
	sent   time.Time
}

// Next is the number that the next packet will have.
func (f *Flight[T]) Next() uint32 { return f.first + uint32(len(f.packets)) }

// Bytes is how much is under way.
func (f *Flight[T]) Bytes() int { return f.bytes }

// Silences is how often in a row silence has meant loss.
func (f *Flight[T]) Silences() int { return int(f.silences) }

// Revive forgets those silences: the connection has another path.
func (f *Flight[T]) Revive() { f.silences = 0 }

// Send notes that the packet Next has left.
func (f *Flight[T]) Send(item T, size int, now time.Time) {
	if f.bytes == 0 {
		f.heard = now
	}
	f.packets = append(f.packets, Packet[T]{Item: item, Size: size, sent: now})
	f.bytes += size
}

// Acknowledge takes an acknowledgement: acked is given each packet that it is the
// first for. It returns the round trip of the newest of those, 0 if there is none,
// and false if it acknowledges what was never sent.
func (f *Flight[T]) Acknowledge(a *Ack, now time.Time, acked func(Packet[T])) (rtt time.Duration, ok bool) {
	if a.Largest < f.Next() {
		f.forgive(a, now)
	}
	if a.Largest-f.first >= uint32(len(f.packets)) {
		if a.Largest >= f.first {
			return 0, false
		}
		f.silences = 0
		return 0, true // those are settled
	}
	newest := time.Time{}
	a.runs(f.first, func(from, to uint32) {
		for i := from - f.first; i <= to-f.first; i++ {
			p := &f.packets[i]
			if p.over {
				continue
			}
			if p.sent.After(newest) {
				newest = p.sent
			}
			f.took += (now.Sub(p.sent) - f.took) / tookShare
			f.tardy(p.sent, now)
			acked(*p)
			f.settle(p)
		}
	})
	if newest.IsZero() {
		return 0, true
	}
	if newest.After(f.newest) {
		f.newest = newest
	}
	f.heard, f.silences = now, 0
	if f.packets[a.Largest-f.first].sent.Equal(newest) {
		rtt = max(now.Sub(newest)-a.Delay, time.Microsecond)
		f.measure(rtt)
	}
	f.trim()
	return rtt, true
}

// tardy notes by how much a packet has come later than another one sent later.
func (f *Flight[T]) tardy(sent, now time.Time) {
	if late := f.newest.Sub(sent); late > f.late[0] {
		f.late[0] = late
	}
	if now.Sub(f.lateSince) > max(lateMemory, lateTrips*f.smooth) {
		f.late[1], f.late[0], f.lateSince = f.late[0], 0, now
	}
}

// forgive takes note of packets that arrived after they had been given up.
func (f *Flight[T]) forgive(a *Ack, now time.Time) {
	if len(f.given) == 0 || a.Largest < f.given[0].number {
		return
	}
	a.runs(f.given[0].number, func(from, to uint32) {
		i, _ := slices.BinarySearchFunc(f.given, from, func(g given, n uint32) int { return cmp.Compare(g.number, n) })
		end := i
		for ; end < len(f.given) && f.given[end].number <= to; end++ {
			f.tardy(f.given[end].sent, now)
		}
		f.given = slices.Delete(f.given, i, end)
	})
}

// giveUp gives a packet to lost.
func (f *Flight[T]) giveUp(i int, lost func(Packet[T])) {
	p := &f.packets[i]
	if len(f.given) == maxGiven {
		f.given = slices.Delete(f.given, 0, maxGiven/4)
	}
	f.given = append(f.given, given{f.first + uint32(i), p.sent})
	lost(*p)
	f.settle(p)
}

// reordering is by how much packets may overtake each other without being lost: what
// was seen of that lately, and a quarter, but no more than packets take (RFC 8985,
// section 6.2).
func (f *Flight[T]) reordering() time.Duration {
	usual := min(max(f.least/reorderShare, reorderLeast), reorderMost)
	late := max(f.late[0], f.late[1])
	return max(usual, min(late+late/4, max(f.took, f.smooth)))
}

func (f *Flight[T]) settle(p *Packet[T]) {
	var none T
	p.over, p.Item = true, none
	f.bytes -= p.Size
}

func (f *Flight[T]) measure(rtt time.Duration) {
	if f.smooth == 0 {
		f.least, f.smooth, f.varied = rtt, rtt, rtt/2
		return
	}
	f.least = min(f.least, rtt)
	f.varied += (max(rtt-f.smooth, f.smooth-rtt) - f.varied) / 4
	f.smooth += (rtt - f.smooth) / 8
}

func (f *Flight[T]) trim() {
	n := 0
	for n < len(f.packets) && f.packets[n].over {
		n++
	}
	f.first += uint32(n)
	f.packets = f.packets[n:]
	if cap(f.packets) > 64 && len(f.packets) == 0 {
		f.packets = nil
	}
}

// Lost gives up what is lost by now, and gives it to lost. It returns when to ask
// again, the zero time if there is nothing to wait for.
func (f *Flight[T]) Lost(now time.Time, lost func(Packet[T])) (next time.Time) {
	reorder := f.reordering()
	for i := range f.packets {
		p := &f.packets[i]
		if p.over {
			continue
		}
		if !p.sent.Add(reorder).Before(f.newest) {
			break
		}
		f.giveUp(i, lost)
	}
	if f.bytes > 0 && !now.Before(f.heard.Add(f.timeout())) {
		f.heard = now
		f.silences++
		if i := slices.IndexFunc(f.packets, func(p Packet[T]) bool { return !p.over }); f.silences < allSilences {
			f.giveUp(i, lost)
		} else {
			f.Abandon(lost) // so much may be under way that nothing else may leave
		}
	}
	f.trim()
	if f.bytes == 0 {
		return time.Time{}
	}
	return f.heard.Add(f.timeout())
}

// timeout is how long silence lasts before it means loss.
func (f *Flight[T]) timeout() time.Duration {
	t := timeoutFirst
	if f.smooth != 0 {
		t = max(f.smooth+4*f.varied+2*AckDelay, timeoutLeast)
	}
	return min(t<<min(f.silences, 8), max(timeoutMost, 2*f.smooth))
}

// Abandon gives up everything.
func (f *Flight[T]) Abandon(lost func(Packet[T])) {
	for i := range f.packets {
		if !f.packets[i].over {
			f.giveUp(i, lost)
		}
	}
	f.trim()
}

// maxRuns is how many runs of packets an acknowledgement has, and keptRuns how many a
// receiver remembers.
const (
	maxRuns  = 32
	keptRuns = 512
)

// Ack is an acknowledgement: the largest number that arrived, or one of those that came
// very late, how long ago that was, and which others have: the number of packets that arrived up to Largest,
// then of those missing before them, then again of those that arrived, and so on.
type Ack struct {
	Largest uint32
	Delay   time.Duration
	Runs    []uint16 // odd in number, none of them 0, at most 63
}

// MaxRuns is how long Runs is at most.
const MaxRuns = 2*maxRuns - 1

// runs calls fn for each run of packets that arrived, newest first, without those
// before first.
func (a *Ack) runs(first uint32, fn func(from, to uint32)) {
	left := uint64(a.Largest-first) + 1 // packets from first on that are not yet looked at
	for i, n := range a.Runs {
		n := min(uint64(n), left)
		if n == 0 {
			return
		}
		if i%2 == 0 {
			fn(first+uint32(left-n), first+uint32(left-1))
		}
		left -= n
	}
}

// Receipts are which packets have arrived at the other end of a Flight.
type Receipts struct {
	runs    []run // newest first, with gaps between them
	pending int   // packets that arrived since the last acknowledgement
	at      time.Time
	since   time.Time // when the first of those came
	late    int       // the run that the last one to come is in, if it came out of order
	lateAt  time.Time
}

type run struct{ from, to uint32 }

// Add notes that a packet arrived, and says whether an acknowledgement is due at
// once.
func (r *Receipts) Add(number uint32, now time.Time) (due bool) {
	if r.pending == 0 {
		r.since = now
	}
	r.pending++
	switch {
	case len(r.runs) > 0 && number == r.runs[0].to+1:
		r.runs[0].to, r.at = number, now
		return r.pending >= AckEvery
	case len(r.runs) == 0 || number > r.runs[0].to:
		missing := len(r.runs) > 0
		r.runs, r.at = slices.Insert(r.runs, 0, run{number, number}), now
		r.runs = r.runs[:min(len(r.runs), keptRuns)]
		return missing
	}
	r.late, r.lateAt = r.place(number), now
	return true
}

// place adds a number that is not beyond all others, and returns its run, or 0 if that is
// too old to be remembered.
func (r *Receipts) place(number uint32) int {
	i, _ := slices.BinarySearchFunc(r.runs, number, func(v run, n uint32) int {
		if v.from > n {
			return -1
		}
		return 1
	}) // the newest run that begins no later
	before := i > 0 && r.runs[i-1].from == number+1
	switch {
	case i < len(r.runs) && number <= r.runs[i].to: // again
		return i
	case i < len(r.runs) && number == r.runs[i].to+1:
		r.runs[i].to = number
		if before {
			r.runs[i].to = r.runs[i-1].to
			r.runs = slices.Delete(r.runs, i-1, i)
			return i - 1
		}
		return i
	case before:
		r.runs[i-1].from = number
		return i - 1
	case i == keptRuns:
		return 0
	}
	r.runs = slices.Insert(r.runs, i, run{number, number})
	r.runs = r.runs[:min(len(r.runs), keptRuns)]
	return i
}

// Due is when the next acknowledgement is, the zero time if none is owed.
func (r *Receipts) Due() time.Time {
	if r.pending == 0 {
		return time.Time{}
	}
	return r.since.Add(AckDelay)
}

// Ack is what to tell the sender now.
func (r *Receipts) Ack(now time.Time) Ack {
	r.pending = 0
	a := Ack{}
	if len(r.runs) == 0 {
		return a
	}
	runs, at := r.runs, r.at
	if r.late >= maxRuns { // it would not be told otherwise
		runs, at = runs[r.late:], r.lateAt
	}
	r.late = 0
	runs = runs[:min(len(runs), maxRuns)]
	a.Largest, a.Delay = runs[0].to, max(0, now.Sub(at))
	for i, v := range runs {
		if i > 0 {
			gap := runs[i-1].from - v.to - 1
			if gap > 1<<16-1 {
				break
			}
			a.Runs = append(a.Runs, uint16(gap))
		}
		n := v.to - v.from + 1
		a.Runs = append(a.Runs, uint16(min(n, 1<<16-1)))
		if n > 1<<16-1 {
			break
		}
	}
	return a
}
