package words

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"testing"
)

func TestList(t *testing.T) {
	sum := sha256.Sum256([]byte(english))
	if got := hex.EncodeToString(sum[:]); got != "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda" {
		t.Errorf("english.txt is not BIP-39's: SHA-256 %s", got)
	}
	if len(list) != Count || Count != 1<<Bits || !slices.IsSorted(list) {
		t.Fatalf("%d words, sorted %v", len(list), slices.IsSorted(list))
	}
	for i := range Count {
		if at, ok := Index(At(i)); !ok || at != i {
			t.Fatalf("Index(%q) = %d, %v; want %d", At(i), at, ok, i)
		}
	}
	if _, ok := Index("tandem"); ok {
		t.Error("found a word that is not there")
	}
}

func TestNearest(t *testing.T) {
	for typed, want := range map[string]string{
		"wlof":      "wolf",
		"paperr":    "paper",
		"lunr":      "lunar",
		"papr":      "paper",
		"abandonn":  "abandon",
		"wolf":      "wolf",
		"qqqqqqqq":  "",
		"x":         "",
		"":          "",
		"zooo":      "zoo",
		"\xff\xfe":  "",
		"abndn":     "abandon",
		"extraordi": "",
	} {
		if got := Nearest(typed); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", typed, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"a", "", 1},
		{"", "abc", 3},
		{"abc", "abc", 0},
		{"abc", "acb", 1},
		{"abc", "abd", 1},
		{"abc", "ab", 1},
		{"ca", "abc", 3},
		{"kitten", "sitting", 3},
	} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func FuzzNearest(f *testing.F) {
	f.Add("wolf")
	f.Add("\x00\xff")
	f.Fuzz(func(t *testing.T, s string) {
		if w := Nearest(s); w != "" {
			if _, ok := Index(w); !ok {
				t.Fatalf("Nearest(%q) = %q, which is not in the list", s, w)
			}
		}
	})
}
