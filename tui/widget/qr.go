package widget

import (
	"strings"

	"rsc.io/qr"

	"tandem/tui/theme"
)

// quiet is the empty margin around a QR code, in modules. The standard asks for
// four (ISO/IEC 18004); cameras do with two.
const quiet = 2

// QR draws text as a QR code of half blocks, and reports whether it can be shown
// in width columns and height lines. It needs Unicode.
func QR(t theme.Theme, text string, width, height int) (lines []string, ok bool) {
	if t.ASCII {
		return nil, false
	}
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return nil, false
	}
	side := code.Size + 2*quiet
	if side > width || (side+1)/2 > height {
		return nil, false
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
	return lines, true
}
