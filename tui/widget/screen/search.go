package screen

import (
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"

	"tandem/share/terminal"
)

// hit is where something was found: from one cell up to another.
type hit struct{ from, to place }

func (h hit) covers(p place) bool { return !p.before(h.from) && p.before(h.to) }

// maxHits is how many are marked.
const maxHits = 10_000

// Search looks for text in all rows, without regard to case, and goes to the
// newest place at or before where the view is. It reports how many there are.
// Empty text ends the search.
func (v *View) Search(text string) int {
	v.query = text
	v.look()
	if len(v.hits) > 0 {
		if !v.back {
			v.enter()
		}
		at := v.at
		at.col++
		i := sort.Search(len(v.hits), func(i int) bool { return !v.hits[i].from.before(at) })
		v.goTo((i + len(v.hits) - 1) % len(v.hits))
	}
	return len(v.hits)
}

// Found is how many there are now of what was looked for last.
func (v *View) Found() int {
	v.look()
	return len(v.hits)
}

// Query is what was looked for last.
func (v *View) Query() string { return v.query }

// Next goes to the next hit towards newer text, or older with back. It reports
// which one that is, from 1, and of how many.
func (v *View) Next(back bool) (n, of int) {
	v.look()
	if len(v.hits) == 0 {
		return 0, 0
	}
	if !v.back {
		v.enter()
	}
	i := sort.Search(len(v.hits), func(i int) bool { return !v.hits[i].from.before(v.at) })
	switch {
	case back:
		i += len(v.hits) - 1
	case i < len(v.hits) && v.hits[i].from == v.at:
		i++
	}
	i %= len(v.hits)
	v.goTo(i)
	return i + 1, len(v.hits)
}

func (v *View) goTo(i int) {
	v.at = v.hits[i].from
	v.show(v.at.row)
}

// look searches again if something has changed.
func (v *View) look() {
	v.searched = v.Screen.Revision()
	v.hits = v.hits[:0]
	query := []rune(strings.Map(unicode.ToLower, v.query))
	if len(query) == 0 {
		return
	}
	start, _, end := v.Screen.Rows()
	var text []rune    // of a line, in lower case
	var places []place // of each of its characters
	var cells []terminal.Cell
	for row := start; row < end && len(v.hits) < maxHits; row++ {
		var wrapped bool
		cells, wrapped = v.Screen.AppendRow(cells[:0], row)
		for x, c := range cells {
			if r, _ := utf8.DecodeRuneInString(c.Text); c.Width > 0 {
				text = append(text, unicode.ToLower(r))
				places = append(places, place{row, x})
			}
		}
		if wrapped && row+1 < end && len(text) < maxSelection {
			continue
		}
		places = append(places, place{row, len(cells)})
		v.find(text, places, query)
		text, places = text[:0], places[:0]
	}
}

func (v *View) find(text []rune, places []place, query []rune) {
	for i := 0; i+len(query) <= len(text) && len(v.hits) < maxHits; {
		if !hasPrefix(text[i:], query) {
			i++
			continue
		}
		v.hits = append(v.hits, hit{places[i], places[i+len(query)]})
		i += len(query)
	}
}

func hasPrefix(text, prefix []rune) bool {
	for i, r := range prefix {
		if text[i] != r {
			return false
		}
	}
	return true
}

// hitsIn are the hits in a row. Those of a screen that has changed since are
// not shown: they may be elsewhere.
func (v *View) hitsIn(row uint64) []hit {
	if v.query == "" || v.searched != v.Screen.Revision() {
		return nil
	}
	first := sort.Search(len(v.hits), func(i int) bool { return v.hits[i].to.row >= row })
	last := first
	for last < len(v.hits) && v.hits[last].from.row <= row {
		last++
	}
	return v.hits[first:last]
}
