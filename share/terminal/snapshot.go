package terminal

import (
	"encoding/binary"

	"tandem/session"
)

const (
	// MaxSnapshot is the longest snapshot, in bytes.
	MaxSnapshot = 16 << 20
	// MaxHistory is how many lines of history a viewer may ask for at once.
	MaxHistory = 5000

	snapshotHeader = 8 + 4 + 4
	historyHeader  = 8 + 8 + 8
	lineHeader     = 1 + 2
	// maxLine is the longest line of history, in bytes.
	maxLine = 16 << 10
	// lineWrapped marks a line that goes on in the next one.
	lineWrapped = 1
)

// Snapshot is a piece of what brings a freshly reset terminal of its Size to
// where the terminal was before the output at Offset.
type Snapshot struct {
	Offset uint64
	Size
	// First is set for a snapshot's first piece; Left is how many bytes of it
	// are still to come after this one.
	First bool
	Left  uint32
	// Data is valid until the next call of Client.Next.
	Data []byte
}

// History is some lines that have left the main screen at its top, oldest
// first. Lines are numbered in the order in which they left.
type History struct {
	Start uint64 // the oldest line that the host still has
	First uint64 // the number of Lines[0]
	End   uint64 // the number that the next line to leave will get
	Lines []Line
}

// Line is one line of History.
type Line struct {
	// Text is drawn with attributes from the default ones on, and back to them.
	// It has come through no Filter.
	Text    []byte
	Wrapped bool // it goes on in the next line
}

// page is a viewer's wish for history.
type page struct {
	before uint64
	lines  uint16
}

func (Snapshot) event() {}
func (History) event()  {}

func (Snapshot) frameType() byte { return typeSnapshot }
func (History) frameType() byte  { return typeHistory }
func (page) frameType() byte     { return typePage }

func (m Snapshot) appendBody(b []byte) []byte {
	left := m.Left
	if m.First {
		left |= 1 << 31
	}
	b = m.Size.appendBody(binary.BigEndian.AppendUint64(b, m.Offset))
	return append(binary.BigEndian.AppendUint32(b, left), m.Data...)
}

func (m History) appendBody(b []byte) []byte {
	for _, n := range []uint64{m.Start, m.First, m.End} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	for _, l := range m.Lines {
		var flags byte
		if l.Wrapped {
			flags = lineWrapped
		}
		b = append(binary.BigEndian.AppendUint16(append(b, flags), uint16(len(l.Text))), l.Text...)
	}
	return b
}

func (m page) appendBody(b []byte) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(b, m.before), m.lines)
}

func decodeSnapshot(body []byte) (message, error) {
	if len(body) < snapshotHeader {
		return nil, errBody
	}
	left := binary.BigEndian.Uint32(body[12:])
	m := Snapshot{
		Offset: binary.BigEndian.Uint64(body),
		Size:   Size{Cols: binary.BigEndian.Uint16(body[8:]), Rows: binary.BigEndian.Uint16(body[10:])},
		First:  left>>31 != 0,
		Left:   left &^ (1 << 31),
		Data:   body[snapshotHeader:],
	}
	if m.Offset > maxOffset || !m.valid() || int(m.Left)+len(m.Data) > MaxSnapshot {
		return nil, errBody
	}
	return m, nil
}

func decodeHistory(body []byte) (message, error) {
	if len(body) < historyHeader {
		return nil, errBody
	}
	m := History{
		Start: binary.BigEndian.Uint64(body),
		First: binary.BigEndian.Uint64(body[8:]),
		End:   binary.BigEndian.Uint64(body[16:]),
	}
	for body = body[historyHeader:]; len(body) > 0; {
		if len(body) < lineHeader || body[0] > lineWrapped {
			return nil, errBody
		}
		n := int(binary.BigEndian.Uint16(body[1:]))
		if n > maxLine || n > len(body)-lineHeader {
			return nil, errBody
		}
		m.Lines = append(m.Lines, Line{Text: body[lineHeader : lineHeader+n], Wrapped: body[0] == lineWrapped})
		body = body[lineHeader+n:]
	}
	if m.End > maxOffset || m.First > m.End || m.Start > m.First || uint64(len(m.Lines)) > m.End-m.First {
		return nil, errBody
	}
	return m, nil
}

func decodePage(body []byte) (message, error) {
	if len(body) != 10 {
		return nil, errBody
	}
	m := page{before: binary.BigEndian.Uint64(body), lines: binary.BigEndian.Uint16(body[8:])}
	if m.lines < 1 || m.lines > MaxHistory {
		return nil, errBody
	}
	return m, nil
}

// snapshotFrames cuts a snapshot into frames.
func snapshotFrames(offset uint64, size Size, data []byte) [][]byte {
	var frames [][]byte
	for first := true; first || len(data) > 0; first = false {
		n := min(len(data), outputChunk)
		frames = append(frames, appendFrame(nil, Snapshot{
			Offset: offset, Size: size, First: first, Left: uint32(len(data) - n), Data: data[:n],
		}))
		data = data[n:]
	}
	return frames
}

// Page asks for the newest lines of history before the one of that number, at
// most MaxHistory. The answer is a History of as many of them as fit a frame;
// the next page lies before its First. A wish that comes before the last one
// was answered replaces it.
func (c *Client) Page(before uint64, lines int) error {
	return c.send(page{before: before, lines: uint16(min(max(lines, 1), MaxHistory))})
}

// followSnapshot checks that a snapshot is whole and begins no earlier than what
// came before it ended.
func (c *Client) followSnapshot(s Snapshot) error {
	p := &c.picture
	switch {
	case s.First:
		if p.Left > 0 || s.Offset < c.next {
			return session.Errorf("terminal", session.Integrity, "a snapshot of %d at %d", s.Offset, c.next)
		}
	case p.Left == 0, s.Offset != p.Offset, s.Size != p.Size, int(s.Left)+len(s.Data) != int(p.Left):
		return session.Errorf("terminal", session.Integrity, "pieces of different snapshots")
	}
	*p = s
	p.Data = nil
	if s.Left == 0 {
		c.next = s.Offset
	}
	return nil
}
