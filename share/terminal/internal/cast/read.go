package cast

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"tandem/session"
)

// Limits of what is read.
const (
	maxLine = 1 << 20
	// maxOld bounds a recording of version 1, which is one piece of JSON.
	maxOld  = 16 << 20
	maxTime = 10 * 365 * 24 * time.Hour
	maxSide = 10_000 // cells
	maxEnv  = 64     // variables
	maxText = 1 << 10
)

// Reader reads the events of a recording, one after the other.
type Reader struct {
	// Header is what the recording began with, made fit to be shown.
	Header Header
	// Torn is set after io.EOF if the last line was left out.
	Torn bool

	lines  *bufio.Reader
	number int // of the line
	last   time.Duration
	bytes  []byte   // what the next event stands for, if it says so
	queue  []*Event // of version 1
}

// NewReader reads the header. The error's kind is Unsupported for what is no
// recording or of a version not known.
func NewReader(r io.Reader) (*Reader, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	if magic, _ := buffered.Peek(4); bytes.HasPrefix(magic, []byte{0x1f, 0x8b}) {
		unzipped, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, session.Errorf("read recording", session.Invalid, "the compressed recording is damaged: %w", err)
		}
		buffered = bufio.NewReaderSize(unzipped, 64<<10)
	} else if bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
		return nil, &session.Error{
			Op: "read recording", Kind: session.Unsupported, Text: "the recording is compressed by zstd",
			Hint: "zstdcat FILE | tandem replay -",
		}
	}
	reader := &Reader{lines: buffered}
	first, err := reader.line()
	if err != nil && (!errors.Is(err, io.EOF) || len(first) == 0) {
		if errors.Is(err, io.EOF) {
			err = errNone()
		}
		return nil, err
	}
	if err := reader.begin(first); err != nil {
		return nil, err
	}
	return reader, nil
}

func errNone() error {
	return &session.Error{
		Op: "read recording", Kind: session.Unsupported, Text: "this is no recording of a terminal",
		Hint: "tandem replay plays asciicast files, as tandem share --record and asciinema rec make them.",
	}
}

// anyHeader has the fields of all versions.
type anyHeader struct {
	Version   int            `json:"version"`
	Width     int            `json:"width"`
	Height    int            `json:"height"`
	Timestamp float64        `json:"timestamp"`
	Title     string         `json:"title"`
	Env       map[string]any `json:"env"`
	IdleLimit float64        `json:"idle_time_limit"`
	Term      struct {       // version 3
		Cols int    `json:"cols"`
		Rows int    `json:"rows"`
		Type string `json:"type"`
	} `json:"term"`
	Stdout []json.RawMessage `json:"stdout"` // version 1
}

func (r *Reader) begin(first []byte) error {
	var h anyHeader
	err := json.Unmarshal(first, &h)
	if err != nil && bytes.HasPrefix(bytes.TrimSpace(first), []byte("{")) {
		// Version 1 may be spread over several lines.
		var rest []byte
		if rest, err = io.ReadAll(io.LimitReader(r.lines, maxOld+1)); err != nil {
			return readError(err)
		}
		if len(rest) > maxOld {
			return session.Errorf("read recording", session.TooLarge, "a recording of version 1 of more than %d MiB", maxOld>>20)
		}
		h = anyHeader{}
		err = json.Unmarshal(append(first, rest...), &h)
		if err == nil && h.Version != 1 {
			return errNone()
		}
	}
	switch {
	case err != nil, h.Version == 0:
		return errNone()
	case h.Version < 1 || h.Version > 3:
		return &session.Error{
			Op: "read recording", Kind: session.Unsupported,
			Text: fmt.Sprintf("the recording is of version %d, and only 1, 2 and 3 are known here", h.Version),
			Hint: "asciinema convert can make version 2 of it.",
		}
	case h.Version == 3:
		h.Width, h.Height = h.Term.Cols, h.Term.Rows
	}
	r.Header = Header{
		Version: h.Version, Title: printable(h.Title),
		Cols: min(max(h.Width, 0), maxSide), Rows: min(max(h.Height, 0), maxSide),
		IdleLimit: seconds(h.IdleLimit),
	}
	if h.Timestamp > 0 && h.Timestamp < 1<<40 {
		r.Header.Began = time.Unix(int64(h.Timestamp), 0)
	}
	env := map[string]string{}
	for name, value := range h.Env {
		if s, ok := value.(string); ok && len(env) < maxEnv {
			env[printable(name)] = printable(s)
		}
	}
	if h.Term.Type != "" {
		env["TERM"] = printable(h.Term.Type)
	}
	r.Header.Env = env
	if h.Version == 1 {
		return r.old(h.Stdout)
	}
	return nil
}

// old makes events of the frames of version 1: [seconds since the last, output].
func (r *Reader) old(frames []json.RawMessage) error {
	for i, raw := range frames {
		var pair []json.RawMessage
		var delay float64
		var text string
		if json.Unmarshal(raw, &pair) != nil || len(pair) < 2 ||
			json.Unmarshal(pair[0], &delay) != nil || json.Unmarshal(pair[1], &text) != nil {
			return session.Errorf("read recording", session.Invalid, "frame %d of the recording makes no sense", i+1)
		}
		r.last = min(r.last+seconds(delay), maxTime)
		r.queue = append(r.queue, &Event{At: r.last, Kind: Output, Data: []byte(text)})
	}
	return nil
}

// Next returns the next event, and io.EOF after the last.
func (r *Reader) Next() (Event, error) {
	if r.Header.Version == 1 {
		if len(r.queue) == 0 {
			return Event{}, io.EOF
		}
		ev := r.queue[0]
		r.queue = r.queue[1:]
		return *ev, nil
	}
	for {
		line, err := r.line()
		last := errors.Is(err, io.EOF)
		if err != nil && !last {
			return Event{}, err
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' { // version 3 has comments
			if last {
				return Event{}, io.EOF
			}
			continue
		}
		ev, known, err := r.event(line)
		switch {
		case err != nil && last:
			r.Torn = true
			return Event{}, io.EOF
		case err != nil:
			return Event{}, session.Errorf("read recording", session.Invalid, "line %d of the recording makes no sense", r.number)
		case known:
			return ev, nil
		case last:
			return Event{}, io.EOF
		}
	}
}

var errEvent = errors.New("not an event")

// event reads one line. known is false if it holds nothing to be shown.
func (r *Reader) event(line []byte) (ev Event, known bool, err error) {
	var fields []json.RawMessage
	var at float64
	var code, data string
	if json.Unmarshal(line, &fields) != nil || len(fields) < 3 ||
		json.Unmarshal(fields[0], &at) != nil || json.Unmarshal(fields[1], &code) != nil {
		return ev, false, errEvent
	}
	if r.Header.Version == 3 {
		r.last = min(r.last+seconds(at), maxTime)
	} else {
		r.last = max(r.last, seconds(at))
	}
	said := r.bytes
	r.bytes = nil
	if json.Unmarshal(fields[2], &data) != nil {
		return ev, false, nil // of a kind whose data is no string
	}
	ev = Event{At: r.last, Data: []byte(data)}
	switch code {
	case bytesCode:
		if r.bytes, err = base64.StdEncoding.DecodeString(data); err != nil {
			r.bytes = nil
		}
		return ev, false, nil
	case string(Output), string(Input):
		ev.Kind = Kind(code[0])
		if said != nil && visible(said) == data {
			ev.Data = said
		}
	case string(Marker):
		ev.Kind, ev.Data = Marker, []byte(printable(data))
	case string(Resize):
		cols, rows, ok := strings.Cut(data, "x")
		var errs [2]error
		ev.Cols, errs[0] = strconv.Atoi(cols)
		ev.Rows, errs[1] = strconv.Atoi(rows)
		if !ok || errors.Join(errs[:]...) != nil || ev.Cols < 1 || ev.Rows < 1 || ev.Cols > maxSide || ev.Rows > maxSide {
			return ev, false, nil
		}
		ev.Kind, ev.Data = Resize, nil
	default:
		return ev, false, nil
	}
	return ev, true, nil
}

// line reads a line of bounded length. With io.EOF it is one without line feed.
func (r *Reader) line() ([]byte, error) {
	r.number++
	var line []byte
	for {
		part, err := r.lines.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxLine:
			return nil, session.Errorf("read recording", session.TooLarge, "line %d of the recording has more than %d MiB", r.number, maxLine>>20)
		case errors.Is(err, bufio.ErrBufferFull):
		case err == nil, errors.Is(err, io.EOF):
			return line, err
		default:
			return nil, readError(err)
		}
	}
}

func readError(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, gzip.ErrChecksum) {
		return session.Errorf("read recording", session.Invalid, "the compressed recording is damaged: %w", err)
	}
	return &session.Error{Op: "read recording", Kind: session.FileKind(err), Err: err}
}

// seconds makes a time of a number from a recording.
func seconds(s float64) time.Duration {
	if s <= 0 || math.IsNaN(s) {
		return 0
	}
	if s >= maxTime.Seconds() {
		return maxTime
	}
	return time.Duration(math.Round(s*1e6)) * time.Microsecond
}

func printable(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return session.Printable(s)
}
