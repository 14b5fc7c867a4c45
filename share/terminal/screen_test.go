package terminal

import (
	"fmt"
	"strings"
	"testing"
)

// shown is the text of rows [from, to) of a screen.
func shown(s *Screen, from, to uint64) string {
	var text []string
	for n := from; n < to; n++ {
		cells, _ := s.AppendRow(nil, n)
		var row strings.Builder
		for _, c := range cells {
			row.WriteString(c.Text)
		}
		text = append(text, row.String())
	}
	return strings.TrimRight(strings.Join(text, "\n"), "\n")
}

func text(s string) Output { return Output{Data: []byte(s)} }

// TestScreenFollows: output, history and snapshots come together to what a
// person can scroll back through.
func TestScreenFollows(t *testing.T) {
	s := NewScreen(Size{10, 3})
	s.Follow(text("one\r\ntwo\r\nthree\r\nfour"))
	start, on, end := s.Rows()
	if got := shown(s, start, end); got != "one\ntwo\nthree\nfour" || on-start != 1 || end-on != 3 {
		t.Fatalf("rows %d, %d, %d: %q", start, on, end, got)
	}
	// Somebody who comes late.
	s.Follow(Welcome{Size: Size{12, 3}})
	s.Follow(History{Lines: []Line{{Text: []byte("\x1b[31ma\x1b[m")}, {Text: []byte("0123456789ab"), Wrapped: true}, {Text: []byte("c")}}})
	s.Follow(Snapshot{Size: Size{20, 2}, First: true, Left: 3, Data: []byte("\x1b[?1h\x1b[1m")})
	s.Follow(Snapshot{Size: Size{20, 2}, Data: []byte("now")})
	start, on, end = s.Rows()
	if got := shown(s, start, end); got != "one\na\n0123456789ab\nc\nnow" || end-on != 2 {
		t.Fatalf("after a snapshot: %q", got)
	}
	if cells, _ := s.AppendRow(nil, start+1); cells[0].Style.FG == 0 {
		t.Error("history has lost its colours")
	}
	if _, wrapped := s.AppendRow(nil, start+2); !wrapped {
		t.Error("history has lost that a line goes on")
	}
	if cells, _ := s.AppendRow(nil, on); !cells[0].Style.Bold || !s.Modes().CursorKeys {
		t.Error("the snapshot's modes are lost")
	}
	// A second snapshot replaces the screen and adds nothing to history.
	s.Follow(Gap{0, 9})
	s.Follow(Snapshot{Size: Size{20, 2}, First: true, Data: []byte("later")})
	if got := shown(s, start, end); got != "one\na\n0123456789ab\nc\nlater" || s.Modes().CursorKeys {
		t.Fatalf("after the second snapshot: %q", got)
	}
	if s.Err() != nil {
		t.Error(s.Err())
	}
}

// TestScreenCells: cells have what a drawing needs.
func TestScreenCells(t *testing.T) {
	s := NewScreen(Size{20, 2})
	s.Follow(text("\x1b[3;38;5;9;48;2;1;2;3mé世\x1b[m\x1b(0q\x1b(B\x1b]8;;https://example.org\x1b\\l\x1b]8;;\x1b\\e\u0301"))
	_, on, _ := s.Rows()
	cells, _ := s.AppendRow(nil, on)
	var got strings.Builder
	for _, c := range cells {
		fmt.Fprintf(&got, "%s/%d ", c.Text, c.Width)
	}
	if want := "é/1 世/2 /0 ─/1 l/1 e\u0301/1 "; got.String() != want {
		t.Fatalf("got %q, want %q", got.String(), want)
	}
	st := cells[1].Style
	n, indexed := st.FG.Index()
	r, g, b, direct := st.BG.RGB()
	if !st.Italic || !indexed || n != 9 || !direct || r != 1 || g != 2 || b != 3 {
		t.Errorf("style %+v", st)
	}
	if cells[4].Link != "https://example.org" || cells[5].Link != "" {
		t.Errorf("links %q, %q", cells[4].Link, cells[5].Link)
	}
	if x, y, visible := s.Cursor(); x != 6 || y != 0 || !visible {
		t.Errorf("cursor %d, %d, %v", x, y, visible)
	}
}

// TestKeep: what is kept does not change with the client's buffer.
func TestKeep(t *testing.T) {
	data := []byte("abc")
	kept := []Event{
		Keep(Output{Data: data}), Keep(Snapshot{Data: data}), Keep(History{Lines: []Line{{Text: data}}}),
	}
	copy(data, "xyz")
	if got := fmt.Sprintf("%s", kept); strings.Contains(got, "xyz") || strings.Count(got, "abc") != 3 {
		t.Error(got)
	}
}

// TestOlderHistory: what was printed before can be asked for, page by page, and
// comes above what is there.
func TestOlderHistory(t *testing.T) {
	lines := func(from, to int) (lines []Line) {
		for n := from; n < to; n++ {
			lines = append(lines, Line{Text: fmt.Appendf(nil, "\x1b[1mline %d\x1b[m \x1b]8;;http://x/%d\x1b\\e\u0301\x1b]8;;\x1b\\", n, n)})
		}
		return lines
	}
	s := NewScreen(Size{20, 3})
	if _, ok := s.Older(); ok {
		t.Error("there is something before the beginning")
	}
	s.Follow(History{Start: 2, First: 7, End: 9, Lines: lines(7, 9)})
	s.Follow(Snapshot{Size: Size{20, 3}, First: true, Data: []byte("now")})
	_, was, _ := s.Rows()
	for _, page := range [][2]int{{5, 7}, {2, 5}} {
		before, ok := s.Older()
		if !ok || before != uint64(page[1]) {
			t.Fatalf("to ask for: %d, %v, want %d", before, ok, page[1])
		}
		s.Follow(History{Start: 2, First: uint64(page[0]), End: 9, Lines: lines(page[0], page[1])})
	}
	start, on, end := s.Rows()
	if got := shown(s, start, end); got != "line 2 e\u0301\nline 3 e\u0301\nline 4 e\u0301\nline 5 e\u0301\nline 6 e\u0301\nline 7 e\u0301\nline 8 e\u0301\nnow" || on != was {
		t.Errorf("rows from %d, the screen at %d (was %d):\n%s", start, on, was, got)
	}
	if cells, _ := s.AppendRow(nil, start); !cells[0].Style.Bold || cells[7].Link != "http://x/2" {
		t.Errorf("attributes are lost: %+v", cells)
	}
	if before, ok := s.Older(); ok {
		t.Errorf("there is more, before %d", before)
	}
	if s.Err() != nil {
		t.Error(s.Err())
	}
}

// TestOlderHistoryIsBounded: a host that claims to have more and more fills no
// memory, and what there was stays.
func TestOlderHistoryIsBounded(t *testing.T) {
	s := NewScreen(Size{80, 3})
	const first = 1 << 20
	s.Follow(History{First: first, End: first + 1, Lines: []Line{{Text: []byte("newest")}}})
	s.Follow(Snapshot{Size: Size{80, 3}, First: true, Data: []byte("now")})
	page := make([]Line, MaxHistory)
	for i := range page {
		page[i] = Line{Text: []byte(strings.Repeat("x", 100))}
	}
	asked := 0
	for before, ok := s.Older(); ok; before, ok = s.Older() {
		if asked++; asked > 10 {
			t.Fatal("there is always room for more")
		}
		s.Follow(History{First: before - MaxHistory, End: first + 1, Lines: page})
	}
	start, on, _ := s.Rows()
	if got := shown(s, on-1, on); on-start > MaxHistory || on-start < 1000 || got != "newest" {
		t.Errorf("%d rows, the newest is %q", on-start, got)
	}
}

// FuzzScreen has a screen follow a hostile host's events in any order, and
// looks at every cell.
func FuzzScreen(f *testing.F) {
	f.Add([]byte("hello\x1b[31m 世界"), []byte("\x1b[?1049hx"), uint8(20), uint8(5), uint8(0))
	f.Add([]byte("\x1b]8;;http://x\x1b\\e\u0301\x1b(0\x7f`"), []byte("\r\n\n\n\n"), uint8(3), uint8(1), uint8(7))
	f.Fuzz(func(t *testing.T, a, b []byte, cols, rows, order uint8) {
		size := Size{uint16(cols%120) + 1, uint16(rows%50) + 1}
		s := NewScreen(Size{80, 24})
		events := []Event{
			Output{Data: a},
			History{First: 9, End: 11, Lines: []Line{{Text: b, Wrapped: order&1 != 0}, {Text: a}}},
			History{First: 7, End: 11, Lines: []Line{{Text: a, Wrapped: order&1 != 0}, {Text: b, Wrapped: order&2 != 0}}},
			Snapshot{Size: size, First: true, Data: b},
			size,
			Gap{0, 1},
			Output{Data: b},
			Snapshot{Size: size, Data: a},
		}
		for i := range events {
			s.Follow(events[(i*int(order|1)+int(order>>4))%len(events)])
		}
		if s.Err() != nil {
			t.Fatal(s.Err())
		}
		start, _, end := s.Rows()
		var cells []Cell
		for n := start; n < end; n++ {
			cells, _ = s.AppendRow(cells[:0], n)
			for i, c := range cells {
				wide := i > 0 && cells[i-1].Width == 2
				if c.Width < 0 || c.Width > 2 || (c.Width == 0) != wide || (c.Text == "") != (c.Width == 0) {
					t.Fatalf("row %d: cell %d is %+v", n, i, c)
				}
			}
		}
		if x, y, _ := s.Cursor(); x < 0 || y < 0 || x >= int(s.Size().Cols) || y >= int(s.Size().Rows) {
			t.Fatalf("the cursor is at %d, %d of %v", x, y, s.Size())
		}
	})
}
