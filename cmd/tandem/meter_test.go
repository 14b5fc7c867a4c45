package main

import (
	"testing"
	"time"
)

// A rate is that of the last seconds, whatever went before, and while nothing comes there is none.
func TestMeter(t *testing.T) {
	var m meter
	now := time.Unix(0, 0)
	bytes := int64(50_000_000) // had arrived before
	at := func(rate int64, length time.Duration) {
		for end := now.Add(length); now.Before(end); now = now.Add(100 * time.Millisecond) {
			m.note(now, bytes)
			bytes += rate / 10
		}
		m.note(now, bytes)
	}
	want := func(text string) {
		t.Helper()
		if got := m.say(now, 100_000_000); got != text {
			t.Errorf("it says %q, not %q", got, text)
		}
	}
	want("")
	at(10_000_000, 100*time.Millisecond)
	want("")
	at(10_000_000, 2*time.Second)
	want("10.0 MB/s  10s left")
	at(0, 4*time.Second)
	want("nothing for 4 s")
	at(0, time.Minute)
	want("nothing for 64 s")
	at(1_000_000, 10*time.Second)
	want("1.0 MB/s  1m40s left")
	if len(m.marks) > int(meterSpan/meterStep)+2 {
		t.Errorf("%d marks", len(m.marks))
	}
}
