package predict

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// ascii holds the characters that most cells show.
const ascii = " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"

// spell is string(r), without an allocation where that is usual.
func spell(r rune) string {
	if r >= ' ' && r <= '~' {
		return ascii[r-' ' : r-' '+1]
	}
	return string(r)
}

// columns is how many cells r takes: 0 for a mark on the character before it,
// -1 if terminals differ (UAX #11, UAX #51).
func columns(r rune) int {
	switch {
	case r >= ' ' && r <= '~':
		return 1
	case r < 0xa0, r == 0xad, r == utf8.RuneError,
		r >= 0x1100 && r <= 0x11ff, r >= 0xd7b0 && r <= 0xd7ff, // Hangul in parts
		r >= 0xfe00 && r <= 0xfe0f,   // variation selectors
		r >= 0x1f1e6 && r <= 0x1f1ff, // flags come in pairs
		r >= 0x1f3fb && r <= 0x1f3ff, // skin tones
		r >= 0x1fa70:                 // newer than many terminals
		return -1
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case unicode.In(r, unicode.Cf, unicode.Mc, unicode.Zl, unicode.Zp):
		return -1
	case !unicode.IsGraphic(r) && !unicode.Is(unicode.Co, r):
		return -1
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// columnsOf is that of a cell's text.
func columnsOf(text string) int {
	r, _ := utf8.DecodeRuneInString(text)
	return columns(r)
}
