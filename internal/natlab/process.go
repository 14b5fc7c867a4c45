//go:build linux

package natlab

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ownerVar marks every program started in a lab with the process whose lab it is, written
// pid.start.pidns: the process id, its start time in clock ticks since boot, and the inode of the
// pid namespace in which that id counts.
const ownerVar = "TANDEM_LAB_OWNER"

// owner is the mark of this process.
func owner() string {
	pid := os.Getpid()
	start, _ := startTime(pid)
	return fmt.Sprintf("%d.%s.%d", pid, start, pidSpace())
}

// sweepOrphans kills programs left in labs whose test process is gone.
func sweepOrphans(t TB) {
	for _, pid := range processes() {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			continue // it ended, or is not ours to look at
		}
		for v := range bytes.SplitSeq(env, []byte{0}) {
			mark, ok := strings.CutPrefix(string(v), ownerVar+"=")
			if ok && orphaned(mark) && unix.Kill(pid, unix.SIGKILL) == nil {
				t.Logf("natlab: killed process %d, left by a lab of process %s", pid, mark)
			}
		}
	}
}

// orphaned reports whether mark names a process that has ended. Of another pid namespace's
// processes nothing is known.
func orphaned(mark string) bool {
	parts := strings.Split(mark, ".")
	if len(parts) != 3 || parts[2] != strconv.FormatUint(pidSpace(), 10) {
		return false
	}
	pid, err := strconv.Atoi(parts[0])
	if err != nil {
		return false
	}
	start, alive := startTime(pid)
	return !alive || start != parts[1]
}

// killInside ends every process whose network is one of spaces, those they start meanwhile too, and
// returns when they are gone.
func killInside(t TB, spaces []*namespace) {
	inside := map[uint64]string{}
	for _, ns := range spaces {
		inside[ns.inode] = ns.name
	}
	killed := map[int]bool{}
	for range 5000 {
		running := false
		for _, pid := range processes() {
			var st unix.Stat_t // a process that has ended is in no namespace
			if pid == os.Getpid() || unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &st) != nil {
				continue
			}
			name, ok := inside[st.Ino]
			if !ok {
				continue
			}
			running = true
			if !killed[pid] && unix.Kill(pid, unix.SIGKILL) == nil {
				killed[pid] = true
				t.Logf("natlab: killed process %d, still running on %s", pid, name)
			}
		}
		if !running {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Logf("natlab: processes are still running in the lab, 5 s after they were killed")
}

// processes lists the ids of all processes.
func processes() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// startTime reports when process pid started, in clock ticks since boot, and whether it runs: a
// process that has ended but was not waited for does not.
func startTime(pid int) (ticks string, alive bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", false
	}
	// The name, in parentheses, may itself hold spaces and parentheses. After it come the state,
	// field 3, and the start time, field 22.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return "", false
	}
	return fields[19], true
}

// pidSpace is the inode of this process's pid namespace.
func pidSpace() uint64 {
	var st unix.Stat_t
	if unix.Stat("/proc/self/ns/pid", &st) != nil {
		return 0
	}
	return st.Ino
}
