//go:build linux

package terminal

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	vt "tandem/share/terminal/internal/screen"
)

// pane is a terminal to compare with: one of tmux's.
type pane struct {
	t      *testing.T
	socket string
	feed   *os.File
	marks  int
}

func newPane(t *testing.T, size Size) *pane {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("tmux is not installed: nothing to compare with")
	}
	dir := t.TempDir()
	p := &pane{t: t, socket: filepath.Join(dir, "tmux")}
	fifo := filepath.Join(dir, "fifo")
	if out, err := exec.Command("mkfifo", fifo).CombinedOutput(); err != nil {
		t.Fatalf("mkfifo: %v: %s", err, out)
	}
	p.tmux("-f", "/dev/null", "-u", "new-session", "-d", "-x", fmt.Sprint(size.Cols), "-y", fmt.Sprint(size.Rows),
		"stty raw -echo; exec cat "+fifo)
	t.Cleanup(func() { _ = exec.Command("tmux", "-S", p.socket, "kill-server").Run() })
	p.tmux("set-option", "-g", "status", "off")
	p.resize(size)
	feed, err := os.OpenFile(fifo, os.O_RDWR, 0) // which waits for nobody
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = feed.Close() })
	p.feed = feed
	return p
}

func (p *pane) tmux(args ...string) string {
	p.t.Helper()
	cmd := exec.Command("tmux", append([]string{"-S", p.socket}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TMUX=", "TERM=screen")
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

// shows is what a reset pane shows after output, and what state it is in.
func (p *pane) shows(output []byte) string {
	p.t.Helper()
	p.write([]byte("\x1b[?47l\x1bc\x1b[3J"))
	return p.write(output)
}

// write is what the pane shows after more output, and what state it is in.
func (p *pane) write(output []byte) string {
	p.t.Helper()
	p.marks++
	mark := fmt.Sprintf("mark %d", p.marks)
	if _, err := p.feed.Write(append(bytes.Clone(output), "\x18\x1b]2;"+mark+"\x1b\\"...)); err != nil {
		p.t.Fatal(err)
	}
	state := "#{cursor_x},#{cursor_y} shown #{cursor_flag} alternate #{alternate_on} insert #{insert_flag} keypad #{keypad_flag} keys #{keypad_cursor_flag}" +
		" origin #{origin_flag} wrap #{wrap_flag} mouse #{mouse_any_flag}#{mouse_button_flag}#{mouse_standard_flag}#{mouse_sgr_flag}" +
		" region #{scroll_region_upper}-#{scroll_region_lower}"
	var got string
	eventually(p.t, "tmux has it all", func() bool {
		var title string
		title, got, _ = strings.Cut(p.tmux("display-message", "-p", "#{pane_title}\n"+state, ";", "capture-pane", "-e", "-p"), "\n")
		return title == mark
	})
	return looks(got)
}

// text is the rows that the pane has and has had, down to the cursor's, with
// their attributes, and the cursor's column.
func (p *pane) text() (rows []string, column string) {
	p.t.Helper()
	cursor, capture, _ := strings.Cut(p.tmux("display-message", "-p", "#{cursor_x} #{history_size} #{cursor_y}", ";", "capture-pane", "-e", "-p", "-S", "-"), "\n")
	var history, y int
	if _, err := fmt.Sscan(cursor, &column, &history, &y); err != nil {
		p.t.Fatal(err)
	}
	rows = strings.SplitAfter(looks(capture), "--\n")
	return rows[:history+y+1], column
}

func (p *pane) resize(s Size) {
	p.t.Helper()
	p.tmux("resize-window", "-x", fmt.Sprint(s.Cols), "-y", fmt.Sprint(s.Rows))
}

// looks makes every cell of a capture tell its attributes, and drops the blanks
// at the end of lines: whether tmux keeps those depends on how they were made.
func looks(capture string) string {
	var b strings.Builder
	var attributes, fg, bg, under, acs string
	for line := range strings.Lines(capture) {
		line = strings.TrimSuffix(line, "\n")
		var cells []string
		for len(line) > 0 {
			switch {
			case strings.HasPrefix(line, "\x1b["):
				sgr, rest, _ := strings.Cut(line[2:], "m")
				line = rest
				params := strings.Split(sgr, ";")
				switch n := params[0]; {
				case n == "0" || n == "":
					attributes, fg, bg, under = strings.Join(params[1:], ";"), "", "", ""
				case n == "39", n == "49", n == "59", n[0] == '3' && len(n) == 2, n[0] == '4' && len(n) == 2, n == "58", len(n) > 1 && n[0] == '9', len(n) == 3 && n[0] == '1':
					target := map[byte]*string{'3': &fg, '9': &fg, '4': &bg, '1': &bg, '5': &under}[n[0]]
					if *target = sgr; n[1] == '9' && len(n) == 2 && n != "99" {
						*target = ""
					}
				default:
					attributes += ";" + sgr
				}
			case line[0] == 0x0e, line[0] == 0x0f:
				acs = map[byte]string{0x0e: "acs"}[line[0]]
				line = line[1:]
			default:
				_, n := utf8.DecodeRuneInString(line)
				set := slices.Compact(slices.Sorted(strings.SplitSeq(strings.Trim(attributes, ";"), ";")))
				cells = append(cells, fmt.Sprintf("%s|%s %s %s %s %s\n", line[:n], set, fg, bg, under, acs))
				line = line[n:]
			}
		}
		for len(cells) > 0 && cells[len(cells)-1][0] == ' ' {
			cells = cells[:len(cells)-1]
		}
		b.WriteString(strings.Join(cells, "") + "--\n")
	}
	return b.String()
}

// histories is how many random histories are compared: TANDEM_HISTORIES if that
// is set, or a few. They are always the same ones, so that a failure comes again.
func histories(t *testing.T) int {
	t.Helper()
	text := os.Getenv("TANDEM_HISTORIES")
	switch {
	case text == "" && testing.Short():
		return 2
	case text == "":
		return 5
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSnapshotsInTmux: wherever the output is cut, a snapshot and the rest show
// what the whole does.
func TestSnapshotsInTmux(t *testing.T) {
	t.Parallel()
	p := newPane(t, size80)
	for seed := range histories(t) {
		compareCuts(t, p, scribble(rand.New(rand.NewPCG(uint64(seed), 0)), 40))
	}
}

func compareCuts(t *testing.T, p *pane, output []byte) {
	t.Helper()
	host := vt.New(int(size80.Cols), int(size80.Rows))
	want := p.shows(output)
	var filter Filter
	if got := p.shows(filter.Append(nil, output)); got != want {
		t.Fatalf("filtered, %q shows\n%s\nnot\n%s", output, got, want)
	}
	for at := range len(output) {
		late := append(host.Snapshot(MaxSnapshot), output[at:]...)
		filter = Filter{}
		if got := p.shows(filter.Append(nil, late)); got != want {
			t.Errorf("%q cut at %d shows\n%s\nnot\n%s\nby %q", output, at, got, want, late)
			return
		}
		if _, err := host.Write(output[at : at+1]); err != nil {
			t.Fatal(err)
		}
	}
}

// TestProgramsInTmux: a program shared through a terminal looks as it does in
// a local one, to whoever came first and to those who came later.
func TestProgramsInTmux(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for programs to pause")
	}
	text := filepath.Join(t.TempDir(), "text.c")
	var b strings.Builder
	for i := range 200 {
		fmt.Fprintf(&b, "int line_%d = %d; /* 世界 e\u0301 %s */\n", i, i*i, strings.Repeat("word ", i%30))
	}
	if err := os.WriteFile(text, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		argv []string
		keys []string
	}{
		{[]string{"vim", "-u", "NONE", "-N", "+syntax on", "+set number ruler hlsearch", text}, []string{"10j", "\x04", "/line_5\r", "n", ":split\r", "ihello\x1b", ":vsplit\r", "G", "dd", "u"}},
		{[]string{"less", "-R", text}, []string{" ", " ", "/line_9\r", "n", "g", "G", "h", "q"}},
		{[]string{"htop", "-d", "100"}, []string{"\x1bOB\x1bOB", "t", "I", "h", "q"}},
		{[]string{"top", "-d", "900"}, []string{"1", "z", "x", "h", "q"}},
		{[]string{"vttest"}, []string{"1\n", "\n", "\n", "\n", "\n", "\n", "\n", "2\n", "\n", "\n", "\n", "\n", "\n"}},
	} {
		t.Run(c.argv[0], func(t *testing.T) {
			if _, err := exec.LookPath(c.argv[0]); err != nil {
				t.Skipf("%s is not installed", c.argv[0])
			}
			t.Parallel()
			compareProgram(t, newPane(t, size80), c.argv, c.keys)
		})
	}
}

func compareProgram(t *testing.T, p *pane, argv, keys []string) {
	service, guest := share(t, Config{Argv: argv, Env: []string{"LC_ALL=C.UTF-8"}})
	early := mirrored(t, guest, Request{Params: Params{Size: size80, Term: "screen-256color"}})
	early.until("output", func() bool { return len(early.wrote) > 0 })
	viewers := []*mirror{early}
	for step := 0; ; step++ {
		screens := settled(t, service, viewers)
		want := p.shows(screens[0])
		for i, wrote := range screens {
			var filter Filter
			if got := p.shows(filter.Append(nil, wrote)); got != want {
				t.Fatalf("after %q, viewer %d of %d sees\n%s\nnot\n%s\nby %q", keys[:step], i, len(viewers), got, want, wrote)
			}
		}
		if step == len(keys) || service.Terminals()[0].Exit != nil {
			return
		}
		late := mirrored(t, guest, Request{Right: View})
		late.until("the screen", func() bool { return late.snapshots == 1 })
		viewers = append(viewers, late)
		if err := early.Input([]byte(keys[step])); err != nil {
			t.Fatal(err)
		}
	}
}

// settled waits until a program prints nothing more for now and all viewers
// have seen it all, and returns what was written to their terminals.
func settled(t *testing.T, s *Service, viewers []*mirror) [][]byte {
	t.Helper()
	var end uint64
	var screens [][]byte
	quiet := 0
	eventually(t, "the program pauses, seen by all", func() bool {
		now := s.Terminals()[0].Output
		if quiet++; now != end || now == 0 {
			end, quiet = now, 0
		}
		if quiet < 30 {
			return false
		}
		screens = screens[:0]
		for _, v := range viewers {
			v.mu.Lock()
			if v.offset == end {
				screens = append(screens, v.wrote)
			}
			v.mu.Unlock()
		}
		return len(screens) == len(viewers)
	})
	return screens
}
