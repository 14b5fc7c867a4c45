//go:build linux

package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"tandem/internal/natlab"
	"tandem/session"
)

// countBy starts counting to last by a verb that keeps output apart, or on a terminal.
func (m *meeting) countBy(t *testing.T, verb string, last int) *counting {
	t.Helper()
	if verb == "shell" {
		return m.count(t, last)
	}
	script := fmt.Sprintf("i=0; while [ $i -lt %d ]; do i=$((i+1)); echo number $i; sleep 0.005; done", last)
	c := &counting{m.guest.start(t, verb, "-n", m.peer, "--", "sh", "-c", script), last}
	c.reach(t, 1)
	return c
}

// long skips a test that takes minutes of nothing happening.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("TANDEM_LAB_LONG") == "" {
		t.Skip("it takes many minutes: set TANDEM_LAB_LONG=1")
	}
}

// TestLabLinkDrops takes the guest's link away while the host counts. For 5 seconds nobody loses
// anything. For 5 minutes, which no session outlives, a terminal goes on where it was, and a program
// without one, which nothing can go on with, is reported as lost.
func TestLabLinkDrops(t *testing.T) {
	draw := func(t *testing.T) (*meeting, *natlab.Host) {
		l := newLab(t)
		wan := l.WAN(natlab.Link{Delay: 10 * time.Millisecond})
		s := l.server(t, wan.Host("server"), nil)
		host, guest := wan.NAT(natlab.Home).Host("host"), wan.NAT(natlab.Home).Host("guest")
		m := l.meetPlainly(t, s, host, guest)
		m.guest.awaitPath(t, m.peer, session.Direct, hangs)
		return m, guest
	}
	for _, silence := range []time.Duration{5 * time.Second, 5 * time.Minute} {
		t.Run(silence.String(), func(t *testing.T) {
			if silence > time.Minute {
				long(t)
			}
			m, guest := draw(t)
			onTerminal, without := m.countBy(t, "shell", 2000), m.countBy(t, "exec", 2000)
			onTerminal.further(t, 200)
			guest.Wire().Cut(true)
			time.Sleep(silence)
			guest.Wire().Cut(false)
			t.Logf("the terminal was silent for %v", onTerminal.finish(t))
			if silence < time.Minute {
				t.Logf("the program without one was silent for %v", without.finish(t))
				m.unbroken(t)
				return
			}
			without.lost(t)
		})
	}
	t.Run("forever", func(t *testing.T) {
		m, guest := draw(t)
		onTerminal, without := m.countBy(t, "shell", 100_000), m.countBy(t, "exec", 100_000)
		onTerminal.further(t, 200)
		guest.Wire().Cut(true)
		without.lost(t)
		onTerminal.stop(t)
		if said := onTerminal.log.String(); !strings.Contains(said, "connection lost") {
			t.Errorf("the shell said %q", said)
		}
	})
}

// lost checks that the program was told of as lost.
func (c *counting) lost(t *testing.T) {
	t.Helper()
	if err := c.wait(t, 3*hangs); err == nil || c.cmd.ProcessState.ExitCode() != execFailure {
		t.Errorf("%s ended with %v", c.name, err)
	}
	if said := c.log.String(); !strings.Contains(said, "nothing was heard from the peer") {
		t.Errorf("%s said %q", c.name, said)
	}
}

// TestLabFrozen stops all programs of a side, as sleep does, while the host counts.
func TestLabFrozen(t *testing.T) {
	for _, c := range []struct {
		side    string
		silence time.Duration
	}{{"guest", 5 * time.Second}, {"host", 5 * time.Second}, {"guest", 10 * time.Minute}, {"host", 10 * time.Minute}} {
		t.Run(fmt.Sprintf("%s,%v", c.side, c.silence), func(t *testing.T) {
			if c.silence > time.Minute {
				long(t)
			}
			l := newLab(t)
			wan := l.WAN(natlab.Link{Delay: 10 * time.Millisecond})
			s := l.server(t, wan.Host("server"), nil)
			m := l.meetPlainly(t, s, wan.NAT(natlab.Home).Host("host"), wan.NAT(natlab.Home).Host("guest"))
			m.guest.awaitPath(t, m.peer, session.Direct, hangs)
			onTerminal, without := m.countBy(t, "shell", 2000), m.countBy(t, "exec", 2000)
			onTerminal.further(t, 200)
			frozen := []*program{m.joining, onTerminal.program, without.program}
			if c.side == "host" {
				frozen = []*program{m.sharing}
			}
			send := func(signal syscall.Signal) {
				for _, p := range frozen {
					if err := p.cmd.Process.Signal(signal); err != nil {
						t.Error(err)
					}
				}
			}
			send(syscall.SIGSTOP)
			time.Sleep(c.silence)
			send(syscall.SIGCONT)
			t.Logf("the terminal was silent for %v", onTerminal.finish(t))
			if c.silence < time.Minute {
				t.Logf("the program without one was silent for %v", without.finish(t))
				m.unbroken(t)
			} else if err := without.wait(t, 3*hangs); err == nil {
				t.Error("the program without a terminal outlived its session")
			}
		})
	}
}
