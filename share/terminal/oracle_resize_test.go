//go:build linux

package terminal

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	vt "tandem/share/terminal/internal/screen"
)

// prose makes output that is wrapped where the screen ends. It has no wide
// characters: tmux 3.3 takes text apart where one comes first in its last row and
// doesn't fit in the one before.
func prose(r *rand.Rand, pieces int) []byte {
	var b []byte
	for range pieces {
		switch r.IntN(6) {
		case 0:
			b = append(b, "\r\n"...)
		case 1:
			b = fmt.Appendf(b, "\x1b[3%dm", r.IntN(8))
		case 2:
			b = append(b, "e\u0301 é"...)
		default:
			for range r.IntN(60) {
				b = append(b, 'a'+byte(r.IntN(26)))
			}
		}
	}
	return b
}

// TestWrappedAnewInTmux: after a storm of sizes a snapshot shows what tmux has
// made of the same output and the same sizes. How far down, depends on how much
// came back from history, in which terminals differ.
func TestWrappedAnewInTmux(t *testing.T) {
	t.Parallel()
	histories := histories(t)
	early, late := newPane(t, size80), newPane(t, size80)
	for seed := range histories {
		random := rand.New(rand.NewPCG(uint64(seed), 1))
		early.resize(size80)
		host := vt.New(int(size80.Cols), int(size80.Rows))
		early.shows(nil)
		size := size80
		var told []string
		compare := func() {
			t.Helper()
			late.resize(size)
			snapshot := host.Snapshot(MaxSnapshot)
			late.shows(snapshot)
			want, wantColumn := early.text()
			got, column := late.text()
			if len(got) > len(want) || !slices.Equal(got, want[len(want)-len(got):]) || column != wantColumn {
				t.Fatalf("seed %d: %s shows\n%s (column %s)\nnot\n%s (column %s)\nby %q", seed, told, got, column, want, wantColumn, snapshot)
			}
		}
		for range 6 {
			output := prose(random, 20)
			told = append(told, fmt.Sprintf("%q", output))
			_, _ = host.Write(output)
			early.write(output)
			compare()
			for range random.IntN(4) {
				size = Size{Cols: 2 + uint16(random.IntN(120)), Rows: 2 + uint16(random.IntN(40))}
				told = append(told, fmt.Sprint(size))
				early.resize(size)
				host.Resize(int(size.Cols), int(size.Rows))
				compare()
			}
		}
	}
}
