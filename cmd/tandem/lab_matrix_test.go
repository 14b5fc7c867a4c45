//go:build linux

package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tandem/internal/natlab"
	"tandem/session"
)

// behaviour is what of a network decides whether two peers find a direct path (RFC 4787).
type behaviour struct {
	udp       bool // UDP gets out
	dependent bool // another outer port for each destination, so a peer can't be told it
	filters   bool // only what was sent to may answer, by address and port
	v4, v6    bool
}

// behaviours is the theory. The lab's CGNAT maps and filters like a home router, twice: its
// mapping depends on no destination, and a hole is punched through both layers at once.
var behaviours = map[natlab.Kind]behaviour{
	natlab.Public:     {udp: true, v4: true},
	natlab.FullCone:   {udp: true, v4: true},
	natlab.Home:       {udp: true, filters: true, v4: true},
	natlab.Symmetric:  {udp: true, dependent: true, filters: true, v4: true},
	natlab.CGNAT:      {udp: true, filters: true, v4: true},
	natlab.UDPBlocked: {filters: true, v4: true},
	natlab.OnlyTCP443: {filters: true, v4: true},
	natlab.IPv6Only:   {udp: true, filters: true, v6: true},
}

// reaches is the kind of path there is between two networks. A hole is punched by both sides
// sending to where the other will be seen to come from. From a port that depends on the
// destination a peer comes as a surprise, so the other one must not filter.
func (a behaviour) reaches(b behaviour) session.PathKind {
	switch {
	case !a.udp || !b.udp:
		return session.Relayed
	case !(a.v4 && b.v4) && !(a.v6 && b.v6):
		return session.Relayed
	case a.dependent && b.filters, b.dependent && a.filters:
		return session.Relayed
	}
	return session.Direct
}

// cell is a pair of networks.
type cell struct {
	name        string
	host, guest *natlab.Host
	want        session.PathKind
}

// TestLabMatrix has every kind of network meet every other: a shell command, 20 MiB each way, the
// path that theory allows, and not a byte through the relay where that is direct.
func TestLabMatrix(t *testing.T) {
	l := newLab(t)
	wan := l.WAN(natlab.Link{Delay: 5 * time.Millisecond})
	ca := newAuthority(t)
	content := randomFile(t, 20<<20)

	// A cell has a server to itself while it runs, and so its relay's counters. Their number
	// bounds how many cells run at once.
	servers := make(chan *labServer, 3)
	for i := range cap(servers) {
		servers <- l.server(t, wan.Host(fmt.Sprintf("server-%d", i), natlab.DualStack), ca)
	}

	for _, c := range cells(wan) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := <-servers
			defer func() { servers <- s }()
			l.try(t, c, s, ca, content)
		})
	}
}

// cells draws the networks, two of each kind, and pairs them.
func cells(wan *natlab.WAN) []cell {
	kinds := []natlab.Kind{
		natlab.Public, natlab.FullCone, natlab.Home, natlab.Symmetric, natlab.CGNAT, natlab.UDPBlocked, natlab.OnlyTCP443,
	}
	var list []cell
	here, there := map[natlab.Kind]*natlab.Host{}, map[natlab.Kind]*natlab.Host{}
	add := func(a, b natlab.Kind, host, guest *natlab.Host, want session.PathKind) {
		list = append(list, cell{fmt.Sprintf("%v,%v", a, b), host, guest, want})
	}
	for _, k := range append(kinds, natlab.IPv6Only) {
		here[k], there[k] = wan.NAT(k).Host("here"), wan.NAT(k).Host("there")
	}
	for i, a := range kinds {
		for j, b := range kinds[i:] {
			want := behaviours[a].reaches(behaviours[b])
			if (i+j)%2 == 0 { // either may be the one who shares
				add(a, b, here[a], there[b], want)
			} else {
				add(b, a, there[b], here[a], want)
			}
		}
	}
	// Behind one NAT the outside does not matter.
	for _, k := range []natlab.Kind{natlab.Home, natlab.Symmetric, natlab.CGNAT, natlab.UDPBlocked, natlab.OnlyTCP443} {
		neighbour := here[k].NAT().Host("neighbour")
		list = append(list, cell{fmt.Sprintf("%v,same-lan", k), here[k], neighbour, session.Direct})
	}
	// IPv6 needs no translation; between the families only a relay helps.
	dual := wan.NAT(natlab.Home, natlab.DualStack).Host("dual")
	v6 := natlab.IPv6Only
	add(v6, v6, here[v6], there[v6], session.Direct)
	list = append(list, cell{"ipv6-only,dual-stack", here[v6], dual, session.Direct})
	add(natlab.Home, v6, here[natlab.Home], there[v6], session.Relayed)
	return list
}

// try has the two sides of a cell meet over a server and work together.
func (l *lab) try(t *testing.T, c cell, s *labServer, ca *authority, content string) {
	trust := "SSL_CERT_FILE=" + ca.file
	host, guest := l.device(t, c.host, "sharing", trust), l.device(t, c.guest, "joining", trust)
	m := meet(t, host, guest, s.reachable(c.host), s.reachable(c.guest))

	begun := time.Now()
	if out := guest.run(t, "shell", m.peer, "--", "echo", "it works"); !strings.Contains(out, "it works") {
		t.Errorf("the shell printed %q", out)
	}
	shell := time.Since(begun)

	path := guest.awaitPath(t, m.peer, c.want, 2*hangs)
	var before, after int64
	var get, put time.Duration
	for again := range 3 {
		before = s.relayed(t)
		if c.want == session.Direct {
			before = s.quiet(t) // the last checks of the set-up, or a path before this one that still ends
		}
		get, put = m.copies(t, content)
		after = s.relayed(t)
		last := path
		if path = guest.why(t, m.peer).Path; path.Changes == last.Changes {
			break
		}
		// A machine so busy that a path fell silent: looking for another one, its checks have tried
		// the relay. What was carried says nothing then.
		t.Logf("the path changed under copy %d, from %+v to %+v", again+1, last, path)
		path = guest.awaitPath(t, m.peer, c.want, 2*hangs)
	}
	if path.Kind != c.want {
		t.Errorf("the path is %+v at the end, want %s", path, c.want)
	}
	switch carried := after - before; {
	case c.want == session.Direct && carried != 0:
		t.Errorf("the relay carried %d bytes beside a direct path", carried)
	case c.want == session.Relayed && carried < 40<<20:
		t.Errorf("the relay carried %d bytes of 40 MiB over a path that should be relayed", carried)
	case c.want == session.Relayed && path.WhyNotDirect == "":
		t.Error("nothing says why the path is not direct")
	}
	t.Logf("joined in %v over a %s path, shell %v, get %v, put %v; relay %d + %d bytes; %s %v to %v %s",
		m.began.Round(time.Millisecond), m.first.Kind, shell.Round(time.Millisecond), get.Round(time.Millisecond),
		put.Round(time.Millisecond), before, after-before, path.Local.Type, path.Local.Protocol, path.Remote.Type, path.WhyNotDirect)
}

// reachable is how a host names the server: by the address of a family it has.
func (s *labServer) reachable(from *natlab.Host) []string {
	if from.Addr().Is4() {
		return []string{s.url}
	}
	return []string{s.url6}
}

// quiet waits until the relay has carried nothing for longer than a path's keepalives are apart,
// and returns what it has carried by then.
func (s *labServer) quiet(t *testing.T) int64 {
	t.Helper()
	begun, last := time.Now(), s.relayed(t)
	for {
		time.Sleep(1500 * time.Millisecond)
		now := s.relayed(t)
		if now == last {
			return now
		}
		last = now
		if time.Since(begun) > hangs {
			t.Fatalf("the relay still carries something after %v", time.Since(begun))
		}
	}
}

// TestLabWhyNotDirect asks both sides of relayed sessions why they are not direct, until there is an
// answer.
func TestLabWhyNotDirect(t *testing.T) {
	for _, c := range []struct {
		host, guest natlab.Kind
		want        string
	}{
		{natlab.Symmetric, natlab.Home, "new port for each destination"},
		{natlab.Home, natlab.UDPBlocked, "UDP seems to be blocked here"},
		{natlab.UDPBlocked, natlab.Home, "UDP seems to be blocked there"},
		{natlab.UDPBlocked, natlab.OnlyTCP443, "UDP seems to be blocked on both"},
	} {
		t.Run(fmt.Sprintf("%v,%v", c.host, c.guest), func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			wan := l.WAN(natlab.Link{Delay: 5 * time.Millisecond})
			ca := newAuthority(t)
			s := l.server(t, wan.Host("server"), ca)
			trust := "SSL_CERT_FILE=" + ca.file
			host, guest := wan.NAT(c.host).Host("host"), wan.NAT(c.guest).Host("guest")
			m := meet(t, l.device(t, host, "sharing", trust), l.device(t, guest, "joining", trust), []string{s.url}, []string{s.url})
			begun := time.Now()
			for {
				path := m.guest.awaitPath(t, m.peer, session.Relayed, hangs)
				if strings.Contains(path.WhyNotDirect, c.want) {
					break
				}
				if time.Since(begun) > hangs {
					t.Fatalf("after %v the reason is %q", hangs, path.WhyNotDirect)
				}
				time.Sleep(250 * time.Millisecond)
			}
			t.Logf("known after %v", time.Since(begun).Round(100*time.Millisecond))
		})
	}
}

// TestLabWhyNotDirectFamilies asks the same of two sides that have no address family in common.
func TestLabWhyNotDirectFamilies(t *testing.T) {
	l := newLab(t)
	wan := l.WAN(natlab.Link{Delay: 5 * time.Millisecond})
	s := l.server(t, wan.Host("server", natlab.DualStack), nil)
	m := l.meetPlainly(t, s, wan.NAT(natlab.Home).Host("host"), wan.NAT(natlab.IPv6Only).Host("guest"))
	const want = "this side has only IPv6 and the other one only IPv4"
	begun := time.Now()
	for {
		path := m.guest.awaitPath(t, m.peer, session.Relayed, hangs)
		if strings.Contains(path.WhyNotDirect, want) {
			break
		}
		if time.Since(begun) > hangs {
			t.Fatalf("after %v the reason is %q", hangs, path.WhyNotDirect)
		}
		time.Sleep(250 * time.Millisecond)
	}
	t.Logf("known after %v", time.Since(begun).Round(100*time.Millisecond))
}
