package link

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
	"time"

	"tandem/session/link/pace"
)

func TestLanePacketGolden(t *testing.T) {
	data := appendData(nil, 0x01020304, 0x0506, 0x0708090a, []byte("\x02hi"))
	if got := hex.EncodeToString(data); got != "00010102030405060708090a026869" {
		t.Errorf("data %s", got)
	}
	id, message, frame, ok := parseData(data)
	if !ok || id != 0x0506 || message != 0x0708090a || string(frame) != "\x02hi" {
		t.Errorf("parsed %x %x %q %v", id, message, frame, ok)
	}
	if _, _, _, ok := parseData(data[:dataHeader]); ok {
		t.Error("an empty message passes")
	}
	a := pace.Ack{Largest: 0x01020304, Delay: 258 * time.Microsecond, Runs: []uint16{3, 1, 2}}
	ack := appendAck(nil, &a)
	if got := hex.EncodeToString(ack); got != "00020102030400000102000300010002" {
		t.Errorf("acknowledgement %s", got)
	}
	if got, ok := parseAck(ack); !ok || !reflect.DeepEqual(got, a) {
		t.Errorf("parsed %+v %v", got, ok)
	}
	l := newLane(nil, 1)
	now := time.Unix(1e9, 0)
	l.probeAt = now
	if probe := l.probe(now); len(probe) != mostPacket || hex.EncodeToString(probe[:8]) != "0003000000000000" {
		t.Errorf("probe of %d bytes, %x", len(probe), probe[:8])
	}
}

func FuzzLanePacket(f *testing.F) {
	f.Add([]byte("\x00\x01\x00\x00\x00\x00\x00\x03\x00\x00\x00\x01\x02hi"))
	f.Add([]byte("\x00\x02\x00\x00\x00\x03\x00\x00\x00\x00\x00\x01\x00\x02\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if id, message, frame, ok := parseData(b); ok {
			number := uint32(b[2])<<24 | uint32(b[3])<<16 | uint32(b[4])<<8 | uint32(b[5])
			if again := appendData(nil, number, id, message, frame); !bytes.Equal(again[2:], b[2:]) {
				t.Fatalf("%x became %x", b, again)
			}
		}
		a, ok := parseAck(b)
		if !ok {
			return
		}
		if again := appendAck(nil, &a); !bytes.Equal(again[2:], b[2:]) {
			t.Fatalf("%x became %x", b, again)
		}
		var flight pace.Flight[int]
		now := time.Unix(1e9, 0)
		for i := range 100 {
			flight.Send(i, 1, now)
		}
		n := 0
		if _, ok := flight.Acknowledge(&a, now, func(pace.Packet[int]) { n++ }); ok != (a.Largest < 100) || n > 100 || flight.Bytes() != 100-n {
			t.Fatalf("%v: %v, %d acknowledged, %d under way", a, ok, n, flight.Bytes())
		}
	})
}

// A peer that acknowledges what was never sent, or sends what is no packet, loses
// its lane; the session and its streams live on.
func TestLanePacketLies(t *testing.T) {
	t.Parallel()
	near, far := withLanes(t)
	for name, packet := range map[string][]byte{
		"false acknowledgement": appendAck(nil, &pace.Ack{Largest: 1 << 30, Runs: []uint16{1}}),
		"short acknowledgement": appendHeader(nil, packetAck, 0),
		"short data":            appendHeader(nil, packetData, 0),
		"no number":             {bulkMark, packetProbe},
	} {
		eventually(t, "a lane on both sides", func() bool {
			copyBulk(t, near, 256<<10)
			return len(near.liveLanes()) > 0 && len(far.liveLanes()) > 0
		})
		l := near.liveLanes()[0]
		if _, err := l.conn.dtls.Write(packet); err != nil {
			t.Fatal(err)
		}
		eventually(t, name+": the end of the lane", func() bool {
			select {
			case <-l.conn.done:
				return true
			default:
				return false
			}
		})
	}
	// Not known here, perhaps later; and data of a stream that is not open.
	for _, packet := range [][]byte{appendHeader(nil, 99, 0), appendData(nil, 1, 65000, 1, []byte{2, 1})} {
		for _, l := range near.liveLanes() {
			_, _ = l.conn.dtls.Write(packet) // it may have ended
		}
	}
	copyBulk(t, near, 1<<20)
	for _, l := range []*Link{near, far} {
		if err := l.Err(); err != nil {
			t.Errorf("the session ended: %v", err)
		}
	}
}

// What is under way on a lane that has gone silent goes by another one, without
// waiting until the lane is given up.
func TestSilentLane(t *testing.T) {
	now := time.Unix(1e9, 0)
	ls := newLanes(nil, &Config{})
	ls.control = pace.New(pace.Config{Packet: leastPacket}, now)
	deaf, well := newLane(ls, 1), newLane(ls, 3)
	ls.live = []*lane{deaf, well}
	for _, l := range ls.live {
		l.conn = &conn{}
	}
	st := &stripe{closed: make(chan struct{}), trunk: &channel{conn: &conn{done: make(chan struct{})}}}
	const messages = 20
	for i := range uint32(messages) {
		ls.fresh = append(ls.fresh, cargo{st, i, make([]byte, 1000)})
		st.underWay.Add(1)
	}
	usedDeaf, last := false, now
	for end := now.Add(time.Minute); st.underWay.Load() > 0; now = now.Add(5 * time.Millisecond) {
		if now.After(end) {
			t.Fatalf("%d messages have not arrived", st.underWay.Load())
		}
		ready, stray, _ := ls.due(now)
		if stray != nil {
			t.Fatalf("%d messages for the trunk", len(stray))
		}
		for _, d := range ready {
			if d.lane == deaf {
				usedDeaf, last = true, now
			} else if !ls.acknowledged(well, &pace.Ack{Largest: well.flight.Next() - 1, Runs: []uint16{1000}}, now) {
				t.Fatal("an acknowledgement was refused")
			}
		}
	}
	if !usedDeaf || deaf.flight.Bytes() != 0 || last.Sub(time.Unix(1e9, 0)) > 10*time.Second {
		t.Errorf("%v, %d bytes under way, last used %v", usedDeaf, deaf.flight.Bytes(), last)
	}
}

// Where nothing gets through, next to nothing is sent, until something does.
func TestSilentLanes(t *testing.T) {
	began := time.Unix(1e9, 0)
	now := began
	ls := newLanes(nil, &Config{})
	ls.control = pace.New(pace.Config{Packet: leastPacket}, now)
	ls.live = []*lane{newLane(ls, 1), newLane(ls, 3)}
	for _, l := range ls.live {
		l.conn, l.size = &conn{}, leastPacket
	}
	st := &stripe{closed: make(chan struct{}), trunk: &channel{conn: &conn{done: make(chan struct{})}}}
	const messages = 200
	for i := range uint32(messages) {
		ls.fresh = append(ls.fresh, cargo{st, i, make([]byte, 1000)})
		st.underWay.Add(1)
	}
	sent := 0
	for ; now.Before(began.Add(10 * time.Second)); now = now.Add(5 * time.Millisecond) {
		ready, _, _ := ls.due(now)
		if now.After(began.Add(3 * time.Second)) {
			sent += len(ready)
		}
	}
	if most := 7 * silentPackets * len(ls.live); sent == 0 || sent > most {
		t.Errorf("in 7 s %d packets left, want 1 to %d", sent, most)
	}
	for end := now.Add(10 * time.Second); st.underWay.Load() > 0; now = now.Add(5 * time.Millisecond) {
		if now.After(end) {
			t.Fatalf("%d messages have not arrived", st.underWay.Load())
		}
		ready, _, _ := ls.due(now)
		for _, d := range ready {
			if !ls.acknowledged(d.lane, &pace.Ack{Largest: d.lane.flight.Next() - 1, Runs: []uint16{1000}}, now) {
				t.Fatal("an acknowledgement was refused")
			}
		}
	}
}

// What was learned while there were lanes is not believed when there are lanes again: by
// then the path may carry much less.
func TestLanesLearnAnew(t *testing.T) {
	now := time.Unix(1e9, 0)
	ls := newLanes(nil, &Config{})
	ls.trunk = &conn{}
	ls.control = pace.New(pace.Config{Packet: leastPacket}, now)
	for range 200 {
		ls.control.Sent(leastPacket, now)
		now = now.Add(5 * time.Millisecond)
		ls.control.RoundTrip(5*time.Millisecond, now)
		ls.control.Acked(leastPacket, now)
	}
	learned := func() bool { return !strings.HasPrefix(ls.control.String(), "start: 0 B/s") }
	if !learned() {
		t.Fatalf("nothing was learned: %v", ls.control)
	}
	ls.add(newLane(ls, 1), &conn{})
	if learned() {
		t.Errorf("not forgotten: %v", ls.control)
	}
}
