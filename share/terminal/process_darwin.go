package terminal

import (
	"os"

	"golang.org/x/sys/unix"
)

// Here the kernel revokes a terminal when its session leader ends: reads
// return what is left and then fail by themselves.

func pollable(master *os.File) (*os.File, error) { return master, nil }

func (p *process) leaderGone() {}

func (p *process) pending([]byte) int { return 0 }

// zombie is SZOMB of <sys/proc.h>.
const zombie = 5

// sessionMembers lists the living processes of a session.
func sessionMembers(leader int) []int {
	all, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return []int{leader}
	}
	var members []int
	for i := range all {
		pid := int(all[i].Proc.P_pid)
		if sid, err := unix.Getsid(pid); err == nil && sid == leader && all[i].Proc.P_stat != zombie {
			members = append(members, pid)
		}
	}
	return members
}
