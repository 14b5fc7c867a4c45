package terminal

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// pollable makes a master's reads and writes end when it is closed. The pty
// library leaves it in blocking mode.
func pollable(master *os.File) (*os.File, error) {
	defer func() { _ = master.Close() }()
	fd, err := unix.FcntlInt(master.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "ptmx"), nil
}

// leaderGone makes a blocked read return, because a background process that
// still holds the terminal would keep it blocked.
func (p *process) leaderGone() { _ = p.master.SetReadDeadline(time.Unix(1, 0)) }

// pending reads what the program left behind when it ended, and 0 bytes if
// that was all. It does not block.
func (p *process) pending(buf []byte) int {
	raw, err := p.master.SyscallConn()
	if err != nil {
		return 0
	}
	var n int
	_ = raw.Control(func(fd uintptr) {
		for {
			// Polling a master first waits for what is on its way to it.
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			ready, err := unix.Poll(fds, 0)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if ready == 0 || err != nil || fds[0].Revents&unix.POLLIN == 0 {
				return
			}
			if n, err = unix.Read(int(fd), buf); err == nil || !errors.Is(err, unix.EINTR) {
				n = max(n, 0)
				return
			}
		}
	})
	return n
}

// foreground is the name of the program that the terminal's keys go to, or "".
func (p *process) foreground() string {
	raw, err := p.master.SyscallConn()
	if err != nil {
		return ""
	}
	var group int
	if raw.Control(func(fd uintptr) { group, err = unix.IoctlGetInt(int(fd), unix.TIOCGPGRP) }) != nil || err != nil {
		return ""
	}
	name, err := os.ReadFile("/proc/" + strconv.Itoa(group) + "/comm")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(name))
}
