package share

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"

	"tandem/session"
)

// MaxFrame is the longest body of a frame, in bytes.
const MaxFrame = 64 << 10

// frameHeader is a type byte and the length of the body, a big-endian uint32.
const frameHeader = 5

// AppendFrame appends a frame to b: its type, the length of its body, and the
// body, which appendBody appends.
func AppendFrame(b []byte, kind byte, appendBody func([]byte) []byte) []byte {
	start := len(b)
	b = appendBody(append(b, kind, 0, 0, 0, 0))
	binary.BigEndian.PutUint32(b[start+1:], uint32(len(b)-start-frameHeader))
	return b
}

// FrameReader reads frames as AppendFrame makes them. M is an interface that
// all messages of a service implement.
type FrameReader[M comparable] struct {
	service string
	decode  func(kind byte, body []byte) (M, error)
	r       *bufio.Reader
	buf     []byte
}

// NewFrameReader reads the frames of a service, which errors name. Decode
// reads a body, and returns nil for a type that it doesn't know; the message may
// share memory with the body.
func NewFrameReader[M comparable](service string, r io.Reader, decode func(kind byte, body []byte) (M, error)) *FrameReader[M] {
	return &FrameReader[M]{service: service, decode: decode, r: bufio.NewReaderSize(r, 32<<10)}
}

// Next reads the next frame of a known type. The message is valid until the
// following call. It fails with io.EOF between frames only, with TooLarge for a
// body of more than MaxFrame bytes, and with Invalid for one that can't be
// decoded.
func (f *FrameReader[M]) Next() (M, error) {
	var none M
	for {
		var header [frameHeader]byte
		if _, err := io.ReadFull(f.r, header[:]); err != nil {
			return none, err
		}
		n := binary.BigEndian.Uint32(header[1:])
		if n > MaxFrame {
			return none, session.Errorf(f.service, session.TooLarge, "a frame of %d bytes", n)
		}
		if int(n) > cap(f.buf) {
			f.buf = make([]byte, n)
		}
		body := f.buf[:n]
		if _, err := io.ReadFull(f.r, body); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return none, err
		}
		m, err := f.decode(header[0], body)
		if err != nil {
			return none, session.Errorf(f.service, session.Invalid, "frame %#02x: %w", header[0], err)
		}
		if m != none {
			return m, nil
		}
	}
}
