package node

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tandem/session"
)

func TestWatchNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		address := func(s string) net.Addr {
			ip, n, err := net.ParseCIDR(s)
			if err != nil {
				t.Fatal(err)
			}
			return &net.IPNet{IP: ip, Mask: n.Mask}
		}
		first := []net.Addr{address("127.0.0.1/8"), address("192.0.2.7/24"), address("fe80::1/64")}
		var current atomic.Pointer[[]net.Addr] // nil: there is no list
		current.Store(&first)
		var told atomic.Int32
		done := make(chan struct{})
		go func() {
			defer close(done)
			watchNetwork(ctx, func() ([]net.Addr, error) {
				if list := current.Load(); list != nil {
					return *list, nil
				}
				return nil, errors.New("no list")
			}, func(string) { told.Add(1) })
		}()
		step := func(what string, want int32, addrs ...net.Addr) {
			t.Helper()
			current.Store(nil)
			if addrs != nil {
				current.Store(&addrs)
			}
			time.Sleep(2 * networkPoll)
			synctest.Wait()
			if n := told.Load(); n != want {
				t.Errorf("%s: told %d times, not %d", what, n, want)
			}
		}
		step("nothing", 0, first...)
		step("another order", 0, first[1], first[2], first[0])
		step("link-local and loopback ones", 0, address("192.0.2.7/24"), address("fe80::9/64"), address("127.0.0.2/8"))
		step("a new address", 1, address("192.0.2.7/24"), address("2001:db8::7/64"))
		step("one gone", 2, address("2001:db8::7/64"))
		step("no list", 2)
		step("a list again", 3, first...)
		cancel()
		<-done
	})
}

func TestRequestsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRequests()
		peer, other := session.PeerID{1}, session.PeerID{2}
		reported := 0
		for range 10_000 {
			if _, ok := r.allow(peer, EventDenied); ok {
				reported++
			}
		}
		if reported != deniedBurst {
			t.Errorf("%d of a flood were reported", reported)
		}
		if _, ok := r.allow(other, EventDenied); !ok {
			t.Error("another peer's request was not")
		}
		if _, ok := r.allow(peer, EventOpened); !ok {
			t.Error("another kind of event was not")
		}
		time.Sleep(2 * time.Second / deniedRate)
		if unreported, ok := r.allow(peer, EventDenied); !ok || unreported != 10_000-deniedBurst {
			t.Errorf("after a while: %v, %d unreported", ok, unreported)
		}
		if unreported, ok := r.allow(peer, EventDenied); !ok || unreported != 0 {
			t.Errorf("after that: %v, %d unreported", ok, unreported)
		}
	})
}

func TestEventsArePrintable(t *testing.T) {
	hostile := "\x1b]0;x\a\u202ex\u2066\r\n\xff"
	e := Event{Peer: &session.Peer{Name: hostile}, What: hostile, Action: hostile, Reason: hostile}
	got := e.printable()
	for _, s := range []string{got.Peer.Name, got.What, got.Action, got.Reason} {
		if session.Printable(s) != s || s == hostile {
			t.Errorf("shown is %q", s)
		}
	}
	if e.Peer.Name != hostile {
		t.Error("somebody else's peer was changed")
	}
}
