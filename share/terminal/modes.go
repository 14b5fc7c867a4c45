package terminal

import (
	"slices"
	"strconv"
	"strings"
)

// privateModes are the DEC private modes that are undone when a person's
// terminal is given back, in the order of undoing. Those marked on are on
// normally. Sources: ECMA-48, DEC STD 070, XTerm Control Sequences (patch 390).
var privateModes = []struct {
	number int
	on     bool
}{
	{2, true},     // ANSI rather than VT52; see undo
	{2026, false}, // synchronised output
	{2004, false}, // bracketed paste
	{1004, false}, // focus reports
	{1006, false}, // mouse: SGR, urxvt, UTF-8 and pixel coordinates
	{1015, false},
	{1005, false},
	{1016, false},
	{1003, false}, // mouse: any motion, drag, highlight, buttons, X10
	{1002, false},
	{1001, false},
	{1000, false},
	{9, false},
	{2048, false}, // size reports
	{2031, false}, // colour scheme reports
	{1, false},    // application cursor keys
	{66, false},   // application keypad
	{5, false},    // reverse video
	{7, true},     // auto-wrap
	{45, false},   // reverse wrap
	{12, false},   // cursor blink
	{25, true},    // cursor visible
	{69, false},   // left and right margins
	{6, false},    // origin
	{1049, false}, // alternate screen, with and without saved cursor
	{1047, false},
	{47, false},
}

// modes follows what programs have set in the person's terminal, so that it
// can be undone.
type modes struct {
	private map[int]bool
	insert  bool // ANSI mode 4
	newline bool // ANSI mode 20
	keypad  bool // ESC =
	charset bool // a character set was chosen or shifted to
	region  bool // a scrolling region was set
	cursor  bool // the cursor's shape was changed
	keys    bool // modifyOtherKeys
	link    bool // a hyperlink is open
	kitty   int  // keyboard states pushed
	colours map[int]bool
}

func (m *modes) setPrivate(number int, on bool) {
	for _, known := range privateModes {
		if known.number != number {
			continue
		}
		if m.private == nil {
			m.private = make(map[int]bool)
		}
		if on == known.on {
			delete(m.private, number)
		} else {
			m.private[number] = on
		}
		return
	}
}

func (m *modes) setColour(command int) {
	if m.colours == nil {
		m.colours = make(map[int]bool)
	}
	m.colours[command] = true
}

// escape follows an ESC sequence.
func (m *modes) escape(intermediates string, final byte) {
	switch {
	case intermediates == "" && final == '=':
		m.keypad = true
	case intermediates == "" && final == '>':
		m.keypad = false
	case intermediates == "" && final == 'c': // full reset
		*m = modes{}
	case intermediates == "" && strings.IndexByte("no|}~", final) >= 0,
		intermediates != "" && strings.IndexByte("()*+-./", intermediates[0]) >= 0 && (intermediates != "(" || final != 'B'):
		m.charset = true
	}
}

// csi follows a control sequence.
func (m *modes) csi(private byte, params, intermediates string, final byte) {
	switch {
	case private == '?' && intermediates == "" && (final == 'h' || final == 'l'):
		for p := range strings.SplitSeq(params, ";") {
			if n, err := strconv.Atoi(p); err == nil {
				m.setPrivate(n, final == 'h')
			}
		}
	case private == 0 && intermediates == "" && (final == 'h' || final == 'l'):
		for p := range strings.SplitSeq(params, ";") {
			switch p {
			case "4":
				m.insert = final == 'h'
			case "20":
				m.newline = final == 'h'
			}
		}
	case private == 0 && intermediates == "" && final == 'r':
		m.region = params != "" && params != ";"
	case private == 0 && intermediates == " " && final == 'q':
		m.cursor = params != "" && params != "0"
	case private == '>' && intermediates == "" && final == 'm':
		m.keys = strings.HasPrefix(params, "4;")
	case private == '>' && intermediates == "" && final == 'u':
		m.kitty = min(m.kitty+1, 99)
	case private == '=' && intermediates == "" && final == 'u':
		m.kitty = max(m.kitty, 1)
	case private == '<' && intermediates == "" && final == 'u':
		n, err := strconv.Atoi(params)
		if err != nil {
			n = 1
		}
		m.kitty = max(m.kitty-n, 0)
	case private == 0 && intermediates == "!" && final == 'p': // soft reset
		alternate := make(map[int]bool)
		for _, n := range []int{47, 1047, 1049, 1000, 1002, 1003, 1006, 2004} {
			if m.private[n] {
				alternate[n] = true
			}
		}
		*m = modes{private: alternate, colours: m.colours, kitty: m.kitty, link: m.link}
	}
}

// undo is what brings the terminal back to how programs expect to find it.
// Attributes, cursor, paste and mouse are always put right.
func (m *modes) undo() string {
	var b strings.Builder
	if _, vt52 := m.private[2]; vt52 {
		b.WriteString("\x1b<") // in VT52 mode nothing else is understood
	}
	if m.kitty > 0 {
		b.WriteString("\x1b[<" + strconv.Itoa(m.kitty) + "u")
	}
	if m.link {
		b.WriteString("\x1b]8;;\x1b\\")
	}
	if m.region {
		b.WriteString("\x1b[r")
	}
	always := []int{25, 2004, 1000}
	for _, known := range privateModes {
		if _, changed := m.private[known.number]; !changed && !slices.Contains(always, known.number) {
			continue
		}
		b.WriteString("\x1b[?" + strconv.Itoa(known.number))
		if known.on {
			b.WriteByte('h')
		} else {
			b.WriteByte('l')
		}
	}
	if m.insert {
		b.WriteString("\x1b[4l")
	}
	if m.newline {
		b.WriteString("\x1b[20l")
	}
	if m.keypad {
		b.WriteString("\x1b>")
	}
	if m.charset {
		b.WriteString("\x0f\x1b(B")
	}
	if m.cursor {
		b.WriteString("\x1b[0 q")
	}
	if m.keys {
		b.WriteString("\x1b[>4m")
	}
	for _, command := range []int{4, 5, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19} {
		if m.colours[command] {
			b.WriteString("\x1b]" + strconv.Itoa(100+command) + "\x1b\\")
		}
	}
	b.WriteString("\x1b[0m")
	if m.region || m.private[6] || m.private[69] {
		b.WriteString("\x1b[999;1H") // undoing these has moved the cursor
	}
	return b.String()
}
