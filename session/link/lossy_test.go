//go:build linux

package link

import (
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/transport/v4"
	"golang.org/x/sys/unix"
)

// headersUDP is what an IPv4 packet has beside what UDP carries.
const headersUDP = 20 + 8

// lossy is a link between two peers of one process: the sockets of each give their
// packets to one direction of it. It needs no root, and costs little CPU.
type lossy struct {
	rate   float64 // bits per second, of IP packets; 0 is unlimited
	delay  time.Duration
	jitter time.Duration // packets stay in order
	loss   float64
	queue  time.Duration // 0 is 100 ms
	mtu    int           // 0 is 1500

	up, down *direction
}

// direction is one direction of a link.
type direction struct {
	link *lossy

	mu     sync.Mutex
	random *rand.Rand
	free   time.Time // when the link has sent all it accepted
	last   time.Time // when the last packet arrives
	queue  []underWay
	closed bool
	mtu    int
	idle   *sync.Cond
	done   chan struct{}

	bytes, lost, dropped int
	waits                []time.Duration
}

// underWay is a packet and when it arrives.
type underWay struct {
	due     time.Time
	packet  []byte
	deliver func([]byte)
}

func (l *lossy) start(tb testing.TB) {
	tb.Helper()
	for i, d := range []**direction{&l.up, &l.down} {
		*d = &direction{link: l, mtu: l.mtu, random: rand.New(rand.NewPCG(1, uint64(i))), done: make(chan struct{})}
		(*d).idle = sync.NewCond(&(*d).mu)
		go (*d).run()
	}
	tb.Cleanup(func() {
		for _, d := range []*direction{l.up, l.down} {
			d.mu.Lock()
			d.closed = true
			d.idle.Signal()
			d.mu.Unlock()
			<-d.done
		}
	})
}

// config makes a peer send by d.
func (d *direction) config(c Config) Config {
	n := systemNetwork()
	c.network = &network{Net: lossyNet{n.Net, d}, interfaces: n.interfaces}
	return c
}

func (d *direction) send(p []byte, deliver func([]byte)) {
	l, size := d.link, len(p)+headersUDP
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	limit := l.queue
	if limit == 0 {
		limit = 100 * time.Millisecond
	}
	mtu := d.mtu
	if mtu == 0 {
		mtu = 1500
	}
	wait := max(0, d.free.Sub(now))
	if d.closed || wait > limit || size > mtu {
		d.dropped++
		return
	}
	d.waits = append(d.waits, wait)
	due := now.Add(wait)
	if l.rate != 0 {
		due = due.Add(time.Duration(float64(size) * 8 / l.rate * float64(time.Second)))
	}
	d.free = due
	if d.random.Float64() < l.loss {
		d.lost++
		return
	}
	due = due.Add(l.delay + time.Duration(d.random.Float64()*float64(l.jitter)))
	if due.Before(d.last) {
		due = d.last
	}
	d.last = due
	d.bytes += size
	d.queue = append(d.queue, underWay{due, slices.Clone(p), deliver})
	d.idle.Signal()
}

// run delivers packets when they are due. It has a thread, so that sleeping is exact.
func (d *direction) run() {
	defer close(d.done)
	runtime.LockOSThread()
	d.mu.Lock()
	defer d.mu.Unlock()
	for !d.closed {
		if len(d.queue) == 0 {
			d.idle.Wait()
			continue
		}
		if left := time.Until(d.queue[0].due); left > 0 {
			pause := unix.NsecToTimespec(max(int64(left), 100_000))
			d.mu.Unlock()
			_ = unix.Nanosleep(&pause, nil) // too short sleeps are repeated
			d.mu.Lock()
			continue
		}
		first := d.queue[0]
		d.queue = d.queue[1:]
		d.mu.Unlock()
		first.deliver(first.packet)
		d.mu.Lock()
	}
}

// count is how many bytes of IP packets the link has delivered.
func (d *direction) count() (bytes, lost, dropped int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bytes, d.lost, d.dropped
}

// queued are the times that packets have waited for the link since the last call,
// sorted; there is at least one.
func (d *direction) queued() []time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	waits := append(d.waits, 0)
	d.waits = nil
	slices.Sort(waits)
	return waits
}

type lossyNet struct {
	transport.Net
	direction *direction
}

type lossySocket struct {
	transport.UDPConn
	direction *direction
}

func (n lossyNet) ListenUDP(network string, local *net.UDPAddr) (transport.UDPConn, error) {
	conn, err := n.Net.ListenUDP(network, local)
	if err != nil {
		return nil, err
	}
	return lossySocket{conn, n.direction}, nil
}

func (s lossySocket) WriteTo(p []byte, addr net.Addr) (int, error) {
	s.direction.send(p, func(p []byte) { _, _ = s.UDPConn.WriteTo(p, addr) }) // lost
	return len(p), nil
}
