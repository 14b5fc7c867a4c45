package grant

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"tandem/session"
)

func peer(n byte) session.PeerID { return session.PeerID{n} }

func TestDefaultDeny(t *testing.T) {
	var table Table
	right := Right{Service: "folder/1", Resource: "notes", Actions: []string{"read"}}
	if _, err := table.Give(peer(1), []Right{right}, 0); err != nil {
		t.Fatal(err)
	}
	ok := session.Request{Peer: peer(1), Service: "folder/1", Resource: "notes", Action: "read"}
	if _, err := table.Allow(context.Background(), ok); err != nil {
		t.Fatalf("the granted request: %v", err)
	}
	// Change each field of the granted request in turn: every one is refused.
	for name, r := range map[string]session.Request{
		"peer":     {Peer: peer(2), Service: ok.Service, Resource: ok.Resource, Action: ok.Action},
		"service":  {Peer: ok.Peer, Service: "folder/2", Resource: ok.Resource, Action: ok.Action},
		"resource": {Peer: ok.Peer, Service: ok.Service, Resource: "notes2", Action: ok.Action},
		"all":      {Peer: ok.Peer, Service: ok.Service, Resource: "", Action: ok.Action},
		"action":   {Peer: ok.Peer, Service: ok.Service, Resource: ok.Resource, Action: "write"},
		"nothing":  {},
	} {
		if _, err := table.Allow(context.Background(), r); session.KindOf(err) != session.Denied {
			t.Errorf("%s changed: %v, want Denied", name, err)
		}
	}
}

func TestExpiryRevokesPermits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table Table
		rights := []Right{{Service: "terminal/1", Actions: []string{"view"}}}
		if _, err := table.Give(peer(1), rights, time.Minute); err != nil {
			t.Fatal(err)
		}
		r := session.Request{Peer: peer(1), Service: "terminal/1", Action: "view"}
		permit, err := table.Allow(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Second)
		select {
		case <-permit.Revoked:
			t.Fatal("revoked before its time")
		default:
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		<-permit.Revoked
		if _, err := table.Allow(t.Context(), r); session.KindOf(err) != session.Denied {
			t.Fatalf("after expiry: %v", err)
		}
	})
}

// TestTableModel compares the table with a plain list of live grants under
// random histories.
func TestTableModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var table Table
		var live []*Grant
		var closed bool
		request := rapid.Custom(func(t *rapid.T) session.Request {
			return session.Request{
				Peer:    peer(rapid.ByteRange(1, 3).Draw(t, "peer")),
				Service: rapid.SampledFrom([]string{"terminal/1", "folder/1"}).Draw(t, "service"),
				Action:  rapid.SampledFrom([]string{"read", "write", "view"}).Draw(t, "action"),
			}
		})
		end := func(g *Grant) { live = slices.DeleteFunc(live, func(x *Grant) bool { return x == g }) }
		t.Repeat(map[string]func(*rapid.T){
			"give": func(t *rapid.T) {
				r := request.Draw(t, "right")
				g, err := table.Give(r.Peer, []Right{{Service: r.Service, Actions: []string{r.Action}}}, 0)
				if (err != nil) != closed {
					t.Fatalf("Give: %v with closed=%v", err, closed)
				}
				if err == nil {
					live = append(live, g)
				}
			},
			"revoke": func(t *rapid.T) {
				if len(live) > 0 {
					g := rapid.SampledFrom(live).Draw(t, "grant")
					g.Revoke()
					g.Revoke()
					end(g)
				}
			},
			"revoke peer": func(t *rapid.T) {
				p := peer(rapid.ByteRange(1, 3).Draw(t, "peer"))
				table.RevokePeer(p)
				live = slices.DeleteFunc(live, func(g *Grant) bool { return g.peer == p })
			},
			"close": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "chance") == 0 {
					table.Close()
					live, closed = nil, true
				}
			},
			"": func(t *rapid.T) {
				r := request.Draw(t, "request")
				want := slices.ContainsFunc(live, func(g *Grant) bool { return g.peer == r.Peer && g.rights[0].covers(r) })
				permit, err := table.Allow(context.Background(), r)
				if (err == nil) != want {
					t.Fatalf("Allow(%v) = %v, want allowed=%v", r, err, want)
				}
				if err == nil {
					select {
					case <-permit.Revoked:
						t.Fatal("a live permit is revoked")
					default:
					}
				}
			},
		})
	})
}
