package relay

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/pion/stun/v4"
)

func filled(payload []byte) datagram {
	d := newDatagram()
	d.end += copy(d.buf[d.start:], payload)
	return d
}

// The bytes of RFC 8656 sections 12.4 and 11.6, with RFC 5769's way of XOR.
func TestWrapGolden(t *testing.T) {
	if got := hex.EncodeToString(filled([]byte("hello")).asChannelData(0x4001, true).bytes()); got != "4001000568656c6c6f000000" {
		t.Errorf("ChannelData in a stream: %s", got)
	}
	if got := hex.EncodeToString(filled([]byte("hello")).asChannelData(0x4001, false).bytes()); got != "4001000568656c6c6f" {
		t.Errorf("ChannelData in a datagram: %s", got)
	}
	b := filled([]byte("hello")).asDataIndication(netip.MustParseAddrPort("192.0.2.1:32853")).bytes()
	got := hex.EncodeToString(b[:8]) + " " + hex.EncodeToString(b[stunHeader:])
	want := "001700182112a442 " + "001200080001a147e112a643" + "0013000568656c6c6f000000"
	if got != want {
		t.Errorf("Data indication:\n got %s\nwant %s", got, want)
	}
}

// What we build by hand is what pion/stun reads.
func FuzzDataIndication(f *testing.F) {
	f.Add([]byte("payload"), []byte{192, 0, 2, 1}, uint16(4000))
	f.Add([]byte{}, netip.MustParseAddr("2001:db8::1").AsSlice(), uint16(1))
	f.Fuzz(func(t *testing.T, payload, ip []byte, port uint16) {
		addr, ok := netip.AddrFromSlice(ip)
		if !ok || len(payload) > maxMessage {
			return
		}
		addr = addr.Unmap()
		m := &stun.Message{Raw: filled(payload).asDataIndication(netip.AddrPortFrom(addr, port)).bytes()}
		if err := m.Decode(); err != nil {
			t.Fatal(err)
		}
		var from stun.XORMappedAddress
		if err := from.GetFromAs(m, stun.AttrXORPeerAddress); err != nil {
			t.Fatal(err)
		}
		got, _ := netip.AddrFromSlice(from.IP)
		data, err := m.Get(stun.AttrData)
		if err != nil || got != addr || from.Port != int(port) || !bytes.Equal(data, payload) {
			t.Fatalf("read back %v:%d %q, %v; want %v:%d %q", got, from.Port, data, err, addr, port, payload)
		}
	})
}

func FuzzFrameLength(f *testing.F) {
	f.Add([]byte{0, 1, 0xff, 0xec})
	f.Add([]byte{0x40, 0, 0xff, 0xfc})
	f.Add([]byte{0, 1, 0, 0})
	f.Fuzz(func(t *testing.T, head []byte) {
		if len(head) < 4 {
			return
		}
		if n, ok := frameLength(head[:4]); ok && (n < channelHeader || n > maxMessage || n%4 != 0) {
			t.Fatalf("frameLength(%x) = %d", head[:4], n)
		}
	})
}
