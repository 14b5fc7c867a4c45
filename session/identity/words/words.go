// Package words is the list of 2048 English words in which tandem writes
// fingerprints and invite codes, so that people can read them to each other.
//
// The list is english.txt of BIP-39, word for word (MIT licence):
// https://github.com/bitcoin/bips/blob/master/bip-0039/english.txt
// Its SHA-256 is 2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda.
// The words are in lower case, three to eight letters long and sorted; no two
// share their first four letters. A word stands for its position: 11 bits.
package words

import (
	_ "embed"
	"slices"
	"strings"
)

// Count is the number of words; Bits is what one of them carries.
const (
	Count = 2048
	Bits  = 11
)

//go:embed english.txt
var english string

// list is never written to after it has been made.
var list = strings.Fields(english)

// At is the word at position i, which must be in [0, Count).
func At(i int) string { return list[i] }

// Index is the position of a word in lower case, and whether it is in the list.
func Index(word string) (int, bool) { return slices.BinarySearch(list, word) }

// Nearest is the word most like a mistyped one, by the number of letters that
// were added, dropped, changed or swapped with their neighbour; of several
// equally near, the one that begins most like it. It is "" when nothing comes
// close: more than two letters away, or more than half of the word.
func Nearest(word string) string {
	if len(word) == 0 || len(word) > 32 {
		return ""
	}
	best, bestDistance, bestStart := "", min(2, len(word)/2), -1
	for _, w := range list {
		d, start := distance(word, w), commonStart(word, w)
		if d < bestDistance || d == bestDistance && start > bestStart {
			best, bestDistance, bestStart = w, d, start
		}
	}
	return best
}

func commonStart(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// distance is the optimal string alignment distance of a and b, in bytes.
func distance(a, b string) int {
	var before, last []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
