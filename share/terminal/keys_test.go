package terminal

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

func typed(e *escapes, chunks ...string) string {
	var got string
	for _, chunk := range chunks {
		for _, k := range e.split([]byte(chunk)) {
			switch k.kind {
			case keyText:
				got += string(k.text)
			case keyDetach:
				got += "<detach>"
			case keyHelp:
				got += "<help>"
			default:
				got += fmt.Sprintf("<%d>", k.kind)
			}
		}
	}
	return got
}

func TestEscapes(t *testing.T) {
	for _, c := range []struct {
		char      byte
		in, typed string
	}{
		{'~', "~.", "<detach>"},
		{'~', "ls\r~.", "ls\r<detach>"},
		{'~', "ls\n~?x", "ls\n<help>x"},
		{'~', "ls ~.", "ls ~."},
		{'~', "\r~~.", "\r~."},
		{'~', "\r~~\r~.", "\r~\r<detach>"},
		{'~', "~/bin\r", "~/bin\r"},
		{'~', "~\r~.", "~\r<detach>"},
		{'%', "\r~.\r%.", "\r~.\r<detach>"},
		{0, "\r~.", "\r~."},
	} {
		if got := typed(&escapes{char: c.char}, c.in); got != c.typed {
			t.Errorf("%q: %q, want %q", c.in, got, c.typed)
		}
	}
}

func TestEscapesSplitAnywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.StringOfN(rapid.SampledFrom([]rune("~.?\rab")), 0, 20, -1).Draw(t, "in")
		at := rapid.IntRange(0, len(in)).Draw(t, "at")
		if whole, split := typed(&escapes{char: '~'}, in), typed(&escapes{char: '~'}, in[:at], in[at:]); whole != split {
			t.Fatalf("%q: %q, split at %d: %q", in, whole, at, split)
		}
	})
}

// TestKeysOutliveTheirBuffer: keys are sent on while the next ones are read.
func TestKeysOutliveTheirBuffer(t *testing.T) {
	for _, char := range []byte{0, '~'} {
		e := escapes{char: char}
		buf := []byte("first")
		keys := e.split(buf)
		copy(buf, "other")
		if len(keys) != 1 || string(keys[0].text) != "first" {
			t.Errorf("with %q as the escape: %q", char, keys[0].text)
		}
	}
}
