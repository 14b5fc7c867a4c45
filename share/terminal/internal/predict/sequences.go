package predict

import (
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/ansi/parser"
)

// write feeds what the terminal is sent.
func (g *grid) write(p []byte) {
	for len(p) > 0 {
		if p[0] < utf8.RuneSelf {
			g.parser.Advance(p[0])
			p = p[1:]
			continue
		}
		r, n := utf8.DecodeRune(p)
		if r == utf8.RuneError && n == 1 || r < 0xa0 || !g.takesText() {
			g.parser.Reset() // terminals differ in what they make of it
			g.lose()
		} else {
			for _, b := range p[:n] {
				g.parser.Advance(b)
			}
		}
		p = p[n:]
	}
}

// takesText reports whether a character is one here, and not part of a
// sequence that it breaks.
func (g *grid) takesText() bool {
	switch g.parser.State() {
	case parser.GroundState, parser.OscStringState, parser.DcsStringState, parser.SosStringState, parser.PmStringState, parser.ApcStringState:
		return true
	}
	return false
}

// csi acts on a control sequence. One that isn't known makes nothing known.
func (g *grid) csi(cmd ansi.Cmd, params ansi.Params) {
	const most = 4096
	for _, param := range params {
		if n := param.Param(0); n < 0 || n > most && cmd.Final() != 'm' {
			g.lose()
			return
		}
	}
	if len(params) > 30 { // the parser keeps no more than 32
		g.lose()
		g.unsurePen()
		return
	}
	n := func(i, fallback int) int {
		v, _, ok := params.Param(i, fallback)
		if !ok || v == 0 && fallback == 1 {
			return fallback
		}
		return v
	}
	if prefix, intermediate := cmd.Prefix(), cmd.Intermediate(); prefix != 0 || intermediate != 0 {
		g.private(prefix, intermediate, cmd.Final(), params)
		return
	}
	switch cmd.Final() {
	case 'A', 'F':
		g.vertical(-n(0, 1))
	case 'B', 'E', 'e':
		g.vertical(n(0, 1))
	case 'C', 'a':
		g.across(n(0, 1))
	case 'D':
		g.across(-n(0, 1))
	case 'G', '`':
		g.toColumn(n(0, 1) - 1)
	case 'H', 'f':
		g.anchor(n(0, 1) - 1)
		g.toColumn(n(1, 1) - 1)
	case 'd':
		g.settleWrap()
		g.anchor(n(0, 1) - 1)
	case 'I':
		for range min(n(0, 1), g.cols) {
			g.tab()
		}
	case 'J':
		g.eraseScreen(n(0, 0))
	case 'K':
		g.eraseLine(n(0, 0))
	case 'X':
		if g.slack > 0 {
			g.forget(g.y, 0, g.cols)
		} else {
			g.cutWrap()
			g.erase(g.y, g.x, g.x+n(0, 1))
		}
	case '@':
		g.shift(n(0, 1))
	case 'P':
		g.shift(-n(0, 1))
	case 'L', 'M':
		g.moveLines(cmd.Final() == 'L', n(0, 1))
	case 'S', 'T':
		if cmd.Final() == 'T' && len(params) > 1 || g.floating || g.margins {
			g.lose()
		} else if cmd.Final() == 'S' {
			g.scrollUp(g.top, g.bottom, n(0, 1))
		} else {
			g.scrollDown(g.top, g.bottom, n(0, 1))
		}
	case 'b':
		if n(0, 1) > g.cols {
			g.lose()
			return
		}
		for range n(0, 1) {
			g.print(g.last)
		}
	case 'm':
		if next := g.pen.after(params); next != *g.pen {
			if next == *g.plain {
				g.pen = g.plain
			} else {
				g.pen = &next
			}
		}
	case 'r':
		g.region(n(0, 1)-1, n(1, g.rows)-1)
	case 's':
		if len(params) > 0 || g.margins {
			g.lose()
		} else {
			g.save()
		}
	case 'u':
		g.restore()
	case 'h', 'l':
		for _, param := range params {
			switch param.Param(0) {
			case 4:
				g.insert = cmd.Final() == 'h'
			case 20:
				g.newline = cmd.Final() == 'h'
			}
		}
	case 'g':
		g.tabs = true
	case 'c', 'n', 't', 'q', 'x', 'i', 'y': // queries, the window
	default:
		g.lose()
	}
	if f := cmd.Final(); f == 'E' || f == 'F' {
		g.toColumn(0)
	}
}

// private acts on a control sequence with a prefix or an intermediate byte.
func (g *grid) private(prefix, intermediate, final byte, params ansi.Params) {
	switch {
	case prefix == '?' && intermediate == 0 && (final == 'h' || final == 'l'):
		for _, param := range params {
			g.mode(param.Param(0), final == 'h')
		}
	case prefix == '?' && final == 'J', prefix == '?' && final == 'K':
		g.lose()
	case prefix == '?' && (final == 's' || final == 'r'): // save and restore modes
		if final == 'r' {
			g.lose()
			g.margins = true
		}
	case intermediate == '!' && final == 'p': // soft reset
		g.lose()
		g.insert, g.origin, g.margins, g.protected, g.noWrap = false, false, false, false, false
		if *g.pen != *g.plain { // some terminals leave it as it is
			g.unsurePen()
		}
	case intermediate == '"' && final == 'q':
		g.protected = true
	case prefix != 0 && intermediate == 0, intermediate == '$' && final == 'p', intermediate == ' ' && final == 'q':
		// Reports, keyboard modes, the cursor's shape.
	default:
		g.lose()
	}
}

func (g *grid) mode(number int, on bool) {
	switch number {
	case 2:
		g.vt52 = !on
	case 3, 95: // columns
		g.lose()
	case 6:
		g.origin = on
		g.anchor(0)
		g.column(0)
	case 7:
		g.settleWrap()
		g.noWrap = !on
	case 45: // reverse wrap
		g.lose()
	case 69:
		g.margins = on
		g.lose()
	case 47, 1047, 1049:
		g.alternate(number, on)
	case 1048:
		if on {
			g.save()
		} else {
			g.restore()
		}
	case 2026:
		g.synchronised = on
	}
}

func (g *grid) toColumn(x int) {
	if g.margins && g.origin {
		g.lose()
		return
	}
	g.column(x)
}

// cutWrap: an erasure at a pending wrap takes the last column, and perhaps the
// wrap as well.
func (g *grid) cutWrap() {
	if g.wrap {
		g.settleWrap()
		g.forget(g.y, g.cols-1, g.cols)
	}
}

func (g *grid) eraseLine(how int) {
	g.cutWrap()
	switch how {
	case 0:
		if g.slack > 0 {
			g.forget(g.y, g.x, g.x+g.slack)
		}
		g.erase(g.y, g.x+g.slack, g.cols)
	case 1:
		g.erase(g.y, 0, g.x+1)
		if g.slack > 0 {
			g.forget(g.y, g.x+1, g.x+g.slack+1)
		}
	case 2:
		g.erase(g.y, 0, g.cols)
	default:
		g.lose()
	}
}

func (g *grid) eraseScreen(how int) {
	switch how {
	case 0:
		g.eraseLine(0)
		for y := g.y + 1; y < g.rows; y++ {
			g.erase(y, 0, g.cols)
		}
	case 1:
		g.eraseLine(1)
		for y := range g.y {
			g.erase(y, 0, g.cols)
		}
	case 2:
		g.settleWrap()
		for y := range g.rows {
			g.erase(y, 0, g.cols)
		}
	case 3: // what has scrolled off
	default:
		g.lose()
	}
}

// shift inserts n cells at the cursor, or deletes them.
func (g *grid) shift(n int) {
	if g.slack > 0 || g.wrap || g.wrapUnsure || g.margins || g.y < g.top || g.y > g.bottom {
		g.cutWrap()
		g.forget(g.y, 0, g.cols)
		return
	}
	line, at := g.line(), min(g.x+max(n, -n), g.cols)
	n = max(n, g.x-at) // deletes no more than there is
	g.cut(line, g.x)
	if n > 0 {
		copy(line[at:], line[g.x:])
		if last := &line[g.cols-1]; last.kind == glyph && columnsOf(last.text) == 2 {
			*last = cell{} // its right half was pushed out
		}
		g.erase(g.y, g.x, at)
		return
	}
	g.cut(line, at)
	copy(line[g.x:], line[at:])
	clear(line[g.cols+n:])
	g.erase(g.y, g.cols+n, g.cols)
}

// cut forgets a wide character whose right half is in column x.
func (g *grid) cut(line []cell, x int) {
	if x < g.cols && line[x].kind == tail {
		line[x-1], line[x] = cell{}, cell{}
	}
}

func (g *grid) moveLines(insert bool, n int) {
	switch {
	case g.margins, g.floating && (insert || *g.pen != *g.plain):
		g.lose()
	case g.y < g.top || g.y > g.bottom:
	case insert:
		g.scrollDown(g.y, g.bottom, n)
		g.movedLines()
	default:
		g.scrollUp(g.y, g.bottom, n)
		g.movedLines()
	}
}

// movedLines: some terminals go to the first column.
func (g *grid) movedLines() {
	if g.x > 0 || g.slack > 0 {
		g.forget(g.y, 0, g.cols)
		g.x, g.slack = 0, g.x+g.slack
	}
	g.settleWrap()
}

func (g *grid) region(top, bottom int) {
	bottom = min(bottom, g.rows-1)
	if top < 0 || top >= bottom {
		if g.rows > 1 || top != 0 {
			g.lose()
			return
		}
	}
	g.anchor(0)
	g.column(0)
	g.top, g.bottom = top, max(bottom, top)
}

// escape acts on an escape sequence.
func (g *grid) escape(cmd ansi.Cmd) {
	switch final := cmd.Final(); cmd.Intermediate() {
	case 0:
		switch final {
		case '7':
			g.save()
		case '8':
			g.restore()
		case 'D', 'E':
			g.settleWrap()
			if final == 'E' {
				g.column(0)
			}
			g.feed()
		case 'M':
			g.settleWrap()
			switch {
			case g.floating && g.y == 0:
				g.lose()
			case g.y == g.top:
				g.scrollDown(g.top, g.bottom, 1)
			default:
				g.y = max(g.y-1, 0)
			}
		case 'H':
			g.tabs = true
		case 'c': // everything is as when it was switched on
			cols, rows, parser := g.cols, g.rows, g.parser
			*g = grid{cols: cols, rows: rows, bottom: rows - 1, plain: g.plain, pen: g.plain, parser: parser}
			g.blankAll()
		case '=', '>', '\\': // the keypad, a string's end
		default:
			g.lose()
			g.charset = true
		}
	case '(':
		g.charset = final != 'B'
	case ')', '*', '+', '-', '.', '/': // not chosen until it is shifted to
	case '%', ' ': // UTF-8, the size of C1 controls
	default: // double width, the alignment test
		g.lose()
		g.protected = true
	}
}

// osc follows hyperlinks.
func (g *grid) osc(cmd int, data []byte) {
	if cmd == 8 {
		// "8;PARAMETERS;" and nothing is a link's end.
		g.linked = string(data) != "8;;"
	}
}
