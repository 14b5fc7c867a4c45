package node

import (
	"errors"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"tandem/session"
	"tandem/signaling/server"
	"tandem/signaling/signalingtest"
)

// beginBeside starts a second node beside alice's.
func beginBeside(t *testing.T, alice *person) *person {
	t.Helper()
	l := &log{change: make(chan struct{})}
	cfg := alice.cfg
	cfg.Events = l.add
	n, err := Serve(within(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error("the second node closes: ", err)
		}
	})
	return &person{n, l, cfg}
}

// What is shared in another window is seen, answered and ended from any.
func TestBesideIsSeen(t *testing.T) {
	onBackends(t, func(t *testing.T, alice sharer) {
		second := beginBeside(t, alice.person)
		own, err := alice.StartShare(within(t), Share{Folders: []Folder{{Dir: folderOf(t, "mine")}}})
		if err != nil {
			t.Fatal(err)
		}
		s := second.offer(t, Share{Folders: []Folder{{Dir: folderOf(t, "project")}}})
		shares, err := alice.Shares(within(t))
		if err != nil || len(shares) != 2 || shares[0].ID != own.ID || shares[0].Beside || shares[1].ID != s.ID || !shares[1].Beside || shares[1].Code != s.Code {
			t.Fatalf("%+v, %v", shares, err)
		}
		if theirs, err := second.Shares(within(t)); err != nil || len(theirs) != 1 || theirs[0].Beside {
			t.Errorf("the second node shares %+v, %v", theirs, err)
		}

		bob := begin(t, "bob", alice.url)
		joining := bob.asking(t, s.Code)
		request := alice.waitsFor(t, RequestJoin)
		if request.Share != s.ID || request.Guest.Peer.Name != "bob" {
			t.Errorf("%+v", request)
		}
		if err := alice.Answer(within(t), request.ID, Answer{Allow: true}); err != nil {
			t.Fatal(err)
		}
		if joined := <-joining; joined.err != nil {
			t.Fatal(joined.err)
		}
		if e := second.await(t, EventSettled, 1); e.Request != request.ID {
			t.Errorf("its own window hears %+v", e)
		}
		if err := alice.Answer(within(t), request.ID, Answer{}); session.KindOf(err) != session.NotFound {
			t.Errorf("a second answer: %v", err)
		}
		signalingtest.Eventually(t, "the guest is seen", func() bool {
			shares, err := alice.Shares(within(t))
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(shares, func(have ShareStatus) bool { return have.ID == s.ID })
			return i >= 0 && len(shares[i].Guests) == 1 && shares[i].Guests[0].Connected
		})
		if err := alice.Dismiss(within(t), "bob"); err != nil {
			t.Fatal(err)
		}
		refused(t, bob, "alice", readProject)
		if err := alice.EndShare(within(t), s.ID); err != nil {
			t.Fatal(err)
		}
		second.await(t, EventEnded, 1)
		if err := alice.EndShare(within(t), s.ID); session.KindOf(err) != session.NotFound {
			t.Errorf("ended twice: %v", err)
		}
		if err := second.Close(); err != nil {
			t.Fatal(err)
		}
		if left := alice.beside(); len(left) != 0 {
			t.Errorf("the second node leaves %v", left)
		}
	})
}

// Second nodes that were killed or have stopped take nothing from what there is.
func TestBesideThatDoesNotAnswer(t *testing.T) {
	alice := begin(t, "alice", signalingtest.Start(t, server.Config{}).URL)
	s := alice.offer(t, Share{Folders: []Folder{{Dir: folderOf(t, "project")}}})
	socket := func() *net.UnixListener {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: besidePath(alice.cfg.Home), Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	stopped, killed := socket(), socket()
	defer stopped.Close()
	killed.SetUnlinkOnClose(false)
	dead := killed.Addr().String()
	if err := killed.Close(); err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-2 * besideStale)
	if err := os.Chtimes(dead, long, long); err != nil {
		t.Fatal(err)
	}
	shares, err := alice.Shares(within(t))
	if err != nil || len(shares) != 1 || shares[0].ID != s.ID {
		t.Errorf("%+v, %v", shares, err)
	}
	if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a killed node has left is still there: %v", err)
	}
	if _, err := os.Stat(stopped.Addr().String()); err != nil {
		t.Errorf("a node that has stopped may go on: %v", err)
	}
	if err := alice.EndShare(within(t), s.ID); err != nil {
		t.Error(err)
	}
}
