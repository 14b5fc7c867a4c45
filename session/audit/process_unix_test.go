//go:build unix

package audit

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/session"
)

// child appends as a process of its own, until it is killed or has no room left.
// It prints the number of every entry that it was told is in the log.
func child(dir string) int {
	if os.Getenv("TANDEM_AUDIT_ROOM") != "" {
		signal.Ignore(syscall.SIGXFSZ)
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 1000, Max: 1000}); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	l := New(dir)
	for range 200 {
		seq, err := l.Append(Entry{Outcome: Allowed, Reason: fmt.Sprint(os.Getpid())})
		if err != nil {
			fmt.Println(session.KindOf(err))
			return 0
		}
		fmt.Println(seq)
	}
	if err := l.Close(); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func runChild(t *testing.T, dir string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), "TANDEM_AUDIT_CHILD="+dir), env...)
	cmd.Stderr = os.Stderr
	return cmd
}

// TestProcesses: several processes make one chain.
func TestProcesses(t *testing.T) {
	_, dir := open(t)
	var running sync.WaitGroup
	for range 3 {
		running.Go(func() {
			if out, err := runChild(t, dir).Output(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	running.Wait()
	if r := verified(t, dir); r.Entries != 600 || len(r.Problems)+len(r.Notes) > 0 {
		t.Errorf("%+v", r)
	}
}

// TestKilled: what a process was told is in the log is there after kill -9.
func TestKilled(t *testing.T) {
	_, dir := open(t)
	cmd := runChild(t, dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var seq, told uint64
	for told < 20 {
		if _, err := fmt.Fscan(out, &seq); err != nil {
			t.Fatal(err)
		}
		told = seq
	}
	_ = cmd.Process.Kill()
	for {
		if _, err := fmt.Fscan(out, &seq); err != nil {
			break
		}
		told = seq
	}
	_ = cmd.Wait()
	l := New(dir)
	defer l.Close()
	if next := l.mustAppend(t, Entry{Outcome: Ended}); next <= told {
		t.Errorf("goes on with %d, though %d was there", next, told)
	}
	if r := verified(t, dir); len(r.Problems) > 0 {
		t.Errorf("%+v", r)
	}
}

// TestNoRoom: an entry that does not fit is refused, and leaves no trace.
func TestNoRoom(t *testing.T) {
	_, dir := open(t)
	out, err := runChild(t, dir, "TANDEM_AUDIT_ROOM=1000").Output()
	if err != nil || !strings.HasSuffix(string(out), "no-space\n") {
		t.Fatalf("%v: %s", err, out)
	}
	written := strings.Count(string(out), "\n") - 1
	if r := verified(t, dir); r.Entries != uint64(written) || written == 0 || len(r.Problems)+len(r.Notes) > 0 {
		t.Errorf("%d were written: %+v", written, r)
	}
}
