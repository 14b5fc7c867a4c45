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
	due, ok := p.admit(f.n)
	if !ok {
		p.mu.Unlock()
		p.pool.Put(f)
		return
	}
	if due.IsZero() {
		p.delivered(f)
		p.mu.Unlock()
		p.emit(f)
		return
	}
	if p.run == nil {
		p.run = startRunner(func() { p.drain() })
	}
	p.queue.push(waiting{f, due})
	if p.queue.len() == 1 {
		p.run.after(0)
	}
	p.mu.Unlock()
}

// admit decides whether a packet of n bytes gets through, and when; zero means at once.
func (p *pipe) admit(n int) (due time.Time, ok bool) {
	l := &p.link
	switch {
	case p.closed:
		return due, false
	case p.cut:
		p.count.Cut++
		return due, false
	case l.MTU > 0 && n > l.MTU:
		p.count.TooBig++
		return due, false
	}
	if l.Rate == 0 && l.Delay == 0 && l.Jitter == 0 && p.queue.len() == 0 {
		if l.Loss > 0 && p.random.Float64() < l.Loss {
			p.count.Lost++
			return due, false
		}
		return due, true
	}
	now := time.Now()
	due = now
	if l.Rate > 0 {
		start := p.free
		if start.Before(now) {
			start = now
		}
		if start.Sub(now) > l.queueLimit() {
			p.count.Dropped++
			return due, false
		}
		p.free = start.Add(l.sending(n))
		due = p.free
	}
	if l.Loss > 0 && p.random.Float64() < l.Loss { // after it has used the link, as on a real one
		p.count.Lost++
		return due, false
	}
	if p.queue.len() >= inFlightLimit {
		p.count.Dropped++
		return due, false
	}
	due = due.Add(l.Delay)
	if l.Jitter > 0 {
		due = due.Add(time.Duration(p.random.Int64N(int64(l.Jitter) + 1)))
	}
	return due, true
}

// drain delivers what is due and sets the timer for what is not yet; left is how long that is.
func (p *pipe) drain() (left time.Duration) {
	for {
		p.mu.Lock()
		w, ok := p.queue.peek()
		if !ok || p.closed {
			p.mu.Unlock()
			return 0
		}
		if left := time.Until(w.due); left > 0 {
			left = max(left, leastSleep)
			p.run.after(left)
			p.mu.Unlock()
			return left
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

// runner calls a function on a goroutine of its own whenever its timer fires. It is a kernel timer
// because the Go runtime, waiting for packets and timers at once, counts in whole milliseconds.
type runner struct {
	timer *os.File // a timerfd
	done  chan struct{}
}

func startRunner(step func()) *runner {
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
			step()
		}
	}()
	return r
}

// after sets the timer, in place of what it was set to; on a closed runner it does nothing.
func (r *runner) after(d time.Duration) {
	conn, err := r.timer.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Control(func(fd uintptr) {
		spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(1, int64(d)))} // 0 would stop it
		_ = unix.TimerfdSettime(int(fd), 0, &spec, nil)                       // a valid time on a valid timer
	})
}

// close returns when the goroutine has ended.
func (r *runner) close() {
	r.timer.Close()
	<-r.done
}
