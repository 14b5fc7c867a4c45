//go:build linux

package natlab

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// golden packets, made by the kernel: a UDP packet saying "hi", its IPv6 sibling, a TCP SYN with
// options, and an IPv4 fragment other than the first.
var golden = map[string]struct {
	hex      string
	proto    Protocol
	src, dst string
	payload  string
}{
	"udp4": {
		"4500001e000040004011" + "0000" + "05010102" + "05010201" + "0fa0" + "0009" + "000a" + "0000" + "6869",
		UDP, "5.1.1.2:4000", "5.1.2.1:9", "hi",
	},
	"udp6": {
		"60000000" + "000a" + "1140" + "2a0104f8000100010000000000000002" + "2a0104f8000200010000000000000002" +
			"0fa0" + "0009" + "000a" + "0000" + "6869",
		UDP, "[2a01:4f8:1:1::2]:4000", "[2a01:4f8:2:1::2]:9", "hi",
	},
	"tcp4": {
		"4500002e000040004006" + "0000" + "05010102" + "05010201" + "0fa0" + "01bb" + "00000001" + "00000000" +
			"6002ffff" + "0000" + "0000" + "020405b4" + "6869",
		TCP, "5.1.1.2:4000", "5.1.2.1:443", "hi",
	},
	"fragment4": {
		"45000016000000b94011" + "0000" + "05010102" + "05010201" + "6869",
		UDP, "5.1.1.2:0", "5.1.2.1:0", "hi",
	},
	"icmp6": {
		"60000000" + "0008" + "3a40" + "2a0104f8000100010000000000000002" + "2a0104f8000200010000000000000002" +
			"8000000000010001",
		ICMP, "[2a01:4f8:1:1::2]:0", "[2a01:4f8:2:1::2]:0", "\x80\x00\x00\x00\x00\x01\x00\x01",
	},
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParsePacket(t *testing.T) {
	for name, want := range golden {
		p := parsePacket(unhex(t, want.hex))
		if p.Proto != want.proto || p.Src != netip.MustParseAddrPort(want.src) ||
			p.Dst != netip.MustParseAddrPort(want.dst) || string(p.Payload) != want.payload {
			t.Errorf("%s: protocol %d from %v to %v with %q", name, p.Proto, p.Src, p.Dst, p.Payload)
		}
	}
}

func FuzzParsePacket(f *testing.F) {
	for _, g := range golden {
		f.Add(unhex(f, g.hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p := parsePacket(b)
		if !bytes.HasSuffix(b, p.Payload) || !bytes.Equal(p.Raw, b) {
			t.Errorf("payload %x is not the end of packet %x", p.Payload, b)
		}
	})
}

func TestCaptureFindsText(t *testing.T) {
	c := &Capture{limit: 10_000}
	packet := func(port byte, payload string) {
		b := unhex(t, golden["udp4"].hex)[:28]
		b[21] = port
		c.add(parsePacket(append(b, payload...)))
	}
	packet(1, "the quick br")
	packet(2, "the lazy")
	packet(1, "own")
	packet(2, " dog")
	packet(1, " fox")
	for text, want := range map[string]bool{
		"quick": true, "brown": true, "brown fox": true, "lazy dog": true, "quick brown fox": true,
		"brown dog": false, "cat": false, "lazybrown": false,
	} {
		if c.Contains([]byte(text)) != want {
			t.Errorf("the capture contains %q: %v, want %v", text, !want, want)
		}
	}
	if c.Missed() != 0 {
		t.Errorf("%d packets missed", c.Missed())
	}
	packet(1, strings.Repeat("x", 10_000))
	if c.Missed() != 1 || len(c.Packets()) != 5 {
		t.Errorf("above its limit the capture kept %d packets and missed %d", len(c.Packets()), c.Missed())
	}
}

func TestWritePCAP(t *testing.T) {
	c := &Capture{limit: 1000}
	p := parsePacket(unhex(t, golden["udp4"].hex))
	p.Time = time.Unix(1, 2000)
	c.add(p)
	var b bytes.Buffer
	if err := c.WritePCAP(&b); err != nil {
		t.Fatal(err)
	}
	want := "d4c3b2a1" + "0200" + "0400" + "0000000000000000" + "ffff0000" + "65000000" +
		"01000000" + "02000000" + "1e000000" + "1e000000" + golden["udp4"].hex
	if got := hex.EncodeToString(b.Bytes()); got != want {
		t.Errorf("pcap %s, want %s", got, want)
	}
}
