package screen

import (
	"slices"
	"strconv"
	"strings"
)

// privateModes are those that only need to be told to the next terminal, in
// the order of telling, and whether they are on by default.
var privateModes = [...]struct {
	number int
	on     bool
}{
	{1, false},    // application cursor keys
	{5, false},    // reverse video
	{12, false},   // cursor blink
	{25, true},    // cursor visible
	{45, false},   // reverse wrap
	{66, false},   // application keypad
	{1005, false}, // mouse: UTF-8, urxvt, SGR and pixel coordinates
	{1015, false},
	{1006, false},
	{1016, false},
	{1007, false}, // alternate scroll
	{1004, false}, // focus reports
	{2004, false}, // bracketed paste
	{2031, false}, // colour scheme reports
}

// privateCSI acts on sequences with a question mark.
func (s *Screen) privateCSI(q *sequence) {
	switch q.final {
	case 'h', 'l':
		for _, p := range q.params {
			s.setPrivate(p.value, q.final == 'h')
		}
	case 'J', 'K': // selective; nothing is protected
		s.editCSI(q)
	case 'W':
		if q.get(0, 0) == 5 {
			s.resetTabs()
		}
	}
}

func (s *Screen) setPrivate(mode int, on bool) {
	switch mode {
	case 6:
		s.cur.origin = on
		s.address(0, 0)
	case 7:
		s.cur.autowrap = on
		s.cur.pending = s.cur.pending && on
	case 9, 1000, 1002, 1003:
		s.mouse = 0
		if on {
			s.mouse = mode
		}
	case 47, 1047:
		if on {
			s.setAlternate(mode)
		} else {
			s.setAlternate(0)
			s.fitMain(&s.cur)
			s.entry = nil
		}
	case 1048:
		if on {
			s.save()
		} else {
			s.restore(s.saved)
		}
	case 1049:
		switch {
		case on && s.alternate == 0:
			entry := s.cur
			s.entry = &entry
			s.setAlternate(mode)
		case !on && s.alternate != 0:
			s.fitMain(s.entry)
			s.setAlternate(0)
			s.restore(s.entry)
			s.entry = nil
		}
	default:
		for _, known := range privateModes {
			if known.number == mode {
				if on == known.on {
					delete(s.private, mode)
				} else {
					s.private[mode] = on
				}
			}
		}
	}
}

// softReset is DECSTR.
func (s *Screen) softReset() {
	pos := s.cur.position
	s.cur = home()
	s.cur.position = pos
	s.saved, s.entry = nil, nil
	s.top, s.bottom = 0, s.rows-1
	s.insert, s.keypad = false, false
	for _, mode := range []int{1, 25, 66} {
		delete(s.private, mode)
	}
}

const maxStack = 16

// keyboard acts on the sequences that change what keys send.
func (s *Screen) keyboard(q *sequence) {
	screen := 0
	if s.alternate != 0 {
		screen = 1
	}
	stack := &s.kitty[screen]
	switch {
	case q.private == '>' && q.final == 'm' && len(q.params) > 0 && q.params[0].value == 4:
		s.otherKeys = q.get(1, 0)
	case q.final != 'u':
	case q.private == '>':
		*stack = append(*stack, q.get(0, 0)&31)
		if len(*stack) > maxStack {
			*stack = slices.Delete(*stack, 0, 1)
		}
	case q.private == '<':
		*stack = (*stack)[:max(len(*stack)-q.get(0, 1), 0)]
	case q.private == '=':
		if len(*stack) == 0 {
			*stack = append(*stack, 0)
		}
		top, flags := &(*stack)[len(*stack)-1], q.get(0, 0)&31
		switch q.get(1, 1) {
		case 1:
			*top = flags
		case 2:
			*top |= flags
		case 3:
			*top &^= flags
		}
	}
}

const (
	maxTitle  = 1 << 10
	maxColour = 64
	maxLinks  = 1 << 10
	maxLink   = 2 << 10
)

func (s *Screen) setTitle(text string) {
	if len(text) <= maxTitle && strings.IndexFunc(text, func(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 }) < 0 {
		s.title = text
	}
}

func (s *Screen) titleStack(command, which int) {
	switch {
	case which == 1: // the icon's alone
	case command == 22:
		s.titles = append(s.titles, s.title)
		if len(s.titles) > maxStack {
			s.titles = slices.Delete(s.titles, 0, 1)
		}
	case command == 23 && len(s.titles) > 0:
		s.title = s.titles[len(s.titles)-1]
		s.titles = s.titles[:len(s.titles)-1]
	}
}

// osc acts on an operating system command.
func (s *Screen) osc(text string) {
	number, rest, _ := strings.Cut(text, ";")
	command, err := strconv.Atoi(number)
	if err != nil {
		return
	}
	switch {
	case command == 0, command == 2:
		s.setTitle(rest)
	case command == 4:
		fields := strings.Split(rest, ";")
		for i := 0; i+1 < len(fields); i += 2 {
			if n, err := strconv.ParseUint(fields[i], 10, 8); err == nil {
				s.setColour("4;"+strconv.FormatUint(n, 10), fields[i+1])
			}
		}
	case command >= 10 && command <= 19:
		for i, field := range strings.Split(rest, ";") {
			if command+i <= 19 {
				s.setColour(strconv.Itoa(command+i), field)
			}
		}
	case command == 104 && rest == "":
		for key := range s.colours {
			if strings.HasPrefix(key, "4;") {
				delete(s.colours, key)
			}
		}
	case command == 104:
		for field := range strings.SplitSeq(rest, ";") {
			delete(s.colours, "4;"+field)
		}
	case command >= 110 && command <= 119:
		delete(s.colours, strconv.Itoa(command-100))
	case command == 8:
		s.setLink(rest)
	}
}

func (s *Screen) setColour(key, value string) {
	if len(value) == 0 || len(value) > maxColour || value == "?" {
		return
	}
	for i := range len(value) {
		if value[i] <= 0x20 || value[i] > 0x7e {
			return
		}
	}
	s.colours[key] = value
}

// setLink opens or closes a hyperlink. Of too many different ones, the later
// ones are shown as plain text.
func (s *Screen) setLink(rest string) {
	s.cur.pen.link = 0
	_, target, ok := strings.Cut(rest, ";")
	if !ok || target == "" || len(rest) > maxLink {
		return
	}
	for i := range len(rest) {
		if rest[i] < 0x20 || rest[i] > 0x7e {
			return
		}
	}
	n, ok := s.linkOf[rest]
	if !ok {
		if len(s.links) >= maxLinks {
			return
		}
		s.links = append(s.links, rest)
		n = uint16(len(s.links))
		s.linkOf[rest] = n
	}
	s.cur.pen.link = n
}
