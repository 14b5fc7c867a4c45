//go:build linux || darwin

package share

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// askGrace is how long processes may take to end when they are asked to.
	askGrace = 400 * time.Millisecond
	// killGrace is how long after that SIGKILL is repeated for those that
	// were being born meanwhile.
	killGrace = 400 * time.Millisecond
	killPoll  = 10 * time.Millisecond
)

// EndSession ends every process of the session (setsid(2)) that leader began:
// first it asks, by SIGHUP or SIGTERM, then it doesn't ask. It returns when none
// is left, or after 800 ms. A process that has made a session of its own has
// left. leader must not have been collected long ago: its number names the
// session only while a member lives.
func EndSession(leader int, ask unix.Signal) {
	signalAll := func(signals ...unix.Signal) int {
		members := sessionMembers(leader)
		for _, pid := range members {
			for _, s := range signals {
				_ = unix.Kill(pid, s) // it may be gone already
			}
		}
		return len(members)
	}
	// A stopped process takes the signal only when it goes on.
	left := signalAll(ask, unix.SIGCONT)
	for deadline := time.Now().Add(askGrace); left > 0 && time.Now().Before(deadline); {
		time.Sleep(killPoll)
		left = len(sessionMembers(leader))
	}
	for deadline := time.Now().Add(killGrace); left > 0 && time.Now().Before(deadline); {
		left = signalAll(unix.SIGKILL)
		time.Sleep(killPoll)
	}
}
