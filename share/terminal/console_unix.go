//go:build unix

package terminal

import (
	"os"
	"os/signal"
	"syscall"
)

// endSignals ask the process to end. In raw mode Ctrl-C is not among them.
var endSignals = []os.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT}

// watchSize passes on the terminal's changes of size.
func (c *console) watchSize() {
	defer c.restoreOnPanic()
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	defer signal.Stop(changed)
	for {
		select {
		case <-changed:
			c.sized(c.tty.Size())
		case <-c.closed:
			return
		}
	}
}
