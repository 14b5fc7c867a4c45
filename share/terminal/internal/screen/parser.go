package screen

import "unicode/utf8"

const (
	maxParams = 32
	// maxTail is how much of an unfinished sequence is kept for a snapshot. A
	// longer one has no effect on what Screen follows.
	maxTail = 4 << 10
)

type parserState byte

const (
	ground parserState = iota
	inUTF8
	inEscape
	inCSI
	inString       // OSC, or a title as screen and tmux spell it
	inStringEscape // after ESC in it
	inIgnored      // DCS, SOS, PM, APC
	inIgnoredEscape
	inSkip // the Linux console's OSC P: seven digits, no terminator
)

// The control characters that have meaning.
const (
	bel = 0x07
	bs  = 0x08
	ht  = 0x09
	lf  = 0x0a
	cr  = 0x0d
	so  = 0x0e
	si  = 0x0f
	can = 0x18
	sub = 0x1a
	esc = 0x1b
	del = 0x7f
)

// sequence is one control sequence.
type sequence struct {
	private       byte // '<' to '?', or 0
	intermediates string
	final         byte
	params        []param
}

// param is a parameter, -1 if it is missing; sub says that it was separated by
// a colon from the one before.
type param struct {
	value int
	sub   bool
}

// get is parameter i, or missing if it isn't there or 0.
func (q *sequence) get(i, missing int) int {
	if i >= len(q.params) || q.params[i].value <= 0 {
		return missing
	}
	return q.params[i].value
}

// parser tells text, control characters and sequences apart, as Williams'
// state machine does (vt100.net/emu/dec_ansi_parser), for UTF-8.
type parser struct {
	state parserState
	tail  []byte // what has come of a character or sequence that isn't complete
	cut   bool   // tail is not all of it
	lead  byte   // the byte before, in a string
	skip  int
}

// begin enters a state in which the bytes so far are held.
func (p *parser) begin(s parserState, held ...byte) {
	p.state, p.tail, p.cut, p.lead = s, append(p.tail[:0], held...), false, 0
}

func (p *parser) ground() { p.begin(ground) }

func (p *parser) hold(b byte) {
	if len(p.tail) < maxTail {
		p.tail = append(p.tail, b)
	} else {
		p.cut = true
	}
}

// step takes one byte that isn't text in the ground state.
func (s *Screen) step(b byte) {
	p := &s.parser
	switch p.state {
	case ground:
		s.stepGround(b)
	case inUTF8:
		s.stepUTF8(b)
	case inEscape, inCSI:
		s.stepSequence(b)
	case inString, inStringEscape:
		s.stepString(b)
	case inIgnored, inIgnoredEscape:
		s.stepIgnored(b)
	case inSkip:
		p.hold(b)
		if p.skip--; p.skip == 0 || b < 0x20 {
			p.ground()
		}
	}
}

func (s *Screen) stepGround(b byte) {
	switch {
	case b == esc:
		s.parser.begin(inEscape, b)
	case b < 0x20:
		s.control(b)
	case b == del:
	case b < 0x80:
		s.print(rune(b))
	case b >= 0xc2 && b <= 0xf4:
		s.parser.begin(inUTF8, b)
	default:
		s.print(utf8.RuneError)
	}
}

func (s *Screen) stepUTF8(b byte) {
	p := &s.parser
	held := len(p.tail)
	var buf [utf8.UTFMax]byte
	char := append(append(buf[:0], p.tail...), b)
	if r, n := utf8.DecodeRune(char); r != utf8.RuneError || n > 1 {
		p.ground()
		if r >= 0x80 && r <= 0x9f {
			s.c1(byte(r))
		} else {
			s.print(r)
		}
		return
	}
	if b >= 0x80 && b <= 0xbf && !utf8.FullRune(char) {
		p.tail = append(p.tail, b)
		return
	}
	p.ground()
	for range held {
		s.print(utf8.RuneError)
	}
	s.step(b)
}

// c1 is a C1 control character, which in UTF-8 takes two bytes.
func (s *Screen) c1(b byte) {
	p := &s.parser
	s.last = 0
	switch b {
	case 0x9b:
		p.begin(inCSI, esc, '[')
	case 0x9d:
		p.begin(inString, esc, ']')
	case 0x90, 0x98, 0x9e, 0x9f:
		p.begin(inIgnored)
	default:
		s.escape("", b-0x40)
	}
}

func (s *Screen) stepSequence(b byte) {
	p := &s.parser
	switch {
	case b == esc:
		p.begin(inEscape, b)
	case b == can, b == sub:
		p.ground()
	case b < 0x20:
		s.control(b)
	case b == del:
	case b >= 0x80:
		p.ground()
		s.step(b)
	case p.state == inCSI && b < 0x40, p.state == inEscape && b < 0x30:
		p.hold(b)
	case p.state == inCSI:
		if q, ok := parseCSI(p.tail[2:], b); ok && !p.cut {
			last := s.last
			s.last = 0
			s.csi(&q, last)
		}
		p.ground()
	default:
		s.endEscape(b)
	}
}

func (s *Screen) endEscape(final byte) {
	p := &s.parser
	intermediates := string(p.tail[1:])
	if intermediates == "" {
		switch final {
		case '[':
			p.begin(inCSI, esc, final)
			return
		case ']', 'k':
			p.begin(inString, esc, final)
			return
		case 'P', 'X', '^', '_':
			p.begin(inIgnored)
			return
		}
	}
	p.ground()
	s.last = 0
	s.escape(intermediates, final)
}

func (s *Screen) stepIgnored(b byte) {
	p := &s.parser
	switch {
	case p.state == inIgnoredEscape:
		if b != '\\' {
			p.begin(inEscape, esc)
			s.step(b)
			return
		}
		p.ground()
	case b == can, b == sub, p.lead == 0xc2 && b == 0x9c:
		p.ground()
	case b == esc:
		p.state = inIgnoredEscape
	default:
		p.lead = b
	}
}

func (s *Screen) stepString(b byte) {
	p := &s.parser
	osc := p.tail[1] == ']'
	switch {
	case p.state == inStringEscape:
		if b == '\\' {
			s.endString(p.tail[2 : len(p.tail)-1])
			return
		}
		p.begin(inEscape, esc)
		s.step(b)
	case b == can, b == sub:
		p.ground()
	case b == bel && osc:
		s.endString(p.tail[2:])
	case p.lead == 0xc2 && b == 0x9c:
		s.endString(p.tail[2 : len(p.tail)-1])
	case b == esc:
		p.state = inStringEscape
		// The last place is free: only hold fills tail, and it stops before.
		p.tail = append(p.tail, b)
	case b == 'R' && osc && len(p.tail) == 2:
		p.ground()
	case b == 'P' && osc && len(p.tail) == 2:
		p.hold(b)
		p.state, p.skip = inSkip, 7
	default:
		p.lead = b
		p.hold(b)
	}
}

// pending is what brings another parser to this one's state.
func (p *parser) pending(b []byte) []byte {
	switch {
	case p.state == inIgnored || p.state == inIgnoredEscape:
		b = append(b, esc, 'X') // nothing is missed: its body has no effect
	case p.cut && p.tail[1] == ']':
		b = append(b, "\x1b]9999999;"...) // its end has none either
	case p.cut && p.tail[1] == 'k':
		b = append(b, esc, 'X')
	default:
		return append(b, p.tail...)
	}
	switch {
	case p.state == inIgnoredEscape || p.state == inStringEscape:
		b = append(b, esc)
	case p.lead == 0xc2:
		b = append(b, p.lead)
	}
	return b
}

// endString acts on a complete string of which nothing was cut.
func (s *Screen) endString(body []byte) {
	title, cut := s.parser.tail[1] == 'k', s.parser.cut
	text := string(body)
	s.parser.ground()
	s.last = 0
	switch {
	case cut || !utf8.ValidString(text):
	case title:
		s.setTitle(text)
	default:
		s.osc(text)
	}
}

// parseCSI reads what is between the introducer and the final byte.
func parseCSI(body []byte, final byte) (q sequence, ok bool) {
	q.final = final
	if len(body) > 0 && body[0] >= '<' && body[0] <= '?' {
		q.private, body = body[0], body[1:]
	}
	i, value, sub, any := 0, -1, false, false
	next := func() {
		if len(q.params) < maxParams {
			q.params = append(q.params, param{value, sub})
		}
		value = -1
	}
	for ; i < len(body) && body[i] >= '0' && body[i] <= ';'; i++ {
		any = true
		switch b := body[i]; b {
		case ';', ':':
			next()
			sub = b == ':'
		default:
			value = min(max(value, 0)*10+int(b-'0'), 65535)
		}
	}
	if any {
		next()
	}
	for _, b := range body[i:] {
		if b >= 0x30 {
			return q, false
		}
	}
	q.intermediates = string(body[i:])
	return q, true
}
