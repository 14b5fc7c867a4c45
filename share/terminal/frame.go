package terminal

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"

	"tandem/session"
	shared "tandem/share"
)

// Limits of the protocol, in bytes unless they say otherwise.
const (
	// MaxBody is the longest body of a frame.
	MaxBody = shared.MaxFrame
	// MaxSize is the largest width and height of a terminal, in cells.
	MaxSize = 1000
	// Window is how much output may be under way to one viewer.
	Window = 256 << 10
	// InputWindow is how much input may be under way from one viewer.
	InputWindow = 256 << 10

	// maxOffset keeps sums of offsets and lengths far from overflow.
	maxOffset = 1 << 62
)

// The frame types.
const (
	typeWelcome  byte = 0x01
	typeOutput   byte = 0x02
	typeGap      byte = 0x03
	typeSize     byte = 0x04
	typeRoster   byte = 0x05
	typeTaken    byte = 0x06
	typeExit     byte = 0x07
	typeSnapshot byte = 0x08
	typeHistory  byte = 0x09
	typeInfo     byte = 0x0c
	typePing     byte = 0x0d
	typeTyping   byte = 0x0e
	typeInput    byte = 0x41
	typeResize   byte = 0x42
	typeAck      byte = 0x43
	typeEnd      byte = 0x44
	typePage     byte = 0x45
	typeAsk      byte = 0x49
	typePong     byte = 0x4a
	typeRedraw   byte = 0x4b
)

// Right is what a viewer may do; it is the action of the request.
type Right string

// The rights.
const (
	View    Right = "view"    // watch
	Control Right = "control" // watch, type and resize
)

// Size is a terminal's size in cells. The zero Size means none.
type Size struct {
	Cols uint16 `json:"cols"`
	Rows uint16 `json:"rows"`
}

// IsZero reports whether s is no size at all.
func (s Size) IsZero() bool { return s == Size{} }

func (s Size) valid() bool {
	return s.Cols >= 1 && s.Rows >= 1 && s.Cols <= MaxSize && s.Rows <= MaxSize
}

// clamp brings what an operating system says into the protocol's range; a
// dimension of 0 means that there is no size.
func clamp(cols, rows int) Size {
	if cols <= 0 || rows <= 0 {
		return Size{}
	}
	return Size{Cols: uint16(min(cols, MaxSize)), Rows: uint16(min(rows, MaxSize))}
}

// Event is what the host tells a viewer: Welcome, Output, Gap, Snapshot,
// History, Size, Roster, Typing, Taken or Exit.
type Event interface{ event() }

// Welcome is the first event of every attachment.
type Welcome struct {
	Terminal string `json:"terminal"`
	Name     string `json:"name"`
	Right    Right  `json:"right"`
	Viewer   uint64 `json:"viewer"`
	Offset   uint64 `json:"offset"`
	Live     uint64 `json:"live"`
	Made     bool   `json:"made,omitempty"`
	// Locale is the program's, if it is not a UTF-8 one.
	Locale string `json:"locale,omitempty"`
	Size
}

// Output is a run of the terminal's output. Data is valid until the next call
// of Client.Next.
type Output struct {
	Offset uint64
	Data   []byte
}

// Taken says how much input the program's terminal has taken from this viewer in
// all, in bytes; the package comment says when.
type Taken uint64

// Gap says that the output in [From, To) will not come.
type Gap struct{ From, To uint64 }

// Exit is how the terminal's program ended.
type Exit struct {
	Code   int    `json:"code"`
	Signal string `json:"signal,omitempty"`
	Reason string `json:"reason,omitempty"`
}

func (Welcome) event() {}
func (Output) event()  {}
func (Gap) event()     {}
func (Size) event()    {}
func (Roster) event()  {}
func (Typing) event()  {}
func (Taken) event()   {}
func (Exit) event()    {}

// The frames that are not events.
type (
	input  []byte
	resize Size
	ack    uint64
	end    struct{}
	ask    struct{}
	ping   uint64
	pong   uint64
	redraw struct{}
)

// message is anything that travels as a frame.
type message interface {
	frameType() byte
	appendBody([]byte) []byte
}

func (Welcome) frameType() byte { return typeWelcome }
func (Output) frameType() byte  { return typeOutput }
func (Gap) frameType() byte     { return typeGap }
func (Size) frameType() byte    { return typeSize }
func (Roster) frameType() byte  { return typeRoster }
func (Taken) frameType() byte   { return typeTaken }
func (Exit) frameType() byte    { return typeExit }
func (input) frameType() byte   { return typeInput }
func (resize) frameType() byte  { return typeResize }
func (ack) frameType() byte     { return typeAck }
func (end) frameType() byte     { return typeEnd }
func (Info) frameType() byte    { return typeInfo }
func (ping) frameType() byte    { return typePing }
func (Typing) frameType() byte  { return typeTyping }
func (ask) frameType() byte     { return typeAsk }
func (pong) frameType() byte    { return typePong }
func (redraw) frameType() byte  { return typeRedraw }

func (m Welcome) appendBody(b []byte) []byte { return appendJSON(b, m) }
func (m Roster) appendBody(b []byte) []byte  { return appendJSON(b, m) }
func (m Exit) appendBody(b []byte) []byte    { return appendJSON(b, m) }
func (m Output) appendBody(b []byte) []byte {
	return append(binary.BigEndian.AppendUint64(b, m.Offset), m.Data...)
}

func (m Gap) appendBody(b []byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, m.From), m.To)
}

func (s Size) appendBody(b []byte) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, s.Cols), s.Rows)
}
func (m resize) appendBody(b []byte) []byte { return Size(m).appendBody(b) }
func (m Taken) appendBody(b []byte) []byte  { return binary.BigEndian.AppendUint64(b, uint64(m)) }
func (m ack) appendBody(b []byte) []byte    { return binary.BigEndian.AppendUint64(b, uint64(m)) }
func (m input) appendBody(b []byte) []byte  { return append(b, m...) }
func (m end) appendBody(b []byte) []byte    { return b }
func (m ask) appendBody(b []byte) []byte    { return b }
func (m redraw) appendBody(b []byte) []byte { return b }
func (m ping) appendBody(b []byte) []byte   { return binary.BigEndian.AppendUint64(b, uint64(m)) }
func (m pong) appendBody(b []byte) []byte   { return binary.BigEndian.AppendUint64(b, uint64(m)) }
func (m Typing) appendBody(b []byte) []byte { return binary.BigEndian.AppendUint64(b, uint64(m)) }
func (m Info) appendBody(b []byte) []byte   { return appendJSON(b, m) }

// appendJSON cannot fail: the messages hold nothing that JSON has no form for.
func appendJSON(b []byte, v any) []byte {
	text, _ := json.Marshal(v)
	return append(b, text...)
}

// appendFrame appends m as one frame.
func appendFrame(b []byte, m message) []byte {
	return shared.AppendFrame(b, m.frameType(), m.appendBody)
}

var errBody = errors.New("malformed frame")

// decode reads the body of a frame. It returns nil for a type it doesn't know.
// The message may share memory with body.
func decode(kind byte, body []byte) (message, error) {
	switch kind {
	case typeWelcome:
		var m Welcome
		if err := decodeJSON(body, &m); err != nil {
			return nil, err
		}
		id, err := hex.DecodeString(m.Terminal)
		if err != nil || len(id) != 16 || m.Right != View && m.Right != Control ||
			m.Offset > maxOffset || m.Live > maxOffset || !m.valid() {
			return nil, errBody
		}
		m.Name, m.Locale = session.PrintableName(m.Name), session.PrintableName(m.Locale)
		return m, nil
	case typeOutput:
		if len(body) <= 8 {
			return nil, errBody
		}
		m := Output{Offset: binary.BigEndian.Uint64(body), Data: body[8:]}
		if m.Offset > maxOffset {
			return nil, errBody
		}
		return m, nil
	case typeGap:
		if len(body) != 16 {
			return nil, errBody
		}
		m := Gap{From: binary.BigEndian.Uint64(body), To: binary.BigEndian.Uint64(body[8:])}
		if m.From >= m.To || m.To > maxOffset {
			return nil, errBody
		}
		return m, nil
	case typeSize, typeResize:
		if len(body) != 4 {
			return nil, errBody
		}
		m := Size{Cols: binary.BigEndian.Uint16(body), Rows: binary.BigEndian.Uint16(body[2:])}
		if !m.valid() {
			return nil, errBody
		}
		if kind == typeResize {
			return resize(m), nil
		}
		return m, nil
	case typeRoster:
		var m Roster
		if err := decodeJSON(body, &m); err != nil {
			return nil, err
		}
		if !checkViewers(m.Viewers) {
			return nil, errBody
		}
		return m, nil
	case typeSnapshot:
		return decodeSnapshot(body)
	case typeHistory:
		return decodeHistory(body)
	case typePage:
		return decodePage(body)
	case typeInfo:
		return decodeInfo(body)
	case typeExit:
		var m Exit
		if err := decodeJSON(body, &m); err != nil {
			return nil, err
		}
		if m.Code < 0 || m.Code > 255 {
			return nil, errBody
		}
		m.Signal, m.Reason = session.PrintableName(m.Signal), session.Printable(m.Reason)
		return m, nil
	case typeTaken, typeAck, typePing, typePong, typeTyping:
		if len(body) != 8 {
			return nil, errBody
		}
		n := binary.BigEndian.Uint64(body)
		if n > maxOffset {
			return nil, errBody
		}
		switch kind {
		case typeAck:
			return ack(n), nil
		case typePing:
			return ping(n), nil
		case typePong:
			return pong(n), nil
		case typeTyping:
			return Typing(n), nil
		}
		return Taken(n), nil
	case typeInput:
		if len(body) == 0 {
			return nil, errBody
		}
		return input(body), nil
	case typeEnd, typeAsk, typeRedraw:
		if len(body) != 0 {
			return nil, errBody
		}
		switch kind {
		case typeAsk:
			return ask{}, nil
		case typeRedraw:
			return redraw{}, nil
		}
		return end{}, nil
	}
	return nil, nil
}

func decodeJSON(body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return errBody
	}
	return nil
}

type frameReader = shared.FrameReader[message]

func newFrameReader(r io.Reader) *frameReader { return shared.NewFrameReader("terminal", r, decode) }
