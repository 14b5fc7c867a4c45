package predict

import (
	"strings"
	"testing"
	"time"
)

// echoes is a program that echoes like a terminal's line discipline, with a
// prompt.
func echoes(keys []byte) string {
	var out strings.Builder
	for _, r := range string(keys) {
		switch r {
		case '\r':
			out.WriteString("\r\n$ ")
		case 0x7f:
			out.WriteString("\b \b")
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}

// ready is a person at a prompt, whose predictions are shown.
func ready(t *testing.T, mode Mode, roundTrip time.Duration, host func([]byte) string) *far {
	f := newFar(t, mode, roundTrip, host)
	f.prints("$ ")
	f.passes(time.Second)
	f.types("a")
	f.passes(time.Second)
	f.sees(0, "$ a")
	return f
}

func TestShownAtOnce(t *testing.T) {
	f := ready(t, Auto, 200*time.Millisecond, echoes)
	f.types("b")
	f.types("漢")
	f.types("ç")
	f.sees(0, "$ ab漢ç")
	if c := f.terminal.grid.row(0)[3]; c.pen.attributes&underline == 0 {
		t.Error("a prediction is not underlined")
	}
	if x := f.terminal.grid.x; x != 7 {
		t.Errorf("the cursor is in column %d", x)
	}
	f.types("\x7f")
	f.sees(0, "$ ab漢")
	f.settles()
	f.sees(0, "$ ab漢")
	if c := f.terminal.grid.row(0)[3]; c.pen.attributes&underline != 0 {
		t.Error("an echo is underlined")
	}
}

func TestNothingShownOfAnEpochBeforeItIsConfirmed(t *testing.T) {
	f := newFar(t, Always, 200*time.Millisecond, echoes)
	f.prints("$ ")
	f.passes(time.Second)
	f.types("x")
	f.sees(0, "$")
	f.passes(100 * time.Millisecond)
	f.types("y")
	f.sees(0, "$")
	f.passes(100 * time.Millisecond) // the echo of x
	f.sees(0, "$ xy")
	f.types("\r")
	f.types("z")
	f.sees(0, "$ xy")
	f.sees(1, "")
	f.settles()
	f.sees(1, "$ z")
}

func TestPasswordIsNeverShown(t *testing.T) {
	quiet := false
	f := ready(t, Always, 200*time.Millisecond, func(keys []byte) string {
		switch {
		case quiet && string(keys) == "\r":
			quiet = false
			return "\r\n$ "
		case quiet:
			return ""
		case string(keys) == "\r":
			quiet = true
			return "\r\nPassword: "
		}
		return echoes(keys)
	})
	f.types("b")
	f.types("\r")
	for range 40 { // before the prompt, while it comes, and behind it
		f.types("§")
		f.passes(30 * time.Millisecond)
		if f.terminal.contains("§") {
			t.Fatalf("the password is shown:\n%q", f.terminal.glimpse())
		}
	}
	f.types("\r")
	f.passes(time.Second)
	f.types("c")
	f.passes(time.Second)
	f.types("d")
	f.sees(2, "$ cd")
	f.settles()
}

// TestPasswordPromptWithoutEnter: a program that answers a single key with a
// question for a password.
func TestPasswordPromptWithoutEnter(t *testing.T) {
	quiet := false
	f := ready(t, Always, 200*time.Millisecond, func(keys []byte) string {
		if quiet {
			return ""
		}
		if string(keys) == "y" {
			quiet = true
			return "y\r\nPassword: "
		}
		return echoes(keys)
	})
	f.types("y")
	f.sees(0, "$ ay")
	f.passes(time.Second)
	f.types("§")
	f.passes(50 * time.Millisecond)
	f.types("§")
	f.sees(1, "Password:")
	f.settles()
	f.sees(1, "Password:")
}

// TestPasswordPromptFromNowhere: a program in the background asks.
func TestPasswordPromptFromNowhere(t *testing.T) {
	for _, prompt := range []string{"\r\nPassword: ", " Password: "} {
		quiet := false
		f := ready(t, Always, 200*time.Millisecond, func(keys []byte) string {
			if quiet {
				return ""
			}
			return echoes(keys)
		})
		f.types("b")
		f.passes(time.Second)
		quiet = true
		f.prints(prompt)
		f.passes(time.Second)
		f.types("§")
		f.types("§")
		if f.terminal.contains("§") {
			t.Errorf("the password is shown:\n%q", f.terminal.glimpse())
		}
		f.settles()
	}
}

func TestWrongPredictionIsTakenBack(t *testing.T) {
	deaf := false
	f := ready(t, Auto, 200*time.Millisecond, func(keys []byte) string {
		if deaf {
			return "\a"
		}
		return echoes(keys)
	})
	deaf = true
	f.types("wrong")
	f.sees(0, "$ awrong")
	f.passes(200*time.Millisecond + Hold)
	f.sees(0, "$ a")
	f.types("w") // nothing is believed any more
	f.sees(0, "$ a")
	f.settles()
}

func TestFastLinkShowsNothing(t *testing.T) {
	f := ready(t, Auto, 10*time.Millisecond, echoes)
	f.types("b")
	f.sees(0, "$ a")
	f.settles()
	f.sees(0, "$ ab")
}

func TestGlitchOnAFastLink(t *testing.T) {
	f := ready(t, Auto, 10*time.Millisecond, echoes)
	f.roundTrip = time.Second
	f.types("b")
	f.passes(glitch - time.Millisecond)
	f.sees(0, "$ a")
	f.passes(time.Millisecond)
	f.sees(0, "$ ab")
	f.types("c")
	f.sees(0, "$ abc")
	f.settles()
}

func TestNever(t *testing.T) {
	f := ready(t, Never, time.Second, echoes)
	f.types("b")
	f.passes(500 * time.Millisecond)
	f.sees(0, "$ a")
	f.settles()
}

func TestHysteresis(t *testing.T) {
	p := New(Auto, 80, 24)
	for _, step := range []struct {
		rtt                 time.Duration
		showing, underlined bool
	}{
		{30 * time.Millisecond, false, false},
		{31 * time.Millisecond, true, false},
		{21 * time.Millisecond, true, false},
		{20 * time.Millisecond, false, false},
		{80 * time.Millisecond, true, false},
		{81 * time.Millisecond, true, true},
		{51 * time.Millisecond, true, true},
		{50 * time.Millisecond, true, false},
		{10 * time.Millisecond, false, false},
	} {
		p.roundTrip = 0
		p.measure(step.rtt)
		if p.showing != step.showing || p.underlined != step.underlined {
			t.Errorf("at %v: shown %v, underlined %v", step.rtt, p.showing, p.underlined)
		}
	}
}

// readline edits like GNU readline does: with insertion and deletion of cells.
type readline struct {
	line []rune
	x    int
}

func (r *readline) keys(keys []byte) string {
	switch s := string(keys); s {
	case "\x1b[D":
		if r.x > 0 {
			r.x--
			return "\b"
		}
		return "\a"
	case "\x1b[C", "\x1bOC":
		if r.x < len(r.line) {
			r.x++
			return "\x1b[C"
		}
		return "\a"
	case "\x7f":
		if r.x == 0 {
			return "\a"
		}
		r.x--
		r.line = append(r.line[:r.x], r.line[r.x+1:]...)
		return "\b\x1b[P"
	case "\x01":
		back := strings.Repeat("\b", r.x)
		r.x = 0
		return back
	default:
		out := ""
		for _, c := range s {
			r.line = append(r.line[:r.x], append([]rune{c}, r.line[r.x:]...)...)
			r.x++
			out += "\x1b[@" + string(c)
		}
		return out
	}
}

func TestEditingWithinALine(t *testing.T) {
	r := &readline{}
	f := ready(t, Always, 200*time.Millisecond, r.keys)
	for _, k := range "bcdef" {
		f.types(string(k))
	}
	f.sees(0, "$ abcdef")
	f.types("\x1b[D")
	f.types("\x1b[D")
	f.types("\x7f")
	f.types("X")
	f.types("\x1bOC")
	f.sees(0, "$ abcXef")
	if x := f.terminal.grid.x; x != 7 {
		t.Errorf("the cursor is in column %d", x)
	}
	f.settles()
	f.sees(0, "$ abcXef")

	// No further than where the line's typing began.
	for range 20 {
		f.types("\x7f")
	}
	f.sees(0, "$ f")
	f.settles()
	f.sees(0, "$ f")
}

// TestRightPromptStays: a gap separates what an insertion pushes from what
// stays.
func TestRightPromptStays(t *testing.T) {
	f := newFar(t, Always, 200*time.Millisecond, echoes)
	f.prints("\r\x1b[30Gright\r$ ")
	f.passes(time.Second)
	f.types("a")
	f.passes(time.Second)
	f.types("b")
	f.sees(0, "$ ab"+strings.Repeat(" ", 25)+"right")
	f.settles()
}

func TestNothingAtTheEdge(t *testing.T) {
	f := ready(t, Always, 200*time.Millisecond, echoes)
	for range 60 {
		f.types("x")
	}
	f.sees(0, "$ a"+strings.Repeat("x", 35))
	f.settles()
	f.sees(0, "$ a"+strings.Repeat("x", 37))
}

func TestPasteIsNotPredicted(t *testing.T) {
	f := ready(t, Always, 200*time.Millisecond, echoes)
	f.types(strings.Repeat("p", maxPaste+1))
	f.sees(0, "$ a")
	f.settles()
}

// TestUncertain: where drawing could not be undone, or would do something else.
func TestUncertain(t *testing.T) {
	for name, before := range map[string]string{
		"insert mode":            "\x1b[4h",
		"line drawing":           "\x1b(0",
		"shifted":                "\x0e",
		"a hyperlink":            "\x1b]8;;https://example.org\x1b\\",
		"curly underline":        "\x1b[4:3m",
		"margins":                "\x1b[?69h\r",
		"a screen being drawn":   "\x1b[?2026h",
		"a character cell moved": "\x1b[?1049h\x1b[?1049h\r",
		"a mode of VT52":         "\x1b[?2l",
		"protected":              "\x1b[1\"q",
		"double width":           "\x1b#6\r",
		"an unknown sequence":    "\x1b[1;2'z\r",
		"invalid UTF-8":          "\xff",
	} {
		t.Run(name, func(t *testing.T) {
			p := New(Always, 40, 6)
			now := time.Unix(1e9, 0)
			p.Output(nil, []byte("$ "), now)
			p.Output(nil, []byte(before), now)
			p.confirmed = 1000 // all that may be shown is
			p.Type([]byte("x"), now)
			if drawn := p.Paint(nil, now); len(drawn) > 0 {
				t.Errorf("drew %q", drawn)
			}
		})
	}
	p := New(Always, 40, 6)
	now := time.Unix(1e9, 0)
	p.Output(nil, []byte("$ "), now)
	p.confirmed = 1000
	p.Type([]byte("x"), now)
	if drawn := p.Paint(nil, now); string(drawn) != "x" {
		t.Errorf("with nothing of that, it drew %q", drawn)
	}
}
