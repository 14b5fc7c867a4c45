package server

import (
	"net/netip"
	"testing"
)

// The table of buckets does not grow, and keeps those in use.
func TestBuckets(t *testing.T) {
	b := newBuckets[int](Rate{PerSecond: 1e-9, Burst: 2}, 10)
	for i := range 1000 {
		if first := b.allow(-1, 1); first != (i < 2) { // always among the latest
			t.Fatalf("round %d: %v", i, first)
		}
		if !b.allow(i, 5) || b.allow(i, 1) { // more than a whole bucket takes the whole bucket
			t.Fatalf("round %d: not one bucketful", i)
		}
	}
	if len(b.byKey) != 10 || b.used.Len() != 10 {
		t.Errorf("%d and %d buckets, want 10", len(b.byKey), b.used.Len())
	}
}

func TestNetwork(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.7": "192.0.2.7/32", "::ffff:192.0.2.7": "192.0.2.7/32",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := network(netip.MustParseAddr(addr)); got.String() != want {
			t.Errorf("network(%s) = %s, want %s", addr, got, want)
		}
	}
}
