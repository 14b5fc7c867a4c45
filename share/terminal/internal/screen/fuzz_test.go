package screen

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzSnapshot has a screen follow anything, of which it must not panic, and
// checks that its snapshot is right: followed by a screen, it is that screen's
// own, and what comes next does the same to both.
func FuzzSnapshot(f *testing.F) {
	for _, seed := range []string{
		"plain\r\ntext\x1b[31m red\x1b[0m\x1b[2;5Hthere",
		"\x1b[?1049h\x1b[1;5r\x1b[?6hvim\x1b[?25l\x1b[?2004h",
		"世界e\u0301👩\u200d💻\x1b(0qqq\x1b(B\x1b7\x1b8",
		"\x1b]2;title\x1b\\\x1b]8;;https://example.org\alink\x1b]8;;\a\x1bPq\x1b\\",
		"\x1b[38:2::1:2:3;4:3mx\x1b[3b\x1b[4h\x1b[L\x1b[P\x1b[@\x1b[X",
	} {
		f.Add([]byte(seed), uint8(9), uint8(4), uint16(len(seed)/2))
	}
	// Cut within what repeats the last character, which was inserted.
	f.Add([]byte("\x1b[4h"+strings.Repeat("0", 100)+"\x1b[4b"), uint8(0x83), uint8('-'), uint16(107))
	f.Fuzz(func(t *testing.T, output []byte, cols, rows uint8, at uint16) {
		split := min(int(at), len(output))
		width, height := int(cols%80)+2, int(rows%40)+1
		early := follow(t, width, height, output[:split])
		snapshot := early.Snapshot(noLimit)
		late := follow(t, width, height, snapshot)
		if again := late.Snapshot(noLimit); !bytes.Equal(again, snapshot) {
			t.Fatalf("the snapshot of a snapshot\n got %q\nwant %q", again, snapshot)
		}
		for _, s := range []*Screen{early, late} {
			if _, err := s.Write(output[split:]); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := late.Snapshot(noLimit), early.Snapshot(noLimit); !bytes.Equal(got, want) {
			t.Fatalf("after %q and %q\n got %q\nwant %q", snapshot, output[split:], got, want)
		}
		early.Lines(1<<60, 100, 200, 1000)
		early.Resize(height, width)
		early.Resize(width, height)
		early.Snapshot(100)
	})
}
