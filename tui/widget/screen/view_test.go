package screen

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
	"github.com/muesli/termenv"

	"tandem/share/terminal"
)

func view(cols, rows uint16, width, height int, output string) *View {
	v := &View{Screen: terminal.NewScreen(terminal.Size{Cols: cols, Rows: rows}), Focused: true}
	v.Screen.Follow(terminal.Output{Data: []byte(output)})
	v.SetSize(width, height)
	return v
}

// text is what a view shows, without attributes.
func text(v *View) string { return strings.TrimRight(ansi.Strip(v.String()), " ") }

func lines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "line %d\r\n", i)
	}
	return b.String()
}

// TestViewFollows: of a larger terminal the part with the cursor is shown, of a
// smaller one its border.
func TestViewFollows(t *testing.T) {
	if got, want := text(view(6, 2, 8, 3, "ab\r\ncd")), "ab    ··\ncd    ··\n········"; got != want {
		t.Errorf("a small terminal: %q", got)
	}
	v := view(20, 10, 5, 2, "top\x1b[8;16Hhere")
	if got, want := text(v), "     \nhere "; got != strings.TrimRight(want, " ") && got != want {
		t.Errorf("a large terminal: %q", got)
	}
	v.Screen.Follow(terminal.Output{Data: []byte("\x1b[H")})
	if got := text(v); got != "top  \n" && got != "top\n" && !strings.HasPrefix(got, "top") {
		t.Errorf("back at the top: %q", got)
	}
}

func TestColours(t *testing.T) {
	const output = "\x1b[1;38;2;255;0;0mr\x1b[0;44mb"
	for profile, want := range map[termenv.Profile]string{
		termenv.TrueColor: "\x1b[0;1;38;2;255;0;0mr\x1b[0;44mb\x1b[0m",
		termenv.ANSI256:   "\x1b[0;1;38;5;196mr\x1b[0;44mb\x1b[0m",
		termenv.ANSI:      "\x1b[0;1;91mr\x1b[0;44mb\x1b[0m",
		termenv.Ascii:     "\x1b[0;1mr\x1b[0mb\x1b[0m",
	} {
		v := view(2, 1, 2, 1, output)
		v.Profile, v.Focused = profile, false
		if got := v.String(); got != want {
			t.Errorf("%d: %q, want %q", profile, got, want)
		}
	}
}

// TestPlain: a screen reader gets text only.
func TestPlain(t *testing.T) {
	v := view(4, 1, 8, 2, "\x1b[1;31mbo\x1b[7mld")
	v.Plain = true
	if got := v.String(); got != "bold    \n        " {
		t.Errorf("%q", got)
	}
}

// TestHostileText: nothing that is printed leaves its place.
func TestHostileText(t *testing.T) {
	for _, output := range []string{
		"a\u202eb\u2066c", "❤\ufe0f❤\ufe0f", "🇩🇪🇫🇷", "👩\u200d👩\u200d👧x", "\u1100\u1161\u11a8", "e\u0301\u0302\u0303", "\x0e\x0f~~\x1b(0~~", "ｗｉｄｅ", "\u0600\u06dd", "ก็็็็", "\u2028\u2029\ufeff\u00ad",
	} {
		v := view(12, 1, 12, 1, output)
		got := v.String()
		if w := ansi.StringWidth(got); w != 12 {
			t.Errorf("%q is drawn %d wide: %q", output, w, got)
		}
		if strings.ContainsAny(got, "\u202e\u2066\u2028\ufeff") {
			t.Errorf("%q is drawn as %q", output, got)
		}
	}
}

// TestScrollBack: history can be walked through while output goes on, and the
// view stays where it is.
func TestScrollBack(t *testing.T) {
	v := view(10, 3, 10, 3, lines(100))
	v.Scroll(-10)
	if got := text(v); !strings.HasPrefix(got, "line 88") || !v.Back() {
		t.Fatalf("scrolled back: %q", got)
	}
	v.Screen.Follow(terminal.Output{Data: []byte(lines(50))})
	if got := text(v); !strings.HasPrefix(got, "line 88") {
		t.Fatalf("moved by output: %q", got)
	}
	if rows, of := v.Scrolled(); rows != 60 || of != 148 {
		t.Errorf("scrolled %d of %d", rows, of)
	}
	v.Scroll(1000)
	if v.Back() || !strings.HasPrefix(text(v), "line 48") {
		t.Errorf("not back: %q", text(v))
	}
	v.Edge(0, -1)
	if got := text(v); !strings.HasPrefix(got, "line 0 ") {
		t.Errorf("at the top: %q", got)
	}
	v.Edge(0, 1)
	v.Move(0, -1000)
	v.Scroll(-5)
	if got := text(v); !strings.HasPrefix(got, "line 0 ") {
		t.Errorf("beyond the top: %q", got)
	}
}

// TestSelect: what is copied is what was printed.
func TestSelect(t *testing.T) {
	v := view(10, 5, 10, 5, "first line that wraps\r\n\x1b[31msecond\x1b[m  \r\n")
	v.Place(2, 0, false)
	v.Place(2, 3, true)
	if got, want := v.Selected(), "rst line that wraps\nsec"; got != want {
		t.Errorf("selected %q, want %q", got, want)
	}
	if shown := v.String(); strings.Count(shown, ";7") == 0 {
		t.Error("the selection isn't shown")
	}
	v.Select()
	if v.Selecting() || v.Selected() != "" {
		t.Error("the selection stays")
	}
	v.Edge(-1, -1)
	v.Select()
	v.Move(4, 0)
	if got := v.Selected(); got != "first" {
		t.Errorf("by keys: %q", got)
	}
	v.Live()
	if v.Back() || v.Selecting() {
		t.Error("not back")
	}
}

// TestSearch: text is found in history, over the end of a row, newest first.
func TestSearch(t *testing.T) {
	v := view(10, 3, 10, 3, lines(200)+"a long NEEDLE here\r\nend")
	if n := v.Search("needle"); n != 1 || !strings.Contains(v.Selected()+text(v), "long N") {
		t.Fatalf("found %d: %q", n, text(v))
	}
	if !strings.Contains(v.String(), ";4;7") {
		t.Errorf("what was found isn't marked: %q", v.String())
	}
	if n := v.Search("LINE 1"); n != 111 {
		t.Errorf("found %d", n)
	}
	if !strings.Contains(text(v), "line 199") {
		t.Errorf("not the newest: %q", text(v))
	}
	if n, of := v.Next(true); n != 110 || of != 111 {
		t.Errorf("at %d of %d", n, of)
	}
	if n, _ := v.Next(false); n != 111 {
		t.Errorf("on to %d", n)
	}
	if n, _ := v.Next(false); n != 1 || !strings.Contains(text(v), "line 1 ") {
		t.Errorf("around to %d: %q", n, text(v))
	}
	if v.Search("absent") != 0 || v.Search("") != 0 {
		t.Error("found what isn't there")
	}
}

// harmless is all that a view may send to a person's terminal besides text.
var harmless = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// FuzzView: whatever is printed, and wherever the person goes in it, the view
// is as large as its place and sends nothing but text and colours.
func FuzzView(f *testing.F) {
	f.Add([]byte("hello \x1b[31mworld\r\n世界\u202e"), []byte("uus/ncm"), uint8(20), uint8(5), uint8(10), uint8(3), "o")
	f.Add([]byte("\x1b[?1049h🇩🇪\u200d\x1b[5;5H\x1b]0;t\a"), []byte("dSeeuupP"), uint8(3), uint8(9), uint8(30), uint8(12), "界")
	f.Fuzz(func(t *testing.T, output, actions []byte, cols, rows, width, height uint8, query string) {
		v := view(uint16(cols%100)+1, uint16(rows%40)+1, int(width%90), int(height%30), string(output))
		v.Profile, v.ASCII = termenv.Profile(width%4), height&128 != 0
		v.Plain = width&128 != 0
		for i, a := range actions[:min(len(actions), 50)] {
			n := int(a>>3) - 8
			switch a % 12 {
			case 0:
				v.Scroll(n)
			case 1:
				v.Move(n, -n)
			case 2:
				v.Edge(n, i-5)
			case 3:
				v.Select()
			case 4:
				v.Place(n, i, a&64 != 0)
			case 5:
				v.Search(query)
			case 6:
				v.Next(a&64 != 0)
			case 7:
				v.Live()
			case 8:
				v.SetSize(n, i)
			case 9:
				v.Screen.Follow(terminal.Size{Cols: uint16(a) + 1, Rows: uint16(i) + 1})
			case 10:
				v.Screen.Follow(terminal.Output{Data: output})
			case 11:
				v.Selected()
			}
		}
		v.SetSize(int(width%90), int(height%30))
		drawn := v.String()
		if v.width == 0 || v.height == 0 {
			if drawn != "" {
				t.Fatal("drawn on nothing")
			}
			return
		}
		got := strings.Split(drawn, "\n")
		if len(got) != v.height {
			t.Fatalf("%d lines for %d", len(got), v.height)
		}
		for _, l := range got {
			if ansi.StringWidth(l) != v.width {
				t.Fatalf("%d wide for %d: %q", ansi.StringWidth(l), v.width, l)
			}
		}
		if rest := harmless.ReplaceAllString(drawn, ""); strings.ContainsFunc(rest, func(r rune) bool { return r != '\n' && (r < ' ' || r >= 0x7f && r < 0xa0) }) {
			t.Fatalf("sends %q", rest)
		}
	})
}
