package link

import "github.com/pion/ice/v4"

// families are the address families in which a side has addresses of its own,
// relayed ones not counted.
type families struct{ ipv4, ipv6 bool }

func (f *families) add(c ice.Candidate) {
	switch {
	case c.Type() == ice.CandidateTypeRelay:
	case c.NetworkType().IsIPv6():
		f.ipv6 = true
	default:
		f.ipv4 = true
	}
}

func (f families) none() bool { return !f.ipv4 && !f.ipv6 }

func (f families) String() string {
	if f.ipv4 {
		return "IPv4"
	}
	return "IPv6"
}

// apart says why no packet can go from one side straight to the other, whatever
// lies between them, or nothing.
func apart(ours, theirs families) string {
	switch {
	case ours.none() || ours.ipv4 && theirs.ipv4 || ours.ipv6 && theirs.ipv6:
		return ""
	case theirs.none():
		return "the other side offers only addresses of relays"
	}
	return "this side has only " + ours.String() + " and the other one only " + theirs.String() + ": only a relay joins the two"
}
