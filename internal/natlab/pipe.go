//go:build linux

package natlab

import (
	"hash/fnv"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	frameSize = 1536 // room for a packet of the interfaces' MTU, 1500

	// inFlightLimit bounds the memory of a link without a rate, in frames: 96 MiB.
	inFlightLimit = 64 << 10

	// leastSleep keeps the timer from being set for every packet of a fast link.
	leastSleep = 150 * time.Microsecond
)

// frame is one packet under way.
type frame struct {
	buf [frameSize]byte
	n   int
}

func (f *frame) bytes() []byte { return f.buf[:f.n] }

// pipe is one direction of a link. Packets that need no waiting go through on the sender's
// goroutine; the others wait in a queue that the pipe's own goroutine empties.
type pipe struct {
	pool *sync.Pool   // where dropped frames go
	next func(*frame) // takes over delivered frames

	mu     sync.Mutex
	link   Link
	cut    bool
	closed bool
	random *rand.Rand
	free   time.Time // when the link has sent all it accepted
	last   time.Time // when the last queued packet is due
	queue  fifo
	count  Traffic
	run    *runner // nil until a packet has to wait

	tapMu sync.RWMutex
	taps  map[*tap]struct{}
}

type tap struct{ fn func(Packet) }

// newPipe makes a direction of a link; name makes its random numbers its own.
func newPipe(name string, l Link, pool *sync.Pool, next func(*frame)) *pipe {
	h := fnv.New64a()
	h.Write([]byte(name))
	return &pipe{
		pool: pool, next: next, link: l,
		random: rand.New(rand.NewPCG(l.Seed, h.Sum64())),
		taps:   map[*tap]struct{}{},
	}
}

// send offers f to the link, which now owns it.
func (p *pipe) send(f *frame) {
	p.mu.Lock()
	wait, ok := p.admit(f.n)
	if !ok {
		p.mu.Unlock()
		p.pool.Put(f)
		return
	}
	if !wait {
		p.delivered(f)
		p.mu.Unlock()
		p.emit(f)
		return
	}
	p.queue.push(waiting{f, p.last})
	if p.run == nil {
		p.run = startRunner(p.drain)
	}
	r, wake := p.run, p.queue.len() == 1
	p.mu.Unlock()
	if wake {
		r.wake()
	}
}

// admit decides what becomes of a packet of n bytes. If it has to wait, p.last says until when.
func (p *pipe) admit(n int) (wait, ok bool) {
	l := &p.link
	switch {
	case p.closed:
		return false, false
	case p.cut:
		p.count.Cut++
		return false, false
	case l.MTU > 0 && n > l.MTU:
		p.count.TooBig++
		return false, false
	}
	if l.Rate == 0 && l.Delay == 0 && l.Jitter == 0 && p.queue.len() == 0 {
		if l.Loss > 0 && p.random.Float64() < l.Loss {
			p.count.Lost++
			return false, false
		}
		return false, true
	}
	now := time.Now()
	due := now
	if l.Rate > 0 {
		start := p.free
		if start.Before(now) {
			start = now
		}
		if start.Sub(now) > l.queueLimit() {
			p.count.Dropped++
			return false, false
		}
		p.free = start.Add(l.sending(n))
		due = p.free
	}
	if l.Loss > 0 && p.random.Float64() < l.Loss { // after it has used the link, as on a real one
		p.count.Lost++
		return false, false
	}
	if p.queue.len() >= inFlightLimit {
		p.count.Dropped++
		return false, false
	}
	due = due.Add(l.Delay)
	if l.Jitter > 0 {
		due = due.Add(time.Duration(p.random.Int64N(int64(l.Jitter) + 1)))
	}
	if due.After(p.last) {
		p.last = due
	}
	return true, true
}

// drain delivers what is due and reports when to come back; zero means when woken.
func (p *pipe) drain() (sleep time.Duration) {
	for {
		p.mu.Lock()
		w, ok := p.queue.peek()
		if !ok || p.closed {
			p.mu.Unlock()
			return 0
		}
		if left := time.Until(w.due); left > 0 {
			p.mu.Unlock()
			return max(left, leastSleep)
		}
		p.queue.pop()
		if p.cut {
			p.count.Cut++
			p.mu.Unlock()
			p.pool.Put(w.f)
			continue
		}
		p.delivered(w.f)
		p.mu.Unlock()
		p.emit(w.f)
	}
}

func (p *pipe) delivered(f *frame) {
	p.count.Packets++
	p.count.Bytes += int64(f.n)
}

// emit shows f to the taps and hands it on.
func (p *pipe) emit(f *frame) {
	p.tapMu.RLock()
	if len(p.taps) > 0 {
		pkt := parsePacket(f.bytes())
		pkt.Time = time.Now()
		for t := range p.taps {
			t.fn(pkt)
		}
	}
	p.tapMu.RUnlock()
	p.next(f)
}

func (p *pipe) tap(fn func(Packet)) (stop func()) {
	t := &tap{fn}
	p.tapMu.Lock()
	p.taps[t] = struct{}{}
	p.tapMu.Unlock()
	return func() {
		p.tapMu.Lock()
		delete(p.taps, t)
		p.tapMu.Unlock()
	}
}

func (p *pipe) change(edit func(*Link)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	edit(&p.link)
	if p.link.Rate == 0 {
		p.free = time.Time{}
	}
}

func (p *pipe) setCut(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
	if cut {
		p.free = time.Time{}
		for {
			w, ok := p.queue.peek()
			if !ok {
				return
			}
			p.queue.pop()
			p.count.Cut++
			p.pool.Put(w.f)
		}
	}
}

func (p *pipe) stats() Traffic {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

// close drops what waits and returns when the pipe's goroutine has ended.
func (p *pipe) close() {
	p.mu.Lock()
	p.closed = true
	r := p.run
	p.mu.Unlock()
	if r != nil {
		r.close()
	}
}

// waiting is a frame and when it leaves the queue.
type waiting struct {
	f   *frame
	due time.Time
}

// fifo is a queue in a ring that grows as needed.
type fifo struct {
	ring    []waiting // its length is a power of two
	head, n int
}

func (q *fifo) len() int { return q.n }

func (q *fifo) push(w waiting) {
	if q.n == len(q.ring) {
		grown := make([]waiting, max(16, 2*len(q.ring)))
		for i := range q.n {
			grown[i] = q.ring[(q.head+i)&(len(q.ring)-1)]
		}
		q.ring, q.head = grown, 0
	}
	q.ring[(q.head+q.n)&(len(q.ring)-1)] = w
	q.n++
}

func (q *fifo) peek() (waiting, bool) {
	if q.n == 0 {
		return waiting{}, false
	}
	return q.ring[q.head], true
}

func (q *fifo) pop() {
	q.ring[q.head] = waiting{}
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.n--
}

// runner calls a function again and again on a goroutine of its own, each time when woken or after
// the time the function asked for. It sleeps on a kernel timer: the Go runtime's wait for the
// network, which is also its sleep, counts in whole milliseconds.
type runner struct {
	timer *os.File // a timerfd; waking sets it to fire at once
	done  chan struct{}
}

func startRunner(step func() time.Duration) *runner {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		panic("natlab: timerfd: " + err.Error()) // only for want of descriptors or memory
	}
	r := &runner{timer: os.NewFile(uintptr(fd), "timerfd"), done: make(chan struct{})}
	go func() {
		defer close(r.done)
		var fired [8]byte
		for {
			if _, err := r.timer.Read(fired[:]); err != nil {
				return
			}
			if d := step(); d > 0 {
				r.set(d)
			}
		}
	}()
	return r
}

// wake makes the runner call its function soon.
func (r *runner) wake() { r.set(1) }

func (r *runner) set(d time.Duration) {
	conn, err := r.timer.SyscallConn()
	if err != nil {
		return // closed
	}
	conn.Control(func(fd uintptr) {
		spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
		unix.TimerfdSettime(int(fd), 0, &spec, nil)
	})
}

// close returns when the goroutine has ended.
func (r *runner) close() {
	r.timer.Close()
	<-r.done
}
