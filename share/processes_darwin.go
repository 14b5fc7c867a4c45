package share

import "golang.org/x/sys/unix"

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
