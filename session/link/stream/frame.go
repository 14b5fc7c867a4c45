package stream

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"tandem/session"
)

// Limits of the protocol; see the package comment.
const (
	// MaxPayload is the most DATA in one frame, in bytes.
	MaxPayload = 16 << 10
	// MaxFrame is the largest frame but for HEADER, in bytes.
	MaxFrame = 1 + MaxPayload
	// MaxMessage is the largest message a Channel must carry, in bytes: a
	// HEADER frame.
	MaxMessage = session.MaxHeader
	// InitialWindow is how much either side may send before it hears from the
	// other, in bytes.
	InitialWindow = 256 << 10

	maxLimit = 1 << 62
	maxKind  = 64
)

type frameType byte

const (
	typeHeader  frameType = 1
	typeData    frameType = 2
	typeWindow  frameType = 3
	typeBlocked frameType = 4
	typeEOF     frameType = 5
	typeStop    frameType = 6
	typeReset   frameType = 7
)

// frame is one decoded message. Data aliases the message.
type frame struct {
	kind  frameType
	data  []byte         // HEADER, DATA
	limit uint64         // WINDOW
	reset *session.Error // RESET
}

// violation is what a peer did that the protocol forbids.
func violation(format string, args ...any) error {
	return &session.Error{Op: "stream", Kind: session.Invalid, Text: "stream protocol: " + fmt.Sprintf(format, args...)}
}

// parse decodes one message.
func parse(msg []byte) (frame, error) {
	if len(msg) == 0 {
		return frame{}, violation("empty message")
	}
	f, body := frame{kind: frameType(msg[0])}, msg[1:]
	switch f.kind {
	case typeHeader:
		if len(body) == 0 || len(msg) > MaxMessage {
			return frame{}, violation("header of %d bytes", len(body))
		}
		f.data = body
	case typeData:
		if len(body) == 0 || len(body) > MaxPayload {
			return frame{}, violation("data frame of %d bytes", len(body))
		}
		f.data = body
	case typeWindow:
		if len(body) != 8 {
			return frame{}, violation("window frame of %d bytes", len(body))
		}
		if f.limit = binary.BigEndian.Uint64(body); f.limit > maxLimit {
			return frame{}, violation("window limit out of range")
		}
	case typeBlocked, typeEOF, typeStop:
		if len(body) != 0 {
			return frame{}, violation("frame of type %d with a body", f.kind)
		}
	case typeReset:
		if len(body) == 0 || int(body[0]) > maxKind || 1+int(body[0]) > len(body) {
			return frame{}, violation("malformed reset")
		}
		kind, text := body[1:1+body[0]], body[1+body[0]:]
		if len(text) > session.MaxErrorText {
			return frame{}, violation("reset text of %d bytes", len(text))
		}
		f.reset = session.FromWire("", string(kind), string(text))
	default:
		return frame{}, violation("unknown frame type %d", f.kind)
	}
	return f, nil
}

func headerFrame(h session.Header) ([]byte, error) {
	body, err := json.Marshal(h)
	if err != nil {
		return nil, &session.Error{Op: "open stream", Kind: session.Invalid, Text: "header", Err: err}
	}
	if 1+len(body) > MaxMessage {
		return nil, session.Errorf("open stream", session.TooLarge, "header of %d bytes, at most %d", len(body), MaxMessage-1)
	}
	return append([]byte{byte(typeHeader)}, body...), nil
}

func windowFrame(limit uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{byte(typeWindow)}, limit)
}

func resetFrame(reason error) []byte {
	kind, text := session.Canceled, ""
	if reason != nil {
		kind, text = session.Public(reason)
	}
	if !kind.Known() {
		kind = session.Internal
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	for len(text) > session.MaxErrorText {
		cut := session.MaxErrorText
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut]
	}
	msg := append([]byte{byte(typeReset), byte(len(kind))}, kind...)
	return append(msg, text...)
}
