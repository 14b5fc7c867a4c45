package command

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math"

	"tandem/session"
	"tandem/share"
)

// Limits of the protocol, in bytes.
const (
	// MaxBody is the longest body of a frame.
	MaxBody = share.MaxFrame
	// InputWindow is how much input may be under way to a program.
	InputWindow = 1 << 20
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
type message interface {
	frameType() byte
	appendBody([]byte) []byte
}

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

func (m stdout) appendBody(b []byte) []byte     { return append(b, m...) }
func (m stderr) appendBody(b []byte) []byte     { return append(b, m...) }
func (m taken) appendBody(b []byte) []byte      { return binary.BigEndian.AppendUint64(b, uint64(m)) }
func (m stdin) appendBody(b []byte) []byte      { return append(b, m...) }
func (end) appendBody(b []byte) []byte          { return b }
func (m signalName) appendBody(b []byte) []byte { return append(b, m...) }
func (m Exit) appendBody(b []byte) []byte {
	text, _ := json.Marshal(m) // it holds nothing that JSON has no form for
	return append(b, text...)
}

// appendFrame appends m as one frame.
func appendFrame(b []byte, m message) []byte {
	return share.AppendFrame(b, m.frameType(), m.appendBody)
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

type frameReader = share.FrameReader[message]

func newFrameReader(r io.Reader) *frameReader { return share.NewFrameReader("command", r, decode) }
