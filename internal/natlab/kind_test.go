//go:build linux

package natlab

import (
	"context"
	"net/netip"
	"strconv"
	"testing"
	"time"
)

// TestMappingAndFiltering shows what each kind of NAT does with a host's port (RFC 4787's terms).
func TestMappingAndFiltering(t *testing.T) {
	for _, c := range []struct {
		kind Kind
		opts []Option
		// One outer port whatever the destination; packets let in from another port of a peer the
		// host has sent to; and from a stranger.
		sameMapping, otherPort, stranger bool
	}{
		{kind: Public, sameMapping: true, otherPort: true, stranger: true},
		{kind: FullCone, sameMapping: true, otherPort: true, stranger: true},
		{kind: Home, sameMapping: true},
		{kind: Home, opts: []Option{Hairpin}, sameMapping: true},
		{kind: Symmetric},
		{kind: Carrier, sameMapping: true},
		{kind: CGNAT, sameMapping: true},
		{kind: IPv6Only, sameMapping: true},
	} {
		t.Run(c.kind.String(), func(t *testing.T) {
			t.Parallel()
			lab := New(t)
			wan := lab.WAN(Link{})
			s1, s2 := wan.Host("server", DualStack), wan.Host("stranger", DualStack)
			nat := wan.NAT(c.kind, c.opts...)
			h := nat.Host("host")
			if c.kind == IPv6Only {
				s1.addr4, s2.addr4 = netip.Addr{}, netip.Addr{} // so that Addr is the IPv6 address
			}
			a, b, x := open(t, s1, ":0"), open(t, s1, ":0"), open(t, s2, ":0")
			own := open(t, h, ":0")

			outer := own.outside(a, s1)
			if want := nat.Addr(); want.IsValid() && outer.Addr() != want {
				t.Errorf("the host appears as %v, want an address of its NAT, %v", outer, want)
			}
			if c.kind == Public || c.kind == IPv6Only {
				if outer != at(h, own) {
					t.Errorf("the host appears as %v, want its own %v", outer, at(h, own))
				}
			} else if !h.Addr().IsPrivate() && !netip.MustParsePrefix("100.64.0.0/10").Contains(h.Addr()) {
				t.Errorf("behind a NAT, the host's address is %v", h.Addr())
			}

			lets := func(from socket) bool {
				t.Helper()
				before := arrivals(nat)
				from.send(outer, "unsolicited")
				eventually(t, "the packet's way to the NAT", func() bool { return arrivals(nat) > before })
				a.send(outer, "reply") // goes the same way after it
				text, _ := own.receive()
				if text == "unsolicited" {
					own.receive()
				}
				return text == "unsolicited"
			}
			if got := lets(b); got != c.otherPort {
				t.Errorf("a packet from another port of the peer: let in %v, want %v", got, c.otherPort)
			}
			if got := lets(x); got != c.stranger {
				t.Errorf("a packet from a stranger: let in %v, want %v", got, c.stranger)
			}

			same := own.outside(b, s1) == outer && own.outside(x, s2) == outer
			if same != c.sameMapping {
				t.Errorf("one mapping for all destinations: %v, want %v", same, c.sameMapping)
			}
			outer = own.outside(x, s2)
			if x.send(outer, "reply"); !received(own, "reply") {
				t.Error("a packet from a peer the host has sent to did not come in")
			}
		})
	}
}

// received reports whether the next packet to arrive at s says text.
func received(s socket, text string) bool {
	s.t.Helper()
	got, _ := s.receive()
	return got == text
}

// punched reports whether a and b, knowing each other's outer addresses, come to talk: what ICE
// does, without a relay.
func punched(t *testing.T, a, b socket, outerA, outerB netip.AddrPort) bool {
	t.Helper()
	heard := make(chan bool, 2)
	for _, s := range []socket{a, b} {
		go func() {
			var answered, answer bool
			for !answered || !answer {
				text, from, err := s.poll(time.Second)
				if err != nil {
					break
				}
				switch text {
				case "ping":
					s.send(from, "pong")
					if !answer {
						s.send(from, "ping") // to where it came from: a peer-reflexive candidate
					}
					answer = true
				case "pong":
					answered = true
				}
			}
			heard <- answered && answer
		}()
	}
	for range 5 {
		a.send(outerB, "ping")
		b.send(outerA, "ping")
		time.Sleep(10 * time.Millisecond)
	}
	first, second := <-heard, <-heard
	return first && second
}

func TestHolePunching(t *testing.T) {
	for _, c := range []struct {
		a, b Kind
		want bool
	}{
		{Home, Home, true},
		{Home, CGNAT, true},
		{CGNAT, CGNAT, true},
		{FullCone, Symmetric, true},
		{Public, Symmetric, true},
		{Home, Symmetric, false},
		{Symmetric, Symmetric, false},
		{UDPBlocked, Public, false},
		{OnlyTCP443, Public, false},
	} {
		t.Run(c.a.String()+" and "+c.b.String(), func(t *testing.T) {
			t.Parallel()
			lab := New(t)
			wan := lab.WAN(Link{Delay: time.Millisecond})
			srv := wan.Host("server")
			s := open(t, srv, ":0")
			ha, hb := wan.NAT(c.a).Host("a"), wan.NAT(c.b).Host("b")
			a, b := open(t, ha, ":0"), open(t, hb, ":0")
			var outerA netip.AddrPort
			if c.a == UDPBlocked || c.a == OnlyTCP443 {
				outerA = netip.AddrPortFrom(ha.NAT().Addr(), at(ha, a).Port())
			} else {
				outerA = a.outside(s, srv)
			}
			if got := punched(t, a, b, outerA, b.outside(s, srv)); got != c.want {
				t.Errorf("the peers talk directly: %v, want %v", got, c.want)
			}
		})
	}
}

func TestSameLANAndHairpin(t *testing.T) {
	for _, k := range []Kind{FullCone, Home} {
		for _, hairpin := range []bool{false, true} {
			t.Run(k.String()+" hairpin "+strconv.FormatBool(hairpin), func(t *testing.T) {
				t.Parallel()
				lab := New(t)
				wan := lab.WAN(Link{})
				srv := wan.Host("server")
				var opts []Option
				if hairpin {
					opts = append(opts, Hairpin)
				}
				nat := wan.NAT(k, opts...)
				ha, hb := nat.Host("a"), nat.Host("b")
				s, a, b := open(t, srv, ":0"), open(t, ha, ":4000"), open(t, hb, ":4000")

				a.send(at(hb, b), "direct")
				if _, from := b.receive(); from != at(ha, a) {
					t.Errorf("on the LAN a appears as %v, want %v", from, at(ha, a))
				}
				outerA, outerB := a.outside(s, srv), b.outside(s, srv)
				if outerA == outerB || outerA.Addr() != outerB.Addr() {
					t.Fatalf("behind one NAT the hosts appear as %v and %v", outerA, outerB)
				}
				if got := punched(t, a, b, outerA, outerB); got != hairpin {
					t.Errorf("the hosts reach each other by their outer addresses: %v, want %v", got, hairpin)
				}
				if !hairpin {
					return
				}
				a.send(outerB, "around")
				for {
					text, from := b.receive()
					if text != "around" {
						continue // left from the punching
					}
					if from != outerA {
						t.Errorf("through the hairpin a appears as %v, want %v", from, outerA)
					}
					return
				}
			})
		}
	}
}

// TestTwoCustomersOfOneCarrier shows that the layers are separate: both homes have their own router
// and share the carrier's address.
func TestTwoCustomersOfOneCarrier(t *testing.T) {
	lab := New(t)
	wan := lab.WAN(Link{})
	srv := wan.Host("server")
	carrier := wan.NAT(Carrier)
	h1, h2 := carrier.NAT(Home).Host("one"), carrier.NAT(Symmetric).Host("two")
	s := open(t, srv, ":0")
	o1, o2 := open(t, h1, ":0").outside(s, srv), open(t, h2, ":0").outside(s, srv)
	if o1.Addr() != carrier.Addr() || o2.Addr() != carrier.Addr() || o1 == o2 {
		t.Errorf("the customers appear as %v and %v, want two ports of %v", o1, o2, carrier.Addr())
	}
	if h1.NAT().Carrier() != carrier || !netip.MustParsePrefix("100.64.0.0/10").Contains(h1.NAT().outer) {
		t.Errorf("the first customer's router has the address %v", h1.NAT().outer)
	}
}

// TestBlockedTransports shows which TCP ports the restricted networks leave open.
func TestBlockedTransports(t *testing.T) {
	lab := New(t)
	wan := lab.WAN(Link{})
	srv := wan.Host("server", DualStack)
	for _, port := range []string{"443", "3478"} {
		l, err := srv.Listen(t.Context(), "tcp", ":"+port)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	dials := func(h *Host, address string, want bool) bool {
		ctx, cancel := context.WithTimeout(t.Context(), patience(want))
		defer cancel()
		c, err := h.DialContext(ctx, "tcp", address)
		if err != nil {
			return false
		}
		c.Close()
		return true
	}
	for _, c := range []struct {
		kind        Kind
		p443, p3478 bool
	}{
		{Home, true, true},
		{UDPBlocked, true, true},
		{OnlyTCP443, true, false},
	} {
		h := wan.NAT(c.kind, DualStack).Host(c.kind.String())
		for _, to := range []netip.Addr{srv.Addr(), srv.Addr6()} {
			if got := dials(h, netip.AddrPortFrom(to, 443).String(), c.p443); got != c.p443 {
				t.Errorf("%v: TCP to port 443 of %v: %v, want %v", c.kind, to, got, c.p443)
			}
			if got := dials(h, netip.AddrPortFrom(to, 3478).String(), c.p3478); got != c.p3478 {
				t.Errorf("%v: TCP to port 3478 of %v: %v, want %v", c.kind, to, got, c.p3478)
			}
		}
	}
}

func TestKindNames(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Kinds() {
		if k.String() == "" || seen[k.String()] {
			t.Errorf("kind %d is called %q", k, k)
		}
		seen[k.String()] = true
	}
	if got := Kind(99).String(); got != "kind-99" {
		t.Errorf("an unknown kind is called %q", got)
	}
}
