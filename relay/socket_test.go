package relay

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// Whatever the sizes and ways, each way gets its datagrams whole and in order.
func TestBatchKeepsOrder(t *testing.T) {
	for name, segments := range map[string]bool{"segments": true, "segments from an IPv6 socket": true, "one by one": false} {
		t.Run(name, func(t *testing.T) {
			local := "127.0.0.1"
			if strings.Contains(name, "IPv6") {
				local = "::"
			}
			from := newSocket(newPeer(t, local), relayBuffer)
			if segments && !from.segments.Load() {
				t.Skip("this system doesn't cut writes into datagrams")
			}
			from.segments.Store(segments)
			var to [3]*net.UDPConn
			for i := range to {
				to[i] = newPeer(t, "127.0.0.1")
			}
			s := &Server{runs: sync.Pool{New: func() any { b := make([]byte, 0, maxRun); return &b }}}
			out := &batch{server: s}
			random := rand.New(rand.NewPCG(3, 4))
			var sent [3][]int
			for range 20 {
				for range 1 + random.IntN(90) {
					i, n := random.IntN(2), []int{0, 1, 100, 1200, 1200, 1200, maxMessage}[random.IntN(7)]
					payload := make([]byte, n)
					for j := range payload {
						payload[j] = byte(len(sent[i]) + j)
					}
					sent[i] = append(sent[i], n)
					out.add(from, addrPort(to[i].LocalAddr()), payload)
				}
				out.flush()
				for i := range to {
					buf := make([]byte, 4096)
					for k, want := range sent[i] {
						_ = to[i].SetReadDeadline(time.Now().Add(patient))
						n, err := to[i].Read(buf)
						if err != nil || n != want {
							t.Fatalf("datagram %d has %d bytes, %v; want %d", k, n, err, want)
						}
						for j, b := range buf[:n] {
							if b != byte(k+j) {
								t.Fatalf("datagram %d differs at byte %d", k, j)
							}
						}
					}
					sent[i] = nil
				}
			}
			// A long run of equal sizes, longer than one write may be.
			for i := range uint32(200) {
				out.add(from, addrPort(to[2].LocalAddr()), binary.BigEndian.AppendUint32(make([]byte, 1000), i))
			}
			out.flush()
			buf := make([]byte, 4096)
			for i := range uint32(200) {
				_ = to[2].SetReadDeadline(time.Now().Add(patient))
				n, err := to[2].Read(buf)
				if err != nil || n != 1004 || binary.BigEndian.Uint32(buf[1000:]) != i {
					t.Fatalf("datagram %d of the long run: %d bytes, %v", i, n, err)
				}
			}
		})
	}
}

// A write that the kernel won't cut goes out one by one: these segments are
// larger than the MTU of some path, or of none.
func TestBatchFallsBack(t *testing.T) {
	conn, peer := newPeer(t, "127.0.0.1"), newPeer(t, "127.0.0.1")
	r := run{socket: newSocket(conn, relayBuffer), to: addrPort(peer.LocalAddr()), size: 4, count: 200}
	buf := make([]byte, 800) // more segments than any kernel takes at once
	r.buf = &buf
	r.write()
	for i := range 200 {
		_ = peer.SetReadDeadline(time.Now().Add(patient))
		if n, err := peer.Read(make([]byte, 100)); err != nil || n != 4 {
			t.Fatalf("datagram %d: %d bytes, %v", i, n, err)
		}
	}
}

// Systems without recvmmsg get the same.
func TestReadOneByOne(t *testing.T) {
	from, to := newPeer(t, "127.0.0.1"), newPeer(t, "::")
	r := newReader(newSocket(to, relayBuffer), relayBatch)
	r.filler = oneByOne{to}
	dst := netip.AddrPortFrom(loopback4.Addr(), addrPort(to.LocalAddr()).Port())
	for _, n := range []int{0, 1, maxMessage, maxMessage + 1, 3000, 5} {
		if _, err := from.WriteToUDPAddrPort(make([]byte, n), dst); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int{0, 1, maxMessage, 5} { // the long ones are skipped
		d, src, err := r.next()
		if err != nil || d.len() != want || src != addrPort(from.LocalAddr()) {
			t.Errorf("next = %d bytes from %v, %v; want %d", d.len(), src, err, want)
		}
	}
	_ = to.Close()
	if _, _, err := r.next(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("next after Close = %v", err)
	}
}

// Sharing is among the sockets of one server, not with another that was started
// by mistake.
func TestAddressTaken(t *testing.T) {
	s := newServer(t, func(c *Config) { c.UDPSockets = 2 })
	udp, _, _ := s.Addrs()
	cfg := s.cfg
	cfg.UDP = udp
	if second, err := New(cfg); err == nil {
		_ = second.Close()
		t.Error("two servers share an address")
	}
}

func TestSocketsShareAnAddress(t *testing.T) {
	s := newServer(t, func(c *Config) { c.UDPSockets = 2; c.UDP = []netip.AddrPort{loopback4, loopback6} })
	if udp, _, _ := s.Addrs(); len(udp) != 2 {
		t.Fatalf("addresses %v", udp)
	}
	for range 4 {
		converse(t, allocate(t, connect(t, s, "u")), newPeer(t, "127.0.0.1"))
	}
}
