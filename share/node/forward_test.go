package node

import (
	"fmt"
	"slices"
	"testing"

	"tandem/session"
	"tandem/session/grant"
	"tandem/share/forward"
)

func TestForwardRights(t *testing.T) {
	rights, err := forwardRights([]string{"80", "10.1.2.3/8:*", "any:443"}, []string{"9000"})
	want := "[{forward/1  [connect listen]} {forward/1 localhost:80 [connect]} {forward/1 10.0.0.0/8:* [connect]} {forward/1 any:443 [connect]} {forward/1 localhost:9000 [listen]}]"
	if err != nil || fmt.Sprint(rights) != want {
		t.Errorf("%v, %v", rights, err)
	}
	if rights, err := forwardRights(nil, nil); err != nil || rights != nil {
		t.Errorf("of nothing: %v, %v", rights, err)
	}
	if _, err := forwardRights([]string{"nonsense"}, nil); session.KindOf(err) != session.Invalid {
		t.Errorf("of nonsense: %v", err)
	}
}

func TestForwardTargets(t *testing.T) {
	own, guest, stranger := session.PeerID{1}, session.PeerID{2}, session.PeerID{3}
	rights, err := forwardRights([]string{"80"}, []string{"9000"})
	if err != nil {
		t.Fatal(err)
	}
	g := targets{own, new(grant.Table)}
	if _, err := g.table.Give(guest, append(rights, Right{Service: "terminal/1", Resource: "any", Actions: []string{forward.Connect}}), 0); err != nil {
		t.Fatal(err)
	}
	for peer, want := range map[session.PeerID][]string{own: ownTargets, guest: {"localhost:80"}, stranger: nil} {
		if got := g.Targets(peer, forward.Connect); !slices.Equal(got, want) {
			t.Errorf("targets of %s: %v, want %v", peer.Short(), got, want)
		}
		for _, resource := range append([]string{"localhost:81"}, want...) {
			_, err := g.Allow(t.Context(), session.Request{Peer: peer, Service: forward.ServiceName, Resource: resource, Action: forward.Connect})
			if allowed := peer == own || slices.Contains(want, resource); allowed != (err == nil) {
				t.Errorf("%s to %s: %v", peer.Short(), resource, err)
			}
		}
	}
}
