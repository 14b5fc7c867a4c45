package forward

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"

	"tandem/session"
)

// ServiceName is the service's name and version.
const ServiceName = "forward/1"

// The actions.
const (
	Connect = "connect"
	Listen  = "listen"
)

// MaxMessage is the largest message, in bytes of JSON.
const MaxMessage = 4096

// params are the parameters of a request.
type params struct {
	Address
	Probe    bool   `json:"probe,omitempty"`
	Replaces uint64 `json:"replaces,omitempty"`
	Listener uint64 `json:"listener,omitempty"`
	Conn     uint64 `json:"conn,omitempty"`
}

func header(action string, p params) (session.Header, error) {
	raw, err := json.Marshal(p)
	return session.Header{Service: ServiceName, Action: action, Params: raw}, err
}

// parseHeader reads a request. What can be wrong with it by itself is found
// here.
func parseHeader(h session.Header) (params, error) {
	var p params
	if len(h.Params) > MaxMessage || json.Unmarshal(h.Params, &p) != nil {
		return p, violation("the parameters can't be read")
	}
	switch {
	case h.Resource != "":
		return p, violation("a request names no resource")
	case h.Action == Connect && p.Probe && p.IsZero():
		return p, nil
	case h.Action == Connect:
		return p, p.check(false)
	case h.Action == Listen && p.Listener != 0:
		if p.Conn == 0 {
			return p, violation("no connection is named")
		}
		return p, nil
	case h.Action == Listen:
		return p, p.check(true)
	}
	return p, violation("no action %q", session.PrintableName(h.Action))
}

// status is the host's first message.
type status struct {
	Address
	Listener uint64     `json:"listener,omitempty"`
	Error    *wireError `json:"error,omitempty"`
}

// arrival announces a connection to a listener.
type arrival struct {
	Conn uint64 `json:"conn"`
	From string `json:"from,omitempty"`
}

type wireError struct {
	Kind   string `json:"kind"`
	Text   string `json:"text,omitempty"`
	Reason Reason `json:"reason,omitempty"`
}

// maxText leaves room in a message for a text in which every byte is escaped.
const maxText = MaxMessage/6 - 64

func toWire(err error) *wireError {
	kind, text := session.Public(err)
	return &wireError{Kind: string(kind), Text: text[:min(len(text), maxText)], Reason: ReasonOf(err)}
}

func (e *wireError) err(op string) error {
	err := session.FromWire(op, e.Kind, e.Text)
	err.Err = because(e.Reason)
	return err
}

func violation(format string, args ...any) error {
	return session.Errorf("forward", session.Invalid, "forward protocol: "+format, args...)
}

func writeMessage(w io.Writer, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(raw) > MaxMessage {
		return session.Errorf("forward", session.TooLarge, "message of %d bytes", len(raw))
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(raw))), raw...))
	return err
}

// readMessage reads one message into v. It returns io.EOF only between
// messages.
func readMessage(r io.Reader, v any) error {
	var prefix [4]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(prefix[:])
	if n == 0 || n > MaxMessage {
		return violation("message of %d bytes", n)
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(r, raw); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	if json.Unmarshal(raw, v) != nil {
		return violation("a message can't be read")
	}
	return nil
}

// readStatus reads what became of a request.
func readStatus(r io.Reader, action string) (status, error) {
	var st status
	err := readMessage(r, &st)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return status{}, &session.Error{Op: action, Kind: session.Unavailable, Text: "the peer ended the request without a word", Err: err}
	case err != nil:
		return status{}, err
	case st.Error != nil:
		return status{}, st.Error.err(action)
	case action == Listen && (st.Listener == 0 || st.check(true) != nil):
		return status{}, violation("a status without a listener")
	case action == Connect && !st.IsZero() && st.check(false) != nil:
		return status{}, violation("connected to nowhere")
	}
	return st, nil
}

// readArrival reads the announcement that follows the one of last.
func readArrival(r io.Reader, last uint64) (arrival, error) {
	var a arrival
	if err := readMessage(r, &a); err != nil {
		return a, err
	}
	if a.Conn <= last {
		return a, violation("connection %d after %d", a.Conn, last)
	}
	a.From = session.PrintableName(a.From)
	return a, nil
}

// Requested says what a request is about, for those who watch the host.
func Requested(h session.Header) string {
	p, err := parseHeader(h)
	if err != nil {
		return ""
	}
	return p.String()
}
