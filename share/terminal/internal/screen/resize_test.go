package screen

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// texts are what the rows say, history included, those that are one text
// joined, without empty ones at the end.
func texts(s *Screen) []string {
	var all []string
	var b strings.Builder
	start, _, end := s.Rows()
	for n := start; n < end; n++ {
		cells, wrapped := s.AppendRow(nil, n)
		for _, c := range cells {
			b.WriteString(c.Text)
		}
		if !wrapped {
			all = append(all, b.String())
			b.Reset()
		}
	}
	for len(all) > 0 && all[len(all)-1] == "" {
		all = all[:len(all)-1]
	}
	return all
}

// No size loses text or takes it apart, but for what is wider than the screen.
func TestTextOutlivesAResizeStorm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := New(rapid.IntRange(2, 40).Draw(t, "cols"), rapid.IntRange(1, 10).Draw(t, "rows"))
		var want []string
		for range rapid.IntRange(1, 8).Draw(t, "lines") {
			text := rapid.StringMatching(`([a-z]|世|é|e\x{301}){0,100}`).Draw(t, "text")
			if len(want) > 0 {
				text = "\r\n" + text
			}
			if _, err := s.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
			want = append(want, strings.TrimPrefix(text, "\r\n"))
			for range rapid.IntRange(0, 3).Draw(t, "storm") {
				s.Resize(rapid.IntRange(2, 60).Draw(t, "cols"), rapid.IntRange(1, 20).Draw(t, "rows"))
			}
		}
		for len(want) > 0 && want[len(want)-1] == "" {
			want = want[:len(want)-1]
		}
		if got := texts(s); !slices.Equal(got, want) {
			t.Fatalf("%q, want %q", got, want)
		}
	})
}

func TestCursorStaysWithItsText(t *testing.T) {
	s := follow(t, 20, 5, []byte("first\r\nabcdefghijklmnopqrstuvwxyz\x1b[4D"))
	for _, cols := range []int{20, 7, 50, 3, 20} {
		s.Resize(cols, 5)
		x, y, _ := s.Cursor()
		_, shown, _ := s.Rows()
		cells, _ := s.AppendRow(nil, shown+uint64(y))
		if got := cells[x].Text; got != "w" {
			t.Errorf("at %d columns the cursor is at %q", cols, got)
		}
	}
	s.Resize(13, 5)
	if _, err := s.Write([]byte("\x1b[4C!")); err != nil { // there is no room behind "z"
		t.Fatal(err)
	}
	if got := texts(s); got[1] != "abcdefghijklmnopqrstuvwxy!" {
		t.Errorf("%q", got)
	}
	// A wrap that is pending is so still, until there is room.
	s = follow(t, 4, 3, []byte("abcd"))
	s.Resize(4, 5)
	s.Resize(2, 5)
	_, _ = s.Write([]byte("e"))
	s.Resize(9, 5)
	_, _ = s.Write([]byte("f"))
	if got := texts(s); !slices.Equal(got, []string{"abcdef"}) {
		t.Errorf("%q", got)
	}
}

func TestWhatWasClearedDoesNotComeBack(t *testing.T) {
	s := follow(t, 10, 3, []byte("secret\r\nold\x1b[H\x1b[2Jnew\r\nline\r\n\r\nend"))
	s.Resize(10, 20)
	_, shown, end := s.Rows()
	var got []string
	for n := shown; n < end; n++ {
		cells, _ := s.AppendRow(nil, n)
		row := ""
		for _, c := range cells {
			row += c.Text
		}
		got = append(got, row)
	}
	if want := []string{"new", "line", "", "end", ""}; !slices.Equal(got[:5], want) {
		t.Errorf("%q on the screen, want %q", got, want)
	}
	if got := texts(s); !slices.Equal(got[:2], []string{"secret", "old"}) {
		t.Errorf("%q, want what was cleared in history", got)
	}
}

// The main screen is as it was after any sizes that the alternate one had.
func TestMainScreenOutlivesTheAlternate(t *testing.T) {
	for _, mode := range []int{47, 1047, 1049} {
		output := []byte("$ " + strings.Repeat("long command ", 10) + "\r\nits output\r\n$ \x1b[2;4H")
		s := follow(t, 30, 8, output, fmt.Appendf(nil, "\x1b[?%dh\x1b[Hpicture", mode))
		for _, size := range [][2]int{{5, 3}, {80, 2}, {40, 40}, {30, 8}} {
			s.Resize(size[0], size[1])
		}
		_, _ = s.Write(fmt.Appendf(nil, "\x1b[?%dl\x1b[2;4H", mode))
		if got, want := s.Snapshot(noLimit), follow(t, 30, 8, output).Snapshot(noLimit); string(got) != string(want) {
			t.Errorf("%d: %q, want %q", mode, got, want)
		}
		// At another size it is fitted when it is shown.
		s = follow(t, 30, 8, output, fmt.Appendf(nil, "\x1b[?%dh", mode))
		s.Resize(50, 9)
		_, _ = s.Write(fmt.Appendf(nil, "\x1b[?%dl", mode))
		if got := texts(s); len(got) != 3 || got[0] != strings.TrimSpace("$ "+strings.Repeat("long command ", 10))+" " {
			t.Errorf("%d: %q", mode, got)
		}
	}
}

// An endless line is wrapped anew in bounded time and space.
func TestAnEndlessLineIsWrappedAnew(t *testing.T) {
	s := New(100, 10)
	for range 10000 {
		_, _ = s.Write([]byte(strings.Repeat("x", 100)))
	}
	for _, cols := range []int{1, 1000, 7, 99} {
		s.Resize(cols, 10)
		if h := &s.history; h.cells > maxCells || h.len() > maxLines || len(s.main.lines) != 10 {
			t.Errorf("%d cells in %d lines of history, %d rows", h.cells, h.len(), len(s.main.lines))
		}
	}
}

func TestLittleOfAnEndlessLineIsTouched(t *testing.T) {
	s := New(100, 10)
	for range 2000 {
		_, _ = s.Write([]byte(strings.Repeat("x", 100)))
	}
	oldest := s.history.at(0)
	s.Resize(70, 10)
	if s.history.at(0) != oldest || len(oldest.cells) != 100 {
		t.Error("all of it was wrapped anew")
	}
	if start, _ := s.History(); start != 0 {
		t.Errorf("%d lines are gone", start)
	}
	if got := texts(s); len(got) != 1 || len(got[0]) != 2000*100 {
		t.Errorf("it has been taken apart or cut: %d texts", len(got))
	}
}
