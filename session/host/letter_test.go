package host

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"tandem/session"
	"tandem/session/grant"
	"tandem/session/identity"
	"tandem/session/pairing"
)

// What other versions of tandem send and read does not change.
func TestGoldenLetters(t *testing.T) {
	id := session.PeerID{1, 2, 3}
	conv := []byte("0123456789abcdef")
	for want, v := range map[string]any{
		`{"conv":"MDEyMzQ1Njc4OWFiY2RlZg==","from":"` + id.String() + `","new":true,"body":"e30="}`: &sealedLetter{
			Conv: conv, From: id, New: true, Body: []byte("{}"),
		},
		`{"conv":"MDEyMzQ1Njc4OWFiY2RlZg==","from":"` + id.String() + `","body":"e30="}`: &sealedLetter{Conv: conv, From: id, Body: []byte("{}")},
		`{"name":"bob","contact":{"mailbox":"m","servers":["https://s"]}}`: &introduction{
			Name: "bob", Contact: identity.Contact{Mailbox: "m", Servers: []string{"https://s"}},
		},
		`{"name":"alice","contact":{},"rights":[{"service":"folder/1","resource":"project","actions":["read"]}],"round":2}`: &introduction{
			Name: "alice", Rights: []grant.Right{{Service: "folder/1", Resource: "project", Actions: []string{"read"}}}, Round: 2,
		},
		`{"round":1,"link":"e30="}`: &roundEnvelope{Round: 1, Link: []byte("{}")},
		`{"round":0,"link":null}`:   &roundEnvelope{},
	} {
		b, err := json.Marshal(v)
		if err != nil || string(b) != want {
			t.Errorf("encoded as %s, %v\nnot as       %s", b, err, want)
		}
		later := strings.Replace(want, "{", `{"of a later version":[1],`, 1)
		if err := json.Unmarshal([]byte(later), v); err != nil {
			t.Errorf("with another field: %v", err)
		}
		if again, err := json.Marshal(v); err != nil || !bytes.Equal(again, b) {
			t.Errorf("read and written again: %s, %v", again, err)
		}
	}
}

func TestSealedLetterRefused(t *testing.T) {
	device, err := identity.New("alice")
	if err != nil {
		t.Fatal(err)
	}
	contact := device.Contact("m", nil)
	good := sealedLetter{Conv: make([]byte, 16), From: session.PeerID{1}, Body: []byte("{}")}
	for what, change := range map[string]func(*sealedLetter){
		"nothing":             func(*sealedLetter) {},
		"no conversation":     func(l *sealedLetter) { l.Conv = nil },
		"a long conversation": func(l *sealedLetter) { l.Conv = make([]byte, 17) },
		"nobody":              func(l *sealedLetter) { l.From = session.PeerID{} },
		"no body":             func(l *sealedLetter) { l.Body = nil },
	} {
		l := good
		change(&l)
		b, err := encodeSealed(contact, l)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := decodeSealed(device, b); (err == nil) != (what == "nothing") {
			t.Errorf("%s: %v", what, err)
		}
	}
	b, err := encodeSealed(contact, good)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if _, _, err := decodeSealed(device, b); session.KindOf(err) != session.Integrity {
		t.Errorf("a changed letter: %v", err)
	}
}

// FuzzLetter gives a host whatever anybody may send it, as it is and sealed.
func FuzzLetter(f *testing.F) {
	home := filepath.Join(f.TempDir(), "home")
	device, err := identity.New("alice")
	if err != nil {
		f.Fatal(err)
	}
	book, err := identity.OpenBook(filepath.Join(home, "peers"))
	if err != nil {
		f.Fatal(err)
	}
	ledger, err := pairing.OpenLedger(filepath.Join(home, "invites"))
	if err != nil {
		f.Fatal(err)
	}
	h := New(Config{
		Device: device, Book: book, Ledger: ledger, Post: newTown().open("alice"), Log: slog.New(slog.DiscardHandler),
		Contact: func() identity.Contact { return device.Contact("alice", nil) },
	})
	f.Cleanup(func() { _ = h.Close() })
	if _, err := h.Invite(InviteConfig{Nameplate: "4821"}); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`P`))
	f.Add([]byte(`S{"conv":"MDEyMzQ1Njc4OWFiY2RlZg==","from":"aaaa","new":true,"body":"e30="}`))
	f.Add(append([]byte("P\x01\x01"), bytes.Repeat([]byte{7}, 20)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		guests := make(chan Letter, 1)
		h.receive(Letter{From: "mallory", Body: b}, guests)
		select {
		case l := <-guests:
			h.receiveGuest(l)
		default:
		}
		if len(b) < 1<<15 {
			sealed, err := device.Contact("alice", nil).Seal(b)
			if err != nil {
				t.Fatal(err)
			}
			h.receive(Letter{From: "mallory", Body: append([]byte{letterSealed}, sealed...)}, guests)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if len(h.guests)+len(h.conversations) != 0 {
			t.Error("a letter from nowhere is kept")
		}
	})
}
