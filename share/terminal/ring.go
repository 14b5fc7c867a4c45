package terminal

import "bytes"

// ring keeps the newest bytes of a sequence. It is not safe for concurrent use.
type ring struct {
	buf []byte // grows up to max, then wraps
	max int
	end uint64 // how many bytes were ever written
}

// start is the offset of the oldest byte kept.
func (r *ring) start() uint64 { return r.end - uint64(len(r.buf)) }

func (r *ring) write(p []byte) {
	if len(p) > r.max {
		r.end += uint64(len(p) - r.max)
		p = p[len(p)-r.max:]
		r.buf = r.buf[:0] // what was there has been passed as well
		if cap(r.buf) < r.max {
			r.buf = make([]byte, 0, r.max)
		}
		r.buf = r.buf[:r.max]
		at := int(r.end % uint64(r.max))
		n := copy(r.buf[at:], p)
		copy(r.buf, p[n:])
		r.end += uint64(len(p))
		return
	}
	// Until the buffer is full, position in it and offset are the same.
	if room := r.max - len(r.buf); room > 0 {
		n := min(room, len(p))
		r.buf = append(r.buf, p[:n]...)
		r.end += uint64(n)
		p = p[n:]
	}
	for len(p) > 0 {
		n := copy(r.buf[r.end%uint64(r.max):], p)
		r.end += uint64(n)
		p = p[n:]
	}
}

// read copies bytes from offset on into p and returns how many. The offset
// must lie within [start, end].
func (r *ring) read(offset uint64, p []byte) int {
	p = p[:min(uint64(len(p)), r.end-offset)]
	at := int(offset % uint64(r.max))
	n := copy(p, r.buf[at:])
	n += copy(p[n:], r.buf)
	return n
}

// context is the offset from which a newcomer reads: at most n bytes before the
// end and behind a line feed, so that it does not begin within an escape
// sequence or a character. Without a line feed there it is the end, unless the
// sequence's very beginning is within reach.
func (r *ring) context(n int) uint64 {
	if r.end <= uint64(n) && r.start() == 0 {
		return 0
	}
	tail := make([]byte, min(n, len(r.buf)))
	from := r.end - uint64(len(tail))
	r.read(from, tail)
	if i := bytes.IndexByte(tail, '\n'); i >= 0 {
		return from + uint64(i) + 1
	}
	return r.end
}
