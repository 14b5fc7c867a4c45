package host

import (
	"testing"
)

func TestInviteAndJoin(t *testing.T) {
	w := newTown()
	alice, bob := settleIn(t, w, "alice"), settleIn(t, w, "bob")
	invite := alice.invite()
	joined := bob.mustJoin(invite.Code())
	if joined.Session.Peer().ID != alice.device.ID() || joined.Entry.Alias != "alice" || len(joined.Rights) != 1 {
		t.Fatalf("joined %+v", joined)
	}
	stream := echo(t, joined.Session)
	_ = stream.Close()
	if entry, known, err := alice.book.Get(bob.device.ID()); err != nil || !known || entry.Name != "bob" {
		t.Fatalf("alice knows %+v, %v, %v", entry, known, err)
	}
	if err := joined.Session.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both forget the session", func() bool { return alice.empty() && bob.empty() })
}
