package screen

import (
	"bytes"
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"

	"tandem/share/terminal"
)

// TestKeys: what programs get to read, as xterm sends it (ctlseqs, "PC-Style
// Function Keys").
func TestKeys(t *testing.T) {
	plain, application := terminal.Modes{}, terminal.Modes{CursorKeys: true, NewLine: true, Paste: true}
	for _, c := range []struct {
		key   tea.KeyMsg
		modes terminal.Modes
		want  string
	}{
		{tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("aé世")}, plain, "aé世"},
		{tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("x"), Alt: true}, plain, "\x1bx"},
		{tea.KeyMsg{Type: tea.KeySpace, Runes: []rune(" ")}, plain, " "},
		{tea.KeyMsg{Type: tea.KeyCtrlC}, plain, "\x03"},
		{tea.KeyMsg{Type: tea.KeyCtrlAt}, plain, "\x00"},
		{tea.KeyMsg{Type: tea.KeyEnter}, plain, "\r"},
		{tea.KeyMsg{Type: tea.KeyEnter}, application, "\r\n"},
		{tea.KeyMsg{Type: tea.KeyBackspace}, plain, "\x7f"},
		{tea.KeyMsg{Type: tea.KeyBackspace, Alt: true}, plain, "\x1b\x7f"},
		{tea.KeyMsg{Type: tea.KeyEscape}, plain, "\x1b"},
		{tea.KeyMsg{Type: tea.KeyShiftTab}, plain, "\x1b[Z"},
		{tea.KeyMsg{Type: tea.KeyUp}, plain, "\x1b[A"},
		{tea.KeyMsg{Type: tea.KeyUp}, application, "\x1bOA"},
		{tea.KeyMsg{Type: tea.KeyCtrlRight}, application, "\x1b[1;5C"},
		{tea.KeyMsg{Type: tea.KeyUp, Alt: true}, plain, "\x1b[1;3A"},
		{tea.KeyMsg{Type: tea.KeyCtrlShiftHome}, plain, "\x1b[1;6H"},
		{tea.KeyMsg{Type: tea.KeyF1}, plain, "\x1bOP"},
		{tea.KeyMsg{Type: tea.KeyF4, Alt: true}, plain, "\x1b[1;3S"},
		{tea.KeyMsg{Type: tea.KeyF5}, plain, "\x1b[15~"},
		{tea.KeyMsg{Type: tea.KeyF20}, plain, "\x1b[34~"},
		{tea.KeyMsg{Type: tea.KeyDelete}, plain, "\x1b[3~"},
		{tea.KeyMsg{Type: tea.KeyCtrlPgUp, Alt: true}, plain, "\x1b[5;7~"},
		{tea.KeyMsg{Type: -1000, Alt: true}, plain, ""},
		{tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("a\n\nb\r\nc"), Paste: true}, plain, "a\r\rb\rc"},
		{tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("a\x1b[201~rm\x1b\x1b[201~[201~\u009b201~"), Paste: true}, application, "\x1b[200~a[201~rm[201~[201~201~\x1b[201~"},
	} {
		if got := string(AppendKey(nil, c.key, c.modes)); got != c.want {
			t.Errorf("%v (%+v): %q, want %q", c.key, c.modes, got, c.want)
		}
	}
}

func TestMouse(t *testing.T) {
	left := tea.MouseMsg{Button: tea.MouseButtonLeft}
	up := tea.MouseMsg{Button: tea.MouseButtonLeft, Action: tea.MouseActionRelease}
	drag := tea.MouseMsg{Button: tea.MouseButtonLeft, Action: tea.MouseActionMotion, Ctrl: true}
	move := tea.MouseMsg{Action: tea.MouseActionMotion}
	wheel := tea.MouseMsg{Button: tea.MouseButtonWheelDown, Shift: true}
	for _, c := range []struct {
		event          tea.MouseMsg
		mode, encoding int
		x, y           int
		want           string
	}{
		{left, 0, 1006, 1, 2, ""},
		{left, 9, 0, 1, 2, "\x1b[M \"#"},
		{up, 9, 0, 1, 2, ""},
		{left, 1000, 0, 1, 2, "\x1b[M \"#"},
		{up, 1000, 0, 1, 2, "\x1b[M#\"#"},
		{left, 1000, 0, 223, 2, ""},
		{left, 1000, 1005, 223, 2, "\x1b[M Ā#"},
		{left, 1000, 1006, 223, 2, "\x1b[<0;224;3M"},
		{up, 1000, 1006, 0, 0, "\x1b[<0;1;1m"},
		{drag, 1000, 1006, 0, 0, ""},
		{drag, 1002, 1006, 0, 0, "\x1b[<48;1;1M"},
		{move, 1002, 1006, 0, 0, ""},
		{move, 1003, 1006, 0, 0, "\x1b[<35;1;1M"},
		{wheel, 1000, 1015, 4, 4, "\x1b[101;5;5M"},
		{left, 1003, 1006, -1, 0, ""},
	} {
		got := string(AppendMouse(nil, c.event, c.x, c.y, terminal.Modes{Mouse: c.mode, MouseEncoding: c.encoding}))
		if got != c.want {
			t.Errorf("%v in %d/%d at %d,%d: %q, want %q", c.event, c.mode, c.encoding, c.x, c.y, got, c.want)
		}
	}
	if got := string(AppendWheel(nil, wheel, terminal.Modes{Alternate: true, ScrollKeys: true, CursorKeys: true})); got != "\x1bOB\x1bOB\x1bOB" {
		t.Errorf("the wheel: %q", got)
	}
}

// FuzzKeys: whatever is pressed, pasted or clicked, the program reads what
// belongs to one key, and a paste can't end itself.
func FuzzKeys(f *testing.F) {
	f.Add(int16(-2), "a", true, false, uint8(3), int16(4), int16(5), uint16(1002))
	f.Add(int16(3), "\x1b[201~", false, true, uint8(255), int16(400), int16(-5), uint16(1006))
	f.Fuzz(func(t *testing.T, kind int16, text string, withAlt, paste bool, flags uint8, x, y int16, mouse uint16) {
		m := terminal.Modes{
			CursorKeys: flags&1 != 0, NewLine: flags&2 != 0, Paste: flags&4 != 0, Alternate: flags&8 != 0, ScrollKeys: flags&16 != 0,
			Mouse: []int{0, 9, 1000, 1002, 1003}[mouse%5], MouseEncoding: []int{0, 1005, 1006, 1015, 1016}[mouse/5%5],
		}
		got := string(AppendKey(nil, tea.KeyMsg{Type: tea.KeyType(kind), Runes: []rune(text), Alt: withAlt, Paste: paste}, m))
		if inner, ok := strings.CutPrefix(got, pasteBegin); paste && m.Paste {
			inner, ended := strings.CutSuffix(inner, pasteEnd)
			if !ok || !ended || strings.ContainsAny(inner, "\x1b\u009b") {
				t.Fatalf("pasted %q: %q", text, got)
			}
		}
		if tea.KeyType(kind) != tea.KeyRunes && !paste && len(got) > 8 {
			t.Fatalf("key %d: %q", kind, got)
		}
		e := tea.MouseMsg{Button: tea.MouseButton(mouse % 13), Action: tea.MouseAction(flags % 4), Shift: withAlt, Ctrl: paste, Alt: flags&32 != 0}
		report := AppendMouse([]byte("before"), e, int(x), int(y), m)
		if !bytes.HasPrefix(report, []byte("before")) || len(report) > len("before")+20 || m.Mouse == 0 && len(report) > len("before") {
			t.Fatalf("%v: %q", e, report)
		}
		AppendWheel(nil, e, m)
	})
}
