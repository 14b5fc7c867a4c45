//go:build linux || darwin

package terminal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"tandem/session"
	"tandem/share/terminal/internal/cast"
)

// recordingOf is a recording in which each text is printed a moment after the
// one before.
func recordingOf(pause time.Duration, texts ...string) string {
	var b strings.Builder
	b.WriteString(`{"version": 2, "width": 80, "height": 24}` + "\n")
	for i, text := range texts {
		quoted, _ := json.Marshal(text)
		fmt.Fprintf(&b, "[%f, \"o\", %s]\n", (time.Duration(i+1) * pause).Seconds(), quoted)
	}
	return b.String()
}

func (d *desk) replays(ctx context.Context, recording string, o ReplayOptions) <-chan outcome {
	return background(func() (Result, error) {
		return Result{}, Replay(ctx, strings.NewReader(recording), d.tty, o)
	})
}

// TestHostileRecording: a recording does no more to a terminal than a peer can.
func TestHostileRecording(t *testing.T) {
	d := newDesk(t, size80)
	ended := d.replays(t.Context(), recordingOf(time.Millisecond,
		"\x1b]52;c;cm0gLXJmIC8K\a", "\x1b]52;c;?\a", "\x1b[c", "\x1b[6n", "\x1b", "]52;c;eA==\x1b", "\\", "\x05", "\x1bP$qm\x1b\\", "\x1b[?1049h\x1b[?1000h", "over"), ReplayOptions{})
	if o := await(t, ended); o.err != nil {
		t.Fatal(o.err)
	}
	d.restored()
	for _, never := range []string{"]52", "\x1b[c", "\x1b[6n", "\x05", "$qm"} {
		if strings.Contains(d.seen(), never) {
			t.Errorf("%q reached the terminal: %q", never, d.seen())
		}
	}
	for _, undone := range []string{"\x1b[?1049l", "\x1b[?1000l"} {
		if !strings.Contains(d.seen(), undone) {
			t.Errorf("%q is missing in %q", undone, d.seen())
		}
	}
}

func TestReplayKeys(t *testing.T) {
	d := newDesk(t, size80)
	ended := d.replays(t.Context(), recordingOf(time.Hour, "one", "two", "three", "four"), ReplayOptions{Start: time.Hour + time.Second})
	d.sees("one")
	d.types(".")
	d.sees("two")
	d.types("0") // a new beginning
	d.sees("\x1b[2J")
	d.types("..")
	d.types("\x1b[C\x1bOA\x1b[B?x\x1b[31~m 9")
	d.sees("three")
	d.types("q")
	if o := await(t, ended); o.err != nil || strings.Contains(d.seen(), "four") {
		t.Errorf("%v, shown %q", o.err, d.seen())
	}
	d.restored()
}

func TestReplayEnds(t *testing.T) {
	d := newDesk(t, Size{Cols: 40, Rows: 10})
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := d.replays(ctx, recordingOf(time.Hour, "one"), ReplayOptions{})
	d.sees("recorded with 80 by 24 cells; here are 40 by 10")
	enough := errors.New("enough")
	cancel(enough)
	if o := await(t, ended); !errors.Is(o.err, enough) {
		t.Error(o.err)
	}
	d.restored()
	if o := await(t, d.replays(t.Context(), "hello", ReplayOptions{})); session.KindOf(o.err) != session.Unsupported {
		t.Error(o.err)
	}
	if o := await(t, d.replays(t.Context(), recordingOf(time.Millisecond, "one")+`[5, "o", "tw`, ReplayOptions{})); o.err != nil {
		t.Error(o.err)
	}
	d.sees("the recording breaks off here")
}

// TestDump: into a file goes what was printed, whatever that is.
func TestDump(t *testing.T) {
	out, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	texts := []string{"a", "\x1b]52;c;?\a", "\x1b[c"}
	if err := Replay(t.Context(), strings.NewReader(recordingOf(time.Hour, texts...)), TTY{Out: out}, ReplayOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(out.Name()); err != nil || !bytes.Equal(got, []byte(strings.Join(texts, ""))) {
		t.Errorf("%v, %q", err, got)
	}
}

func TestSummary(t *testing.T) {
	recording := recordingOf(time.Second, "abc") + `[2, "i", "xy"]` + "\n" + `[2.5, "m", "evil\u001b[31m"]` + "\n" + `[3, "r", "1`
	s, err := Summarize(strings.NewReader(recording))
	if err != nil || s.Output != 3 || s.Input != 2 || s.Seconds != 2.5 || len(s.Markers) != 1 || s.Markers[0].Text != "evil\ufffd[31m" || !s.TornOff {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestPlayerKeys(t *testing.T) {
	for typed, want := range map[string]string{
		" .": "pause step", "\x1b[A\x1b[B\x1b[C\x1b[D": "faster slower 5s -5s", "\x1bOC": "5s", "07": "0.0 0.7",
		"mq\x03": "marker quit quit", "\x1bq.": "step", "xyz": "", "\x1b[Z ": "pause",
	} {
		var got []string
		var held []byte
		for _, b := range []byte(typed) {
			command, rest, ok := playerKey(held, b)
			held = rest
			if !ok {
				continue
			}
			switch command.Kind {
			case cast.SeekBy:
				got = append(got, command.By.String())
			case cast.SeekTo:
				got = append(got, fmt.Sprintf("%.1f", command.To))
			default:
				got = append(got, map[cast.CommandKind]string{
					cast.Pause: "pause", cast.Step: "step", cast.Faster: "faster", cast.Slower: "slower", cast.NextMarker: "marker", cast.Quit: "quit",
				}[command.Kind])
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q is %v", typed, got)
		}
	}
}
