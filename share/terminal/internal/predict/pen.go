package predict

import (
	"strconv"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// pen is what SGR sets (ECMA-48, 8.3.117): how the next character looks.
type pen struct {
	attributes uint16 // bit n: SGR n, for n from 1 to 9
	fg, bg, ul string // the SGR parameters that choose the colour; empty: the default
	// strange and strangeLine are attributes that terminals do not agree on;
	// the latter ends with the underline.
	strange, strangeLine bool
}

const underline = 1 << 4

// odd reports whether p can't be told by its fields.
func (p *pen) odd() bool { return p.strange || p.strangeLine }

// appendSGR appends the sequence that sets exactly p.
func (p *pen) appendSGR(dst []byte) []byte {
	dst = append(dst, "\x1b[0"...)
	for n := 1; n <= 9; n++ {
		if p.attributes&(1<<n) != 0 {
			dst = append(dst, ';', byte('0'+n))
		}
	}
	for _, colour := range []string{p.fg, p.bg, p.ul} {
		if colour != "" {
			dst = append(append(dst, ';'), colour...)
		}
	}
	return append(dst, 'm')
}

// after is the pen that params make of p.
func (p pen) after(params ansi.Params) pen {
	if len(params) == 0 {
		return pen{}
	}
	for i := 0; i < len(params); {
		group := 1 // parameters joined by colons
		for i+group < len(params) && params[i+group-1].HasMore() {
			group++
		}
		i += p.set(params[i:], group)
	}
	return p
}

// set applies the first parameter, which is followed by others of its group,
// and returns how many were used.
func (p *pen) set(params ansi.Params, group int) int {
	n := params[0].Param(0)
	switch {
	case n == 38 || n == 48 || n == 58:
		return p.setColour(n, params, group)
	case n == 4 && group == 2:
		p.attributes &^= underline
		p.strangeLine = false
		switch params[1].Param(1) {
		case 0:
		case 1:
			p.attributes |= underline
		default:
			p.strangeLine = true
		}
	case group > 1:
		p.strange = true
	case n == 0:
		*p = pen{}
	case n >= 1 && n <= 9:
		p.attributes |= 1 << n
		if n == 4 {
			p.strangeLine = false
		}
	case n == 22:
		p.attributes &^= 1<<1 | 1<<2
	case n == 24:
		p.attributes &^= underline
		p.strangeLine = false
	case n == 25:
		p.attributes &^= 1<<5 | 1<<6
	case n == 23, n == 27, n == 28, n == 29:
		p.attributes &^= 1 << (n - 20)
	case n >= 30 && n <= 37, n >= 90 && n <= 97:
		p.fg = strconv.Itoa(n)
	case n == 39:
		p.fg = ""
	case n >= 40 && n <= 47, n >= 100 && n <= 107:
		p.bg = strconv.Itoa(n)
	case n == 49:
		p.bg = ""
	case n == 59:
		p.ul = ""
	case n == 10: // the first font
	default:
		p.strange = true
	}
	return group
}

// setColour applies 38, 48 and 58: a colour of a palette or by its parts, as
// parameters of a group or, as most do it, of their own.
func (p *pen) setColour(which int, params ansi.Params, group int) int {
	separator, used := ":", group
	if group == 1 {
		separator = ";"
		kind := 0
		if len(params) > 1 {
			kind = params[1].Param(0)
		}
		used = map[int]int{5: 3, 2: 5}[kind]
	}
	if used < 3 || used > len(params) {
		p.strange = true
		return len(params)
	}
	var text strings.Builder
	for i, param := range params[:used] {
		if i > 0 {
			text.WriteString(separator)
		}
		if n := param.Param(-1); n >= 0 {
			text.WriteString(strconv.Itoa(n))
		}
	}
	switch which {
	case 38:
		p.fg = text.String()
	case 48:
		p.bg = text.String()
	default:
		p.ul = text.String()
	}
	return used
}
