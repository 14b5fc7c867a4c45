//go:build linux || darwin

package command

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tandem/session"
	"tandem/share"
)

// process is a program with three pipes, leader of a session of its own: it has
// no terminal, not even the host's.
type process struct {
	cmd    *exec.Cmd
	in     *os.File // its standard input
	out    *os.File // its standard output
	err    *os.File
	mu     sync.Mutex
	reaped bool // its number may be another's now
}

// startProcess fails with errMissing or errNotExecutable if that is the
// program's fault, and with NotFound or Unavailable if it is the host's.
func startProcess(l launch) (*process, error) {
	unavailable := func(err error) error {
		if what := share.Shortage(err); what != "" {
			return &session.Error{Op: "run", Kind: session.Busy, Text: "the host can't start a program now: " + what, Err: err}
		}
		return &session.Error{Op: "run", Kind: session.Unavailable, Text: "the host can't start a program now", Err: err}
	}
	if info, err := os.Stat(l.dir); err != nil || !info.IsDir() {
		return nil, session.Errorf("run", session.NotFound, "there is no folder %s to start in", session.Printable(l.dir))
	}
	cmd := exec.Command(l.argv[0], l.argv[1:]...)
	switch {
	case errors.Is(cmd.Err, exec.ErrDot), errors.Is(cmd.Err, exec.ErrNotFound), errors.Is(cmd.Err, fs.ErrNotExist):
		return nil, errMissing
	case cmd.Err != nil:
		return nil, errNotExecutable
	}
	cmd.Dir, cmd.Env = l.dir, l.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}

	p := &process{cmd: cmd}
	var theirs [3]*os.File
	var failed error
	pipe := func() (r, w *os.File) {
		if failed == nil {
			r, w, failed = os.Pipe()
		}
		return r, w
	}
	theirs[0], p.in = pipe()
	p.out, theirs[1] = pipe()
	p.err, theirs[2] = pipe()
	defer closeFiles(theirs[:]...)
	if failed == nil {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], theirs[2]
		failed = cmd.Start()
	}
	switch {
	case failed == nil:
		return p, nil
	case errors.Is(failed, fs.ErrNotExist), errors.Is(failed, unix.ENOTDIR):
		failed = errMissing
	case errors.Is(failed, fs.ErrPermission), errors.Is(failed, unix.ENOEXEC), errors.Is(failed, unix.EISDIR),
		errors.Is(failed, unix.ELOOP), errors.Is(failed, unix.E2BIG), errors.Is(failed, unix.ENAMETOOLONG):
		failed = errNotExecutable
	default:
		failed = unavailable(failed)
	}
	closeFiles(p.in, p.out, p.err)
	return nil, failed
}

func closeFiles(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close() // a pipe
		}
	}
}

// wait returns when the program has ended. It is called once.
func (p *process) wait() Exit {
	err := p.cmd.Wait()
	p.mu.Lock()
	p.reaped = true
	p.mu.Unlock()
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case !ok:
		return Exit{Code: 255, Reason: "the program's status is lost: " + err.Error()}
	case status.Signaled():
		return Exit{Code: 128 + int(status.Signal()), Signal: unix.SignalName(status.Signal())}
	}
	return Exit{Code: status.ExitStatus() & 0xff}
}

// signal sends a signal to the program's process group, as typing ^C would.
func (p *process) signal(name signalName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = unix.Kill(-p.cmd.Process.Pid, unix.SignalNum("SIG"+string(name))) // it may have ended
	}
}

// waiting reads what waits in the output, without waiting for more. It takes the
// time limit off.
func waiting(f *os.File, buf []byte) (n int) {
	conn, err := f.SyscallConn()
	if err != nil || f.SetReadDeadline(time.Time{}) != nil {
		return 0
	}
	_ = conn.Read(func(fd uintptr) bool { // it fails if f has been closed
		n, _ = syscall.Read(int(fd), buf) // nothing is an error, too
		return true
	})
	return max(n, 0)
}

// linger makes the next reads of the output fail once it has been silent for d.
func linger(f *os.File, d time.Duration) { _ = f.SetReadDeadline(time.Now().Add(d)) }

// end ends every process of the program's session and returns when they are
// gone, within a second.
func (p *process) end() { share.EndSession(p.cmd.Process.Pid, unix.SIGTERM) }

// close gives back the pipes.
func (p *process) close() { closeFiles(p.in, p.out, p.err) }
