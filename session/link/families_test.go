package link

import (
	"strings"
	"testing"

	"github.com/pion/ice/v4"
)

func TestApart(t *testing.T) {
	v4, v6, both, none := families{ipv4: true}, families{ipv6: true}, families{true, true}, families{}
	for _, c := range []struct {
		ours, theirs families
		want         string
	}{
		{v4, v4, ""},
		{v6, v6, ""},
		{both, v4, ""},
		{v6, both, ""},
		{none, v4, ""},
		{none, none, ""},
		{v4, v6, "this side has only IPv4 and the other one only IPv6"},
		{v6, v4, "this side has only IPv6 and the other one only IPv4"},
		{v4, none, "only addresses of relays"},
	} {
		if got := apart(c.ours, c.theirs); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%v and %v: %q", c.ours, c.theirs, got)
		}
	}
}

func TestFamilies(t *testing.T) {
	for line, want := range map[string]families{
		"1 1 udp 1 192.0.2.1 1 typ host":                              {ipv4: true},
		"1 1 udp 1 2001:db8::1 1 typ host":                            {ipv6: true},
		"1 1 udp 1 192.0.2.1 1 typ srflx raddr 10.0.0.1 rport 1":      {ipv4: true},
		"1 1 udp 1 192.0.2.1 1 typ relay raddr 10.0.0.1 rport 1":      {},
		"1 1 udp 1 2001:db8::1 1 typ relay raddr 2001:db8::2 rport 1": {},
	} {
		c, err := ice.UnmarshalCandidate(line)
		if err != nil {
			t.Fatal(err)
		}
		var got families
		if got.add(c); got != want {
			t.Errorf("%s: %+v", line, got)
		}
	}
}
