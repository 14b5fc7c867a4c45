package link

import (
	"encoding/binary"
	"sync"
)

// maxResets is how many of the peer's requests to reset streams may wait for
// data that is still on its way. RFC 6525, section 5.1.1, allows one; pion/sctp
// sends more, and answers every one that waits once for each chunk of data that
// arrives: a thousand requests and a gap of 33,000 chunks that is filled at once
// would make it hold gigabytes of answers.
const maxResets = 16

// resets looks at the packets between SCTP and DTLS, and holds back what would
// make too many requests wait. To the peer that is a lost packet, which it
// repeats when its data has arrived.
type resets struct {
	mu    sync.Mutex
	acked uint32            // the newest cumulative TSN we have acknowledged
	ahead map[uint32]uint32 // by sequence number: the TSN that a request waits for
}

// The parts of SCTP packets (RFC 9260, section 3) and of stream resets
// (RFC 6525, section 4) that are looked at.
const (
	sctpHeader    = 12
	chunkSACK     = 3
	chunkReconfig = 130
	paramReset    = 13
	paramResponse = 16
	// resultInProgress says that a request waits.
	resultInProgress = 6
)

// admits reports whether a packet of the peer's may go to SCTP, and counts the
// requests in it.
func (r *resets) admits(packet []byte) bool {
	ok := true
	eachUnit(packet, sctpHeader, func(kind uint16, chunk []byte) {
		if kind>>8 != chunkReconfig {
			return
		}
		eachUnit(chunk, 4, func(kind uint16, p []byte) {
			if kind == paramReset && len(p) >= 16 {
				ok = r.request(binary.BigEndian.Uint32(p[4:]), binary.BigEndian.Uint32(p[12:])) && ok
			}
		})
	})
	return ok
}

// request counts one, unless too many wait.
func (r *resets) request(sequence, tsn uint32) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, repeated := r.ahead[sequence]; repeated || int32(tsn-r.acked) <= 0 {
		return true
	}
	if len(r.ahead) >= maxResets {
		return false
	}
	if r.ahead == nil {
		r.ahead = make(map[uint32]uint32)
	}
	r.ahead[sequence] = tsn
	return true
}

// sends notes what a packet of ours says about the peer's requests.
func (r *resets) sends(packet []byte) {
	eachUnit(packet, sctpHeader, func(kind uint16, chunk []byte) {
		switch {
		case kind>>8 == chunkSACK && len(chunk) >= 8:
			r.acknowledge(binary.BigEndian.Uint32(chunk[4:]))
		case kind>>8 == chunkReconfig:
			eachUnit(chunk, 4, func(kind uint16, p []byte) {
				if kind == paramResponse && len(p) >= 12 && binary.BigEndian.Uint32(p[8:]) != resultInProgress {
					r.answered(binary.BigEndian.Uint32(p[4:]))
				}
			})
		}
	})
}

func (r *resets) acknowledge(tsn uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acked = tsn
	for sequence, awaited := range r.ahead {
		if int32(awaited-tsn) <= 0 {
			delete(r.ahead, sequence)
		}
	}
}

func (r *resets) answered(sequence uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.ahead, sequence)
}

// eachUnit calls visit for each chunk or parameter of b behind its header, with
// its first two bytes and all of it: both have a length in bytes 2 and 3 and are
// padded to four bytes.
func eachUnit(b []byte, header int, visit func(kind uint16, unit []byte)) {
	if len(b) < header {
		return
	}
	for b = b[header:]; len(b) >= 4; {
		size := int(binary.BigEndian.Uint16(b[2:]))
		if size < 4 || size > len(b) {
			return
		}
		visit(binary.BigEndian.Uint16(b), b[:size])
		b = b[min((size+3)&^3, len(b)):]
	}
}
