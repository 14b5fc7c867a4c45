package terminal

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

func filtered(f *Filter, chunks ...string) string {
	var out []byte
	for _, c := range chunks {
		out = f.Append(out, []byte(c))
	}
	return string(f.Flush(out))
}

// exact are outputs that pass as they are, queries included if they may.
var exact = []string{
	"plain text\r\n\tand tabs\b\a", "naïve 日本語 👩‍👩‍👧 e\u0301 \u200e", "\xff\xfe\xc3( \xe2\x82 \xf0\xa0", "\x80\x84 latin-1 caf\xe9 ", "nul \x00 del \x7f",
	"\x1b[0;1;38;5;208mcolour\x1b[m\x1b[38:2::1:2:3m", "\x1b[2J\x1b[H\x1b[10;20H\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b[r\x1b[1;24r",
	"\x1b7\x1b8\x1b=\x1b>\x1bM\x1bD\x1bE\x1bc\x1b(0\x1b(B\x1b)0\x0e\x0f\x1b#8\x1b%G\x1b F", "\x1b[!p\x1b[4 q\x1b[22;0t\x1b[23;0t\x1b[>4;1m\x1b[>1u\x1b[<u",
	"\x1b]0;title\a", "\x1b]2;título ✓\x1b\\", "\x1b]8;id=1;https://example.org/\x1b\\link\x1b]8;;\x1b\\", "\x1b]11;#000000\a\x1b]111\a\x1b]133;A\a\x1b]104\a",
	"\u009b1mC1\u009bm", "\u009d2;c1 title\u009c", "\x1bkscreen title\x1b\\", "\u0085next line",
}

// queries pass only where they are answered.
var queries = []string{
	"\x1b[c", "\x1b[0c", "\x1b[>c", "\x1b[=c", "\x1b[5n", "\x1b[6n", "\x1b[?6n", "\x1b[x", "\x1b[>q", "\x1b[?u", "\x1b[?2026$p", "\x1b[4$p",
	"\x1b[14t", "\x1b[18t", "\x1b]10;?\a", "\x1b]11;?\x1b\\", "\x1b]4;1;?\a", "\x1bZ", "\u009b6n", "\u009a", "\x1b[?1;1;0S", "\x1b[?4m",
}

// forbidden never pass.
var forbidden = []string{
	"\x1b]52;c;?\a", "\x1b]52;c;aGk=\a", "\x1b]052;c;?\x1b\\", "\u009d52;;?\u009c", "\x1b]52;c;?\u009c",
	"\x1bP$qm\x1b\\", "\x1bP+q544e\x1b\\", "\u0090$qm\u009c", "\x1bPtmux;\x1b\x1b]52;c;?\a", "\x1b_Gi=1,a=q;AAAA\x1b\\", "\x1b^pm\x1b\\", "\x1bXsos\x1b\\", "\u009fapc\u009c",
	"\x1b[21t", "\x1b[20t", "\x1b[021t", "\x1b[21;1t", "\u009b21t", "\x1b[8;50;50t", "\x1b[3;0;0t", "\x1b[t", "\x1b[48t", "\x1b[>2t",
	"\x05", "\x1b[i", "\x1b[5i", "\x1b[?5i", "\x1b[1;1;1;1;1;1*y", "\x1b[1$w", "\x1b[1$u", "\x1b[4;1y",
	"\x1b%@", "\x1b%/G", "\x1b G", "\x1b[?38h", "\x1b[?25;038h", "\x1b[?4294967334h", "\x1b[?40h", "\x1b[62\"p", "\x1bG",
	"\x1b]50;?\a", "\x1b]1337;File=name=eA==:eA==\a", "\x1b]7;file://h/\a", "\x1b]9;note\a", "\x1b]777;notify;a;b\a", "\x1b]L;x\a", "\x1b];x\a",
	"\x1b]8;;file:///etc/passwd\a", "\x1b]8;;javascript:x\a", "\x1b]8;;https://x/\u202e\a", "\x1b]2;a\x01b\a", "\x1b]2;bad \xff utf-8\a",
	"\x1b[" + strings.Repeat("1;", 400) + "m", "\x1b]2;" + strings.Repeat("x", maxString) + "\a", "\x1b[1<2m", "\x1b[1 2m",
	"\x1b]R", "\x1b]P0123456", "\x1b[38;5", "\x1b", "\x1b]0;never ends", "\x1bPnever ends",
}

func TestFilter(t *testing.T) {
	const around = "•" // so that what must vanish has neighbours
	for _, s := range exact {
		if got := filtered(new(Filter), around+s+around); got != around+s+around {
			t.Errorf("%q became %q", s, got)
		}
	}
	for _, s := range queries {
		if got := filtered(&Filter{Answer: true}, around+s+around); got != around+s+around {
			t.Errorf("answering, %q became %q", s, got)
		}
		if got := filtered(new(Filter), around+s+around); got != around+around {
			t.Errorf("not answering, %q became %q", s, got)
		}
	}
	for _, s := range forbidden {
		if got := filtered(&Filter{Answer: true}, around+s); got != around {
			t.Errorf("%q became %q", s, got)
		}
	}
	for in, want := range map[string]string{
		"\x1b[2\n1m":               "\n\x1b[21m",         // terminals act on the line feed first
		"\x1b[2\x051t":             "",                   // ENQ is no way to take a sequence apart
		"\x1b[21\xf4":              "\xf4",               // 0xf4 is 't' with the high bit
		"\x1b[21ôx":                "ôx",                 // the same as a character
		"\x9b21t":                  "\ufffd21t",          // C1 in Latin-1
		"\xe2\x9d52;c;?\a":         "\xe2\ufffd52;c;?\a", // and hidden behind half a character
		"\x1b[1\x1b[6nx":           "x",                  // ESC starts again
		"\x1b[6\x18nx":             "\x18nx",             // CAN stops
		"\x1b]52;c;?\x1b[31mred":   "\x1b[31mred",        // ESC ends a string
		"\x1b]2;a\u202eb\u2066c\a": "\x1b]2;a\ufffdb\ufffdc\a",
		"a\x1bP1;2|\x1b[6nb":       "ab",
		"\x1bPx\x18visible":        "visible",
		"\x1b]P0123456visible":     "visible",
		"\x1b]Rvisible":            "visible",
		"\xc2\x05\x9b21t":          "\xc2\ufffd21t", // what is dropped joins nothing
		"\x1b\x1b[c\x1b[m":         "\x1b[m",
	} {
		if got := filtered(new(Filter), in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestFilterClipboard(t *testing.T) {
	write := func(n int) string { return "\x1b]52;c;" + strings.Repeat("QUJD", n/4) + "\a" }
	for s, pass := range map[string]bool{
		write(8): true, write(100 << 10): true, write(MaxClipboard + 4): false,
		"\x1b]52;c;?\a": false, "\x1b]52;c;?QUJD\a": false, "\x1b]52;c;QU JD\a": false, "\x1b]52\a": false,
		"\x1b]2;" + strings.Repeat("x", maxString+1) + "\a": false,
	} {
		if got := filtered(&Filter{Clipboard: true}, s); (got == s) != pass || !pass && got != "" {
			t.Errorf("%.40q (%d bytes): passed %d bytes, want pass %v", s, len(s), len(got), pass)
		}
	}
}

func TestUndo(t *testing.T) {
	f := new(Filter)
	filtered(f, "\x1b[?1049h\x1b[?1000;1006h\x1b[?25l\x1b[?1h\x1b=\x1b[>1u\x1b[4h\x1b[2;10r\x1b[5 q\x1b]11;red\a\x1b[?2004h\x1b[?7l\x0e\x1b]8;;http://x\a")
	undo := string(f.Undo())
	for _, want := range []string{
		"\x1b[?1049l", "\x1b[?1000l", "\x1b[?1006l", "\x1b[?25h", "\x1b[?1l", "\x1b>", "\x1b[<1u", "\x1b[4l", "\x1b[r", "\x1b[0 q",
		"\x1b]111\x1b\\", "\x1b[?2004l", "\x1b[?7h", "\x0f", "\x1b[0m", "\x1b]8;;\x1b\\",
	} {
		if !strings.Contains(undo, want) {
			t.Errorf("undo lacks %q: %q", want, undo)
		}
	}
	// What was not set is left alone: leaving an alternate screen one is not
	// in, or resetting a region, moves the cursor.
	if got := string(f.Undo()); got != "\x1b[?2004l\x1b[?1000l\x1b[?25h\x1b[0m" {
		t.Errorf("undoing nothing writes %q", got)
	}
	filtered(f, "\x1b[?1049h\x1b[?1049l\x1b=\x1b>\x1b[2;3r\x1b[r")
	if got := string(f.Undo()); got != "\x1b[?2004l\x1b[?1000l\x1b[?25h\x1b[0m" {
		t.Errorf("undoing what was undone writes %q", got)
	}
}

// dangerous finds, by other means than Filter, what must not reach a terminal.
var dangerous = regexp.MustCompile(`(?s)\x05|` +
	`\x1b[PX^_G]|\x{0090}|\x{0098}|\x{009e}|\x{009f}|` + // strings
	`(\x1b\]|\x{009d})0*(52|50|7|9|777|1337)[;\x07\x1b\x{009c}]|` + // OSC
	`(\x1b\[|\x{009b})[<-?]?0*(|[1-9]|10|2[01]|2[4-9]|[3-9][0-9]|[1-9][0-9]{2,})(;[0-9;:]*)?t|` + // window operations
	`(\x1b\[|\x{009b})[0-9;:<-?]*[ -/]*i|` + // printing
	`(\x1b\[|\x{009b})[0-9;:<-?]*(\*y|\$w|\$u)|` + // reports of the screen
	`\x1b%[^G]`)

var question = regexp.MustCompile(`(\x1b\[|\x{009b})([=>]?[0-9;]*c|\??[0-9;]*n|[0-9;]*x|[0-9;]*1[1-9]t|>[0-9;]*q|\?[0-9;]*u)|\x1bZ|\x{009a}`)

// hasC1Byte finds bytes that a terminal without UTF-8 would take for control
// characters.
func hasC1Byte(p []byte) bool {
	for _, b := range p {
		if b >= 0x80 && b < 0xa0 {
			return true
		}
	}
	return false
}

func FuzzFilter(f *testing.F) {
	for _, set := range [][]string{exact, queries, forbidden} {
		for _, s := range set {
			f.Add([]byte(s), uint(1), uint8(0))
			f.Add([]byte("ab"+s+"\x1b["+s), uint(3), uint8(3))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint, flags uint8) {
		fresh := func() *Filter { return &Filter{Clipboard: flags&1 != 0, Answer: flags&2 != 0} }
		whole := fresh()
		out := whole.Flush(whole.Append(nil, in))

		// Wherever it is split, the same comes out.
		pieces := fresh()
		var joined []byte
		for rest := in; len(rest) > 0; {
			n := min(len(rest), 1+int(seed%7))
			seed = seed*6364136223846793005 + 1442695040888963407
			joined = pieces.Append(joined, rest[:n])
			rest = rest[n:]
		}
		joined = pieces.Flush(joined)
		if !bytes.Equal(out, joined) {
			t.Fatalf("%q became %q, in pieces %q", in, out, joined)
		}
		if !bytes.Equal(whole.Undo(), pieces.Undo()) {
			t.Fatal("modes differ")
		}

		if at := dangerous.FindIndex(out); at != nil && !(flags&1 != 0 && bytes.Contains(out[at[0]:at[1]], []byte("52"))) {
			t.Fatalf("%q became %q: %q passed", in, out, out[at[0]:at[1]])
		}
		if at := question.FindIndex(out); at != nil && flags&2 == 0 {
			t.Fatalf("%q became %q: query %q passed", in, out, out[at[0]:at[1]])
		}
		if i := bytes.Index(out, []byte("]52;")); i >= 0 && flags&1 != 0 && bytes.HasPrefix(out[i+4:], []byte("c;?")) && i > 0 && out[i-1] == esc {
			t.Fatalf("%q became %q: the clipboard can be read", in, out)
		}
		// Stray C1 bytes are gone.
		for rest := out; len(rest) > 0; {
			r, n := utf8.DecodeRune(rest)
			if r == utf8.RuneError && n == 1 && bytes.IndexByte([]byte{0x90, 0x98, 0x9a, 0x9b, 0x9d, 0x9e, 0x9f}, rest[0]) >= 0 {
				t.Fatalf("%q became %q: stray %#x", in, out, rest[0])
			}
			rest = rest[n:]
		}
		// Text passes as it is.
		harmless := utf8.Valid(in) || !hasC1Byte(in)
		for _, r := range string(in) {
			harmless = harmless && r != esc && r != enq && (r < 0x80 || r >= 0xa0)
		}
		if harmless && !bytes.Equal(in, out) {
			t.Fatalf("%q became %q", in, out)
		}
		// What passed passes again: the filter is content with its own work.
		if again := fresh(); !bytes.Equal(again.Flush(again.Append(nil, out)), out) {
			t.Fatalf("%q became %q, then something else", in, out)
		}
	})
}
