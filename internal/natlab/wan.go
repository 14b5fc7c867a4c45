//go:build linux

package natlab

import (
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// WAN is a wide area network: sites, each behind a router, and a path between any two of them.
type WAN struct {
	lab   *Lab
	pool  sync.Pool // of *frame
	reads sync.WaitGroup
	stray atomic.Int64

	mu     sync.RWMutex
	link   Link
	sites  []*site
	blocks map[netip.Prefix]*site // by the addresses sites own
	paths  map[[2]*site]*pipe
	closed bool
}

// site is one attachment to a WAN.
type site struct {
	wan    *WAN
	number int // from 1
	name   string
	tun    *os.File
	up     *pipe // from the site's router
	down   *pipe // to the site's router
}

func newWAN(l *Lab, link Link) *WAN {
	w := &WAN{
		lab: l, link: link,
		blocks: map[netip.Prefix]*site{},
		paths:  map[[2]*site]*pipe{},
	}
	w.pool.New = func() any { return new(frame) }
	return w
}

// maxSites is how many sites the address plan has room for.
const maxSites = 250

func block4(site int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{5, 1, byte(site), 0}), 24)
}

func block6(site int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x2a, 0x01, 0x04, 0xf8, 0, byte(site)}), 48)
}

// attach adds a site whose router lives in ns, and starts forwarding what the router sends to the
// device "wan" it finds there.
func (w *WAN) attach(name string, ns *namespace, access Link) (*site, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.sites) == maxSites {
		return nil, fmt.Errorf("a WAN has room for %d sites", maxSites)
	}
	tun, err := openTUN(ns, "wan")
	if err != nil {
		return nil, err
	}
	s := &site{wan: w, number: len(w.sites) + 1, name: name, tun: tun}
	s.up = newPipe(name+" up", access, &w.pool, s.route)
	s.down = newPipe(name+" down", access, &w.pool, s.deliver)
	w.sites = append(w.sites, s)
	w.blocks[block4(s.number)] = s
	w.blocks[block6(s.number)] = s
	w.reads.Go(s.read)
	return s, nil
}

// read takes packets from the site's router until its device is closed.
func (s *site) read() {
	for {
		f := s.wan.pool.Get().(*frame)
		n, err := s.tun.Read(f.buf[:])
		if err != nil {
			return
		}
		f.n = n
		if _, dst, ok := addresses(f.bytes()); ok && dst.IsMulticast() {
			s.wan.pool.Put(f) // the router looking for neighbours, of which the WAN has none
			continue
		}
		s.up.send(f)
	}
}

// route puts f on the path to the site that owns its destination.
func (s *site) route(f *frame) {
	src, dst, ok := addresses(f.bytes())
	w := s.wan
	w.mu.RLock()
	to := w.owner(dst)
	if !ok || to == nil || w.owner(src) != s {
		w.mu.RUnlock()
		w.stray.Add(1)
		w.pool.Put(f)
		return
	}
	path := w.paths[[2]*site{s, to}]
	w.mu.RUnlock()
	if path == nil {
		path = w.path(s, to)
	}
	path.send(f)
}

// deliver hands f to the site's router.
func (s *site) deliver(f *frame) {
	_, _ = s.tun.Write(f.bytes()) // fails while the device is down, which is a lost packet
	s.wan.pool.Put(f)
}

// owner finds the site with address a; w.mu is held.
func (w *WAN) owner(a netip.Addr) *site {
	bits := 48
	if a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return nil
	}
	return w.blocks[p]
}

// path is the pipe from one site to another, made on first use.
func (w *WAN) path(from, to *site) *pipe {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := [2]*site{from, to}
	p := w.paths[key]
	if p == nil {
		p = newPipe(from.name+" → "+to.name, w.link, &w.pool, to.down.send)
		if w.closed {
			p.close()
		}
		w.paths[key] = p
	}
	return p
}

// Path is the link between the sites of a and b, each a *Host or *NAT of this WAN; Up leads from a
// to b. Changing it leaves the paths between other sites alone: cutting the one between two peers
// leaves both connected to a server elsewhere.
func (w *WAN) Path(a, b Node) *Wire {
	w.lab.t.Helper()
	from, to := a.site(), b.site()
	if from == nil || to == nil || from.wan != w || to.wan != w {
		w.lab.t.Fatalf("natlab: no path on this WAN between %v and %v", a, b)
	}
	return &Wire{up: w.path(from, to), down: w.path(to, from)}
}

// SetLink gives every path new properties, including those changed by themselves and those between
// sites that are yet to come. It panics if a property is out of range.
func (w *WAN) SetLink(l Link) {
	mustCheck(l)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.link = l
	for _, p := range w.paths {
		p.change(func(old *Link) { *old = l })
	}
}

// Stray counts packets that vanished because no site owns their destination, or because the site
// that sent them does not own their source.
func (w *WAN) Stray() int64 { return w.stray.Load() }

// close stops all forwarding and returns when it has stopped.
func (w *WAN) close() {
	for _, s := range w.sites {
		s.tun.Close()
	}
	w.reads.Wait()
	w.mu.Lock()
	w.closed = true
	pipes := make([]*pipe, 0, 2*len(w.sites)+len(w.paths))
	for _, s := range w.sites {
		pipes = append(pipes, s.up, s.down)
	}
	for _, p := range w.paths {
		pipes = append(pipes, p)
	}
	w.mu.Unlock()
	for _, p := range pipes {
		p.close()
	}
}

// openTUN makes a TUN device in ns; closing the file removes it.
func openTUN(ns *namespace, name string) (*os.File, error) {
	var tun *os.File
	err := ns.run(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("/dev/net/tun: %w", err)
		}
		req, err := unix.NewIfreq(name)
		if err == nil {
			req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
		}
		if err != nil {
			unix.Close(fd)
			return fmt.Errorf("%s: make TUN device %s: %w", ns.name, name, err)
		}
		tun = os.NewFile(uintptr(fd), "/dev/net/tun") // only now: the poller takes no unbound device
		return nil
	})
	return tun, err
}
