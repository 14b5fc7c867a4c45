package session

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxName is the longest name kept from a peer, in bytes.
const MaxName = 64

// Printable makes text from a peer fit to show on a terminal: control
// characters, escape sequences' introducers, bidirectional and other format
// controls, line and paragraph separators and invalid UTF-8 are replaced by
// U+FFFD; everything else, including combining marks, stays.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError, unicode.IsControl(r),
			unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Cs, unicode.Co):
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// PrintableName is Printable cut to MaxName bytes at a character boundary,
// with white space trimmed at both ends.
func PrintableName(s string) string {
	if len(s) > 4*MaxName {
		s = s[:4*MaxName]
	}
	s = strings.TrimSpace(Printable(s))
	for len(s) > MaxName {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}
