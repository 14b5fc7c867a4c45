package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func anything(Entry) bool { return true }

func TestNewest(t *testing.T) {
	const all = 200
	dir := filled(t, all)
	rapid.Check(t, func(t *rapid.T) {
		before := rapid.Uint64Range(0, all+5).Draw(t, "before")
		limit := rapid.IntRange(1, all+5).Draw(t, "limit")
		page, err := Newest(context.Background(), dir, before, limit, anything)
		if err != nil {
			t.Fatal(err)
		}
		newest := uint64(all)
		if before > 0 && before <= all {
			newest = before - 1
		}
		if len(page) != min(limit, int(newest)) {
			t.Fatalf("%d entries below %d, limit %d", len(page), before, limit)
		}
		for i, e := range page {
			if e.Seq != newest-uint64(i) || e.Resource != fmt.Sprint(e.Seq-1) {
				t.Fatalf("entry %d is %+v", i, e)
			}
		}
	})
}

func TestNewestPicks(t *testing.T) {
	page, err := Newest(t.Context(), filled(t, 50), 0, 3, func(e Entry) bool { return e.Seq%10 == 0 })
	if err != nil || len(page) != 3 || page[0].Seq != 50 || page[2].Seq != 30 {
		t.Errorf("%+v, %v", page, err)
	}
}

func TestNewestOfNothing(t *testing.T) {
	if page, err := Newest(t.Context(), filepath.Join(t.TempDir(), "none"), 0, 10, anything); err != nil || len(page) != 0 {
		t.Errorf("%+v, %v", page, err)
	}
}

// Damage costs the lines that it is in, wherever a block ends.
func TestNewestOfDamage(t *testing.T) {
	l, dir := open(t)
	for i := range 2000 {
		l.mustAppend(t, Entry{Outcome: Allowed, Resource: strings.Repeat("x", i%300)})
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, fileName(1))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(whole), "\n")
	lines[1000] = strings.Repeat("y", 3*maxLine) + "\n"
	lines[1500] = "\n"
	lines = append(lines, `{"seq":`) // under way
	if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	page, err := Newest(t.Context(), dir, 0, 10_000, anything)
	if err != nil || len(page) != 1998 {
		t.Fatalf("%d entries, %v", len(page), err)
	}
	for i, e := range page[:len(page)-1] {
		if next := page[i+1].Seq; next >= e.Seq || e.Seq == 1001 || e.Seq == 1501 {
			t.Fatalf("%d, then %d", e.Seq, next)
		}
	}
}

// A page is bounded in bytes as well; the next one goes on behind it.
func TestNewestBounded(t *testing.T) {
	l, dir := open(t)
	long := strings.Repeat("\x01", maxText) // six times that, escaped
	for range 1500 {
		l.mustAppend(t, Entry{Outcome: Allowed, Resource: long})
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for before := uint64(0); ; seen++ {
		page, err := Newest(t.Context(), dir, before, 10_000, anything)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		if len(page)*6*maxText > maxPage+maxLine {
			t.Fatalf("%d long entries in a page", len(page))
		}
		before = page[len(page)-1].Seq
	}
	if seen < 2 {
		t.Errorf("%d pages", seen)
	}
}

func TestNewestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Newest(ctx, filled(t, 10), 0, 3, anything); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
