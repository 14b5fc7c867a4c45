//go:build linux

package terminal

import (
	"os"
	"slices"
	"testing"

	vt "tandem/share/terminal/internal/screen"
)

// sequences are one of each kind that programs print, but for what tmux 3.3 does
// in its own way or doesn't know: NEL as C1, skin colours, stray bytes, HPR, VPR,
// CHT, DECSTR and the British set. Outside the region it also inserts and deletes lines.
var sequences = []string{
	"\b", "\t", "\n", "\r", "\x0b", "\x0c", "\x0e", "\x0f", "\x07", "é", "世", "e\u0301\u0302", "\xe4\xb8", "\xf0\x9f\x91",
	"\x1b7", "\x1b8", "\x1b[s", "\x1b[u", "\x1bD", "\x1bE", "\x1bM", "\x1bH", "\x1bc", "\x1b#8", "\x1b=", "\x1b>", "\x1b(0", "\x1b(B", "\x1b)0\x0e",
	"\x1b[3@", "\x1b[2A", "\x1b[2B", "\x1b[2C", "\x1b[2D", "\x1b[2E", "\x1b[2F", "\x1b[7G", "\x1b[3;5H", "\x1b[3;5f", "\x1b[2Z", "\x1b[7`", "\x1b[4d",
	"\x1b[J", "\x1b[1J", "\x1b[2J", "\x1b[K", "\x1b[1K", "\x1b[2K", "\x1b[r\x1b[5H\x1b[2L", "\x1b[r\x1b[5H\x1b[2M", "\x1b[3P", "\x1b[2S", "\x1b[2T", "\x1b[3X", "x\x1b[3b", "\x1b[g", "\x1b[3g",
	"\x1b[m", "\x1b[1;3;4;5;7;9m", "\x1b[2;8;53m", "\x1b[22;23;24;25;27;28;29m", "\x1b[31;42m", "\x1b[97;102m", "\x1b[38;5;200;48;5;17m", "\x1b[38;2;1;2;3m", "\x1b[48:2::9:8:7m", "\x1b[4:3;58:5:9m", "\x1b[39;49;59m",
	"\x1b[2;4r", "\x1b[2;4r\x1b[?6h\x1b[2;2H", "\x1b[r", "\x1b[4h", "\x1b[4l", "\x1b[?7l", "\x1b[?7h", "\x1b[?25l", "\x1b[?1h", "\x1b[?1000h", "\x1b[?1002h\x1b[?1006h", "\x1b[?2004h", "\x1b[?1004h", "\x1b[3 q",
	"\x1b[?1049h", "\x1b[?1049h\x1b[2;2Hon it\x1b[?1049l", "\x1b[?47h\x1b[Hon it\x1b[?47l",
	"\x1b]2;a title\a", "\x1b]0;another\x1b\\", "\x1bka third\x1b\\", "\x1b]8;;https://example.org\x1b\\link\x1b]8;;\x1b\\", "\x1b]4;1;#ff0000\a", "\x1b]104\a", "\x1b]52;c;aGk=\a",
	"\x1bPq#0;2;0;0;0\x1b\\", "\x1b_apc\x1b\\", "\x1b^pm\x1b\\", "\x1bXsos\x1b\\", "\x1b[2\x18", "\x1b[3\n1m", "\x1b[\x1b[31m", "\x1b[?9999h", "\x1b[>4;1m", "\x1b[1;2;3;4;5;6;7;8;9;10;11;12;13;14;15;16;17;18m",
}

// around is what is on the screen before a sequence, and what comes after it.
var around = []struct{ before, after string }{
	{"one\r\ntwo 世界 words\r\n\x1b[32;44mthree\x1b[K\r\nfour", "Xyz\r\nlast"},
	{"\x1b[H\x1b[33mabcdef 世 ghi\r\n\x1b[1mjkl\x1b[5;10r\x1b[2;6H", "Q\x1b[0m\x1b[9;9Hend\n\n\n\n\nmore"},
	{"\x1b[?1049h\x1b[2J\x1b[3;3Habcdef\x1b[4h\x1b[3;5H", "Q\x1b[?1049lR"},
	{atTheEnd, "Q\x1b[0m on"},
}

// atTheEnd leaves the cursor where the next character wraps first. What tmux 3.3
// does there with wanders from it is its own: it counts from behind the last
// column, and keeps that for another row, but not in saved cursors.
const atTheEnd = "above\r\nabc\r\nbelow\x1b[2;70H\x1b[4;42m at the end"

var wanders = []string{"\b", "\x1b[2D", "\x1b[4d", "\x1b[?7l", "\x1b[?1049h\x1b[2;2Hon it\x1b[?1049l"}

// TestEverySequenceInTmux: each sequence, cut at every byte of it, is in tmux what
// it is as a whole; in one place of those around, or in all of them if
// TANDEM_HISTORIES is set.
func TestEverySequenceInTmux(t *testing.T) {
	if testing.Short() {
		t.Skip("asks tmux hundreds of times")
	}
	t.Parallel()
	p := newPane(t, size80)
	thorough := os.Getenv("TANDEM_HISTORIES") != ""
	for i, sequence := range sequences {
		for j, place := range around {
			if !thorough && j != i%len(around) || place.before == atTheEnd && slices.Contains(wanders, sequence) {
				continue
			}
			want := p.shows([]byte(place.before + sequence + place.after))
			for at := range len(sequence) + 1 {
				host := vt.New(int(size80.Cols), int(size80.Rows))
				if _, err := host.Write([]byte(place.before + sequence[:at])); err != nil {
					t.Fatal(err)
				}
				snapshot := host.Snapshot(MaxSnapshot)
				var filter Filter
				if got := p.shows(filter.Append(nil, append(snapshot, sequence[at:]+place.after...))); got != want {
					t.Errorf("%q cut at %d, after %q:\n%s\nwant\n%s\nby %q", sequence, at, place.before, got, want, snapshot)
					break
				}
			}
		}
	}
}
