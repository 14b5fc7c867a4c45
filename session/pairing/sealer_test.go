package pairing

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"tandem/session"
)

func newSealers(t testing.TB, isk string) (host, guest *Sealer) {
	t.Helper()
	ends := make([]*Sealer, 2)
	for n := range ends {
		var err error
		if ends[n], err = newSealer(Attempt{1}, []byte("sid"), []byte(isk), n == 0); err != nil {
			t.Fatal(err)
		}
	}
	return ends[0], ends[1]
}

func TestSealer(t *testing.T) {
	host, guest := newSealers(t, "key")
	otherHost, otherGuest := newSealers(t, "another key")
	message, err := host.Seal([]byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range message {
		changed := bytes.Clone(message)
		changed[i] ^= 1
		if content, err := guest.Open(changed); err == nil {
			t.Fatalf("byte %d changed: opened %q", i, content)
		}
	}
	for name, s := range map[string]*Sealer{"reflected": host, "another exchange's": otherGuest, "both": otherHost} {
		if _, err := s.Open(message); session.KindOf(err) != session.Integrity {
			t.Errorf("%s: %v", name, err)
		}
	}
	if content, err := guest.Open(message); err != nil || string(content) != "hello" {
		t.Fatalf("Open = %q, %v", content, err)
	}
	_, err = guest.Open(message)
	wantKind(t, err, session.Integrity)
	if _, err := guest.Open(message[:headerSize]); err == nil {
		t.Error("opened nothing")
	}
	host.next = maxBoxes
	_, err = host.Seal(nil)
	wantKind(t, err, session.Expired)
}

// In whatever order boxes come, each opens at most once, and every one within
// the window opens.
func TestSealerWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s Sealer
		opened := map[uint64]bool{}
		newest := int64(-1)
		for range rapid.IntRange(1, 200).Draw(t, "boxes") {
			n := int64(rapid.IntRange(0, 300).Draw(t, "seq"))
			got := s.first(uint64(n))
			want := !opened[uint64(n)] && n > newest-boxWindow
			if got != want {
				t.Fatalf("box %d after %d: %v, want %v", n, newest, got, want)
			}
			opened[uint64(n)] = opened[uint64(n)] || got
			newest = max(newest, n)
		}
	})
}
