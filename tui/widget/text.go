package widget

import (
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"tandem/session"
)

// Clean makes one line of a peer's text that can't do anything but be shown:
// no control, format or bidirectional characters, no line breaks.
func Clean(s string) string { return session.Printable(s) }

// Cut cuts a styled line to width columns, with tail at the end of what was cut.
func Cut(s string, width int, tail string) string {
	if width <= 0 {
		return ""
	}
	return ansi.Truncate(s, width, tail)
}

// Pad fills a styled line with blanks up to width columns, and cuts it there.
func Pad(s string, width int) string {
	if width <= 0 {
		return ""
	}
	w := ansi.StringWidth(s)
	if w > width {
		s = ansi.Truncate(s, width, "")
		w = ansi.StringWidth(s)
	}
	return s + strings.Repeat(" ", width-w)
}

// Fit makes text exactly width columns and height lines.
func Fit(s string, width, height int) string {
	if height <= 0 || width <= 0 {
		return ""
	}
	var b strings.Builder
	b.Grow(len(s) + height)
	for i := range height {
		line, rest, _ := strings.Cut(s, "\n")
		s = rest
		b.WriteString(Pad(line, width))
		if i < height-1 {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// Spread puts left and right at the two ends of a line; left is cut if both
// don't fit.
func Spread(left, right string, width int, tail string) string {
	r := ansi.StringWidth(right)
	if r+1 >= width {
		return Pad(left, width)
	}
	left = Cut(left, width-r-1, tail)
	return left + strings.Repeat(" ", width-r-ansi.StringWidth(left)) + right
}

// Wrap breaks text at blanks into lines of width columns; longer words are broken.
func Wrap(s string, width int) []string {
	if width <= 0 {
		return nil
	}
	return strings.Split(ansi.Wrap(s, width, " -/"), "\n")
}

// Center puts a block of lines in the middle of a width by height area.
func Center(block string, width, height int) string {
	lines := strings.Split(block, "\n")
	widest := 0
	for _, l := range lines {
		widest = max(widest, ansi.StringWidth(l))
	}
	indent := strings.Repeat(" ", max(0, (width-widest)/2))
	above := strings.Repeat("\n", max(0, (height-len(lines))/2))
	return Fit(above+indent+strings.Join(lines, "\n"+indent), width, height)
}

// Columns pads cells to widths, one blank between; a cell that is too long ends
// in tail.
func Columns(widths []int, tail string, cells ...string) string {
	var b strings.Builder
	for i, cell := range cells {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(Pad(Cut(cell, widths[i], tail), widths[i]))
	}
	return b.String()
}

// Remaining writes a duration for a countdown: 9:59, 1:02:03, 3 days.
func Remaining(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	d = d.Round(time.Second)
	h, m, s := int(d/time.Hour), int(d/time.Minute)%60, int(d/time.Second)%60
	switch {
	case h >= 72:
		return plural(h/24, "day")
	case h > 0:
		return itoa(h) + ":" + two(m) + ":" + two(s)
	}
	return itoa(m) + ":" + two(s)
}

// Ago writes how long ago something was, roughly.
func Ago(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return "now"
	case d < time.Minute:
		return itoa(int(d/time.Second)) + " s"
	case d < time.Hour:
		return itoa(int(d/time.Minute)) + " min"
	case d < 48*time.Hour:
		return itoa(int(d/time.Hour)) + " h"
	}
	return plural(int(d/(24*time.Hour)), "day")
}

// Width is how many columns a styled line takes.
func Width(s string) int { return ansi.StringWidth(s) }
