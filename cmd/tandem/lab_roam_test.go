//go:build linux

package main

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"tandem/internal/natlab"
	"tandem/session"
	"tandem/share/node"
)

// counting is a guest's shell in which the host counts, a number a line and some hundred lines a
// second, while something happens to the network.
type counting struct {
	*program
	last int
}

// count starts counting to last.
func (m *meeting) count(t *testing.T, last int) *counting {
	t.Helper()
	script := fmt.Sprintf("i=0; while [ $i -lt %d ]; do i=$((i+1)); echo number $i; sleep 0.005; done", last)
	c := &counting{m.guest.start(t, "shell", m.peer, "--", "sh", "-c", script), last}
	c.reach(t, 1)
	return c
}

// reach waits until number n has arrived.
func (c *counting) reach(t *testing.T, n int) {
	t.Helper()
	want := fmt.Sprintf("number %d", n)
	c.await(t, want, 0, 2*hangs, func(text string) bool { return strings.TrimRight(text, "\r") == want })
}

// further waits for n more numbers than have arrived.
func (c *counting) further(t *testing.T, n int) {
	t.Helper()
	c.reach(t, min(len(c.texts())+n, c.last))
}

// finish waits for the end of the program and checks that every number has arrived, once and in
// order. It returns the longest time in which none did.
func (c *counting) finish(t *testing.T) time.Duration {
	t.Helper()
	if err := c.wait(t, 3*hangs); err != nil {
		t.Errorf("%s: %v", c.name, err)
	}
	lines, _ := c.printed(0)
	for i, l := range lines {
		if got := strings.TrimRight(l.text, "\r"); got != "number "+strconv.Itoa(i+1) {
			t.Fatalf("line %d is %q", i+1, l.text)
		}
	}
	if len(lines) != c.last {
		t.Errorf("%d of %d numbers arrived", len(lines), c.last)
	}
	var gap time.Duration
	for i := range lines[1:] {
		gap = max(gap, lines[i+1].at.Sub(lines[i].at))
	}
	return gap.Round(time.Millisecond)
}

// unbroken checks that the session of the meeting is still the one it began with.
func (m *meeting) unbroken(t *testing.T) {
	t.Helper()
	for _, e := range m.sharing.events() {
		if e.Event == node.EventLeft {
			t.Errorf("the session ended: %s", e.Reason)
		}
	}
}

// TestLabAddressChange changes the address of a side while output streams.
func TestLabAddressChange(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(host, guest *natlab.Host, other *natlab.NAT)
	}{
		{"guest-readdressed", func(_, guest *natlab.Host, _ *natlab.NAT) { guest.Readdress() }},
		{"host-readdressed", func(host, _ *natlab.Host, _ *natlab.NAT) { host.Readdress() }},
		{"guest-moves", func(_, guest *natlab.Host, other *natlab.NAT) { guest.Move(other) }},
		{"host-moves", func(host, _ *natlab.Host, other *natlab.NAT) { host.Move(other) }},
		{"guest-nat-rebinds", func(_, guest *natlab.Host, _ *natlab.NAT) { guest.NAT().Rebind() }},
		{"host-nat-rebinds", func(host, _ *natlab.Host, _ *natlab.NAT) { host.NAT().Rebind() }},
		{"both-move", func(host, guest *natlab.Host, other *natlab.NAT) { host.Move(other); guest.Move(other) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			wan := l.WAN(natlab.Link{Delay: 10 * time.Millisecond})
			s := l.server(t, wan.Host("server"), nil)
			host, guest, other := wan.NAT(natlab.Home).Host("host"), wan.NAT(natlab.Home).Host("guest"), wan.NAT(natlab.Home)
			m := l.meetPlainly(t, s, host, guest)
			first := m.guest.awaitPath(t, m.peer, session.Direct, hangs)
			counting := m.count(t, 1200)
			counting.further(t, 200)
			c.change(host, guest, other)
			counting.further(t, 200)
			after := m.guest.awaitPath(t, m.peer, session.Direct, hangs)
			gap := counting.finish(t)
			m.unbroken(t)
			if gap > 15*time.Second {
				t.Errorf("nothing arrived for %v", gap)
			}
			if after.Local == first.Local && after.Remote == first.Remote {
				t.Errorf("the path is still %v to %v", after.Local, after.Remote)
			}
			t.Logf("nothing arrived for %v; the path says %v, over %v to %v now", gap, after.LastGap, after.Local, after.Remote)
		})
	}
}

// meetPlainly has two devices meet over servers with plain HTTP.
func (l *lab) meetPlainly(t *testing.T, s *labServer, host, guest *natlab.Host, more ...*labServer) *meeting {
	t.Helper()
	servers := append(more, s)
	reachable := func(from *natlab.Host) (urls []string) {
		for _, s := range servers {
			urls = append(urls, s.reachable(from)...)
		}
		return urls
	}
	const plain = "TANDEM_INSECURE=true"
	return meet(t, l.device(t, host, "sharing", plain), l.device(t, guest, "joining", plain), reachable(host), reachable(guest))
}

// TestLabServerRestart kills the server under a direct session. The session does not notice, and
// once the server is back it can be found through it again.
func TestLabServerRestart(t *testing.T) {
	l := newLab(t)
	wan := l.WAN(natlab.Link{Delay: 10 * time.Millisecond})
	s := l.server(t, wan.Host("server"), nil)
	host, guest := wan.NAT(natlab.Home).Host("host"), wan.NAT(natlab.Home).Host("guest")
	m := l.meetPlainly(t, s, host, guest)
	before := m.guest.awaitPath(t, m.peer, session.Direct, hangs)

	counting := m.count(t, 1500)
	counting.further(t, 100)
	s.kill()
	counting.further(t, 300)
	s.begin(t)
	counting.further(t, 100)
	gap := counting.finish(t)
	m.unbroken(t)
	if path := m.guest.why(t, m.peer).Path; path.Changes != before.Changes || path.Kind != session.Direct {
		t.Errorf("the path was %+v and is %+v", before, path)
	}
	t.Logf("the longest silence with the server gone was %v", gap)

	counting = m.count(t, 800)
	counting.further(t, 100)
	guest.Readdress() // and only the server can tell the other side
	counting.further(t, 100)
	after := m.guest.awaitPath(t, m.peer, session.Direct, hangs)
	t.Logf("then the guest's address changed: nothing arrived for %v, the path says %v", counting.finish(t), after.LastGap)
	m.unbroken(t)
}

// TestLabRelayKilled kills the server that brought two peers together and whose relay carries their
// session, while they know another one: the session goes on over that.
func TestLabRelayKilled(t *testing.T) {
	l := newLab(t)
	wan := l.WAN(natlab.Link{Delay: 10 * time.Millisecond})
	near, far := l.server(t, wan.Host("near"), nil), l.server(t, wan.Host("far"), nil)
	host, guest := wan.NAT(natlab.Symmetric).Host("host"), wan.NAT(natlab.Symmetric).Host("guest")
	for _, h := range []*natlab.Host{host, guest} {
		wan.Path(h, far.device.host).SetDelay(60 * time.Millisecond) // so that all begin with the other one
	}
	m := l.meetPlainly(t, near, host, guest, far)
	m.guest.awaitPath(t, m.peer, session.Relayed, hangs)
	if !strings.HasPrefix(m.invite.Link, near.url) {
		t.Fatalf("the invite is %s", m.invite.Link)
	}

	counting := m.count(t, 2500)
	counting.further(t, 100)
	before, beside := near.relayed(t), far.relayed(t)
	counting.further(t, 100)
	if near.relayed(t) == before || far.relayed(t) != beside {
		t.Fatal("another relay carries the session")
	}
	near.kill()
	counting.further(t, 100)
	if path := m.guest.awaitPath(t, m.peer, session.Relayed, hangs); path.WhyNotDirect == "" {
		t.Error("nothing says why the path is not direct")
	}
	if far.relayed(t) == beside {
		t.Error("the other relay has carried nothing")
	}
	gap := counting.finish(t)
	m.unbroken(t)
	t.Logf("nothing arrived for %v", gap)
}

// TestLabOnlyRelayKilled kills the only relay of a session. If it comes back in time the session
// goes on; if not, both sides say why it ended.
func TestLabOnlyRelayKilled(t *testing.T) {
	draw := func(t *testing.T) (*labServer, *meeting) {
		l := newLab(t)
		wan := l.WAN(natlab.Link{Delay: 10 * time.Millisecond})
		s := l.server(t, wan.Host("server"), nil)
		m := l.meetPlainly(t, s, wan.NAT(natlab.Symmetric).Host("host"), wan.NAT(natlab.Symmetric).Host("guest"))
		m.guest.awaitPath(t, m.peer, session.Relayed, hangs)
		return s, m
	}
	t.Run("returns", func(t *testing.T) {
		t.Parallel()
		s, m := draw(t)
		counting := m.count(t, 3000)
		counting.further(t, 100)
		s.kill()
		path := m.guest.awaitPath(t, m.peer, session.NoPath, hangs)
		s.begin(t)
		t.Logf("nothing arrived for %v; meanwhile the path was %q", counting.finish(t), path.Kind)
		m.unbroken(t)
	})
	t.Run("returns-after-the-end", func(t *testing.T) {
		t.Parallel()
		s, m := draw(t)
		counting := m.count(t, 400)
		counting.further(t, 100)
		s.kill()
		m.guest.awaitPath(t, m.peer, session.NoPath, hangs)
		time.Sleep(10 * time.Second) // the program has long ended by then
		s.begin(t)
		t.Logf("nothing arrived for %v", counting.finish(t))
		m.unbroken(t)
	})
	t.Run("stays-away", func(t *testing.T) {
		t.Parallel()
		s, m := draw(t)
		counting := m.count(t, 100_000)
		counting.further(t, 100)
		s.kill()
		const why = "nothing was heard from the peer"
		if left := m.sharing.event(t, node.EventLeft); !strings.Contains(left.Reason, why) {
			t.Errorf("the host says %q", left.Reason)
		}
		if err := m.joining.wait(t, 2*hangs); err == nil || !strings.Contains(m.joining.log.String(), why) {
			t.Errorf("the guest ended with %v", err)
		}
		counting.stop(t)
		if said := counting.log.String(); !strings.Contains(said, "connection lost") {
			t.Errorf("the guest's shell said %q", said)
		}
	})
}

// TestLabDarkPath has a direct path go dark, with the server still within reach: the relay takes
// over. When the path is back the session returns to it.
func TestLabDarkPath(t *testing.T) {
	l := newLab(t)
	wan := l.WAN(natlab.Link{Delay: 10 * time.Millisecond})
	s := l.server(t, wan.Host("server"), nil)
	host, guest := wan.NAT(natlab.Home), wan.NAT(natlab.Home)
	m := l.meetPlainly(t, s, host.Host("host"), guest.Host("guest"))
	m.guest.awaitPath(t, m.peer, session.Direct, hangs)

	counting := m.count(t, 2500)
	counting.further(t, 200)
	wan.Path(host, guest).Cut(true)
	dark := time.Now()
	counting.further(t, 50)
	taken := time.Since(dark)
	path := m.guest.awaitPath(t, m.peer, session.Relayed, hangs)
	if taken > 15*time.Second {
		t.Errorf("the relay took over after %v", taken)
	}
	t.Logf("the relay took over after %v; the path says %v and %q", taken.Round(time.Millisecond), path.LastGap, path.WhyNotDirect)

	wan.Path(host, guest).Cut(false)
	light := time.Now()
	m.guest.awaitPath(t, m.peer, session.Direct, 3*hangs)
	t.Logf("back on a direct path after %v", time.Since(light).Round(time.Millisecond))
	t.Logf("the longest silence was %v", counting.finish(t))
	m.unbroken(t)
}

// TestLabRelayedBecomesDirect has a session begin over the relay, because no packet passes between
// the sites, and move to a direct path once packets do.
func TestLabRelayedBecomesDirect(t *testing.T) {
	l := newLab(t)
	wan := l.WAN(natlab.Link{Delay: 10 * time.Millisecond})
	s := l.server(t, wan.Host("server"), nil)
	host, guest := wan.NAT(natlab.Home), wan.NAT(natlab.Home)
	wan.Path(host, guest).Cut(true)
	m := l.meetPlainly(t, s, host.Host("host"), guest.Host("guest"))
	if m.first.Kind != session.Relayed {
		t.Fatalf("the session began on %+v", m.first)
	}
	counting := m.count(t, 1000)
	counting.further(t, 100)
	wan.Path(host, guest).Cut(false)
	free := time.Now()
	m.guest.awaitPath(t, m.peer, session.Direct, 3*hangs)
	t.Logf("on a direct path after %v", time.Since(free).Round(time.Millisecond))
	gap := counting.finish(t)
	m.unbroken(t)
	before := s.quiet(t)
	content := randomFile(t, 4<<20)
	m.copies(t, content)
	if after := s.relayed(t); after != before {
		t.Errorf("the relay carried %d bytes beside a direct path", after-before)
	}
	t.Logf("the longest silence was %v", gap)
}

// TestLabSmallMTU copies over paths that swallow UDP packets above 1280 bytes without a word, direct
// and relayed.
func TestLabSmallMTU(t *testing.T) {
	for _, c := range []struct {
		kind natlab.Kind
		want session.PathKind
	}{{natlab.Home, session.Direct}, {natlab.IPv6Only, session.Direct}, {natlab.Symmetric, session.Relayed}} {
		t.Run(fmt.Sprintf("%v,%s", c.kind, c.want), func(t *testing.T) {
			l := newLab(t)
			wan := l.WAN(natlab.Link{Delay: 5 * time.Millisecond})
			s := l.server(t, wan.Host("server", natlab.DualStack), nil)
			host, guest := wan.NAT(c.kind).Host("host"), wan.NAT(c.kind).Host("guest")
			// Signaling is TCP, whose packets are the kernel's business: it has met already.
			m := l.meetPlainly(t, s, host, guest)
			m.guest.awaitPath(t, m.peer, c.want, hangs)
			wan.SetLink(natlab.Link{Delay: 5 * time.Millisecond, MTU: 1280})
			get, put := m.copies(t, randomFile(t, 20<<20))
			up, down := host.Wire().Stats()
			t.Logf("get %v, put %v; %d and %d packets were too big", get, put, up.TooBig, down.TooBig)
		})
	}
}
