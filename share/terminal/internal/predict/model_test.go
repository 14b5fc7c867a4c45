package predict

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// secrets are typed where the host doesn't echo, and nowhere else.
const secrets = "§¶¤"

// wire carries what is on its way, in order.
type wire struct {
	host     *program
	p        *Predictor
	now      time.Time
	terminal display // with prediction
	plain    display // without

	typed   uint64
	toHost  []stroke
	toUs    []news
	silence int // lines from now on, as the person knows, in which nothing is echoed: 1 is this one
}

// stroke is something typed, and what it makes of the program.
type stroke struct {
	keys  string
	quiet bool // the next line isn't echoed
}

// news is output, or that input up to taken was taken.
type news struct {
	out   string
	taken uint64
}

// program is what runs on the host.
type program struct {
	cols  int
	quiet bool
	stars bool
	queue []stroke // typed, but not read by the program
	taken uint64
	line  readline
}

func (p *program) read(s stroke) string {
	if s.keys == "\r" {
		p.line = readline{}
		p.quiet = s.quiet
		prompt := "\x1b[1;32m$\x1b[0m "
		if p.quiet {
			prompt = "Password: "
		}
		return "\r\n" + prompt
	}
	if p.quiet {
		if p.stars && strings.Contains(secrets, s.keys) {
			return "*"
		}
		return ""
	}
	if p.line.x > 12 && len([]rune(s.keys)) == 1 && s.keys >= " " && s.keys != "\x7f" {
		return "\a" // the line is full: there is no wrapping here
	}
	return p.line.keys([]byte(s.keys))
}

// TestModel lets a person type, a program echo, or not, or do as it likes, and a
// link delay all that. Whenever the drawing is taken away, and at the end, the
// terminal shows what it would without prediction, and at no time does it show
// what was typed at a password prompt.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cols, rows := rapid.IntRange(4, 30).Draw(rt, "cols"), rapid.IntRange(1, 6).Draw(rt, "rows")
		w := &wire{
			host: &program{cols: cols, stars: rapid.Bool().Draw(rt, "stars")},
			p:    New(rapid.SampledFrom([]Mode{Auto, Always}).Draw(rt, "mode"), cols, rows),
			now:  time.Unix(1e9, 0), terminal: newDisplay(cols, rows), plain: newDisplay(cols, rows),
		}
		w.toUs = append(w.toUs, news{out: "$ "})
		rt.Repeat(map[string]func(*rapid.T){
			"":     func(rt *rapid.T) { w.check(rt) },
			"type": w.typeKey,
			"typeAgain": func(rt *rapid.T) {
				for range rapid.IntRange(1, 5).Draw(rt, "keys") {
					w.typeKey(rt)
				}
			},
			"enter": func(rt *rapid.T) {
				if w.silence > 0 {
					w.silence--
				}
				quiet := rapid.IntRange(0, 3).Draw(rt, "quiet") == 0
				if quiet {
					w.silence = 1
				} else {
					w.silence = 0
				}
				w.send(stroke{"\r", quiet})
			},
			"time":    func(rt *rapid.T) { w.pass(time.Duration(rapid.IntRange(1, 300).Draw(rt, "ms")) * time.Millisecond) },
			"arrive":  func(rt *rapid.T) { w.arrive() },
			"read":    func(rt *rapid.T) { w.read() },
			"tell":    func(rt *rapid.T) { w.toUs = append(w.toUs, news{taken: w.host.taken}) },
			"deliver": func(rt *rapid.T) { w.deliver(rt) },
			"surprise": func(rt *rapid.T) {
				w.toUs = append(w.toUs, news{out: rapid.SampledFrom(surprises).Draw(rt, "surprise")})
			},
			"look": func(rt *rapid.T) { w.look(rt) },
		})
		for len(w.toHost) > 0 {
			w.arrive()
		}
		for len(w.host.queue) > 0 {
			w.read()
		}
		w.toUs = append(w.toUs, news{taken: w.host.taken})
		for len(w.toUs) > 0 {
			w.deliver(rt)
		}
		w.check(rt)
		w.terminal.sameAs(rt, w.plain)
		if len(w.p.pending) > 0 {
			rt.Fatalf("%d keys still wait for their echo", len(w.p.pending))
		}
	})
}

// surprises are what programs print by themselves.
var surprises = []string{
	"\r\nmail\r\n$ ", "\x1b[2J\x1b[H$ ", "\x1b[H", "\x1b7\x1b[1;1Hclock\x1b8", "\x1b[31m", "\x1b[0m", "\x1b[44m",
	"\x1b[K", "\x1b[J", "\r", "\n", "漢", "e\u0301", "\x1b[?1049h", "\x1b[?1049l", "\x1b[2;3r", "\x1b[r", "\x1bM",
	"\x1b[2;2H", "\x1b[3G", "\t", "\b", "\x1b[4h", "\x1b[4l", "\x1b(0", "\x1b(B", "\x1b[L", "\x1b[M", "\x1b[2P", "\x1b[2@", "\x1b[3X",
	"a long line that goes on and on", "\x1b]0;title\a", "\a", "\x1b[?25l", "\x1b[?25h", "\x1b[1K",
}

func (w *wire) typeKey(rt *rapid.T) {
	keys := rapid.SampledFrom([]string{"a", "b", "c", " ", "ü", "漢", "\x7f", "\x1b[D", "\x1b[C", "\x01", "\x1bOD"}).Draw(rt, "key")
	if w.silence > 0 {
		keys = rapid.SampledFrom(strings.Split(secrets, "")).Draw(rt, "secret")
	}
	w.send(stroke{keys: keys})
}

func (w *wire) send(s stroke) {
	w.p.Type([]byte(s.keys), w.now)
	w.terminal.write(w.p.Paint(nil, w.now))
	w.typed += uint64(len(s.keys))
	w.toHost = append(w.toHost, s)
}

func (w *wire) pass(d time.Duration) {
	w.now = w.now.Add(d)
	w.terminal.write(w.p.Paint(nil, w.now))
}

// arrive: something typed gets to the host's terminal.
func (w *wire) arrive() {
	if len(w.toHost) == 0 {
		return
	}
	w.host.taken += uint64(len(w.toHost[0].keys))
	w.host.queue = append(w.host.queue, w.toHost[0])
	w.toHost = w.toHost[1:]
}

// read: the program reads a key.
func (w *wire) read() {
	if len(w.host.queue) == 0 {
		return
	}
	out := w.host.read(w.host.queue[0])
	w.host.queue = w.host.queue[1:]
	w.toUs = append(w.toUs, news{out: out})
}

// deliver: some of what the host has said gets to us, output cut anywhere.
func (w *wire) deliver(rt *rapid.T) {
	if len(w.toUs) == 0 {
		return
	}
	n := w.toUs[0]
	w.toUs = w.toUs[1:]
	if n.out == "" {
		w.p.Taken(n.taken, w.now)
		w.terminal.write(w.p.Paint(nil, w.now))
		return
	}
	cut := len(n.out)
	if rapid.IntRange(0, 3).Draw(rt, "whole") == 0 {
		cut = rapid.IntRange(1, len(n.out)).Draw(rt, "cut")
	}
	for _, out := range []string{n.out[:cut], n.out[cut:]} {
		if out != "" {
			w.terminal.write(w.p.Output(nil, []byte(out), w.now))
			w.plain.write([]byte(out))
			w.check(rt)
		}
	}
}

// look takes the drawing away and compares.
func (w *wire) look(rt *rapid.T) {
	w.terminal.write(w.p.hide(nil))
	w.terminal.sameAs(rt, w.plain)
	w.terminal.write(w.p.Paint(nil, w.now))
}

func (w *wire) check(rt *rapid.T) {
	rt.Helper()
	if w.terminal.contains(secrets) {
		rt.Fatalf("a secret is shown:\n%q", w.terminal.glimpse())
	}
	if n := len(w.p.pending); n > maxPending {
		rt.Fatalf("%d keys pending", n)
	}
	if w.p.placed > len(w.p.pending) {
		rt.Fatalf("%d of %d keys placed", w.p.placed, len(w.p.pending))
	}
}

// TestManyKeysPending: what waits is bounded, whatever a person does.
func TestManyKeysPending(t *testing.T) {
	p := New(Always, 80, 24)
	now := time.Unix(1e9, 0)
	for i := range 10 * maxPending {
		p.Type([]byte(fmt.Sprint(i%10)), now)
		if len(p.pending) > maxPending {
			t.Fatalf("%d keys pending", len(p.pending))
		}
	}
	p.Taken(p.typed, now)
	if len(p.pending) > 0 {
		t.Errorf("%d keys pending", len(p.pending))
	}
}

// FuzzOutput: whatever a host prints and a person types, taking the drawing away
// leaves the terminal as it is without prediction.
func FuzzOutput(f *testing.F) {
	f.Add([]byte("$ "), []byte("abc"), []byte("a"), byte(1))
	f.Add([]byte("\x1b[1;31m漢\x1b[K\x1b[10G"), []byte("ab\x7fc"), []byte("ab"), byte(2))
	f.Add([]byte("\x1b[?1049h\x1b[2;5r\x1b[3;3H"), []byte("\x1b[Dx"), []byte("\x1b[2@x"), byte(3))
	f.Add([]byte("\r\n\r\nabc\x1b[D\x1b[D"), []byte("xy"), []byte("\x1b[4hx"), byte(4))
	f.Fuzz(func(t *testing.T, before, keys, after []byte, size byte) {
		if len(before)+len(keys)+len(after) > 4096 || bytes.IndexByte(after, 'b') >= 0 { // see the package comment on REP
			return
		}
		cols, rows := 2+int(size)%40, 1+int(size)%7
		terminal, plain := newDisplay(cols, rows), newDisplay(cols, rows)
		p := New(Always, cols, rows)
		now := time.Unix(1e9, 0)
		print := func(out []byte) {
			terminal.write(p.Output(nil, out, now))
			plain.write(out)
		}
		print(before)
		p.confirmed = 1 << 30 // all that may be shown is
		p.Type(keys, now)
		terminal.write(p.Paint(nil, now))
		for len(after) > 0 { // byte by byte
			print(after[:1])
			after = after[1:]
		}
		terminal.write(p.hide(nil))
		terminal.sameAs(t, plain)
		p.Taken(p.typed, now)
		terminal.write(p.Paint(nil, now))
		terminal.sameAs(t, plain)
	})
}
