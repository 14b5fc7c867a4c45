//go:build linux || darwin

package terminal

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"tandem/session"
	"tandem/share/terminal/internal/predict"
	follow "tandem/share/terminal/internal/screen"
)

// screenNow is what the desk's terminal looks like.
func (d *desk) screenNow() string {
	s := follow.New(80, 24)
	_, _ = s.Write([]byte(d.seen()))
	return string(s.Snapshot(1 << 20))
}

// TestPredictions: a person types into a program that doesn't echo, and into one
// that does, with predictions and without; in the end the terminal shows the same.
func TestPredictions(t *testing.T) {
	screens := map[Prediction]string{}
	for _, mode := range []Prediction{PredictAlways, PredictNever} {
		_, guest := share(t, Config{Argv: []string{
			"/bin/sh", "-c", "stty -echo; echo ready; read s; stty echo; echo got $s | tr a-z A-Z; while read -r l; do echo \"<$l>\"; done; exit 3",
		}})
		d := newDesk(t, size80)
		ended := d.sit(t.Context(), guest, Request{}, Options{Predict: mode})
		d.sees("ready")
		for _, c := range "secret\r" {
			d.types(string(c))
		}
		d.sees("GOT SECRET")
		for _, line := range []string{"first line", "second\x7f\x7f\x7fond line", "漢字 and ü"} {
			for _, c := range line {
				d.types(string(c))
			}
			d.types("\r")
			plain := strings.ReplaceAll(line, "ond\x7f\x7f\x7f", "")
			d.sees("<" + plain + ">")
		}
		d.types("\x04")
		if o := await(t, ended); o.err != nil || o.Code != 3 {
			t.Errorf("%+v", o)
		}
		d.restored()
		if strings.Contains(d.seen(), "secret") {
			t.Errorf("what was not echoed is shown with %s: %q", mode, d.seen())
		}
		screens[mode] = d.screenNow()
		if clears := strings.HasPrefix(d.seen(), "\x1b[J"); clears != (mode == PredictAlways) {
			t.Errorf("with %s the terminal begins with %.20q", mode, d.seen())
		}
	}
	if screens[PredictAlways] != screens[PredictNever] {
		t.Errorf("with predictions the terminal is\n%q\nwithout\n%q", screens[PredictAlways], screens[PredictNever])
	}
}

// TestTakenComesBehindTheEcho: a viewer hears that its input was taken after a
// while, and not before it has been sent what was printed until then.
func TestTakenComesBehindTheEcho(t *testing.T) {
	term := newTerminal("main", "sh", session.PeerID{}, size80, minRing, slog.New(slog.DiscardHandler))
	term.mu.Lock()
	defer term.mu.Unlock()
	v := &viewer{terminal: term}
	now := time.Now()
	step := func(what string, after time.Duration, want bool, told uint64) {
		t.Helper()
		if now = now.Add(after); v.takenDue(now) != want || v.news.told != told {
			t.Errorf("%s: told %d, should be %d", what, v.news.told, told)
		}
	}
	step("nothing taken", 0, false, 0)
	v.input.taken = 3
	step("just taken", 0, false, 0)
	term.ring.write([]byte("echo"))
	step("not for long", predict.Hold-1, false, 0)
	v.input.taken = 4
	step("the echo was not sent", 1, false, 0)
	v.next = 4
	step("it was", 0, true, 3)
	step("told once", 0, false, 3)
	step("more for long enough", predict.Hold, true, 4)
	for range 10 * maxRecent {
		v.input.taken++
		step("many steps", 0, false, 4)
	}
	if n := len(v.news.recent); n > maxRecent {
		t.Errorf("%d steps are remembered", n)
	}
	step("all of them", predict.Hold, true, v.input.taken)
	told := v.news.told
	v.input.taken += untold
	step("so much that it would have to wait", 0, true, told+untold)
}

// TestNotices: what others tell the person comes between outputs, where the
// predictor knows of it.
func TestNotices(t *testing.T) {
	_, guest := share(t, Config{Argv: []string{"/bin/cat"}})
	d := newDesk(t, size80)
	notices := make(chan string)
	ended := d.sit(t.Context(), guest, Request{}, Options{Predict: PredictAlways, Notices: notices})
	d.types("abc\r")
	d.sees("abc\r\nabc\r\n")
	notices <- "a new path\x1b[2J"
	d.sees("\r\n[tandem: a new path")
	if strings.Contains(d.seen(), "\x1b[2J") {
		t.Errorf("a notice reached the terminal as it was: %q", d.seen())
	}
	d.types("\r~.")
	if o := await(t, ended); o.err != nil || !o.Detached {
		t.Errorf("%+v", o)
	}
	d.restored()
}
