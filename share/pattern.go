package share

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// FoldName is what some file system takes name for: one is FoldName of the
// other's exactly if a system may not tell two names apart, because of case
// (APFS, NTFS), of Unicode's several forms of the same text (APFS, HFS+), or of
// characters that have no look of their own (HFS+).
func FoldName(name string) string {
	if isASCII(name) {
		return strings.ToLower(name)
	}
	// Unicode, chapter 3.13, D145: canonical caseless match. The composed form is
	// one of the same text, and what a pattern's "?" should see.
	visible := strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, name)
	return norm.NFC.String(cases.Fold().String(norm.NFD.String(visible)))
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// The limits of patterns.
const (
	MaxPatterns = 10_000 // lines of a file of them
	maxPattern  = 4096   // bytes of one
	maxParts    = 63     // names in one
)

// Pattern is a line of a gitignore file (gitignore(5) of git): it names files and
// directories of a tree by globs.
type Pattern struct {
	// Negated says that the line begins with "!": what it matches is not ignored
	// after all.
	Negated bool

	dirOnly bool
	parts   []string // for path.Match each, or "**": any number of names
}

// ParsePattern reads one line. ok is false for one that names nothing: a comment
// or an empty line. A glob that can't be read, which git would take to match
// nothing, is an error, and so are classes such as [[:alpha:]].
func ParsePattern(line string) (p Pattern, ok bool, err error) {
	line = trimLine(line)
	if line == "" || line[0] == '#' {
		return Pattern{}, false, nil
	}
	text, negated := strings.CutPrefix(line, "!")
	text, dirOnly := strings.CutSuffix(text, "/")
	p = Pattern{Negated: negated, dirOnly: dirOnly}
	text, rooted := strings.CutPrefix(text, "/")
	if !rooted && !strings.Contains(text, "/") {
		p.parts = []string{"**"}
	}
	for part := range strings.SplitSeq(text, "/") {
		if part == "**" && len(p.parts) > 0 && p.parts[len(p.parts)-1] == "**" {
			continue // twice is once
		}
		p.parts = append(p.parts, glob(part))
	}
	if len(p.parts) > 1 && p.parts[len(p.parts)-1] == "**" {
		p.parts = append(p.parts, "*") // what is below, and not the directory itself
	}
	switch {
	case len(text) > maxPattern:
		return Pattern{}, false, fmt.Errorf("a pattern of %d bytes, and %d may be", len(text), maxPattern)
	case len(p.parts) > maxParts:
		return Pattern{}, false, fmt.Errorf("a pattern of %d names, and %d may be", len(p.parts), maxParts)
	case strings.Contains(text, "[:"):
		return Pattern{}, false, fmt.Errorf("the pattern %q has a class of characters by name", line)
	}
	for _, part := range p.parts {
		if _, err := path.Match(part, ""); err != nil || part == "" {
			return Pattern{}, false, fmt.Errorf("%q is not a pattern", line)
		}
	}
	return p, true, nil
}

// glob is part in the words of path.Match, which writes the complement of a class
// as "[^" only.
func glob(part string) string {
	out := []byte(part)
	inside := false
	for i := 0; i < len(out); i++ {
		switch {
		case out[i] == '\\':
			i++
		case out[i] == ']':
			inside = false
		case out[i] == '[' && !inside:
			inside = true
			if i+1 < len(out) && out[i+1] == '!' {
				out[i+1] = '^'
			}
		}
	}
	return string(out)
}

// trimLine drops the end of a line and its trailing spaces, unless a backslash
// keeps them.
func trimLine(line string) string {
	line = strings.TrimRight(line, "\r\n")
	kept := strings.TrimRight(line, " ")
	if backslashes := len(kept) - len(strings.TrimRight(kept, `\`)); backslashes%2 == 1 && len(kept) < len(line) {
		kept += " "
	}
	return kept
}

// Match reports whether the pattern names this very path, which has "/" between
// its names and is below the tree that the pattern is about.
func (p Pattern) Match(at string, dir bool) bool {
	return (dir || !p.dirOnly) && at != "" && match(p.parts, strings.Split(at, "/"))
}

// match runs names through the automaton whose states are the positions in parts:
// a path of a peer's may be long, and several "**" must not make it slow.
func match(parts, names []string) bool {
	at := skip(parts, 1)
	for _, name := range names {
		next := uint64(0)
		for i, part := range parts {
			switch {
			case at&(1<<i) == 0:
			case part == "**":
				next |= 1 << i
			default:
				if ok, err := path.Match(part, name); err == nil && ok {
					next |= 1 << (i + 1)
				}
			}
		}
		at = skip(parts, next)
	}
	return at&(1<<len(parts)) != 0
}

// skip adds to the positions those behind a "**", which may stand for nothing.
func skip(parts []string, at uint64) uint64 {
	for i, part := range parts {
		if part == "**" && at&(1<<i) != 0 {
			at |= 1 << (i + 1)
		}
	}
	return at
}

// Patterns are the lines of a gitignore file, in order.
type Patterns []Pattern

// ParsePatterns reads the text of a gitignore file.
func ParsePatterns(text string) (Patterns, error) {
	var ps Patterns
	for n, line := range slices.Collect(strings.Lines(strings.TrimPrefix(text, "\ufeff"))) {
		p, ok, err := ParsePattern(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		if ok {
			ps = append(ps, p)
		}
		if len(ps) > MaxPatterns {
			return nil, fmt.Errorf("there are more than %d patterns", MaxPatterns)
		}
	}
	return ps, nil
}

// Says is what the last pattern that matches this very path says: whether it is
// ignored. None may match. Below a directory that is ignored, everything is.
func (ps Patterns) Says(at string, dir bool) (ignored, known bool) {
	for _, p := range slices.Backward(ps) {
		if p.Match(at, dir) {
			return !p.Negated, true
		}
	}
	return false, false
}
