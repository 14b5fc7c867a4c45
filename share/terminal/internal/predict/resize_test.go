package predict

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Any sizes may follow each other, whatever is on the screen: nothing is shown
// then but what the host prints.
func TestSizes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.IntRange(1, 30)
		p := New(Always, size.Draw(rt, "cols"), size.Draw(rt, "rows"))
		now := time.Unix(1e9, 0)
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			switch rapid.IntRange(0, 3).Draw(rt, "step") {
			case 0:
				p.Resize(nil, size.Draw(rt, "cols"), size.Draw(rt, "rows"))
				if again := p.Paint(nil, now); len(again) > 0 {
					rt.Fatalf("after a change of size %q is drawn", again)
				}
			case 1:
				p.Type([]byte(rapid.StringMatching(`[a-z\x7f]{0,5}`).Draw(rt, "keys")), now)
				p.Paint(nil, now)
			default:
				p.Output(nil, []byte(rapid.SampledFrom([]string{
					"$ ", "abc", "\r\n", "世", "\x1b[H", "\x1b[2J", "\x1b[K", "\x1b[5;9H", "\x1b[2;4r", "\x1b[?1049h", "\x1b[?1049l", "\x1b7", "\x1b8", "\x1bM", "\x1b[2L", "\x1b[20;20Hx", "\n\n\n",
				}).Draw(rt, "output")), now)
			}
		}
	})
}

// A window that gets lower, with all of it known, as after a start with a clear
// screen.
func TestAWindowGetsLower(t *testing.T) {
	p := New(Auto, 100, 30)
	p.Output(nil, []byte("\x1b[2J\x1b[H$ "), time.Unix(1e9, 0))
	p.Resize(nil, 40, 10)
	p.Output(nil, []byte("\x1b[H\x1b[J$ on"), time.Unix(1e9, 0))
	p.Resize(nil, 120, 35)
}
