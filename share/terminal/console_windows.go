package terminal

import (
	"os"
	"syscall"
	"time"
)

// endSignals ask the process to end.
var endSignals = []os.Signal{os.Interrupt, syscall.SIGTERM}

// watchSize passes on the console's changes of size. Windows tells them only to
// those who read the console's events instead of its characters.
func (c *console) watchSize() {
	defer c.restoreOnPanic()
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	last := c.tty.Size()
	for {
		select {
		case <-tick.C:
			if now := c.tty.Size(); now != last {
				last = now
				c.sized(now)
			}
		case <-c.closed:
			return
		}
	}
}
