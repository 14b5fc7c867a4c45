package terminal

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"tandem/session"
)

// MaxClipboard is the longest OSC 52 write that Filter lets through, in bytes
// of base64.
const MaxClipboard = 128 << 10

const (
	maxSequence = 512     // a control sequence, in bytes
	maxString   = 8 << 10 // a title, a colour, a hyperlink
)

// Filter keeps what a program far away prints from doing more to the person's
// terminal than showing text. It works on a stream that may be split anywhere,
// and assumes that the terminal expects UTF-8.
//
// Never passed, however spelt (7-bit, or as C1 characters in UTF-8):
//   - reading the clipboard, and writing it unless Clipboard is set (OSC 52)
//   - DCS, SOS, PM and APC strings: status requests, terminal multiplexers'
//     passthrough, key definitions, graphics that answer
//   - what makes the terminal type text that a program chose: title reports
//     (CSI 20 t, CSI 21 t), ENQ's answerback, checksums and reports of the
//     screen (DECRQCRA, DECRQPSR, DECRQTSR)
//   - window operations other than saving and restoring the title and asking
//     for sizes (CSI t), changes of the terminal's size and font, printing
//     (CSI i), Tektronix mode, leaving UTF-8 (ESC % @), 8-bit answers
//   - OSC commands other than titles (0, 1, 2), colours (4, 5, 10–19, 104, 105,
//     110–119), hyperlinks to http and https (8) and prompt marks (133)
//   - sequences that are malformed, unfinished at the stream's end, or
//     longer than a terminal has use for
//
// Queries that are answered with numbers only (DA, DSR, CPR, DECRQM, colours)
// pass if Answer is set. Titles are made printable. The bytes 0x90, 0x98, 0x9A,
// 0x9B, 0x9D, 0x9E and 0x9F outside a UTF-8 character become U+FFFD, which is
// how a UTF-8 terminal shows them. A control character within a sequence moves
// in front of it; terminals act on it first. Everything else, valid UTF-8 or
// not, passes as it is.
//
// The zero Filter is ready and denies what can be denied.
type Filter struct {
	// Clipboard lets OSC 52 writes of at most MaxClipboard through.
	Clipboard bool
	// Answer lets queries through.
	Answer bool

	state filterState
	// held is what has come of a sequence or character that isn't complete.
	held  []byte
	spoil bool // the string in held must not pass
	lead  byte // 0xC2 has just come within a string: a C1 character may follow
	skip  int  // for stateSkip
	modes modes
}

type filterState byte

const (
	stateGround       filterState = iota
	stateUTF8                     // in the middle of a character
	stateEscape                   // after ESC and perhaps intermediates
	stateCSI                      // after the introducer
	stateString                   // in a string that may pass, such as OSC
	stateStringEscape             // after ESC in it
	stateSwallow                  // in a string that doesn't pass
	stateSwallowEscape
	stateSkip // the next bytes belong to a sequence without terminator
)

const (
	enq = 0x05
	bel = 0x07
	can = 0x18
	sub = 0x1a
	esc = 0x1b
	del = 0x7f
)

// Append appends to dst what of p may be shown now.
func (f *Filter) Append(dst, p []byte) []byte {
	for len(p) > 0 {
		if f.state == stateGround {
			// Text is most of everything.
			n := 0
			for n < len(p) && p[n] != esc && p[n] != enq && p[n] < 0x80 && p[n] != 0x0e {
				n++
			}
			dst, p = append(dst, p[:n]...), p[n:]
			if len(p) == 0 {
				break
			}
		}
		dst = f.step(dst, p[0])
		p = p[1:]
	}
	return dst
}

// Flush appends what is held of an unfinished character, drops an unfinished
// sequence, and starts afresh: after the stream's end or a gap in it.
func (f *Filter) Flush(dst []byte) []byte {
	if f.state == stateUTF8 {
		for _, b := range f.held {
			dst = stray(dst, b)
		}
	}
	f.ground()
	return dst
}

// Undo returns the sequences that take back what has passed so far: the
// alternate screen, mouse, paste and key modes, cursor, attributes, colours. It
// forgets what it has taken back.
func (f *Filter) Undo() []byte {
	undo := f.modes.undo()
	f.modes = modes{}
	return []byte(undo)
}

func (f *Filter) ground() { f.begin(stateGround) }

func (f *Filter) begin(s filterState, held ...byte) {
	f.state, f.held, f.spoil, f.lead = s, append(f.held[:0], held...), false, 0
}

func (f *Filter) step(dst []byte, b byte) []byte {
	switch f.state {
	case stateUTF8:
		return f.stepUTF8(dst, b)
	case stateEscape, stateCSI:
		return f.stepSequence(dst, b)
	case stateString, stateStringEscape:
		return f.stepString(dst, b)
	case stateSwallow, stateSwallowEscape:
		return f.stepSwallow(dst, b)
	case stateSkip:
		if f.skip--; f.skip == 0 || b < 0x20 {
			f.ground()
		}
		return dst
	}
	switch {
	case b == esc:
		f.begin(stateEscape, b)
	case b == enq:
	case b == 0x0e: // SO shifts to another character set
		f.modes.charset = true
		dst = append(dst, b)
	case b < 0x80:
		dst = append(dst, b)
	case b >= 0xc2 && b <= 0xf4:
		f.begin(stateUTF8, b)
	default:
		dst = stray(dst, b)
	}
	return dst
}

// stray appends a byte that is part of no character.
func stray(dst []byte, b byte) []byte {
	switch b {
	case 0x90, 0x98, 0x9a, 0x9b, 0x9d, 0x9e, 0x9f:
		// Terminals that fall back to Latin-1 would see an introducer.
		return utf8.AppendRune(dst, utf8.RuneError)
	}
	return append(dst, b)
}

func (f *Filter) stepUTF8(dst []byte, b byte) []byte {
	if !continues(f.held, b) {
		for _, h := range f.held {
			dst = stray(dst, h)
		}
		f.ground()
		return f.step(dst, b)
	}
	f.held = append(f.held, b)
	if !utf8.FullRune(f.held) {
		return dst
	}
	if f.held[0] != 0xc2 || b > 0x9f {
		dst = append(dst, f.held...)
		f.ground()
		return dst
	}
	switch b { // a C1 control character
	case 0x9b:
		f.begin(stateCSI, 0xc2, b)
	case 0x9d:
		f.begin(stateString, 0xc2, b)
	case 0x90, 0x98, 0x9e, 0x9f:
		f.begin(stateSwallow)
	case 0x9a: // DECID
		if f.Answer {
			dst = append(dst, f.held...)
		}
		f.ground()
	default:
		dst = append(dst, f.held...)
		f.ground()
	}
	return dst
}

// continues reports whether b can follow held in a UTF-8 character (Unicode,
// table 3-7).
func continues(held []byte, b byte) bool {
	low, high := byte(0x80), byte(0xbf)
	if len(held) == 1 {
		switch held[0] {
		case 0xe0:
			low = 0xa0
		case 0xed:
			high = 0x9f
		case 0xf0:
			low = 0x90
		case 0xf4:
			high = 0x8f
		}
	}
	return b >= low && b <= high
}

// stepSequence goes on in an ESC or CSI sequence.
func (f *Filter) stepSequence(dst []byte, b byte) []byte {
	switch {
	case b == esc:
		f.begin(stateEscape, b)
	case b == can, b == sub:
		f.ground()
		dst = append(dst, b)
	case b == enq, b == del:
	case b < 0x20:
		dst = append(dst, b) // terminals act on it at once
	case b >= 0x80:
		// Some terminals would take its low seven bits for the sequence's end.
		f.ground()
		return f.step(dst, b)
	case f.state == stateCSI && b < 0x40, f.state == stateEscape && b < 0x30:
		if len(f.held) < maxSequence {
			f.held = append(f.held, b)
		} else {
			f.spoil = true
		}
	case f.state == stateCSI:
		f.held = append(f.held, b)
		if !f.spoil && f.passCSI() {
			dst = append(dst, f.held...)
		}
		f.ground()
	default:
		return f.endEscape(dst, b)
	}
	return dst
}

func (f *Filter) endEscape(dst []byte, final byte) []byte {
	intermediates := string(f.held[1:])
	if intermediates == "" {
		switch final {
		case '[':
			f.begin(stateCSI, esc, final)
			return dst
		case ']', 'k': // k: the title of screen and tmux
			f.begin(stateString, esc, final)
			return dst
		case 'P', 'X', '^', '_':
			f.begin(stateSwallow)
			return dst
		}
	}
	pass := !f.spoil
	switch {
	case intermediates == "":
		// Not among these: rxvt's ESC G, which it answers with a whole line.
		pass = strings.IndexByte("6789<=>ABCDEFHIJKMNOYcdlmno|}~\\", final) >= 0 || final == 'Z' && f.Answer
	case len(intermediates) > 1 && intermediates[0] != '(' && intermediates[0] != ')':
		pass = false
	case intermediates[0] == '%':
		pass = final == 'G' // choose UTF-8
	case intermediates[0] == ' ':
		pass = final != 'G' // 8-bit answers
	case strings.IndexByte("#()*+-./", intermediates[0]) < 0:
		pass = false
	}
	if pass {
		f.modes.escape(intermediates, final)
		dst = append(append(dst, f.held...), final)
	}
	f.ground()
	return dst
}

func (f *Filter) stepSwallow(dst []byte, b byte) []byte {
	switch {
	case f.state == stateSwallowEscape:
		f.ground()
		if b != '\\' {
			f.begin(stateEscape, esc) // the ESC began another sequence
			return f.step(dst, b)
		}
	case b == esc:
		f.state = stateSwallowEscape
	case b == can, b == sub, f.lead == 0xc2 && b == 0x9c:
		f.ground()
	default:
		f.lead = b
	}
	return dst
}

func (f *Filter) stepString(dst []byte, b byte) []byte {
	osc := f.held[0] != esc || f.held[1] == ']'
	switch {
	case f.state == stateStringEscape:
		if b == '\\' {
			return f.endString(dst, "\x1b\\")
		}
		f.begin(stateEscape, esc)
		return f.step(dst, b)
	case b == esc:
		f.state = stateStringEscape
	case b == can, b == sub:
		f.ground()
	case b == bel && osc:
		return f.endString(dst, "\a")
	case f.lead == 0xc2 && b == 0x9c:
		if !f.spoil {
			f.held = f.held[:len(f.held)-1]
		}
		return f.endString(dst, "\u009c")
	case b == 'R' && osc && len(f.held) == 2: // Linux's console: reset the palette, unterminated
		f.ground()
	case b == 'P' && osc && len(f.held) == 2: // Linux's console: set a colour by seven digits, unterminated
		f.begin(stateSkip)
		f.skip = 7
	default:
		limit := maxString
		if f.Clipboard {
			limit = MaxClipboard
		}
		f.lead = b
		f.spoil = f.spoil || b < 0x20 || b == del || len(f.held) >= limit
		if !f.spoil {
			f.held = append(f.held, b)
		}
	}
	return dst
}

// endString decides about a string that is complete.
func (f *Filter) endString(dst []byte, terminator string) []byte {
	introducer, body := f.held[:2], f.held[2:]
	title := bytes.Equal(introducer, []byte{esc, 'k'})
	spoilt := f.spoil
	f.ground() // held keeps its bytes until the next begin
	if spoilt || !utf8.Valid(body) {
		return dst
	}
	number, rest, _ := strings.Cut(string(body), ";")
	command, err := strconv.Atoi(number)
	switch {
	case title:
		return f.passTitle(dst, introducer, "", string(body), terminator)
	case err != nil || len(number) > 4 || number[0] == '+' || number[0] == '-':
		return dst
	case command <= 2:
		return f.passTitle(dst, introducer, number+";", rest, terminator)
	case f.passOSC(command, rest):
		dst = append(dst, introducer...)
		dst = append(dst, body...)
		dst = append(dst, terminator...)
	}
	return dst
}

func (f *Filter) passTitle(dst, introducer []byte, prefix, title, terminator string) []byte {
	title = session.Printable(title)
	if len(title) > maxString {
		return dst
	}
	dst = append(dst, introducer...)
	dst = append(dst, prefix...)
	dst = append(dst, title...)
	return append(dst, terminator...)
}

func (f *Filter) passOSC(command int, rest string) bool {
	for i := range len(rest) {
		if rest[i] < 0x20 || rest[i] > 0x7e {
			return false
		}
	}
	if command != 52 && len(rest) > maxString {
		return false
	}
	switch {
	case command == 4, command == 5, command >= 10 && command <= 19:
		if strings.Contains(rest, "?") {
			return f.Answer
		}
		f.modes.setColour(command)
		return true
	case command == 104, command == 105, command >= 110 && command <= 119, command == 133:
		return true
	case command == 8:
		_, target, ok := strings.Cut(rest, ";")
		if ok && target == "" {
			f.modes.link = false
			return true
		}
		lower := strings.ToLower(target)
		if strings.HasPrefix(lower, "http://") || strings.HasPrefix(lower, "https://") {
			f.modes.link = true
			return true
		}
	case command == 52:
		_, data, ok := strings.Cut(rest, ";")
		const base64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
		return ok && f.Clipboard && len(data) <= MaxClipboard && strings.Trim(data, base64) == "" && !strings.Contains(data, "?")
	}
	return false
}

// passCSI decides about the control sequence in held and follows its modes.
func (f *Filter) passCSI() bool {
	body := f.held[2:]
	final := body[len(body)-1]
	body = body[:len(body)-1]
	var private byte
	if len(body) > 0 && body[0] >= '<' && body[0] <= '?' {
		private, body = body[0], body[1:]
	}
	split := 0
	for split < len(body) && body[split] >= '0' && body[split] <= ';' {
		split++
	}
	params, intermediates := string(body[:split]), string(body[split:])
	for i := range len(intermediates) {
		if intermediates[i] >= 0x30 {
			return false // malformed
		}
	}
	pass := f.allowCSI(private, params, intermediates, final)
	if pass {
		f.modes.csi(private, params, intermediates, final)
	}
	return pass
}

func (f *Filter) allowCSI(private byte, params, intermediates string, final byte) bool {
	first, _, _ := strings.Cut(params, ";")
	first = strings.TrimLeft(first, "0")
	if intermediates != "" {
		switch intermediates + string(final) {
		case "$p", "#R", "#|":
			return f.Answer
		case "\"p": // DECSCL may choose 8-bit answers
			return strings.TrimLeft(params, "0") == "61" || strings.HasSuffix(params, ";1")
		case " q", "!p", "\"q", "$r", "$t", "$v", "$x", "$z", "${", "#p", "#q", "#{", "#}", "#P", "#Q",
			"'}", "'~", " @", " A", " t", " u", "*x", "$}", "$~":
			return true
		}
		return false
	}
	switch final {
	case 't':
		switch first {
		case "22", "23":
			return private == 0
		case "11", "13", "14", "15", "16", "18", "19":
			return private == 0 && f.Answer
		}
		return false
	case 'i', 'y':
		return false
	case 'c':
		return private == '?' || f.Answer // private '?': the shape of Linux's console cursor
	case 'n':
		return private == '>' || f.Answer
	case 'x':
		return private != 0 || f.Answer
	case 'q':
		return private != '>' || f.Answer
	case 'u', 'S', 'm', 'g':
		return private != '?' || f.Answer
	case 'h', 'l', 's', 'r':
		if private == '?' {
			for p := range strings.SplitSeq(params, ";") {
				switch strings.TrimLeft(p, "0") {
				case "38", "40", "46": // Tektronix mode, leave to resize, a log file
					return false
				}
				if len(p) > 5 || strings.Contains(p, ":") {
					return false // some terminals would wrap it around or cut it short
				}
			}
		}
	}
	return true
}
