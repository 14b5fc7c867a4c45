package link

import (
	"testing"
	"time"
)

// packet is a DTLS record header of that type and epoch with a byte behind it.
func packet(kind, epoch byte) []byte {
	return []byte{kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 0, 0, 1, 0}
}

func TestCarrierTakesOnlyDTLS(t *testing.T) {
	const alert, handshake, data = 21, 22, 23
	for _, c := range []struct {
		what        string
		packet      []byte
		established bool
		want        bool
	}{
		{"handshake", packet(handshake, 0), false, true},
		{"data", packet(data, 1), true, true},
		{"an alert during the handshake", packet(alert, 0), false, true},
		{"an encrypted alert", packet(alert, 1), true, true},
		{"a forged alert", packet(alert, 0), true, false},
		{"a forged alert behind data", append(packet(data, 1), packet(alert, 0)...), true, false},
		{"data in clear", packet(data, 0), true, false},
		{"data in clear during the handshake", packet(data, 0), false, false},
		{"data with a length beyond the end", packet(data, 1)[:13], true, true},
		{"a retransmitted handshake", packet(handshake, 0), true, true},
		{"RTP", packet(128, 1), true, false},
		{"a fragment", packet(data, 1)[:12], true, false},
		{"nothing", nil, true, false},
	} {
		carrier := newCarrier()
		carrier.established.Store(c.established)
		carrier.receive(new(attempt), c.packet)
		if got := carrier.inbound.Count() == 1; got != c.want {
			t.Errorf("%s: taken %v", c.what, got)
		}
	}
}

func TestRecentReplaysInOrder(t *testing.T) {
	var r recent
	replayed := func() (got []byte) {
		r.replay(func(p []byte) { got = append(got, p...) })
		return got
	}
	r.keep([]byte{1})
	r.keep([]byte{2})
	if got := replayed(); string(got) != "\x01\x02" {
		t.Errorf("%v", got)
	}
	for i := range 100 {
		r.keep([]byte{byte(i)})
	}
	got := replayed()
	if len(got) != len(r.packets) || got[0] != 36 || got[63] != 99 {
		t.Errorf("%v", got)
	}
}

// A flood fills the buffer and no more.
func TestCarrierIsBounded(t *testing.T) {
	c := newCarrier()
	a := new(attempt)
	flood := append(packet(23, 1), make([]byte, 1200)...)
	for range 2 * inboundBuffer / len(flood) {
		c.receive(a, flood)
	}
	if size := c.inbound.Size(); size > inboundBuffer || size < inboundBuffer*3/4 {
		t.Errorf("%d bytes wait of at most %d", size, inboundBuffer)
	}
}

// The last two windows give the least round trip, and no older one does.
func TestGovernorForgetsRoundTrips(t *testing.T) {
	var g governor
	now := time.Unix(100, 0)
	g.roundTrip(10*time.Millisecond, 1<<20, now)
	for range 3 {
		now = now.Add(rttWindow + time.Second)
		g.roundTrip(50*time.Millisecond, 1<<20, now)
	}
	if got := g.minRTT(); got != 50*time.Millisecond {
		t.Errorf("%v", got)
	}
}
