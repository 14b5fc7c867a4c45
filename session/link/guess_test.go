package link

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/pion/ice/v4"
)

// A guess has our public address and the port of the socket; there is none where
// no NAT can be in between, and never many.
func TestGuesses(t *testing.T) {
	public, other := netip.MustParseAddr("5.1.2.3"), netip.MustParseAddr("5.1.2.4")
	for _, c := range []struct {
		observed []netip.Addr
		address  string
		want     string
	}{
		{[]netip.Addr{public}, "192.168.1.7", "5.1.2.3 4711 typ srflx raddr 192.168.1.7 rport 4711"},
		{[]netip.Addr{netip.MustParseAddr("::ffff:5.1.2.3")}, "100.64.1.7", "5.1.2.3 4711 typ srflx"},
		{nil, "192.168.1.7", ""},
		{[]netip.Addr{public}, "5.1.2.3", ""},
		{[]netip.Addr{public}, "127.0.0.1", ""},
		{[]netip.Addr{public}, "2001:db8::1", ""},
		{[]netip.Addr{netip.MustParseAddr("10.0.0.1")}, "192.168.1.7", ""}, // a server in our own network
		{[]netip.Addr{netip.MustParseAddr("127.0.0.1")}, "192.168.1.7", ""},
		{[]netip.Addr{netip.MustParseAddr("2001:db8::1")}, "192.168.1.7", ""},
		{[]netip.Addr{netip.MustParseAddr("255.255.255.255")}, "192.168.1.7", ""},
	} {
		host, err := ice.NewCandidateHost(&ice.CandidateHostConfig{Network: "udp", Address: c.address, Port: 4711, Component: 1})
		if err != nil {
			t.Fatal(err)
		}
		g := guesses{observed: c.observed}
		got := g.of(host)
		if len(got) > 1 || (len(got) == 1) != (c.want != "") || !strings.Contains(strings.Join(got, ""), c.want) {
			t.Errorf("%v seen at %v: %q, want %q", c.address, c.observed, got, c.want)
		}
		for _, line := range got {
			if _, err := ice.UnmarshalCandidate(line); err != nil {
				t.Errorf("%q: %v", line, err)
			}
		}
		reflexive, err := ice.NewCandidateServerReflexive(&ice.CandidateServerReflexiveConfig{
			Network: "udp", Address: c.address, Port: 4711, Component: 1, RelAddr: "0.0.0.0", RelPort: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := g.of(reflexive); got != nil {
			t.Errorf("a guess for what a server has said: %q", got)
		}
		for range 3 {
			g.observed = slices.Repeat([]netip.Addr{public, other}, 3)
			_ = g.of(host)
		}
		if g.made > maxGuesses {
			t.Errorf("%d guesses", g.made)
		}
	}
}
