package screen

import (
	"strconv"
	"strings"
	"unicode/utf8"

	tea "github.com/charmbracelet/bubbletea"

	"tandem/share/terminal"
)

// The modifiers of xterm's sequences.
const (
	shift = 1
	alt   = 2
	ctrl  = 4
)

// special is a key with a sequence of its own: CSI final, or CSI number ~.
type special struct {
	final     byte // 0: number is the key
	number    int
	modifiers int
}

// specials are the keys that aren't characters.
func specialKey(t tea.KeyType) (special, bool) {
	s, ok := map[tea.KeyType]special{
		tea.KeyUp: {final: 'A'}, tea.KeyDown: {final: 'B'}, tea.KeyRight: {final: 'C'}, tea.KeyLeft: {final: 'D'},
		tea.KeyHome: {final: 'H'}, tea.KeyEnd: {final: 'F'},
		tea.KeyInsert: {number: 2}, tea.KeyDelete: {number: 3}, tea.KeyPgUp: {number: 5}, tea.KeyPgDown: {number: 6},
		tea.KeyCtrlPgUp: {number: 5, modifiers: ctrl}, tea.KeyCtrlPgDown: {number: 6, modifiers: ctrl},
		tea.KeyCtrlUp: {final: 'A', modifiers: ctrl}, tea.KeyCtrlDown: {final: 'B', modifiers: ctrl},
		tea.KeyCtrlRight: {final: 'C', modifiers: ctrl}, tea.KeyCtrlLeft: {final: 'D', modifiers: ctrl},
		tea.KeyCtrlHome: {final: 'H', modifiers: ctrl}, tea.KeyCtrlEnd: {final: 'F', modifiers: ctrl},
		tea.KeyShiftUp: {final: 'A', modifiers: shift}, tea.KeyShiftDown: {final: 'B', modifiers: shift},
		tea.KeyShiftRight: {final: 'C', modifiers: shift}, tea.KeyShiftLeft: {final: 'D', modifiers: shift},
		tea.KeyShiftHome: {final: 'H', modifiers: shift}, tea.KeyShiftEnd: {final: 'F', modifiers: shift},
		tea.KeyCtrlShiftUp: {final: 'A', modifiers: ctrl | shift}, tea.KeyCtrlShiftDown: {final: 'B', modifiers: ctrl | shift},
		tea.KeyCtrlShiftRight: {final: 'C', modifiers: ctrl | shift}, tea.KeyCtrlShiftLeft: {final: 'D', modifiers: ctrl | shift},
		tea.KeyCtrlShiftHome: {final: 'H', modifiers: ctrl | shift}, tea.KeyCtrlShiftEnd: {final: 'F', modifiers: ctrl | shift},
		tea.KeyF1: {final: 'P'}, tea.KeyF2: {final: 'Q'}, tea.KeyF3: {final: 'R'}, tea.KeyF4: {final: 'S'},
		tea.KeyF5: {number: 15}, tea.KeyF6: {number: 17}, tea.KeyF7: {number: 18}, tea.KeyF8: {number: 19},
		tea.KeyF9: {number: 20}, tea.KeyF10: {number: 21}, tea.KeyF11: {number: 23}, tea.KeyF12: {number: 24},
		tea.KeyF13: {number: 25}, tea.KeyF14: {number: 26}, tea.KeyF15: {number: 28}, tea.KeyF16: {number: 29},
		tea.KeyF17: {number: 31}, tea.KeyF18: {number: 32}, tea.KeyF19: {number: 33}, tea.KeyF20: {number: 34},
	}[t]
	return s, ok
}

// AppendKey appends what a key is for a program with these modes.
func AppendKey(b []byte, k tea.KeyMsg, m terminal.Modes) []byte {
	if k.Paste {
		return AppendPaste(b, string(k.Runes), m)
	}
	if s, ok := specialKey(k.Type); ok {
		if k.Alt {
			s.modifiers |= alt
		}
		return s.append(b, m)
	}
	if k.Type == tea.KeyShiftTab {
		return append(b, "\x1b[Z"...)
	}
	if k.Alt {
		b = append(b, 0x1b)
	}
	switch {
	case k.Type == tea.KeyRunes:
		for _, r := range k.Runes {
			b = utf8.AppendRune(b, r)
		}
	case k.Type == tea.KeySpace:
		b = append(b, ' ')
	case k.Type == tea.KeyEnter && m.NewLine:
		b = append(b, '\r', '\n')
	case k.Type >= 0 && k.Type <= 0x7f: // a control character
		b = append(b, byte(k.Type))
	case k.Alt: // a key we don't know
		b = b[:len(b)-1]
	}
	return b
}

func (s special) append(b []byte, m terminal.Modes) []byte {
	function := s.final >= 'P'
	switch {
	case s.final != 0 && s.modifiers == 0 && (function || m.CursorKeys):
		return append(b, 0x1b, 'O', s.final)
	case s.final != 0 && s.modifiers == 0:
		return append(b, 0x1b, '[', s.final)
	case s.final != 0:
		b = append(b, "\x1b[1;"...)
		return append(strconv.AppendInt(b, int64(s.modifiers)+1, 10), s.final)
	}
	b = strconv.AppendInt(append(b, "\x1b["...), int64(s.number), 10)
	if s.modifiers != 0 {
		b = strconv.AppendInt(append(b, ';'), int64(s.modifiers)+1, 10)
	}
	return append(b, '~')
}

// The brackets around what is pasted.
const (
	pasteBegin = "\x1b[200~"
	pasteEnd   = "\x1b[201~"
)

// AppendPaste appends text that was pasted. Line feeds become what Enter types.
// To a program that can tell pasted text from typed one, nothing in it ends it.
func AppendPaste(b []byte, text string, m terminal.Modes) []byte {
	text = strings.NewReplacer("\r\n", "\r", "\n", "\r").Replace(text)
	if !m.Paste {
		return append(b, text...)
	}
	// No escape at all: what remains of two brackets in one another is none.
	text = strings.NewReplacer("\x1b", "", "\u009b", "").Replace(text)
	return append(append(append(b, pasteBegin...), text...), pasteEnd...)
}

// AppendMouse appends a report of the mouse at a place of the terminal, from 0;
// nothing if the program doesn't want to know.
func AppendMouse(b []byte, e tea.MouseMsg, x, y int, m terminal.Modes) []byte {
	if x < 0 || y < 0 || x >= terminal.MaxSize || y >= terminal.MaxSize {
		return b
	}
	button, ok := mouseButton(e.Button)
	if !ok {
		return b
	}
	held := e.Button != tea.MouseButtonNone
	switch {
	case m.Mouse == 0:
		return b
	case e.Action == tea.MouseActionMotion && (m.Mouse < 1002 || m.Mouse == 1002 && !held):
		return b
	case e.Action == tea.MouseActionPress && !held:
		return b
	case m.Mouse == 9 && (e.Action != tea.MouseActionPress || button > 2):
		return b
	}
	sgr := m.MouseEncoding == 1006 || m.MouseEncoding == 1016
	release := e.Action == tea.MouseActionRelease
	if release && !sgr {
		button = 3
	}
	if e.Action == tea.MouseActionMotion {
		button |= 32
	}
	if m.Mouse != 9 {
		if e.Shift {
			button |= 4
		}
		if e.Alt {
			button |= 8
		}
		if e.Ctrl {
			button |= 16
		}
	}
	return appendReport(b, button, x, y, release, m.MouseEncoding)
}

// mouseButton is a button's number in reports; without one it is 3.
func mouseButton(b tea.MouseButton) (int, bool) {
	switch {
	case b == tea.MouseButtonNone:
		return 3, true
	case b >= tea.MouseButtonLeft && b <= tea.MouseButtonRight:
		return int(b - tea.MouseButtonLeft), true
	case b >= tea.MouseButtonWheelUp && b <= tea.MouseButtonWheelRight:
		return 64 + int(b-tea.MouseButtonWheelUp), true
	case b >= tea.MouseButtonBackward && b <= tea.MouseButton11:
		return 128 + int(b-tea.MouseButtonBackward), true
	}
	return 0, false
}

// appendReport writes a report in one of the encodings. Pixels (1016) can't be
// known: a cell is taken for one.
func appendReport(b []byte, button, x, y int, release bool, encoding int) []byte {
	switch encoding {
	case 1006, 1016, 1015:
		final := byte('M')
		b = append(b, "\x1b["...)
		if encoding == 1015 {
			button += 32
		} else {
			b = append(b, '<')
			if release {
				final = 'm'
			}
		}
		for i, n := range []int{button, x + 1, y + 1} {
			if i > 0 {
				b = append(b, ';')
			}
			b = strconv.AppendInt(b, int64(n), 10)
		}
		return append(b, final)
	case 1005:
		b = append(b, "\x1b[M"...)
		for _, n := range []int{button, x + 1, y + 1} {
			b = utf8.AppendRune(b, rune(32+n))
		}
		return b
	}
	if x > 222 || y > 222 { // there is no byte for it
		return b
	}
	return append(b, 0x1b, '[', 'M', byte(32+button), byte(33+x), byte(33+y))
}

// AppendWheel appends what the wheel is for a program on the alternate screen
// that wants arrow keys.
func AppendWheel(b []byte, e tea.MouseMsg, m terminal.Modes) []byte {
	if m.Mouse != 0 || !m.Alternate || !m.ScrollKeys {
		return b
	}
	key := tea.KeyUp
	switch e.Button {
	case tea.MouseButtonWheelUp:
	case tea.MouseButtonWheelDown:
		key = tea.KeyDown
	default:
		return b
	}
	for range 3 {
		b = AppendKey(b, tea.KeyMsg{Type: key}, m)
	}
	return b
}
