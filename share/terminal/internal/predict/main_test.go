package predict

import (
	"strings"
	"testing"
	"time"

	"tandem/share/terminal/internal/screen"
)

// display is a terminal that a test looks at: all of it as a snapshot, and in
// detail as far as a grid knows it.
type display struct {
	screen, glimpsed *screen.Screen // a snapshot may change what it is of
	grid             *grid
}

func newDisplay(cols, rows int) display {
	return display{screen.New(cols, rows), screen.New(cols, rows), newGrid(cols, rows)}
}

func (d display) write(p []byte) {
	_, _ = d.screen.Write(p)
	_, _ = d.glimpsed.Write(p)
	d.grid.write(p)
}

// glimpse shows the screen at any time.
func (d display) glimpse() string { return string(d.glimpsed.Snapshot(1 << 20)) }

// state is a snapshot after one more character: which one was the last is then
// the same; see the package comment on REP.
func (d display) state() string {
	cols, rows := d.screen.Size()
	further := screen.New(cols, rows)
	_, _ = further.Write(d.screen.Snapshot(1 << 20))
	_, _ = further.Write([]byte("\x18X")) // CAN ends an unfinished sequence
	return string(further.Snapshot(1 << 20))
}

// sameAs fails the test if two terminals are not in the same state.
func (d display) sameAs(t fataler, other display) {
	t.Helper()
	if got, want := d.state(), other.state(); got != want {
		t.Fatalf("the terminal is\n%q\nshould be\n%q", got, want)
	}
}

// contains reports whether one of the characters is on the screen.
func (d display) contains(chars string) bool { return strings.ContainsAny(d.glimpse(), chars) }

// row is a line of the screen.
func (d display) row(y int) string {
	var s strings.Builder
	for _, c := range d.grid.row(y) {
		if c.kind != tail {
			s.WriteString(c.shows())
		}
	}
	return strings.TrimRight(s.String(), " ")
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// far is a host behind a link of a round trip, and a person at a terminal: a
// test moves the time.
type far struct {
	t         *testing.T
	p         *Predictor
	now       time.Time
	terminal  display // what the person sees
	plain     display // what a person without prediction sees
	roundTrip time.Duration
	events    []event
	typed     uint64
	host      func(keys []byte) (output string)
}

type event struct {
	at time.Time
	do func()
}

func newFar(t *testing.T, mode Mode, roundTrip time.Duration, host func([]byte) string) *far {
	f := &far{
		t: t, p: New(mode, 40, 6), now: time.Unix(1e9, 0), roundTrip: roundTrip, host: host,
		terminal: newDisplay(40, 6), plain: newDisplay(40, 6),
	}
	return f
}

func (f *far) at(d time.Duration, do func()) { f.events = append(f.events, event{f.now.Add(d), do}) }

// types is the person typing; the keys arrive after half a round trip.
func (f *far) types(keys string) {
	f.p.Type([]byte(keys), f.now)
	f.paint()
	f.typed += uint64(len(keys))
	typed := f.typed
	f.at(f.roundTrip/2, func() {
		f.prints(f.host([]byte(keys)))
		f.at(Hold+f.roundTrip/2, func() {
			f.p.Taken(typed, f.now)
			f.paint()
		})
	})
}

// prints is the host printing; the output arrives after half a round trip.
func (f *far) prints(out string) {
	if out == "" {
		return
	}
	f.at(f.roundTrip/2, func() {
		f.terminal.write(f.p.Output(nil, []byte(out), f.now))
		f.plain.write([]byte(out))
	})
}

func (f *far) paint() { f.terminal.write(f.p.Paint(nil, f.now)) }

// passes lets time pass.
func (f *far) passes(d time.Duration) {
	until := f.now.Add(d)
	for {
		next := -1
		for i, e := range f.events {
			if !e.at.After(until) && (next < 0 || e.at.Before(f.events[next].at)) {
				next = i
			}
		}
		wait := f.p.Wait(f.now)
		if wait > 0 && !f.now.Add(wait).After(until) && (next < 0 || f.now.Add(wait).Before(f.events[next].at)) {
			f.now = f.now.Add(wait)
			f.paint()
			continue
		}
		if next < 0 {
			break
		}
		e := f.events[next]
		f.events = append(f.events[:next:next], f.events[next+1:]...)
		f.now = e.at
		e.do()
	}
	f.now = until
}

func (f *far) sees(y int, want string) {
	f.t.Helper()
	if got := f.terminal.row(y); got != want {
		f.t.Errorf("line %d is %q, should be %q", y, got, want)
	}
}

// settles lets everything arrive; the two terminals must then agree.
func (f *far) settles() {
	f.t.Helper()
	f.passes(10 * time.Second)
	f.terminal.sameAs(f.t, f.plain)
}
