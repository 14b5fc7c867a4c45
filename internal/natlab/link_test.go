//go:build linux

package natlab

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"testing"
	"time"
)

func TestRoundTripIsTwiceTheDelay(t *testing.T) {
	t.Parallel()
	const delay = 20 * time.Millisecond
	lab := New(t)
	wan := lab.WAN(Link{Delay: delay})
	srv := wan.Host("server")
	h := wan.NAT(Home, Access(Link{Delay: delay})).Host("host")
	s, c := open(t, srv, ":0"), open(t, h, ":0")
	trip := func() time.Duration {
		start := time.Now()
		c.send(at(srv, s), "ping")
		_, from := s.receive()
		s.send(from, "pong")
		c.receive()
		return time.Since(start)
	}
	least := trip()
	for range 4 {
		least = min(least, trip())
	}
	t.Logf("least round trip %v over 4 links of %v", least, delay)
	if least < 4*delay {
		t.Errorf("a round trip took %v, which is less than %v", least, 4*delay)
	}
	h.Wire().SetDelay(0)
	wan.Path(h, srv).SetDelay(5 * time.Millisecond)
	if d := trip(); d < 10*time.Millisecond || d > least {
		t.Errorf("with less delay a round trip took %v", d)
	}
}

func TestLossRateAndStats(t *testing.T) {
	t.Parallel()
	lab := New(t)
	wan := lab.WAN(Link{Loss: 0.5})
	srv, h := wan.Host("server"), wan.NAT(Home).Host("host")
	s, c := open(t, srv, ":0"), open(t, h, ":0")
	for range 200 {
		c.send(at(srv, s), "maybe")
	}
	path := wan.Path(h, srv)
	eventually(t, "the end of the path", func() bool {
		up, _ := path.Stats()
		return up.Packets+up.Lost == 200
	})
	up, _ := path.Stats()
	if up.Lost < 50 || up.Lost > 150 || up.Bytes != up.Packets*int64(20+8+len("maybe")) {
		t.Errorf("a path that loses half counts %+v", up)
	}

	path.SetLoss(0)
	path.SetRate(10_000_000)
	l, err := srv.Listen(t.Context(), "tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const size = 500_000 // 400 ms at that rate
	start := time.Now()
	go send(t, h, netip.AddrPortFrom(srv.Addr(), l.Addr().(*net.TCPAddr).AddrPort().Port()), size)
	if n := drain(t, l); n != size {
		t.Errorf("%d bytes of %d arrived", n, size)
	}
	d := time.Since(start)
	t.Logf("%d bytes at 10 Mbit/s took %v", size, d)
	if d < size*8*time.Second/10_000_000 {
		t.Errorf("%d bytes took %v, faster than 10 Mbit/s", size, d)
	}
}

// send writes size bytes to address and closes the connection.
func send(t testing.TB, h *Host, to netip.AddrPort, size int64) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := h.DialContext(ctx, "tcp", to.String())
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	buf := make([]byte, 256<<10)
	for size > 0 {
		n, err := c.Write(buf[:min(size, int64(len(buf)))])
		if err != nil {
			t.Error(err)
			return
		}
		size -= int64(n)
	}
}

// drain accepts one connection and counts what it carries.
func drain(t testing.TB, l net.Listener) int64 {
	t.Helper()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	n, err := io.Copy(io.Discard, c)
	if err != nil {
		t.Error(err)
	}
	return n
}

func TestCutPathLeavesOthers(t *testing.T) {
	t.Parallel()
	lab := New(t)
	wan := lab.WAN(Link{})
	srv, ha, hb := wan.Host("server"), wan.Host("a"), wan.Host("b")
	s, a, b := open(t, srv, ":0"), open(t, ha, ":0"), open(t, hb, ":0")
	direct := wan.Path(ha, hb)
	direct.Cut(true)
	a.send(at(hb, b), "lost")
	eventually(t, "the loss on the cut path", func() bool { up, _ := direct.Stats(); return up.Cut == 1 })
	a.send(at(srv, s), "kept")
	if text, _ := s.receive(); text != "kept" {
		t.Errorf("the server received %q", text)
	}
	direct.Cut(false)
	a.send(at(hb, b), "kept too")
	if text, _ := b.receive(); text != "kept too" {
		t.Errorf("after the repair b received %q", text)
	}

	ha.Wire().Cut(true)
	a.send(at(srv, s), "lost")
	eventually(t, "the loss on the cut access link", func() bool { up, _ := ha.Wire().Stats(); return up.Cut == 1 })
	ha.Wire().Cut(false)
	a.send(at(srv, s), "back")
	if text, _ := s.receive(); text != "back" {
		t.Errorf("after the repair the server received %q", text)
	}
}

func TestMTUBlackHole(t *testing.T) {
	t.Parallel()
	lab := New(t)
	wan := lab.WAN(Link{MTU: 1280})
	srv, h := wan.Host("server"), wan.NAT(Home).Host("host")
	s, c := open(t, srv, ":0"), open(t, h, ":0")
	c.send(at(srv, s), string(make([]byte, 1280-28+1)))
	c.send(at(srv, s), string(make([]byte, 1280-28)))
	if text, _ := s.receive(); len(text) != 1280-28 {
		t.Errorf("a payload of %d bytes passed an MTU of 1280", len(text))
	}
	if up, _ := wan.Path(h, srv).Stats(); up.TooBig != 1 {
		t.Errorf("the path counts %+v", up)
	}
}

func TestTapAndCapture(t *testing.T) {
	t.Parallel()
	lab := New(t)
	wan := lab.WAN(Link{})
	srv, h := wan.Host("server", DualStack), wan.NAT(Home, DualStack).Host("host")
	s := open(t, srv, ":9")
	capture := srv.Wire().Capture(1 << 20)
	for i, to := range []netip.Addr{srv.Addr(), srv.Addr6()} {
		c := open(t, h, ":0")
		secret := "secret " + strconv.Itoa(i)
		c.send(netip.AddrPortFrom(to, 9), secret)
		_, from := s.receive()
		s.send(from, "answer")
		c.receive()
		if !capture.Contains([]byte(secret)) {
			t.Errorf("the capture lacks %q", secret)
		}
	}
	if capture.Contains([]byte("secret 2")) {
		t.Error("the capture has what nobody sent")
	}
	var up, down int
	for _, p := range capture.Packets() {
		switch {
		case p.Proto != UDP:
			t.Errorf("protocol %d from %v to %v", p.Proto, p.Src, p.Dst)
		case p.Up && p.Src.Port() == 9 && string(p.Payload) == "answer":
			up++
		case !p.Up && p.Dst.Port() == 9:
			down++
		}
	}
	if up != 2 || down != 2 {
		t.Errorf("the capture has %d packets up and %d down, want 2 and 2", up, down)
	}
	capture.Stop()
	open(t, h, ":0").send(at(srv, s), "after the end")
	s.receive()
	if capture.Contains([]byte("after the end")) {
		t.Error("a stopped capture went on")
	}
	var b bytes.Buffer
	if err := capture.WritePCAP(&b); err != nil || b.Len() < 24+4*16 {
		t.Errorf("a pcap file of %d bytes: %v", b.Len(), err)
	}
}

// TestNothingLeaves shows that addresses no site owns are unreachable and that nobody can use
// another's.
func TestNothingLeaves(t *testing.T) {
	t.Parallel()
	lab := New(t)
	wan := lab.WAN(Link{})
	h := wan.Host("host", DualStack)
	c := open(t, h, ":0")
	for i, to := range []string{"5.1.77.1:9", "8.8.8.8:53", "192.168.1.1:9", "[2001:4860:4860::8888]:53"} {
		c.send(netip.MustParseAddrPort(to), "lost")
		eventually(t, "the loss of a packet to "+to, func() bool { return wan.Stray() == int64(i+1) })
	}
	victim := wan.Host("victim")
	v := open(t, victim, ":0")
	if err := h.ns.ip("addr add 5.1.99.1/32 dev eth0"); err != nil {
		t.Fatal(err)
	}
	open(t, h, "5.1.99.1:0").send(at(victim, v), "forged")
	eventually(t, "the loss of a packet from a foreign address", func() bool { return wan.Stray() == 5 })
}

// BenchmarkForwarder measures TCP over one path, in the way of two routers.
func BenchmarkForwarder(b *testing.B) {
	for _, c := range []struct {
		name string
		link Link
	}{
		{"perfect", Link{}},
		{"delay 5ms", Link{Delay: 5 * time.Millisecond}},
		{"1Gbit", Link{Rate: 1e9, Delay: time.Millisecond}},
		{"100Mbit 25ms", Link{Rate: 1e8, Delay: 25 * time.Millisecond}},
	} {
		b.Run(c.name, func(b *testing.B) {
			lab := New(b)
			wan := lab.WAN(c.link)
			srv, h := wan.Host("server"), wan.NAT(Home).Host("host")
			l, err := srv.Listen(b.Context(), "tcp", ":0")
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			const size = 32 << 20
			b.SetBytes(size)
			var before, after syscall.Rusage
			syscall.Getrusage(syscall.RUSAGE_SELF, &before)
			b.ResetTimer()
			for range b.N {
				go send(b, h, netip.AddrPortFrom(srv.Addr(), l.Addr().(*net.TCPAddr).AddrPort().Port()), size)
				if n := drain(b, l); n != size {
					b.Fatalf("%d bytes of %d arrived", n, size)
				}
			}
			b.StopTimer()
			syscall.Getrusage(syscall.RUSAGE_SELF, &after)
			cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
			b.ReportMetric(float64(cpu.Milliseconds())/float64(b.N), "cpu-ms/op")
			up, _ := wan.Path(h, srv).Stats()
			b.ReportMetric(float64(up.Dropped), "dropped")
		})
	}
}
