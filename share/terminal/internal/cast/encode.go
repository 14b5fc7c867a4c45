package cast

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// Header is what a recording begins with.
type Header struct {
	Version    int // 1, 2 or 3 when read; 2 is written
	Cols, Rows int
	Began      time.Time // zero if not known
	Title      string
	Env        map[string]string
	// IdleLimit is how long a pause its maker wants to last at most; 0: as it was.
	IdleLimit time.Duration
}

// Kind is what happened.
type Kind byte

// The kinds of event.
const (
	Output Kind = 'o'
	Input  Kind = 'i'
	Resize Kind = 'r'
	Marker Kind = 'm'
)

// Event is something that happened at some time after the beginning.
type Event struct {
	At         time.Duration
	Kind       Kind
	Data       []byte // of Output and Input; the text of a Marker
	Cols, Rows int    // of Resize
}

// bytesCode is the code of the event that says what the next one's bytes were.
const bytesCode = "bytes"

// header is Header as version 2 has it.
type header struct {
	Version   int               `json:"version"`
	Width     int               `json:"width"`
	Height    int               `json:"height"`
	Timestamp int64             `json:"timestamp,omitempty"`
	Title     string            `json:"title,omitempty"`
	Env       map[string]string `json:"env,omitempty"`
}

// appendHeader appends the first line.
func appendHeader(dst []byte, h Header) []byte {
	line, _ := json.Marshal(header{ // strings and numbers: this can't fail
		Version: 2, Width: h.Cols, Height: h.Rows, Timestamp: h.Began.Unix(), Title: h.Title, Env: h.Env,
	})
	return append(append(dst, line...), '\n')
}

// encoder makes lines of events. It holds back what has come of a character
// that isn't complete.
type encoder struct {
	held struct{ output, input []byte }
	last time.Duration
}

// append appends the lines of an event.
func (e *encoder) append(dst []byte, ev Event) []byte {
	e.last = max(e.last, ev.At)
	switch ev.Kind {
	case Output:
		return e.appendText(dst, ev, &e.held.output)
	case Input:
		return e.appendText(dst, ev, &e.held.input)
	case Resize:
		return e.appendLine(dst, string(Resize), fmt.Sprintf("%dx%d", ev.Cols, ev.Rows))
	}
	return e.appendLine(dst, string(ev.Kind), string(ev.Data))
}

// flush appends what is held back: nothing more will come.
func (e *encoder) flush(dst []byte) []byte {
	for kind, held := range map[Kind][]byte{Output: e.held.output, Input: e.held.input} {
		if len(held) > 0 {
			dst = e.appendBytes(dst, kind, held)
		}
	}
	e.held.output, e.held.input = nil, nil
	return dst
}

func (e *encoder) appendText(dst []byte, ev Event, held *[]byte) []byte {
	p := ev.Data
	if len(*held) > 0 {
		p = append(*held, p...)
	}
	whole := len(p) - unfinished(p)
	if whole > 0 {
		dst = e.appendBytes(dst, ev.Kind, p[:whole])
	}
	*held = bytes.Clone(p[whole:])
	return dst
}

func (e *encoder) appendBytes(dst []byte, kind Kind, p []byte) []byte {
	if utf8.Valid(p) {
		return e.appendLine(dst, string(kind), string(p))
	}
	dst = e.appendLine(dst, bytesCode, base64.StdEncoding.EncodeToString(p))
	return e.appendLine(dst, string(kind), visible(p))
}

// visible is p as a terminal shows it: with U+FFFD for each byte that belongs
// to no character.
func visible(p []byte) string { return string([]rune(string(p))) }

// unfinished is how many of the last bytes of p may be the beginning of a
// character.
func unfinished(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		tail := p[len(p)-n:]
		if utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

func (e *encoder) appendLine(dst []byte, code, data string) []byte {
	dst = append(dst, '[')
	dst = strconv.AppendFloat(dst, e.last.Seconds(), 'f', 6, 64)
	dst = append(dst, ", "...)
	dst = appendString(dst, code)
	dst = append(dst, ", "...)
	dst = appendString(dst, data)
	return append(dst, "]\n"...)
}

// appendString appends s as JSON, legible where it can be.
func appendString(dst []byte, s string) []byte {
	var quoted bytes.Buffer
	enc := json.NewEncoder(&quoted)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string and a buffer: this can't fail
	return append(dst, bytes.TrimSuffix(quoted.Bytes(), []byte("\n"))...)
}
