package terminal

import (
	"bytes"
	"fmt"
	"time"

	"github.com/charmbracelet/x/ansi"

	"tandem/session"
)

// noticeStays is how long a notice covers a line of a full-screen program.
const noticeStays = 4 * time.Second

// fullScreen reports whether the program uses the alternate screen. It is
// called with out held.
func (c *console) fullScreen() bool {
	return c.filter.modes.private[1049] || c.filter.modes.private[1047] || c.filter.modes.private[47]
}

// cover makes room on the person's terminal for something of ours; output
// waits. The function it returns gives the room back, and reports whether what
// was there before is there again.
func (c *console) cover() (restored func() bool) {
	c.out.Lock()
	defer c.out.Unlock()
	c.covered = true
	full := c.fullScreen()
	if full {
		_ = c.write([]byte("\x1b7")) // which the predictor must know: it takes the place of the program's
	} else {
		c.put("\x1b[?1049h") // xterm's, which saves the cursor as well
	}
	return func() bool {
		c.out.Lock()
		defer c.out.Unlock()
		if full {
			_ = c.write([]byte("\x1b[0m\x1b[2J\x1b8"))
		} else {
			c.put("\x1b[?1049l")
		}
		c.covered = false
		c.uncovered.Broadcast()
		return !full
	}
}

// draw shows lines where cover has made room.
func (c *console) draw(lines []string) {
	size := c.tty.Size()
	c.out.Lock()
	defer c.out.Unlock()
	var b bytes.Buffer
	b.WriteString("\x1b[0m\x1b[2J")
	for i, line := range lines {
		if i >= int(size.Rows) {
			break
		}
		fmt.Fprintf(&b, "\x1b[%d;1H%s", i+1, ansi.Truncate(session.Printable(line), int(size.Cols), "…"))
	}
	c.put(b.String())
}

// put writes past the predictor, which need not know: what it follows comes
// back as it was, or is erased. It is called with out held.
func (c *console) put(s string) { _, _ = c.tty.Out.WriteString(s) }

// say tells the person something without moving what a program shows: in a line
// of its own, or over the last line of a full-screen program, for a while.
func (c *console) say(text string) {
	size := c.tty.Size()
	c.out.Lock()
	defer c.out.Unlock()
	text = "[tandem: " + session.Printable(text) + "]"
	if !c.fullScreen() || size.IsZero() {
		_ = c.write([]byte("\r\n" + text + "\r\n"))
		return
	}
	_ = c.write(fmt.Appendf(nil, "\x1b7\x1b[%d;1H\x1b[0;7m\x1b[2K%s\x1b[0m\x1b8", size.Rows, ansi.Truncate(text, int(size.Cols), "…")))
	if c.repaint == nil {
		c.repaint = time.AfterFunc(noticeStays, func() {
			select {
			case c.stale <- struct{}{}:
			default:
			}
		})
		return
	}
	c.repaint.Reset(noticeStays)
}
