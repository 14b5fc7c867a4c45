package command

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math"

	"tandem/session"
)

// Limits of the protocol, in bytes.
const (
	// MaxBody is the longest body of a frame.
	MaxBody = 64 << 10
	// InputWindow is how much input may be under way to a program.
	InputWindow = 1 << 20

	frameHeader = 5
	maxTotal    = math.MaxInt64
)

// The frame types.
const (
	typeStdout byte = 0x01
	typeStderr byte = 0x02
	typeTaken  byte = 0x03
	typeExit   byte = 0x04
	typeStdin  byte = 0x41
	typeEnd    byte = 0x42
	typeSignal byte = 0x43
)

// Exit is how a program ended.
type Exit struct {
	// Code is 0 to 255; 128+n for death by signal n.
	Code int `json:"code"`
	// Signal is the name of the signal it died by, such as "SIGTERM".
	Signal string `json:"signal,omitempty"`
	// Reason is a sentence, if the host ended it.
	Reason string `json:"reason,omitempty"`
}

// message is the body of a frame.
type message interface{ frameType() byte }

type (
	stdout     []byte
	stderr     []byte
	taken      uint64
	stdin      []byte
	end        struct{}
	signalName string
)

func (stdout) frameType() byte     { return typeStdout }
func (stderr) frameType() byte     { return typeStderr }
func (taken) frameType() byte      { return typeTaken }
func (Exit) frameType() byte       { return typeExit }
func (stdin) frameType() byte      { return typeStdin }
func (end) frameType() byte        { return typeEnd }
func (signalName) frameType() byte { return typeSignal }

// appendFrame appends m as one frame.
func appendFrame(b []byte, m message) []byte {
	start := len(b)
	b = append(b, m.frameType(), 0, 0, 0, 0)
	switch m := m.(type) {
	case stdout:
		b = append(b, m...)
	case stderr:
		b = append(b, m...)
	case stdin:
		b = append(b, m...)
	case taken:
		b = binary.BigEndian.AppendUint64(b, uint64(m))
	case signalName:
		b = append(b, m...)
	case Exit:
		text, _ := json.Marshal(m) // it holds nothing that JSON has no form for
		b = append(b, text...)
	}
	binary.BigEndian.PutUint32(b[start+1:], uint32(len(b)-start-frameHeader))
	return b
}

var errBody = errors.New("malformed frame")

// decode reads the body of a frame. It returns nil for a type it doesn't know.
// The message may share memory with body.
func decode(kind byte, body []byte) (message, error) {
	switch kind {
	case typeStdout, typeStderr, typeStdin:
		switch {
		case len(body) == 0:
			return nil, errBody
		case kind == typeStdout:
			return stdout(body), nil
		case kind == typeStderr:
			return stderr(body), nil
		}
		return stdin(body), nil
	case typeTaken:
		if len(body) != 8 || binary.BigEndian.Uint64(body) > maxTotal {
			return nil, errBody
		}
		return taken(binary.BigEndian.Uint64(body)), nil
	case typeExit:
		var e Exit
		if json.Unmarshal(body, &e) != nil || e.Code < 0 || e.Code > 255 {
			return nil, errBody
		}
		e.Signal, e.Reason = session.PrintableName(e.Signal), session.Printable(e.Reason)
		return e, nil
	case typeEnd:
		if len(body) != 0 {
			return nil, errBody
		}
		return end{}, nil
	case typeSignal:
		switch name := string(body); name {
		case "ABRT", "ALRM", "CONT", "HUP", "INT", "KILL", "QUIT", "STOP", "TERM", "USR1", "USR2":
			return signalName(name), nil
		}
		return nil, errBody
	}
	return nil, nil
}

// frameReader reads frames into one buffer.
type frameReader struct {
	r   *bufio.Reader
	buf []byte
}

func newFrameReader(r io.Reader) *frameReader {
	return &frameReader{r: bufio.NewReaderSize(r, 32<<10)}
}

// next reads the next frame of a known type. The message is valid until the
// following call. It fails with io.EOF between frames only.
func (f *frameReader) next() (message, error) {
	for {
		var header [frameHeader]byte
		if _, err := io.ReadFull(f.r, header[:]); err != nil {
			return nil, err
		}
		n := binary.BigEndian.Uint32(header[1:])
		if n > MaxBody {
			return nil, session.Errorf("command", session.TooLarge, "a frame of %d bytes", n)
		}
		if int(n) > cap(f.buf) {
			f.buf = make([]byte, n)
		}
		body := f.buf[:n]
		if _, err := io.ReadFull(f.r, body); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		m, err := decode(header[0], body)
		if err != nil {
			return nil, session.Errorf("command", session.Invalid, "frame %#02x: %w", header[0], err)
		}
		if m != nil {
			return m, nil
		}
	}
}
