package signaling

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
)

const (
	boxA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	boxB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb77"
)

// golden is one message of each type as it goes over the wire.
var golden = []struct {
	json string
	m    Message
}{
	{
		`{"type":"welcome","version":1,"min_version":1,"nonce":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",` +
			`"host":"signal.example.org","observed":"192.0.2.7:4711","time":1700000000000,` +
			`"limits":{"frame":65536,"nameplates":4,"watches":256,"idle_ms":75000}}`,
		Message{
			Type: TypeWelcome, Version: 1, MinVersion: 1, Nonce: bytes.Repeat([]byte{7}, 32), Host: "signal.example.org",
			Observed: "192.0.2.7:4711", Time: 1700000000000, Limits: &Limits{Frame: 65536, Nameplates: 4, Watches: 256, IdleMS: 75000},
		},
	},
	{
		`{"type":"claim","version":1,"key":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=","signature":"` +
			`AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg==","yield":true}`,
		Message{Type: TypeClaim, Version: 1, Key: bytes.Repeat([]byte{1}, 32), Signature: bytes.Repeat([]byte{2}, 64), Yield: true},
	},
	{`{"type":"claimed","mailbox":"` + boxA + `"}`, Message{Type: TypeClaimed, Mailbox: boxA}},
	{`{"type":"send","id":3,"to":"` + boxA + `","body":"aGk="}`, Message{Type: TypeSend, ID: 3, To: boxA, Body: []byte("hi")}},
	{`{"type":"send","id":4,"to":"nameplate/4821"}`, Message{Type: TypeSend, ID: 4, To: "nameplate/4821"}},
	{`{"type":"sent","id":3}`, Message{Type: TypeSent, ID: 3}},
	{`{"type":"message","from":"` + boxB + `","body":"aGk="}`, Message{Type: TypeMessage, From: boxB, Body: []byte("hi")}},
	{`{"type":"nameplate","id":5}`, Message{Type: TypeNameplate, ID: 5}},
	{`{"type":"nameplate","id":5,"number":"4821"}`, Message{Type: TypeNameplate, ID: 5, Number: "4821"}},
	{`{"type":"release","id":6,"number":"4821"}`, Message{Type: TypeRelease, ID: 6, Number: "4821"}},
	{`{"type":"released","number":"4821"}`, Message{Type: TypeReleased, Number: "4821"}},
	{`{"type":"watch","id":7,"mailboxes":["` + boxA + `","` + boxB + `"]}`, Message{Type: TypeWatch, ID: 7, Mailboxes: []string{boxA, boxB}}},
	{`{"type":"watching","id":7}`, Message{Type: TypeWatching, ID: 7}},
	{`{"type":"presence","online":["` + boxA + `"],"offline":["` + boxB + `"]}`, Message{Type: TypePresence, Online: []string{boxA}, Offline: []string{boxB}}},
	{`{"type":"relay","id":8}`, Message{Type: TypeRelay, ID: 8}},
	{
		`{"type":"relays","id":8,"relays":[{"urls":["turn:192.0.2.1:3478?transport=udp"],"username":"u","password":"p","ttl":600}]}`,
		Message{Type: TypeRelays, ID: 8, Relays: []Relay{{URLs: []string{"turn:192.0.2.1:3478?transport=udp"}, Username: "u", Password: "p", TTL: 600}}},
	},
	{`{"type":"ping","id":9}`, Message{Type: TypePing, ID: 9}},
	{`{"type":"pong","id":9,"time":1700000000000}`, Message{Type: TypePong, ID: 9, Time: 1700000000000}},
	{`{"type":"draining","after_ms":1500}`, Message{Type: TypeDraining, AfterMS: 1500}},
	{`{"type":"error","id":3,"kind":"not-found","text":"nobody is there"}`, Message{Type: TypeError, ID: 3, Kind: KindNotFound, Text: "nobody is there"}},
}

func TestGolden(t *testing.T) {
	for _, g := range golden {
		data, err := Encode(g.m)
		if err != nil || string(data) != g.json {
			t.Errorf("encoded\n%s, %v, want\n%s", data, err, g.json)
		}
		m, err := Decode([]byte(g.json))
		if err != nil || !reflect.DeepEqual(m, g.m) {
			t.Errorf("decoded %+v, %v", m, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	long := strings.Repeat("a", maxString+1)
	for _, bad := range []string{
		``, `null`, `[]`, `"x"`, `{`, `{}`, `{"type":1}`, `{"type":""}`,
		`{"type":"` + long + `"}`,
		`{"type":"ping","id":-1}`,
		`{"type":"ping","id":9007199254740992}`,
		`{"type":"ping","id":1.5}`,
		`{"type":"welcome","version":1,"min_version":1,"nonce":"BwcH"}`,
		`{"type":"welcome","version":1,"min_version":2}`,
		`{"type":"welcome"}`,
		`{"type":"claim","version":1,"key":"AQ==","signature":"AQ=="}`,
		`{"type":"claimed","mailbox":"short"}`,
		`{"type":"send","id":1,"to":""}`,
		`{"type":"send","id":1,"to":"nameplate/0123"}`,
		`{"type":"send","id":1,"to":"nameplate/12"}`,
		`{"type":"send","id":1,"to":"` + strings.ToUpper(boxA) + `"}`,
		`{"type":"send","id":1,"to":"` + boxA + `","body":"not base64!"}`,
		`{"type":"send","id":1,"to":"` + boxA + `","body":"` + strings.Repeat("AAAA", MaxBody/3+1) + `"}`,
		`{"type":"message","from":"\u0000"}`,
		`{"type":"nameplate","id":1,"number":"12a"}`,
		`{"type":"release","id":1}`,
		`{"type":"watch","mailboxes":["x"]}`,
		`{"type":"presence","offline":["x"]}`,
		`{"type":"watch","mailboxes":["` + strings.Repeat(boxA+`","`, MaxWatches) + boxA + `"]}`,
		`{"type":"relays","relays":[{"urls":[]}]}`,
		`{"type":"relays","relays":[{"urls":["http://x"]}]}`,
		`{"type":"relays","relays":[{"urls":["turn:x"],"ttl":-1}]}`,
		`{"type":"relays","relays":[{"urls":["turn:x"],"ttl":86401}]}`,
		`{"type":"relays","relays":[{"urls":["turn:x"],"username":"` + long + `"}]}`,
		`{"type":"relays","relays":[` + strings.Repeat(`{"urls":["turn:x"]},`, MaxRelays) + `{"urls":["turn:x"]}]}`,
		`{"type":"draining","after_ms":-1}`,
		`{"type":"draining","after_ms":86400001}`,
		`{"type":"ping"}` + strings.Repeat(" ", MaxFrame),
	} {
		if m, err := Decode([]byte(bad)); err == nil {
			t.Errorf("Decode(%.80s) = %+v", bad, m)
		} else if k := KindOf(err); k != KindInvalid && k != KindTooLarge {
			t.Errorf("Decode(%.80s): %v", bad, err)
		}
	}
}

// What we do not know is left alone, so that it may be added.
func TestDecodeUnknown(t *testing.T) {
	m, err := Decode([]byte(`{"type":"dance","id":7,"body":"aGk=","steps":[1,2]}`))
	if err != nil || !reflect.DeepEqual(m, Message{Type: "dance", ID: 7}) {
		t.Errorf("unknown type: %+v, %v", m, err)
	}
	m, err = Decode([]byte(`{"type":"ping","id":7,"mood":{"a":[null]}}`))
	if err != nil || !reflect.DeepEqual(m, Message{Type: TypePing, ID: 7}) {
		t.Errorf("unknown field: %+v, %v", m, err)
	}
	m, err = Decode([]byte(`{"type":"welcome","version":9,"min_version":9}`))
	if err != nil || m.MinVersion != 9 {
		t.Errorf("a newer protocol's welcome: %+v, %v", m, err)
	}
}

func TestNames(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)
	if got, want := MailboxOf(key), "3fiwjbjl4antr6ern275wttv5pkb5x75"; got != want {
		t.Errorf("MailboxOf = %s, want %s", got, want)
	}
	if !ValidMailbox(MailboxOf(key)) {
		t.Error("a mailbox's name is not valid")
	}
	got := hex.EncodeToString(ClaimBytes([]byte{1, 2, 3}, "a.example"))
	if want := "0010" + hex.EncodeToString([]byte("tandem/mailbox/1")) + "0003010203" + "0009" + hex.EncodeToString([]byte("a.example")); got != want {
		t.Errorf("ClaimBytes = %s, want %s", got, want)
	}
	for host, want := range map[string]string{
		"A.example": "a.example", "a.example:443": "a.example", "a.example:80": "a.example", "a.example:8443": "a.example:8443",
		"[::1]:443": "[::1]", "[::1]": "[::1]", "[::80]": "[::80]", "::80": "::80", "192.0.2.1:80": "192.0.2.1",
	} {
		if got := CanonicalHost(host); got != want {
			t.Errorf("CanonicalHost(%q) = %q, want %q", host, got, want)
		}
	}
}

func TestServerURL(t *testing.T) {
	for _, c := range []struct {
		in       string
		insecure bool
		want     string // "" is an error
	}{
		{"https://Signal.example.org/", false, "https://signal.example.org"},
		{"wss://signal.example.org:443/tandem/", false, "https://signal.example.org/tandem"},
		{"signal.example.org", false, "https://signal.example.org"},
		{"signal.example.org:8443", false, "https://signal.example.org:8443"},
		{"192.168.1.5:8080", false, "http://192.168.1.5:8080"},
		{"fd00::5", false, "http://[fd00::5]"},
		{"[::1]:9", false, "http://[::1]:9"},
		{"localhost:9", false, "http://localhost:9"},
		{"https://127.0.0.1:9", false, "https://127.0.0.1:9"},
		{"http://nas.local:80", false, "http://nas.local"},
		{"http://signal.example.org", false, ""},
		{"ws://203.0.113.1", false, ""},
		{"http://203.0.113.1", true, "http://203.0.113.1"},
		{"https://Bücher.example", false, "https://xn--bcher-kva.example"},
		{"https://b_1.example", false, ""},
		{"https://a.example:0x50", false, ""},
		{"", false, ""},
		{"ftp://x", false, ""},
		{"https://", false, ""},
		{"https://user:secret@x", false, ""},
		{"http://127.0.0.1.example.org", false, ""},
		{"http://localhost.example.org", false, ""},
		{"https://a b", false, ""},
		{strings.Repeat("a", 600), false, ""},
	} {
		got, err := ServerURL(c.in, c.insecure)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("ServerURL(%q) = %q, %v; want %q", c.in, got, err, c.want)
		}
		if err != nil && err.(*Error).Hint == "" {
			t.Errorf("ServerURL(%q): no hint", c.in)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, g := range golden {
		f.Add([]byte(g.json))
	}
	f.Add([]byte(`{"type":"dance","id":7,"Body":null,"limits":null,"relays":[null]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Decode(data)
		if err != nil {
			return
		}
		again, err := Encode(m)
		if KindOf(err) == KindTooLarge {
			return // what was short as written may be longer as we write it
		}
		if err != nil {
			t.Fatal(err)
		}
		m2, err := Decode(again)
		if err != nil {
			t.Fatalf("%s becomes %s: %v", data, again, err)
		}
		if once, _ := Encode(m2); !bytes.Equal(once, again) {
			t.Fatalf("%s becomes %s, then %s", data, again, once)
		}
	})
}

func FuzzServerURL(f *testing.F) {
	for _, s := range []string{"https://a.example/x", "192.168.1.5:8080", "[fe80::1%25lo]:1", "ws://localhost:", "a:b:c", "http://[::ffff:127.0.0.1]", "::%25\x9c0", "\u00ad"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ServerURL(s, false)
		if err != nil {
			return
		}
		if again, err := ServerURL(u, false); err != nil || again != u {
			t.Fatalf("%q is %q, and that is %q, %v", s, u, again, err)
		}
	})
}
