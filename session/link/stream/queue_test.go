package stream

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func TestQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		var want []byte
		defer q.clear()
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				p := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "p")
				p = bytes.Repeat(p, rapid.IntRange(1, 200).Draw(t, "times"))
				q.write(p)
				want = append(want, p...)
			},
			"add": func(t *rapid.T) {
				b := newBuffer()
				b.end += copy(b.mem[1:], bytes.Repeat([]byte("abc"), rapid.IntRange(1, MaxPayload/3).Draw(t, "n")))
				want = append(want, b.mem[b.start:b.end]...)
				if !q.add(b) {
					b.free()
				}
			},
			"read": func(t *rapid.T) {
				p := make([]byte, rapid.IntRange(0, 3*MaxPayload).Draw(t, "n"))
				n := q.read(p)
				if n != min(len(p), len(want)) || !bytes.Equal(p[:n], want[:n]) {
					t.Fatalf("read %d of %d", n, len(want))
				}
				want = want[n:]
			},
			"pop": func(t *rapid.T) {
				b := q.pop()
				if b == nil {
					return
				}
				got := b.mem[b.start:b.end]
				if !bytes.HasPrefix(want, got) {
					t.Fatal("popped other bytes")
				}
				want = want[len(got):]
				b.free()
			},
			"": func(t *rapid.T) {
				if q.size != len(want) || (q.size == 0) != (len(q.bufs) == 0) {
					t.Fatalf("%d bytes in %d buffers, want %d", q.size, len(q.bufs), len(want))
				}
				// The first buffer may have been read in part.
				if len(q.bufs)*MaxFrame > 2*q.size+3*MaxFrame {
					t.Fatalf("%d bytes take %d buffers", q.size, len(q.bufs))
				}
			},
		})
	})
}

// What is taken in pieces is what was written, whatever their sizes.
func TestQueueTake(t *testing.T) {
	var q queue
	var want, got []byte
	for i := range 3*MaxPayload + 100 {
		want = append(want, byte(i*7))
	}
	q.write(want)
	for n := 1; q.size > 0; n = n*3 + 1 {
		b := q.take(n)
		if size := b.end - b.start; size > n || size == 0 {
			t.Fatalf("%d bytes, not 1 to %d", size, n)
		}
		b.mem[b.start-1] = byte(typeData) // as a frame's type is put there
		got = append(got, b.mem[b.start:b.end]...)
		b.free()
		if q.size != len(want)-len(got) {
			t.Fatalf("%d bytes are left, not %d", q.size, len(want)-len(got))
		}
	}
	if string(got) != string(want) {
		t.Error("other bytes")
	}
}
