package terminal

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// TestRing compares a ring with a slice that forgets nothing.
func TestRing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := ring{max: rapid.IntRange(1, 40).Draw(t, "max")}
		var all []byte
		for range rapid.IntRange(0, 30).Draw(t, "writes") {
			p := rapid.SliceOfN(rapid.SampledFrom([]byte("ab\n")), 0, 100).Draw(t, "p")
			r.write(p)
			all = append(all, p...)
			if r.end != uint64(len(all)) || r.start() != uint64(max(0, len(all)-r.max)) {
				t.Fatalf("holds [%d, %d) of %d bytes", r.start(), r.end, len(all))
			}
			from := rapid.Uint64Range(r.start(), r.end).Draw(t, "from")
			got := make([]byte, rapid.IntRange(0, 50).Draw(t, "n"))
			got = got[:r.read(from, got)]
			want := all[from:min(len(all), int(from)+cap(got))]
			if !bytes.Equal(got, want[:len(got)]) || len(got) != min(cap(got), len(all)-int(from)) {
				t.Fatalf("read %q at %d, want %q", got, from, want)
			}
			reach := rapid.IntRange(0, 50).Draw(t, "reach")
			c := r.context(reach)
			if c < r.start() || c > r.end || r.end-c > uint64(reach) {
				t.Fatalf("context(%d) = %d in [%d, %d)", reach, c, r.start(), r.end)
			}
			if c != 0 && c != r.end && all[c-1] != '\n' {
				t.Fatalf("context begins in the middle of a line: %q", all[c:])
			}
		}
	})
}
