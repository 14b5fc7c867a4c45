//go:build linux

package natlab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestRebindAndForget(t *testing.T) {
	for _, k := range []Kind{Home, CGNAT, FullCone} {
		t.Run(k.String(), func(t *testing.T) {
			t.Parallel()
			lab := New(t)
			wan := lab.WAN(Link{})
			srv, nat := wan.Host("server"), wan.NAT(k)
			s, c := open(t, srv, ":0"), open(t, nat.Host("host"), ":0")
			before := c.outside(s, srv)

			top := nat
			if nat.Carrier() != nil {
				top = nat.Carrier()
			}
			addr := top.Rebind()
			if addr == before.Addr() || addr != nat.Addr() {
				t.Fatalf("the new address is %v, the old one %v", addr, before.Addr())
			}
			after := c.outside(s, srv)
			if after.Addr() != addr {
				t.Errorf("after the change the host appears as %v, want %v", after, addr)
			}
			arrived := arrivals(nat)
			s.send(before, "to the old address")
			eventually(t, "the packet's way to the router", func() bool { return arrivals(nat) > arrived })
			s.send(after, "to the new address")
			if text, _ := c.receive(); text != "to the new address" {
				t.Errorf("the host received what was sent %s", text)
			}

			nat.Forget()
			arrived = arrivals(nat)
			s.send(after, "into nothing")
			eventually(t, "the packet's way to the router", func() bool { return arrivals(nat) > arrived })
			s.send(c.outside(s, srv), "after sending again")
			if text, _ := c.receive(); text != "after sending again" {
				t.Errorf("the host received what went %s", text)
			}
		})
	}
}

func TestRebindOfInnerRouter(t *testing.T) {
	lab := New(t)
	wan := lab.WAN(Link{})
	srv, nat := wan.Host("server"), wan.NAT(CGNAT)
	s, c := open(t, srv, ":0"), open(t, nat.Host("host"), ":0")
	c.outside(s, srv)
	old := nat.outer
	if inner := nat.Rebind(); inner == old || nat.Addr() != nat.Carrier().Addr() {
		t.Errorf("the inner router went from %v to %v", old, inner)
	}
	if got := c.outside(s, srv); got.Addr() != nat.Carrier().Addr() {
		t.Errorf("after the change the host appears as %v", got)
	}
}

func TestReaddressMoveAndUnplug(t *testing.T) {
	t.Parallel()
	lab := New(t)
	wan := lab.WAN(Link{})
	srv := wan.Host("server", DualStack)
	home, train := wan.NAT(Home, DualStack), wan.NAT(Symmetric)
	h := home.Host("host")
	s := open(t, srv, ":9")
	reaches := func(to netip.Addr) netip.Addr {
		t.Helper()
		c := open(t, h, ":0")
		c.send(netip.AddrPortFrom(to, 9), "hello")
		_, from := s.receive()
		return from.Addr()
	}

	old, old6 := h.Addr(), h.Addr6()
	h.Readdress()
	if h.Addr() == old || h.Addr6() == old6 || !home.lan4.Contains(h.Addr()) {
		t.Errorf("the addresses went from %v and %v to %v and %v", old, old6, h.Addr(), h.Addr6())
	}
	if _, err := h.ListenPacket(t.Context(), "udp", netip.AddrPortFrom(old, 0).String()); err == nil {
		t.Error("the host still has its old address")
	}
	if got := reaches(srv.Addr()); got != home.Addr() {
		t.Errorf("with a new address the host appears as %v, want %v", got, home.Addr())
	}
	if got := reaches(srv.Addr6()); got != h.Addr6() {
		t.Errorf("with a new address the host appears as %v, want %v", got, h.Addr6())
	}

	h.Unplug()
	if c, err := h.DialContext(t.Context(), "udp", srv.Addr().String()+":9"); err == nil {
		c.Close()
		t.Error("an unplugged host has a route")
	}
	h.Plug()
	if got := reaches(srv.Addr6()); got != h.Addr6() {
		t.Errorf("plugged in again the host appears as %v, want %v", got, h.Addr6())
	}

	h.Move(train)
	if h.NAT() != train || h.Addr6().IsValid() || !train.lan4.Contains(h.Addr()) {
		t.Errorf("on the train the host has the addresses %v and %v", h.Addr(), h.Addr6())
	}
	if got := reaches(srv.Addr()); got != train.Addr() {
		t.Errorf("on the train the host appears as %v, want %v", got, train.Addr())
	}
	h.Move(home)
	if got := reaches(srv.Addr()); got != home.Addr() {
		t.Errorf("back home the host appears as %v, want %v", got, home.Addr())
	}
}

func TestBlock(t *testing.T) {
	t.Parallel()
	lab := New(t)
	wan := lab.WAN(Link{})
	srv, nat := wan.Host("server"), wan.NAT(Home)
	h := nat.Host("host")
	s := open(t, srv, ":9")
	l, err := srv.Listen(t.Context(), "tcp", ":9")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	target := srv.Addr().String() + ":9"
	works := func(protocol string, want bool) bool {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience(want))
		defer cancel()
		c, err := h.DialContext(ctx, protocol, target)
		if err != nil {
			return false
		}
		defer c.Close()
		if protocol == "tcp" {
			return true
		}
		if _, err := c.Write([]byte("hello")); err != nil {
			return false // the packet filter's answer to a local sender
		}
		_, _, err = s.poll(patience(want))
		return err == nil
	}
	for _, c := range []struct {
		where    interface{ Block(...Protocol) }
		what     []Protocol
		udp, tcp bool
	}{
		{nat, []Protocol{UDP}, false, true},
		{nat, []Protocol{TCP, ICMP}, true, false},
		{nat, nil, true, true},
		{h, []Protocol{UDP, TCP}, false, false},
		{h, nil, true, true},
		{srv, []Protocol{UDP}, false, true},
	} {
		c.where.Block(c.what...)
		if got := works("udp", c.udp); got != c.udp {
			t.Errorf("%v blocks %v: UDP works %v, want %v", c.where, c.what, got, c.udp)
		}
		if got := works("tcp", c.tcp); got != c.tcp {
			t.Errorf("%v blocks %v: TCP works %v, want %v", c.where, c.what, got, c.tcp)
		}
	}
}

func TestCounters(t *testing.T) {
	lab := New(t)
	lan := lab.LAN()
	ha, hb := lan.Host("a"), lan.Host("b")
	a, b := open(t, ha, ":0"), open(t, hb, ":0")
	before := ha.Counters()
	a.send(at(hb, b), string(make([]byte, 1000)))
	b.receive()
	after := ha.Counters()
	if sent := after.TxBytes - before.TxBytes; sent < 1000 || after.TxPackets == before.TxPackets {
		t.Errorf("after 1000 bytes the host has sent %d", sent)
	}
	if lan.Wire() != nil || ha.Wire() != nil {
		t.Error("a LAN on its own has a link to a WAN")
	}
}

func TestSameSubnetInTwoHomes(t *testing.T) {
	lab := New(t)
	wan := lab.WAN(Link{})
	srv := wan.Host("server")
	subnet := Subnet(netip.MustParsePrefix("192.168.1.0/24"))
	n1, n2, n3 := wan.NAT(Home, subnet), wan.NAT(Home, subnet), wan.NAT(CGNAT, subnet)
	s := open(t, srv, ":0")
	for _, n := range []*NAT{n1, n2, n3} {
		h := n.Host("host")
		if h.Addr() != netip.MustParseAddr("192.168.1.2") {
			t.Errorf("the host of %v has the address %v", n, h.Addr())
		}
		if got := open(t, h, ":0").outside(s, srv); got.Addr() != n.Addr() {
			t.Errorf("the host of %v appears as %v, want %v", n, got, n.Addr())
		}
	}
}

func TestIPv6BehindTwoRouters(t *testing.T) {
	lab := New(t)
	wan := lab.WAN(Link{})
	srv := wan.Host("server", DualStack)
	h := wan.NAT(CGNAT, DualStack).Host("host")
	s := open(t, srv, ":9")
	for to, want := range map[netip.Addr]netip.Addr{srv.Addr(): h.NAT().Addr(), srv.Addr6(): h.Addr6()} {
		c := open(t, h, ":0")
		c.send(netip.AddrPortFrom(to, 9), "hello")
		_, from := s.receive()
		if from.Addr() != want {
			t.Errorf("the host appears as %v, want %v", from.Addr(), want)
		}
		s.send(from, "hello too")
		c.receive()
	}
}

func TestUDPTimeout(t *testing.T) {
	lab := New(t)
	wan := lab.WAN(Link{})
	srv, nat := wan.Host("server"), wan.NAT(Home, UDPTimeout(time.Second))
	s, c := open(t, srv, ":0"), open(t, nat.Host("host"), ":0")
	outer := c.outside(s, srv)
	// The entry outlives its second by as long as it takes the kernel to notice.
	eventually(t, "the end of the mapping", func() bool {
		time.Sleep(1100 * time.Millisecond)
		s.send(outer, "late")
		_, _, err := c.poll(50 * time.Millisecond)
		return errors.Is(err, os.ErrDeadlineExceeded)
	})
}

func TestCommandRunsInside(t *testing.T) {
	t.Parallel()
	lab := New(t)
	wan := lab.WAN(Link{})
	h := wan.NAT(Home).Host("host")
	out, err := h.Command(t.Context(), "ip", "-o", "addr", "show", "dev", "eth0").Output()
	if err != nil || !strings.Contains(string(out), h.Addr().String()+"/24") {
		t.Errorf("ip addr on the host: %v\n%s", err, out)
	}
	var exit *exec.ExitError
	err = h.Command(t.Context(), "sh", "-c", "exit 7").Run()
	if !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("a program that exits with 7: %v", err)
	}
	if err := h.Command(t.Context(), "no-such-program").Run(); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("a program that does not exist: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := h.Command(ctx, "sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := cmd.Wait(); err == nil {
		t.Error("a program outlived its context")
	}
}

func TestRunAndDial(t *testing.T) {
	t.Parallel()
	lab := New(t)
	wan := lab.WAN(Link{})
	srv, h := wan.Host("server"), wan.NAT(Home).Host("host")
	failure := errors.New("failure")
	if err := h.Run(t.Context(), func() error { return failure }); err != failure {
		t.Errorf("Run returned %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Run(ctx, func() error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Run with an ended context returned %v", err)
	}

	l, err := srv.Listen(t.Context(), "tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.RemoteAddr)
	})}
	served := make(chan error, 1)
	go func() { served <- web.Serve(l) }()
	defer func() { web.Close(); <-served }()
	transport := &http.Transport{DialContext: h.DialContext}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Get("http://" + srv.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var seen string
	if _, err := fmt.Fscan(res.Body, &seen); err != nil || !strings.HasPrefix(seen, h.NAT().Addr().String()+":") {
		t.Errorf("the server saw %q (%v), want the NAT's address %v", seen, err, h.NAT().Addr())
	}

	// Back on this machine's own network.
	if c, err := net.Listen("tcp", srv.Addr().String()+":0"); err == nil {
		c.Close()
		t.Error("this test's own goroutine is in the lab")
	}
}
