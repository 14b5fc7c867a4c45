package terminal

import (
	"bytes"
	"fmt"

	vt "tandem/share/terminal/internal/screen"
)

// Screen is what a terminal shows, for a viewer that draws it by itself: it
// follows a Client's events. It answers no queries and runs nothing that
// output asks for. It is not safe for concurrent use.
//
// A host's output is hostile: nothing in a Screen grows with it beyond the
// limits of package internal/screen, text in cells may have characters that
// turn the order of others around, and Title is not fit to be shown yet.
type Screen struct {
	s        *vt.Screen
	told     bool // history has come since the last snapshot
	faulty   error
	revision uint64

	// What is known of the host's history: the numbers of its oldest line and of the
	// oldest that is here, and that one's row.
	hosts, oldest, row uint64
}

type (
	// Cell is one place on a Screen.
	Cell = vt.Cell
	// Style is how a Cell looks.
	Style = vt.Style
	// Colour is the default, one of 256, or direct.
	Colour = vt.Colour
	// Modes are what the program has asked of keys, the mouse and the screen.
	Modes = vt.Modes
)

// NewScreen is an empty screen.
func NewScreen(s Size) *Screen {
	screen := vt.New(int(s.Cols), int(s.Rows))
	screen.NumberFrom(firstRow)
	return &Screen{s: screen}
}

// firstRow leaves numbers for older rows than the first to come.
const firstRow = 1 << 32

// Older is what to ask a Client's Page for to get history from before what is
// here; false if the host has none, or there is no room for it.
func (s *Screen) Older() (before uint64, ok bool) {
	start, _, _ := s.s.Rows()
	return s.oldest, s.oldest > s.hosts && s.row == start
}

// Keep makes an event safe to be kept after the next call of Client.Next.
func Keep(e Event) Event {
	switch m := e.(type) {
	case Output:
		m.Data = bytes.Clone(m.Data)
		return m
	case Snapshot:
		m.Data = bytes.Clone(m.Data)
		return m
	case History:
		lines := make([]Line, len(m.Lines))
		for i, l := range m.Lines {
			lines[i] = Line{Text: bytes.Clone(l.Text), Wrapped: l.Wrapped}
		}
		m.Lines = lines
		return m
	}
	return e
}

// Follow brings the screen to where the event leaves the terminal. Events
// come in the order of Client.Next.
func (s *Screen) Follow(e Event) {
	switch m := e.(type) {
	case Welcome:
		s.s.Resize(int(m.Cols), int(m.Rows))
	case Size:
		s.s.Resize(int(m.Cols), int(m.Rows))
	case Output:
		s.write(m.Data)
	case Gap:
		s.write([]byte{0x18}) // CAN: the end of what has begun will not come
	case History:
		if start, on, _ := s.s.Rows(); s.oldest > 0 && m.First+uint64(len(m.Lines)) == s.oldest {
			s.prepend(m)
			break
		} else if start == on {
			s.hosts, s.oldest, s.row = m.Start, m.First, start
		}
		s.s.Renew(false)
		for _, l := range m.Lines {
			s.write(l.Text)
			if !l.Wrapped {
				s.write([]byte("\r\n"))
			}
		}
		s.told = true
	case Snapshot:
		if m.First {
			s.s.Renew(s.told)
			s.told = false
			s.s.Resize(int(m.Cols), int(m.Rows))
		}
		s.write(m.Data)
	default:
		return
	}
	s.revision++
}

// prepend takes a page of history that was asked for.
func (s *Screen) prepend(h History) {
	lines := make([]vt.Line, len(h.Lines))
	for i, l := range h.Lines {
		lines[i] = vt.Line(l)
	}
	all, err := s.s.Prepend(lines)
	if err != nil && s.faulty == nil {
		s.faulty = err
	}
	s.hosts, s.oldest = h.Start, h.First
	s.row, _, _ = s.s.Rows()
	if !all || len(h.Lines) == 0 {
		s.oldest = s.hosts // there is no room, or no more to come
	}
}

func (s *Screen) write(p []byte) {
	if _, err := s.s.Write(p); err != nil && s.faulty == nil {
		s.faulty = err
	}
}

// Err is the first fault of our own in following output, after which the
// screen began anew; nil if there was none.
func (s *Screen) Err() error {
	if s.faulty == nil {
		return nil
	}
	return fmt.Errorf("show the terminal: %w", s.faulty)
}

// Revision changes with what is shown.
func (s *Screen) Revision() uint64 { return s.revision }

// Size is the terminal's size.
func (s *Screen) Size() Size {
	cols, rows := s.s.Size()
	return Size{Cols: uint16(cols), Rows: uint16(rows)}
}

// Rows numbers the rows that there are: [start, screen) have left the screen at
// its top, oldest first; [screen, end) are on it. A row keeps its number when it
// leaves the screen, until the size changes. A page of older history, which the
// host was asked for, lowers start.
func (s *Screen) Rows() (start, screen, end uint64) { return s.s.Rows() }

// AppendRow appends the cells of row n to cells, without blank ones at its end,
// and says whether its text goes on in the next row.
func (s *Screen) AppendRow(cells []Cell, n uint64) (_ []Cell, wrapped bool) {
	return s.s.AppendRow(cells, n)
}

// Cursor is where the cursor is on the screen, from 0, and whether the program
// shows it.
func (s *Screen) Cursor() (x, y int, visible bool) { return s.s.Cursor() }

// Title is what the program calls its window, as it came.
func (s *Screen) Title() string { return s.s.Title() }

// Modes are what the program has asked for.
func (s *Screen) Modes() Modes { return s.s.Modes() }
