package server

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/gobwas/ws"

	"tandem/signaling"
)

// A frame error ends the connection with this close code.
type frameError struct {
	code ws.StatusCode
	kind string
	why  string
}

func (e *frameError) Error() string { return e.why }

// frames reads the client's half of a WebSocket. It holds no buffer between
// messages.
type frames struct {
	conn    net.Conn
	src     io.Reader     // conn, behind what the HTTP server had read ahead
	timeout time.Duration // for the rest of a message once it has begun
	owner   frameOwner
}

type frameOwner interface {
	// alive is called for each frame that begins.
	alive()
	// control sees pings, pongs and closes; false ends reading.
	control(f ws.Frame) bool
}

// next is the next text message. While it waits for one it has no deadline of
// its own; a deadline that was set on conn holds until the first frame arrives.
func (f *frames) next() ([]byte, error) {
	var text []byte
	state := ws.StateServerSide
	begun := false
	for {
		h, err := ws.ReadHeader(f.src)
		if errors.Is(err, ws.ErrHeaderLengthMSB) || errors.Is(err, ws.ErrHeaderLengthUnexpected) {
			err = &frameError{ws.StatusProtocolError, signaling.KindInvalid, "not a WebSocket frame: " + err.Error()}
		}
		if err != nil {
			return nil, err
		}
		f.owner.alive()
		if err := ws.CheckHeader(h, state); err != nil {
			return nil, &frameError{ws.StatusProtocolError, signaling.KindInvalid, "not a WebSocket frame: " + err.Error()}
		}
		if h.OpCode == ws.OpBinary {
			return nil, &frameError{ws.StatusUnsupportedData, signaling.KindInvalid, "binary messages are not part of the protocol"}
		}
		if h.Length > int64(signaling.MaxFrame-len(text)) {
			return nil, &frameError{ws.StatusMessageTooBig, signaling.KindTooLarge, "the message is too long"}
		}
		if !begun {
			begun = true
			if err := f.conn.SetReadDeadline(time.Now().Add(f.timeout)); err != nil {
				return nil, err
			}
		}
		payload, err := readGrowing(f.src, int(h.Length))
		if err != nil {
			return nil, err
		}
		ws.Cipher(payload, h.Mask, 0)
		if h.OpCode.IsControl() {
			if !f.owner.control(ws.Frame{Header: h, Payload: payload}) {
				return nil, io.EOF
			}
		} else {
			if text == nil {
				text = payload
			} else {
				text = append(text, payload...)
			}
			if h.Fin {
				return text, f.conn.SetReadDeadline(time.Time{})
			}
			state = state.Set(ws.StateFragmented)
		}
		if !state.Fragmented() {
			begun = false
			if err := f.conn.SetReadDeadline(time.Time{}); err != nil {
				return nil, err
			}
		}
	}
}

// readGrowing reads n bytes and allocates as they come, so that announcing a
// long message costs the announcer its length.
func readGrowing(r io.Reader, n int) ([]byte, error) {
	const step = 2 << 10
	buf := make([]byte, 0, min(n, step))
	for len(buf) < n {
		if len(buf) == cap(buf) {
			grown := make([]byte, len(buf), min(n, 4*cap(buf)))
			copy(grown, buf)
			buf = grown
		}
		m, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+m]
		if err != nil && len(buf) < n {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return buf, nil
}

func textFrame(data []byte) []byte { return ws.MustCompileFrame(ws.NewTextFrame(data)) }
