package main

import (
	"fmt"
	"time"
)

const (
	// meterSpan is how far back a rate looks: what a copy did before its link went away says nothing.
	meterSpan = 5 * time.Second
	// meterStep is the least time between two marks.
	meterStep = 200 * time.Millisecond
	// meterQuiet is how long nothing comes before that is said instead of a rate.
	meterQuiet = 3 * time.Second
)

// meter tells how fast a copy goes of late.
type meter struct {
	marks []mark    // of the last meterSpan, the oldest first
	last  int64     // bytes
	moved time.Time // when there were more of them
}

type mark struct {
	at    time.Time
	bytes int64
}

// note says how many bytes there are. The first ones may have been there before.
func (m *meter) note(now time.Time, bytes int64) {
	if n := len(m.marks); n == 0 || now.Sub(m.marks[n-1].at) >= meterStep {
		m.marks = append(m.marks, mark{now, bytes})
	}
	for len(m.marks) > 1 && now.Sub(m.marks[1].at) >= meterSpan {
		m.marks = m.marks[1:]
	}
	if bytes != m.last || m.moved.IsZero() {
		m.last, m.moved = bytes, now
	}
}

// say describes the rate, and how long the bytes that are left take; it is empty while neither is known.
func (m *meter) say(now time.Time, left int64) string {
	if len(m.marks) == 0 {
		return ""
	}
	if quiet := now.Sub(m.moved); quiet >= meterQuiet {
		return fmt.Sprintf("nothing for %d s", int(quiet.Seconds()))
	}
	span := now.Sub(m.marks[0].at)
	rate := float64(m.last-m.marks[0].bytes) / span.Seconds()
	if span <= time.Second/2 || rate <= 0 {
		return ""
	}
	takes := time.Duration(float64(max(left, 0)) / rate * float64(time.Second))
	return fmt.Sprintf("%s/s  %s left", byteCount(uint64(rate)), takes.Round(time.Second))
}
