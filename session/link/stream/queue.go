package stream

import "sync"

// buffer is room for one frame: a type byte and bytes from start to end.
type buffer struct {
	mem        [MaxFrame]byte
	start, end int
}

// buffers keeps frame buffers between uses.
var buffers = sync.Pool{New: func() any { return new(buffer) }}

func newBuffer() *buffer {
	b := buffers.Get().(*buffer)
	b.start, b.end = 1, 1
	return b
}

func (b *buffer) free() { buffers.Put(b) }

// queue is bytes in frame-sized buffers. Two neighbours are never both less
// than half full, so the memory is at most about twice the size.
type queue struct {
	bufs []*buffer
	size int
}

// write copies p to the end, filling the last buffer first.
func (q *queue) write(p []byte) {
	q.size += len(p)
	for len(p) > 0 {
		last := len(q.bufs) - 1
		if last < 0 || q.bufs[last].end == MaxFrame {
			q.bufs = append(q.bufs, newBuffer())
			last++
		}
		b := q.bufs[last]
		n := copy(b.mem[b.end:], p)
		b.end += n
		p = p[n:]
	}
}

// add puts b itself at the end when it is at least half full, and otherwise a
// copy of its bytes. It reports whether it kept b.
func (q *queue) add(b *buffer) bool {
	if b.end-b.start < MaxPayload/2 {
		q.write(b.mem[b.start:b.end])
		return false
	}
	q.size += b.end - b.start
	q.bufs = append(q.bufs, b)
	return true
}

// read moves bytes from the front into p.
func (q *queue) read(p []byte) int {
	n := 0
	for n < len(p) && len(q.bufs) > 0 {
		b := q.bufs[0]
		m := copy(p[n:], b.mem[b.start:b.end])
		b.start += m
		n += m
		if b.start == b.end {
			q.drop()
			b.free()
		}
	}
	q.size -= n
	return n
}

// pop takes the first buffer, or nil.
func (q *queue) pop() *buffer {
	if len(q.bufs) == 0 {
		return nil
	}
	b := q.bufs[0]
	q.drop()
	q.size -= b.end - b.start
	return b
}

// take removes at most n bytes from the front, and at most those of the first
// buffer. There must be some.
func (q *queue) take(n int) *buffer {
	first := q.bufs[0]
	if first.end-first.start <= n {
		return q.pop()
	}
	part := newBuffer()
	part.end += copy(part.mem[part.start:], first.mem[first.start:first.start+n])
	first.start += n
	q.size -= n
	return part
}

// drop forgets the first buffer.
func (q *queue) drop() {
	q.bufs[0] = nil
	if q.bufs = q.bufs[1:]; len(q.bufs) == 0 {
		q.bufs = nil
	}
}

func (q *queue) clear() {
	for b := q.pop(); b != nil; b = q.pop() {
		b.free()
	}
}
