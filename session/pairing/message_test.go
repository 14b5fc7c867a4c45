package pairing

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"tandem/session"
)

// seq is n bytes from b on.
func seq(b byte, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = b + byte(i)
	}
	return out
}

// Every message that is not encrypted as a whole, field by field.
func TestMessagesGolden(t *testing.T) {
	a := Attempt(seq(0xa0, 16))
	const at = "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"
	first := m1{
		nonceH: [32]byte(seq(0x00, 32)), nonceG: [32]byte(seq(0x20, 32)), share: [32]byte(seq(0x40, 32)),
		id: session.PeerID(seq(0x60, 32)), kind: Link, nameplate: "77",
	}
	second := m2{share: [32]byte(seq(0x40, 32)), id: session.PeerID(seq(0x60, 32)), tag: [64]byte(seq(0x80, 64)), box: seq(0x01, 24)}
	third := m3{tag: [64]byte(seq(0x80, 64)), box: seq(0x01, 24)}
	h := func(b byte, n int) string { return hex.EncodeToString(seq(b, n)) }
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"knock", appendKnock(header(typeKnock, a), "4821"), "0101" + at + "0434383231"},
		{"hello", append(header(typeHello, a), seq(0, 32)...), "0102" + at + h(0, 32)},
		{"m1", first.append(header(typeM1, a)), "0103" + at + h(0x00, 32) + h(0x20, 32) + h(0x40, 32) + h(0x60, 32) + "02" + "023737"},
		{"m2", second.append(header(typeM2, a)), "0104" + at + h(0x40, 32) + h(0x60, 32) + h(0x80, 64) + h(0x01, 24)},
		{"m3", third.append(header(typeM3, a)), "0105" + at + h(0x80, 64) + h(0x01, 24)},
		{"refuse", refusal(a, session.NotFound), "0107" + at + "096e6f742d666f756e64"},
		{"reason", appendReason(nil, session.Errorf("", session.Denied, "no")), "0664656e6965646e6f"},
	} {
		if hex.EncodeToString(c.got) != c.want {
			t.Errorf("%s is %x, want %s", c.name, c.got, c.want)
		}
	}
	if a.String() != "a0a1a2a3" {
		t.Errorf("String = %s", a)
	}
}

// Cut short by any number of bytes or made longer, a message is refused.
func TestMessagesAreExact(t *testing.T) {
	a := Attempt{1}
	first := m1{kind: Code, nameplate: "1"}
	for name, c := range map[string]struct {
		body  []byte
		parse func([]byte) error
		open  bool // ends in a box, so may be longer
	}{
		"knock":  {appendKnock(nil, "123"), func(b []byte) error { _, err := parseKnock(b); return err }, false},
		"hello":  {make([]byte, 32), func(b []byte) error { _, err := parseHello(b); return err }, false},
		"m1":     {first.append(nil), func(b []byte) error { _, err := parseM1(b); return err }, false},
		"m2":     {(&m2{box: make([]byte, boxOverhead)}).append(nil), func(b []byte) error { _, err := parseM2(b); return err }, true},
		"m3":     {(&m3{box: make([]byte, boxOverhead)}).append(nil), func(b []byte) error { _, err := parseM3(b); return err }, true},
		"refuse": {refusal(a, session.Busy)[headerSize:], func(b []byte) error { _, err := parseKind(b); return err }, false},
	} {
		if err := c.parse(c.body); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for n := range c.body {
			if err := c.parse(c.body[:n]); session.KindOf(err) != session.Invalid || err == nil {
				t.Errorf("%s cut to %d bytes: %v", name, n, err)
			}
		}
		if err := c.parse(append(bytes.Clone(c.body), 0)); (err == nil) != c.open {
			t.Errorf("%s with a byte more: %v", name, err)
		}
	}
	for _, kind := range []Kind{0, 3, 255} {
		m := m1{kind: kind, nameplate: "1"}
		if _, err := parseM1(m.append(nil)); err == nil {
			t.Errorf("kind %d is accepted", kind)
		}
	}
	for _, nameplate := range []string{"", "x", "12345678901", "1\x00"} {
		if _, err := parseKnock(appendKnock(nil, nameplate)); err == nil {
			t.Errorf("nameplate %q is accepted", nameplate)
		}
	}
}

func TestReason(t *testing.T) {
	long := session.Errorf("", session.Denied, "%s", strings.Repeat("x", 5000))
	reason, err := parseReason(appendReason(nil, long))
	if err != nil || reason.Kind != session.Denied || len(reason.Text) != session.MaxErrorText {
		t.Errorf("%v, %v", reason, err)
	}
	for _, bad := range [][]byte{nil, {5, 'a'}, append([]byte{0}, make([]byte, session.MaxErrorText+1)...)} {
		if _, err := parseReason(bad); err == nil {
			t.Errorf("%d bytes are accepted", len(bad))
		}
	}
	unknown, err := parseReason(append([]byte{3}, "xyz\x1b[2J"...))
	if err != nil || unknown.Kind != session.Internal || strings.Contains(unknown.Text, "\x1b") {
		t.Errorf("%v, %v", unknown, err)
	}
}

// Whatever arrives, both machines survive it, and nobody is met.
func FuzzHandle(f *testing.F) {
	invite := &Invite{
		id: InviteID{1}, nameplate: "4821", host: hostKey.ID(), words: "wolf-paper-lunar",
		made: noon, lifetime: 10 * defaultLifetime, attempts: maxAttempts, uses: 1,
	}
	ticket, err := Parse(invite.Code())
	if err != nil {
		f.Fatal(err)
	}
	for _, h := range goldenConversation {
		message, err := hex.DecodeString(h)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(message)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, message []byte) {
		host := newHost(hostKey, newMemory(invite), newEntropy("another host"))
		if err := host.Add(invite); err != nil {
			t.Fatal(err)
		}
		step, err := host.Handle(noon, message)
		if step.Met != nil || step.Payload != nil || len(step.Reply) > MaxMessage {
			t.Fatalf("the host stepped %+v", step)
		}
		if err != nil && session.KindOf(err) == session.Internal {
			t.Fatalf("the host: %v", err)
		}
		// A guest at each stage that it reaches by itself.
		g, err := newGuest(guestKey, ticket, newEntropy("guest"))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if step, _ := g.Handle(message); step.Met != nil || step.Answered || step.Payload != nil {
				t.Fatalf("the guest stepped %+v", step)
			}
			if step, err = host.Handle(noon, g.Last()); err == nil && g.stage == knocked {
				if _, err := g.Handle(step.Reply); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// What parses is written back as it was.
func FuzzParseBodies(f *testing.F) {
	for _, h := range goldenConversation {
		message, err := hex.DecodeString(h)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(message)
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		kind, attempt, body, err := split(message)
		if err != nil {
			return
		}
		back := header(kind, attempt)
		switch kind {
		case typeKnock:
			nameplate, err := parseKnock(body)
			if err != nil {
				return
			}
			back = appendKnock(back, nameplate)
		case typeM1:
			m, err := parseM1(body)
			if err != nil {
				return
			}
			back = m.append(back)
		case typeM2:
			m, err := parseM2(body)
			if err != nil {
				return
			}
			back = m.append(back)
		case typeM3:
			m, err := parseM3(body)
			if err != nil {
				return
			}
			back = m.append(back)
		default:
			return
		}
		if !bytes.Equal(back, message) {
			t.Fatalf("%x is written back as %x", message, back)
		}
	})
}
