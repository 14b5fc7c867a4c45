package pairing

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"

	"tandem/session"
)

// On a disk without room nothing is granted, and when there is room again
// nothing has been given back. A limit on the size of files, in a process of
// its own, stands for the full disk.
func TestLedgerDiskFull(t *testing.T) {
	const variable = "PAIRING_TEST_FULL_DISK"
	dir := os.Getenv(variable)
	if dir == "" {
		child := exec.Command(os.Args[0], "-test.run=^TestLedgerDiskFull$", "-test.v")
		child.Env = append(os.Environ(), variable+"="+t.TempDir())
		if out, err := child.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	l := openLedger(t, dir)
	i := createInvite(t, l, Options{})
	if left, err := l.SpendAttempt(i.id, noon); err != nil || left != 2 {
		t.Fatalf("left %d, %v", left, err)
	}
	before, err := os.ReadFile(l.path(i.id))
	if err != nil {
		t.Fatal(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	limit := syscall.Rlimit{Cur: uint64(len(before)) + 5, Max: old.Max} // room for half a line
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	host := NewHost(hostKey, l)
	if err := host.Add(i); err != nil {
		t.Fatal(err)
	}
	tb := &table{t: t, host: host, invite: i}
	g := tb.guest(guestKey, tb.code())
	step, err := host.Handle(noon, take(t, g, tb.handle(g.Last()).Reply).Reply)
	wantKind(t, err, session.NoSpace)
	if kind, _, _, _ := split(step.Reply); kind != typeRefuse || step.Counted {
		t.Fatalf("answered %d, counted %v", kind, step.Counted)
	}
	wantKind(t, l.SpendUse(i.id, noon), session.NoSpace)
	if after, err := os.ReadFile(l.path(i.id)); err != nil || string(after) != string(before) {
		t.Errorf("half a line was left: %q (%v)", after, err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if left, err := l.SpendAttempt(i.id, noon); err != nil || left != 1 {
		t.Errorf("with room again: left %d, %v", left, err)
	}
}
