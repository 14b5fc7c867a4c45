package page_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"tandem/session"
	"tandem/tui/page"
	"tandem/tui/theme"
	"tandem/tui/tuitest"
)

// travelled is a network page that has seen a few answers of the node.
func travelled(t *testing.T, look theme.Theme, b *tuitest.Backend, peer int) page.Page {
	t.Helper()
	var of page.Subject
	if peer >= 0 {
		of.Peer = b.Has.Peers[peer]
	}
	env := tuitest.Env(t, b, look)
	p := page.NewNetwork(env, of)
	if of.Peer.Connected {
		p.SetSize(100, 60)
		p = tuitest.Pump(t, p, p.Init(), "Tried")
	}
	for i := range 60 {
		s := tuitest.State(t, b)
		s.At = tuitest.Now().Add(time.Duration(i+1) * 2 * time.Second)
		for j := range s.Peers {
			s.Peers[j].Path.RTT += time.Duration((i*7)%13) * time.Millisecond
			s.Peers[j].Path.Sent = uint64(i * i * 1000)
			s.Peers[j].Path.Received = uint64(i * 54_321)
		}
		p, _ = p.Update(s)
	}
	return p
}

func routed() *tuitest.Backend {
	b := tuitest.Busy()
	for i := range b.Has.Peers {
		p := &b.Has.Peers[i].Path
		p.Local = session.Endpoint{Type: "host", Protocol: "udp", Addr: netip.MustParseAddrPort("192.168.1.7:50123")}
		p.Remote.Addr = netip.MustParseAddrPort("[2001:db8::7]:40000")
		p.Since, p.Changes, p.LastGap = tuitest.Now().Add(-time.Hour), 2, 480*time.Millisecond
		b.Has.Peers[i].Candidates = candidates(i == 1)
		if i == 0 {
			b.Has.Peers[i].Lanes = []session.Lane{{Kind: session.PacketLane, Remote: p.Remote, RTT: 12 * time.Millisecond, Sent: 4_000, Received: 54_000_000}}
		}
	}
	return b
}

// candidates are what a peer was reached by, or through a relay.
func candidates(relayed bool) *session.Candidates {
	end := func(kind, addr string) session.Endpoint {
		return session.Endpoint{Type: kind, Protocol: "udp", Addr: netip.MustParseAddrPort(addr)}
	}
	c := &session.Candidates{
		Local:  []session.Endpoint{end("host", "192.168.1.7:50123"), end("srflx", "198.51.100.7:50123"), end("relay", "203.0.113.9:49200")},
		Remote: []session.Endpoint{end("host", "[2001:db8::7]:40000"), end("srflx", "192.0.2.44:1024")},
	}
	c.Local[2].Protocol = "tls"
	c.Pairs = []session.Pair{
		{Local: c.Local[0], Remote: c.Remote[0], State: session.PairSucceeded, RTT: 12 * time.Millisecond, Checks: 9, Answers: 9, InUse: true},
		{Local: c.Local[2], Remote: c.Remote[1], State: session.PairSucceeded, RTT: 84 * time.Millisecond, Checks: 4, Answers: 4},
		{Local: c.Local[0], Remote: c.Remote[1], State: session.PairFailed, Checks: 7},
		{Local: c.Local[2], Remote: c.Remote[0], State: session.PairTrying, Checks: 1},
		{Local: c.Local[1], Remote: c.Remote[0], State: session.PairWaiting},
	}
	if relayed {
		c.Pairs[0], c.Pairs[1] = c.Pairs[1], c.Pairs[2]
		c.Pairs[0].InUse = true
		c.Pairs = append(c.Pairs[:2], c.Pairs[3:]...)
	}
	return c
}

func TestNetworkGolden(t *testing.T) {
	b := routed()
	tuitest.Page(t, "network-direct", func(look theme.Theme) page.Page { return travelled(t, look, b, 0) })
	tuitest.Page(t, "network-relayed", func(look theme.Theme) page.Page { return travelled(t, look, b, 1) })
	b.Has.Peers[1].Path.Heard = tuitest.Now().Add(108 * time.Second)
	tuitest.Page(t, "network-silent", func(look theme.Theme) page.Page { return travelled(t, look, b, 1) })
	tuitest.Page(t, "network-away", func(look theme.Theme) page.Page { return travelled(t, look, b, 2) })
	tuitest.Page(t, "network-own", func(look theme.Theme) page.Page { return travelled(t, look, b, -1) })
}

func TestNetworkConnects(t *testing.T) {
	b := routed()
	carlos := b.Has.Peers[2]
	f, w := run(t, b, func(env page.Env) page.Page { return page.NewNetwork(env, page.Subject{Peer: carlos}) })
	b.Script(func(a *tuitest.Answers) {
		a.Fail = map[string]error{"Why": &session.Error{Kind: session.Unavailable, Text: "carlos doesn't answer", Hint: "Is tandem running there?"}}
	})
	f.Wait("not connected").Keys("r").Wait("carlos doesn't answer", "Is tandem running there?")
	b.Script(func(a *tuitest.Answers) {
		a.Fail = nil
		a.Peers = slices.Clone(a.Peers)
		a.Peers[2] = tuitest.Peer(3, "carlos", true)
	})
	f.Keys("r").Gone("Is tandem running there?").Wait("direct: no relay")
	says(f, w, page.Verb{Text: "tandem why carlos"})
}

func TestNetworkDoctor(t *testing.T) {
	b := routed()
	goOn := make(chan struct{})
	f, w := run(t, b, func(env page.Env) page.Page {
		env.Doctor = func(ctx context.Context, each func(page.Finding)) error {
			each(page.Finding{Check: "ipv4", OK: true, Found: "192.0.2.7"})
			select {
			case <-goOn:
			case <-ctx.Done():
			}
			each(page.Finding{
				Check: "nat", Subject: "udp4", Took: 12 * time.Millisecond, Advice: "IPv6 would help, or a port mapping on the router, which is the box that your provider gave you.",
				Found: "the outside sees 198.51.100.7:4242; mapping by address and port, filtering by address and port\x1b[2J",
			})
			return session.Errorf("doctor", session.Timeout, "no answer")
		}
		return page.NewNetwork(env, page.Subject{})
	})
	f.Wait("Servers", "tandem.example", "anna").Keys("d", "d").Wait("looking")
	f.Until("the first finding is there", func() bool {
		f.Send(page.Tick{})
		return strings.Contains(f.View(), "192.0.2.7")
	})
	close(goOn)
	f.Wait("udp4: the outside sees").Gone("looking").Keys("end").Wait("gave you.")
	f.Until("the failure is told", func() bool {
		return slices.ContainsFunc(w.Said(), func(m tea.Msg) bool { _, failed := m.(page.Fail); return failed })
	})
}

// What the doctor finds comes into sight in a window that has no room for all.
func TestDoctorComesIntoSight(t *testing.T) {
	b := routed()
	f, _ := run(t, b, func(env page.Env) page.Page {
		env.Doctor = func(_ context.Context, each func(page.Finding)) error {
			each(page.Finding{Check: "ipv4", OK: true, Found: "192.0.2.7"})
			return nil
		}
		return page.NewNetwork(env, page.Subject{Peer: b.Has.Peers[0]})
	})
	f.Send(tea.WindowSizeMsg{Width: 80, Height: 12}).Wait("more lines: down").Keys("d").Wait("This network", "192.0.2.7").Gone("path ")
	f.Keys("home").Wait("direct: no relay").Gone("This network")
}
