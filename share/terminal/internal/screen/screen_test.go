package screen

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const noLimit = 1 << 30

func follow(t interface{ Fatal(...any) }, cols, rows int, pieces ...[]byte) *Screen {
	s := New(cols, rows)
	for _, p := range pieces {
		if _, err := s.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// fragment draws something that a program may print.
var fragment = rapid.Custom(func(t *rapid.T) string {
	n := func(name string) int { return rapid.IntRange(0, 14).Draw(t, name) }
	switch rapid.IntRange(0, 11).Draw(t, "kind") {
	case 0, 1:
		return rapid.StringMatching(`[ -~]{1,12}`).Draw(t, "text")
	case 2:
		return rapid.SampledFrom([]string{"世界", "é", "e\u0301", "👍🏽", "👩\u200d💻", "\u0301", "한", "q\u0336", "▒", "\ufffd", "£", "\u200d", "\ufe0f", "🏽"}).Draw(t, "wide")
	case 3:
		return rapid.SampledFrom([]string{"\r", "\n", "\r\n", "\b", "\t", "\x0e", "\x0f", "\x07", "\x0b"}).Draw(t, "control")
	case 4:
		return fmt.Sprintf("\x1b[%d;%dH", n("row"), n("col"))
	case 5:
		sgr := rapid.SampledFrom([]string{"", "0", "1", "2;3", "4", "4:3", "21", "7;8", "9;53", "31", "97", "42", "107", "38;5;200", "48;2;1;2;3", "38:2::9:8:7", "58:5:3", "39", "49", "24", "22;27"})
		return "\x1b[" + sgr.Draw(t, "sgr") + "m"
	case 6:
		return fmt.Sprintf("\x1b[%d%c", n("n"), rapid.SampledFrom([]byte("ABCDEFGIZ@PXLMSTde`")).Draw(t, "final"))
	case 7:
		return fmt.Sprintf("\x1b[%d%c", rapid.IntRange(0, 3).Draw(t, "n"), rapid.SampledFrom([]byte("JKg")).Draw(t, "final"))
	case 8:
		return fmt.Sprintf("\x1b[%d;%dr", n("top"), n("bottom"))
	case 9:
		mode := rapid.SampledFrom([]int{1, 5, 6, 7, 9, 12, 25, 47, 1000, 1002, 1003, 1004, 1005, 1006, 1047, 1048, 1049, 2004}).Draw(t, "mode")
		return fmt.Sprintf("\x1b[?%d%c", mode, rapid.SampledFrom([]byte("hl")).Draw(t, "set"))
	case 10:
		return rapid.SampledFrom([]string{
			"\x1b7", "\x1b8", "\x1b[s", "\x1b[u", "\x1b=", "\x1b>", "\x1bD", "\x1bE", "\x1bM", "\x1bH", "\x1bc", "\x1b#8", "\x1b(0", "\x1b(B", "\x1b)0", "\x1b(A",
			"\x1b[!p", "\x1b[4h", "\x1b[4h", "\x1b[4l", "\x1b[20h", "\x1b[20l", "\x1b[3 q", "\x1b[>4;2m", "\x1b[>5u", "\x1b[<u", "\x1b[3b", "x\x1b[2b", "\x1b[4hx\x1b[2b", "\x1bn", "\x1bo",
			"\x1b[22;0t", "\x1b[23;0t", "\u0085", "\u008d", "\u009b5C",
		}).Draw(t, "escape")
	default:
		return rapid.SampledFrom([]string{
			"\x1b]2;title\a", "\x1b]0;\u00fcber\x1b\\", "\x1bkname\x1b\\", "\x1b]8;id=1;https://example.org\x1b\\", "\x1b]8;;\a", "\x1b]4;1;#ff0000;300;x\a",
			"\x1b]11;rgb:00/11/22\a", "\x1b]111\a", "\x1b]104;1\a", "\x1bPq#0;2\x1b\\", "\x1b_apc\x1b\\", "\x1b[?25\x18", "\xff\xc2", "\xe4\xb8", "\x9b", "\x1b[1\n;31m",
		}).Draw(t, "string")
	}
})

// A snapshot at any byte and what follows it lead to the same state as the
// whole, and a snapshot's snapshot is itself.
func TestSnapshotAtAnyOffset(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cols, rows := rapid.IntRange(2, 20).Draw(t, "cols"), rapid.IntRange(1, 8).Draw(t, "rows")
		var b strings.Builder
		for _, f := range rapid.SliceOfN(fragment, 1, 40).Draw(t, "output") {
			b.WriteString(f)
		}
		output := []byte(b.String())
		at := rapid.IntRange(0, len(output)).Draw(t, "at")

		early := follow(t, cols, rows, output[:at])
		snapshot := early.Snapshot(noLimit)
		late := follow(t, cols, rows, snapshot)
		if again := late.Snapshot(noLimit); !bytes.Equal(again, snapshot) {
			t.Fatalf("the snapshot of a snapshot\n got %q\nwant %q\nafter %q", again, snapshot, output[:at])
		}
		for _, s := range []*Screen{early, late} {
			if _, err := s.Write(output[at:]); err != nil {
				t.Fatal(err)
			}
		}
		whole := early.Snapshot(noLimit)
		if got := late.Snapshot(noLimit); !bytes.Equal(got, whole) {
			t.Fatalf("after %q, snapshot\n     %q\nthen %q:\n got %q\nwant %q", output[:at], snapshot, output[at:], got, whole)
		}
	})
}
