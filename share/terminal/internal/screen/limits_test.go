package screen

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestAPanicLeavesAResetScreen(t *testing.T) {
	s := follow(t, 80, 24, []byte("text\x1b[31m\x1b[?1049h\x1b]2;ti"))
	s.tabs = nil // no output can do this
	if _, err := s.Write([]byte("x\x1b\\\t")); err == nil {
		t.Fatal("no error")
	}
	if got := s.Snapshot(noLimit); string(got) != "\x1b[1H" {
		t.Errorf("%q is left", got)
	}
	if _, err := s.Write([]byte("on\t")); err != nil {
		t.Error(err)
	}
}

func TestSnapshotWithinItsLimit(t *testing.T) {
	var b bytes.Buffer
	for i := range 200 * 50 {
		fmt.Fprintf(&b, "\x1b[38;2;%d;%d;%dme\u0301\u0302", i%256, i%255, i%254)
	}
	s := follow(t, 200, 50, b.Bytes())
	full := s.Snapshot(noLimit)
	short := s.Snapshot(len(full) - 1)
	if len(short) > len(full)/5 {
		t.Errorf("%d bytes, plain %d", len(full), len(short))
	}
	if got := strings.Count(string(short), "e"); got < 200*50 {
		t.Errorf("%d of %d characters are left", got, 200*50)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	s := New(1000, 2)
	line := bytes.Repeat([]byte("x"), 999)
	for range 2000 {
		_, _ = s.Write(append(line, "\r\n"...))
	}
	if start, end := s.History(); end != 1999 || end-start > maxCells/999 {
		t.Errorf("lines %d to %d are kept", start, end)
	}
	s = New(10, 2)
	for range 3 * maxLines {
		_, _ = s.Write([]byte("x\r\n"))
	}
	if start, end := s.History(); end != 3*maxLines-1 || end-start != maxLines {
		t.Errorf("lines %d to %d are kept", start, end)
	}
}

// There are as many combinations as an attacker likes; they are told apart up
// to a limit, and what is on the screen stays right.
func TestClustersAreBounded(t *testing.T) {
	s := New(80, 24)
	for i := range 3 * maxClusters {
		_, _ = s.Write([]byte("\ra" + string(rune(0x300+i%100)) + string(rune(0x300+i/100%100)) + string(rune(0x300+i/10000))))
		if len(s.clusters) > maxClusters {
			t.Fatalf("%d clusters", len(s.clusters))
		}
	}
	n := 3*maxClusters - 1
	want := "a" + string(rune(0x300+n%100)) + string(rune(0x300+n/100%100)) + string(rune(0x300+n/10000))
	if got := string(s.Snapshot(noLimit)); !strings.Contains(got, want) {
		t.Errorf("%q, want %q in it", got, want)
	}
}

func TestLinksAreBounded(t *testing.T) {
	s := New(80, 24)
	for i := range 2 * maxLinks {
		_, _ = s.Write(fmt.Appendf(nil, "\x1b]8;;https://example.org/%d\ax", i))
	}
	if len(s.links) != maxLinks {
		t.Errorf("%d links", len(s.links))
	}
}

// Whatever sizes a screen goes through, it is whole, and its snapshot right.
func TestResizeStorm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 30)
		s := New(size.Draw(t, "cols"), size.Draw(t, "rows"))
		for _, f := range rapid.SliceOfN(fragment, 1, 30).Draw(t, "output") {
			_, err := s.Write([]byte(f))
			if err != nil {
				t.Fatal(err)
			}
			if rapid.IntRange(0, 2).Draw(t, "resize") > 0 {
				continue
			}
			cols, rows := size.Draw(t, "cols"), size.Draw(t, "rows")
			s.Resize(cols, rows)
			snapshot := s.Snapshot(noLimit)
			if len(s.main.lines) != rows || len(s.alt.lines) != rows || s.cur.x >= cols || s.cur.y >= rows {
				t.Fatalf("%d and %d rows, cursor %+v, want %d by %d", len(s.main.lines), len(s.alt.lines), s.cur.position, cols, rows)
			}
			late := New(cols, rows)
			if _, err := late.Write(snapshot); err != nil {
				t.Fatal(err)
			}
			if again := late.Snapshot(noLimit); !bytes.Equal(again, snapshot) {
				t.Fatalf("the snapshot of a snapshot\n got %q\nwant %q", again, snapshot)
			}
		}
	})
}

func TestRowsComeBackFromHistory(t *testing.T) {
	s := follow(t, 10, 4, []byte("1\r\n2\r\n3\r\n4"))
	s.Resize(10, 2)
	if got := string(s.Snapshot(noLimit)); got != "\x1b[1H3\x1b[2H4\x1b[2;1H4" && got != "\x1b[1H3\x1b[2H4\x1b[2;2H" {
		t.Errorf("smaller: %q", got)
	}
	s.Resize(10, 4)
	if got := string(s.Snapshot(noLimit)); got != "\x1b[1H1\x1b[2H2\x1b[3H3\x1b[4H4\x1b[4;2H" {
		t.Errorf("larger again: %q", got)
	}
}
