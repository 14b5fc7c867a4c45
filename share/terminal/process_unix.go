//go:build linux || darwin

package terminal

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"tandem/session"
	shared "tandem/share"
)

// process is a program on a pseudo-terminal, leader of a session of its own.
type process struct {
	cmd    *exec.Cmd
	master *os.File
}

// launch says what to start.
type launch struct {
	argv []string
	// login starts argv[0] the way login(1) starts a shell.
	login bool
	dir   string
	env   []string
	size  Size
}

// startProcess fails with NotFound or Denied if the program itself is missing
// or can't be executed, and with Unavailable if the host can't start anything.
func startProcess(l launch) (*process, error) {
	if info, err := os.Stat(l.dir); l.dir != "" && (err != nil || !info.IsDir()) {
		return nil, unavailable(errors.Join(err, errors.New("the folder to start in is not there")))
	}
	cmd := exec.Command(l.argv[0], l.argv[1:]...)
	switch {
	case errors.Is(cmd.Err, exec.ErrDot), errors.Is(cmd.Err, exec.ErrNotFound), errors.Is(cmd.Err, fs.ErrNotExist):
		return nil, session.Errorf("start terminal", session.NotFound, "%s: command not found", session.Printable(l.argv[0]))
	case cmd.Err != nil:
		return nil, session.Errorf("start terminal", session.Denied, "%s: can't be executed", session.Printable(l.argv[0]))
	}
	if l.login {
		cmd.Args[0] = "-" + filepath.Base(l.argv[0])
	}
	cmd.Dir, cmd.Env = l.dir, l.env

	master, slave, err := pty.Open()
	if err != nil {
		return nil, noPTY(err)
	}
	defer func() { _ = slave.Close() }()
	if err := setSize(master, l.size); err != nil {
		_ = master.Close()
		return nil, unavailable(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		_ = master.Close()
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.ENOEXEC) {
			return nil, &session.Error{Op: "start terminal", Kind: session.Denied, Text: session.Printable(l.argv[0]) + ": can't be executed", Err: err}
		}
		return nil, unavailable(err)
	}
	pollable, err := pollable(master)
	if err != nil {
		_ = master.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, unavailable(err)
	}
	return &process{cmd: cmd, master: pollable}, nil
}

// unavailable is why the host can't start anything, in words for the viewer.
func unavailable(err error) error {
	if what := shared.Shortage(err); what != "" {
		return &session.Error{Op: "start terminal", Kind: session.Busy, Text: "the host can't start a terminal now: " + what + "; try again when something there has ended", Err: err}
	}
	return &session.Error{Op: "start terminal", Kind: session.Unavailable, Text: "the host can't start a terminal now", Err: err}
}

// noPTY is unavailable for a pseudo-terminal that can't be made, with what there
// is to do.
func noPTY(err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC): // pts(4): more than kernel.pty.max, or than devpts allows
		return &session.Error{
			Op: "start terminal", Kind: session.Busy, Err: err,
			Text: "the host can't start a terminal now: it has no pseudo-terminals left; end a terminal there, or raise its limit (kernel.pty.max)",
		}
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return &session.Error{
			Op: "start terminal", Kind: session.Unavailable, Err: err,
			Text: "the host can't start a terminal: it has no /dev/ptmx that tandem may use; mount devpts there, or use tandem exec, which needs none",
		}
	}
	return unavailable(err)
}

// wait returns when the program has ended. It is called once.
func (p *process) wait() Exit {
	err := p.cmd.Wait()
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case !ok:
		return Exit{Code: 255, Reason: "the program's status is lost: " + err.Error()}
	case status.Signaled():
		return Exit{Code: 128 + int(status.Signal()), Signal: unix.SignalName(status.Signal())}
	}
	return Exit{Code: status.ExitStatus() & 0xff}
}

func (p *process) resize(s Size) error { return setSize(p.master, s) }

// kill ends every process of the program's session and returns when they are
// gone, within a second.
func (p *process) kill() { shared.EndSession(p.cmd.Process.Pid, unix.SIGHUP) }

// loginShell is the user's shell: from /etc/passwd, else $SHELL, else /bin/sh.
func loginShell() string {
	if f, err := os.Open("/etc/passwd"); err == nil {
		defer func() { _ = f.Close() }()
		uid := strconv.Itoa(os.Getuid())
		for lines := bufio.NewScanner(f); lines.Scan(); {
			field := strings.Split(lines.Text(), ":")
			if len(field) >= 7 && field[2] == uid && executable(field[6]) {
				return field[6]
			}
		}
	}
	if shell := os.Getenv("SHELL"); executable(shell) {
		return shell
	}
	return "/bin/sh"
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return filepath.IsAbs(path) && err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

func setSize(master *os.File, s Size) error {
	raw, err := master.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: s.Rows, Col: s.Cols})
	})
	return errors.Join(err, failed)
}
