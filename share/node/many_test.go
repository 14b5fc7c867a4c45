package node

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tandem/session"
	"tandem/session/identity"
)

// A hundred thousand known peers are listed over the control socket, and none is left
// out.
func TestPeersBeyondOneReply(t *testing.T) {
	many := 100_000
	if testing.Short() {
		many = 2*peersAtOnce + 1
	}
	cfg, _ := newConfig(t, "alice")
	var book bytes.Buffer
	lines := json.NewEncoder(&book)
	for i := range many {
		var id session.PeerID
		binary.BigEndian.PutUint64(id[:], uint64(i+1))
		if err := lines.Encode(identity.Entry{ID: id, Name: "peer", Alias: fmt.Sprintf("peer-%06d", i), Added: time.Unix(0, 0).UTC()}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(cfg.Home.State, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cfg.Home.State, "peers"), book.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := Start(within(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	want, err := n.Peers(within(t))
	if err != nil || len(want) != many {
		t.Fatalf("%d peers, %v", len(want), err)
	}
	got, err := connectTo(t, cfg).Peers(within(t))
	if err != nil || len(got) != many {
		t.Fatalf("%d peers over the socket, %v", len(got), err)
	}
	for i := range want {
		if got[i].Alias != want[i].Alias || got[i].Peer != want[i].Peer || len(got[i].Words) != len(want[i].Words) || got[i].Path.Kind != session.NoPath {
			t.Fatalf("%d: %+v, want %+v", i, got[i], want[i])
		}
	}
}
