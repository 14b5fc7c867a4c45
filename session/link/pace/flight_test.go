package pace

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever arrives of what was sent, and of what acknowledges it: each packet is
// settled exactly once, nothing counts as acknowledged that did not arrive, and
// nothing stays under way for ever.
func TestFlight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1e9, 0)
		var f Flight[int]
		var r Receipts
		var way []uint32 // numbers that may arrive yet
		var acks []Ack
		arrived, settled := map[int]bool{}, map[int]bool{}
		bytes := 0
		settle := func(p Packet[int]) {
			if settled[p.Item] {
				t.Fatalf("packet %d is settled twice", p.Item)
			}
			settled[p.Item] = true
			bytes -= p.Size
		}
		acked := func(p Packet[int]) {
			if !arrived[p.Item] {
				t.Fatalf("packet %d did not arrive", p.Item)
			}
			settle(p)
		}
		t.Repeat(map[string]func(*rapid.T){
			"send": func(t *rapid.T) {
				size := rapid.IntRange(1, 1500).Draw(t, "size")
				way = append(way, f.Next())
				f.Send(int(f.Next()), size, now)
				bytes += size
			},
			"arrive": func(t *rapid.T) {
				if len(way) == 0 {
					t.Skip("nothing is under way")
				}
				i := rapid.IntRange(0, len(way)-1).Draw(t, "which")
				arrived[int(way[i])] = true
				r.Add(way[i], now)
				if rapid.IntRange(0, 3).Draw(t, "again") > 0 {
					way = append(way[:i], way[i+1:]...)
				}
			},
			"lose": func(t *rapid.T) {
				if len(way) > 0 {
					i := rapid.IntRange(0, len(way)-1).Draw(t, "which")
					way = append(way[:i], way[i+1:]...)
				}
			},
			"answer": func(t *rapid.T) {
				if len(r.runs) == 0 {
					t.Skip("nothing has arrived")
				}
				a := r.Ack(now)
				if len(a.Runs)%2 != 1 || len(a.Runs) > MaxRuns {
					t.Fatalf("%d runs", len(a.Runs))
				}
				acks = append(acks, a)
			},
			"acknowledge": func(t *rapid.T) {
				if len(acks) == 0 {
					t.Skip("no acknowledgement")
				}
				i := rapid.IntRange(0, len(acks)-1).Draw(t, "which")
				if rtt, ok := f.Acknowledge(&acks[i], now, acked); !ok || rtt < 0 {
					t.Fatalf("%v: %v, %v", acks[i], rtt, ok)
				}
			},
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "time")))
				f.Lost(now, settle)
			},
			"": func(t *rapid.T) {
				if f.Bytes() != bytes {
					t.Fatalf("%d bytes under way, want %d", f.Bytes(), bytes)
				}
			},
		})
		for range 10000 {
			next := f.Lost(now, settle)
			if next.IsZero() {
				break
			}
			now = next
		}
		if f.Bytes() != 0 || len(settled) != int(f.Next()) {
			t.Fatalf("%d of %d packets are settled, %d bytes are under way", len(settled), f.Next(), f.Bytes())
		}
	})
}

func TestFalseAcknowledgements(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, a := range []Ack{
		{Largest: 0, Runs: []uint16{1}},
		{Largest: 1<<32 - 1, Runs: []uint16{65535, 65535, 65535}},
	} {
		var f Flight[int]
		if _, ok := f.Acknowledge(&a, now, func(Packet[int]) { t.Error("a packet that was never sent") }); ok {
			t.Errorf("%v passes", a)
		}
	}
	var f Flight[int]
	f.Send(0, 1, now)
	n := 0
	for _, a := range []Ack{{Largest: 0, Runs: []uint16{65535, 1, 65535}}, {Largest: 0, Runs: []uint16{1}}} {
		if _, ok := f.Acknowledge(&a, now, func(Packet[int]) { n++ }); !ok || n != 1 {
			t.Errorf("%v: %v, %d acknowledged", a, ok, n)
		}
	}
	if _, ok := f.Acknowledge(&Ack{Largest: 1, Runs: []uint16{1}}, now, func(Packet[int]) { n++ }); ok || n != 1 {
		t.Error("packet 1 was never sent")
	}
}

// A packet counts as lost when one that was sent noticeably later has arrived, and
// not before.
func TestReordering(t *testing.T) {
	now := time.Unix(1e9, 0)
	var f Flight[int]
	for i := range 3 {
		f.Send(i, 100, now.Add(time.Duration(i)*time.Millisecond))
	}
	f.Send(3, 100, now.Add(10*time.Millisecond))
	var lost []int
	note := func(p Packet[int]) { lost = append(lost, p.Item) }
	later := now.Add(60 * time.Millisecond)
	f.Acknowledge(&Ack{Largest: 1, Runs: []uint16{1}}, later, func(Packet[int]) {})
	if f.Lost(later, note); lost != nil {
		t.Errorf("%v are lost already", lost)
	}
	f.Acknowledge(&Ack{Largest: 3, Runs: []uint16{1}}, later, func(Packet[int]) {})
	if f.Lost(later, note); !reflect.DeepEqual(lost, []int{0, 2}) {
		t.Errorf("%v are lost", lost)
	}
}

func TestReceipts(t *testing.T) {
	now := time.Unix(1e9, 0)
	var r Receipts
	for _, n := range []uint32{0, 1, 2, 4, 7, 8, 5, 9} {
		r.Add(n, now)
	}
	want := Ack{Largest: 9, Delay: time.Millisecond, Runs: []uint16{3, 1, 2, 1, 3}}
	if got := r.Ack(now.Add(time.Millisecond)); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	r.Add(6, now)
	r.Add(3, now)
	if got := r.Ack(now); !reflect.DeepEqual(got.Runs, []uint16{10}) {
		t.Errorf("%+v", got)
	}
	for n := uint32(1000); n < 2000; n += 2 {
		r.Add(n, now)
	}
	if got := r.Ack(now); len(got.Runs) != MaxRuns || got.Largest != 1998 {
		t.Errorf("%+v", got)
	}
}

// Whatever comes, however late, is told at once.
func TestLateReceipts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1e9, 0)
		var r Receipts
		depth := rapid.IntRange(1, keptRuns).Draw(t, "depth")
		var way []uint32
		for n := range uint32(2 * depth) {
			way = append(way, n)
		}
		for len(way) > 0 {
			i := rapid.IntRange(0, min(depth, len(way))-1).Draw(t, "which")
			number := way[i]
			way = append(way[:i], way[i+1:]...)
			r.Add(number, now)
			a := r.Ack(now)
			told := false
			a.runs(0, func(from, to uint32) {
				told = told || number >= from && number <= to
				for n := from; n <= to; n++ {
					if slices.Contains(way, n) {
						t.Fatalf("%d is told in %+v and did not come", n, a)
					}
				}
			})
			if !told {
				t.Fatalf("%d is not told in %+v", number, a)
			}
		}
	})
}

// A packet that comes after it was given up shows how much later others may come.
func TestLatePackets(t *testing.T) {
	const ms = time.Millisecond
	now := time.Unix(1e9, 0)
	var f Flight[int]
	for i := range 20 {
		f.Send(i, 100, now.Add(time.Duration(i)*5*ms))
	}
	at := func(d time.Duration) time.Time { return now.Add(100*ms + d) }
	var lost []int
	note := func(p Packet[int]) { lost = append(lost, p.Item) }
	acked := func(Packet[int]) {}
	f.Acknowledge(&Ack{Largest: 1, Runs: []uint16{1}}, at(5*ms), acked)
	f.Acknowledge(&Ack{Largest: 10, Runs: []uint16{10}}, at(50*ms), acked)
	if f.Lost(at(50*ms), note); !reflect.DeepEqual(lost, []int{0}) {
		t.Fatalf("%v are lost, want the first", lost)
	}
	f.Acknowledge(&Ack{Largest: 0, Runs: []uint16{1}}, at(51*ms), acked) // 50 ms late
	f.Acknowledge(&Ack{Largest: 19, Runs: []uint16{8}}, at(95*ms), acked)
	if f.Lost(at(95*ms), note); len(lost) != 1 {
		t.Errorf("%v are lost, although as late ones have come", lost)
	}
	// That is forgotten in the end.
	f.tardy(f.newest, at(2*lateMemory))
	f.tardy(f.newest, at(4*lateMemory))
	if f.Lost(at(4*lateMemory), note); len(lost) < 2 || lost[1] != 11 {
		t.Errorf("%v are lost", lost)
	}
}

// When nothing comes any more, all is lost soon, and not one after the other.
func TestSilence(t *testing.T) {
	now := time.Unix(1e9, 0)
	var f Flight[int]
	for i := range 100 {
		f.Send(i, 100, now)
	}
	lost := 0
	for next := now; !next.IsZero(); next = f.Lost(next, func(Packet[int]) { lost++ }) {
		if next.After(now.Add(5 * time.Second)) {
			t.Fatalf("%d are lost after %v", lost, next.Sub(now))
		}
	}
	if lost != 100 || f.Bytes() != 0 {
		t.Errorf("%d are lost, %d bytes under way", lost, f.Bytes())
	}
}
