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
