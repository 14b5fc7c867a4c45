package link

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"tandem/session"
)

// TestCandidates wants all addresses of both sides, and how each pair fared.
func TestCandidates(t *testing.T) {
	a, b := meet(t, Config{}, Config{})
	nowhere := netip.AddrPortFrom(b.Path().Local.Addr.Addr(), 1) // where nothing answers
	a.trunk.roam.current.addRemote([]string{fmt.Sprintf("1 1 udp 2130706431 %s 1 typ host", nowhere.Addr())}, slog.New(slog.DiscardHandler))
	at := func(list []session.Endpoint, addr netip.AddrPort) bool {
		return slices.ContainsFunc(list, func(e session.Endpoint) bool { return e.Addr == addr })
	}
	for _, l := range []*Link{a, b} {
		path := l.Path()
		var c session.Candidates
		for began := time.Now(); ; time.Sleep(time.Millisecond) {
			c = l.Candidates()
			ready := len(c.Pairs) > 0 && c.Pairs[0].InUse
			if l == a {
				ready = ready && at(c.Remote, nowhere) && len(c.Pairs) > 1
			}
			if ready {
				break
			}
			if time.Since(began) > 20*time.Second {
				t.Fatalf("%+v", c)
			}
		}
		if !at(c.Local, path.Local.Addr) || !at(c.Remote, path.Remote.Addr) {
			t.Errorf("the path %+v is not among %+v", path, c)
		}
		used := c.Pairs[0]
		if used.Local != path.Local || used.Remote != path.Remote || used.State != session.PairSucceeded || used.Checks == 0 || used.Answers == 0 || used.RTT <= 0 {
			t.Errorf("in use %+v, the path is %+v", used, path)
		}
		for _, p := range c.Pairs[1:] {
			if p.InUse || p.Remote.Addr == nowhere && (p.State == session.PairSucceeded || p.Answers != 0 || p.RTT != 0) {
				t.Errorf("%+v", p)
			}
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if c := a.Candidates(); len(c.Pairs) != 0 {
		t.Errorf("after the end %+v", c)
	}
}

// TestPairOrder tells the pair in use first, and those that failed last.
func TestPairOrder(t *testing.T) {
	want := []session.Pair{
		{State: session.PairFailed, InUse: true}, // for the moment
		{State: session.PairSucceeded, RTT: time.Millisecond},
		{State: session.PairSucceeded, RTT: time.Second},
		{State: session.PairTrying},
		{State: session.PairWaiting},
		{State: session.PairFailed},
	}
	got := []session.Pair{want[3], want[5], want[2], want[4], want[0], want[1]}
	slices.SortFunc(got, comparePairs)
	if !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}
