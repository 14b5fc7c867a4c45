package share

import (
	"bytes"
	"os"
	"strconv"
)

// sessionMembers lists the living processes of a session. A zombie is dead,
// and somebody else may be slow to collect it.
func sessionMembers(leader int) []int {
	proc, err := os.Open("/proc")
	if err != nil {
		return []int{leader}
	}
	defer func() { _ = proc.Close() }()
	names, _ := proc.Readdirnames(-1)
	var members []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue
		}
		// pid (comm) state ppid pgrp session …; comm may hold anything (proc(5)).
		rest := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(rest) > 3 && string(rest[3]) == strconv.Itoa(leader) && string(rest[0]) != "Z" && string(rest[0]) != "X" {
			members = append(members, pid)
		}
	}
	return members
}
