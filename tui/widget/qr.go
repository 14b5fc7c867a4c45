package widget

import (
	"strings"

	"rsc.io/qr"

	"tandem/tui/theme"
)

// The empty margin around a QR code, in modules. The standard asks for four (ISO/IEC
// 18004); cameras do with two, and with one where there is no room for more.
const (
	quiet      = 2
	leastQuiet = 1
)

// QR draws text as a QR code of half blocks in at most width columns and height
// lines; where there is no room, it draws none and says how much it takes. It needs
// Unicode: without, it takes nothing.
func QR(t theme.Theme, text string, width, height int) (lines []string, columns, rows int) {
	if t.ASCII {
		return nil, 0, 0
	}
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return nil, 0, 0
	}
	quiet := quiet
	fits := func() bool {
		columns = code.Size + 2*quiet
		rows = (columns + 1) / 2
		return columns <= width && rows <= height
	}
	if !fits() {
		if quiet = leastQuiet; !fits() {
			return nil, columns, rows
		}
	}
	for y := -quiet; y < code.Size+quiet; y += 2 {
		var b strings.Builder
		for x := -quiet; x < code.Size+quiet; x++ {
			switch above, below := code.Black(x, y), code.Black(x, y+1); {
			case above && below:
				b.WriteString("█")
			case above:
				b.WriteString("▀")
			case below:
				b.WriteString("▄")
			default:
				b.WriteByte(' ')
			}
		}
		lines = append(lines, t.QR.Render(b.String()))
	}
	return lines, columns, rows
}
