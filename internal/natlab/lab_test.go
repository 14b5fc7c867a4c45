//go:build linux

package natlab

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// recorder is a TB that notes what the lab tells it and runs cleanups when told to.
type recorder struct {
	*testing.T
	logs     []string
	outcome  string
	cleanups []func()
}

// stopped is what recorder's Skipf and Fatalf panic with, as they have to end the caller.
type stopped struct{}

func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Logf(format string, args ...any) {
	r.logs = append(r.logs, fmt.Sprintf(format, args...))
}
func (r *recorder) Skipf(string, ...any)  { r.outcome = "skipped"; panic(stopped{}) }
func (r *recorder) Fatalf(string, ...any) { r.outcome = "failed"; panic(stopped{}) }

// try runs fn and reports whether it skipped or failed r.
func (r *recorder) try(fn func()) (outcome string) {
	r.outcome = ""
	defer func() {
		outcome = r.outcome
		if p := recover(); p != nil && p != (stopped{}) {
			panic(p)
		}
	}()
	fn()
	return ""
}

func TestSkipsWithoutTools(t *testing.T) {
	t.Setenv("PATH", "")
	for setting, want := range map[string]string{"": "skipped", "1": "skipped", "required": "failed"} {
		t.Setenv("TANDEM_LAB", setting)
		r := &recorder{T: t}
		if got := r.try(func() { New(r) }); got != want {
			t.Errorf("without nsenter and with TANDEM_LAB=%q the test is %q, want %q", setting, got, want)
		}
	}
}

func TestMistakesFailTheTest(t *testing.T) {
	lab := New(t)
	r := &recorder{T: t}
	lab.t = r
	wan, other := lab.WAN(Link{}), lab.WAN(Link{})
	a, b, lone := wan.Host("a"), other.Host("b"), lab.LAN().Host("c")
	for name, fn := range map[string]func(){
		"loss above 1":             func() { lab.WAN(Link{Loss: 2}) },
		"negative delay":           func() { wan.Host("x", Access(Link{Delay: -1})) },
		"path to another WAN":      func() { wan.Path(a, b) },
		"path to no WAN":           func() { wan.Path(a, lone) },
		"rebinding without NAT":    func() { a.NAT().Rebind() },
		"public network inside":    func() { wan.NAT(Home).NAT(Public) },
		"NAT in a LAN without WAN": func() { lone.NAT().NAT(Home) },
		"unknown protocol":         func() { a.Block(99) },
	} {
		if r.try(fn) != "failed" {
			t.Errorf("%s: the test goes on", name)
		}
	}
}

// TestEndKillsWhatRuns shows that the end of a test ends programs in the lab, and their children.
func TestEndKillsWhatRuns(t *testing.T) {
	New(t) // to skip
	r := &recorder{T: t}
	h := New(r).WAN(Link{}).Host("host")
	cmd := h.Command(t.Context(), "sh", "-c", "sleep 1000 & echo $!; wait")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var child int
	if _, err := fmt.Fscan(out, &child); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	r.cleanups[0]()
	for _, pid := range []int{cmd.Process.Pid, child} {
		eventually(t, "the end of a program", func() bool {
			_, alive := startTime(pid)
			return !alive
		})
	}
	if len(r.logs) != 2 || !strings.Contains(r.logs[0], "host") {
		t.Errorf("the log says %q", r.logs)
	}
	r.cleanups[0]() // a second time does nothing
}

// TestSweepKillsOrphans shows that programs of a dead test process end, and no others.
func TestSweepKillsOrphans(t *testing.T) {
	New(t) // to skip
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	start := func(mark string) *exec.Cmd {
		cmd := exec.Command("sleep", "1000")
		cmd.Env = append(os.Environ(), ownerVar+"="+mark)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		return cmd
	}
	orphan := start(fmt.Sprintf("%d.1.%d", dead.Process.Pid, pidSpace()))
	reused := start(fmt.Sprintf("%d.1.%d", os.Getpid(), pidSpace())) // the id is another process's now
	spared := []*exec.Cmd{
		start(owner()),
		start(fmt.Sprintf("%d.1.%d", dead.Process.Pid, pidSpace()+1)),
		start("nonsense"),
	}
	r := &recorder{T: t}
	sweepOrphans(r)
	for _, cmd := range []*exec.Cmd{orphan, reused} {
		eventually(t, "the end of an orphan", func() bool {
			_, alive := startTime(cmd.Process.Pid)
			return !alive
		})
	}
	if len(r.logs) != 2 {
		t.Errorf("the log says %q", r.logs)
	}
	for _, cmd := range spared {
		if _, alive := startTime(cmd.Process.Pid); !alive {
			t.Errorf("the process marked %q was killed", cmd.Env[len(cmd.Env)-1])
		}
	}
}

// TestNamespacesGo shows that nothing of a lab is left when its test has ended.
func TestNamespacesGo(t *testing.T) {
	New(t) // to skip
	r := &recorder{T: t}
	lab := New(r)
	lab.WAN(Link{}).NAT(CGNAT).Host("host")
	inodes := map[uint64]bool{}
	for _, ns := range lab.spaces {
		inodes[ns.inode] = true
	}
	r.cleanups[0]()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		var st syscall.Stat_t
		if syscall.Stat("/proc/self/fd/"+fd.Name(), &st) == nil && inodes[st.Ino] {
			if target, _ := os.Readlink("/proc/self/fd/" + fd.Name()); strings.HasPrefix(target, "net:") {
				t.Errorf("descriptor %s still holds %s", fd.Name(), target)
			}
		}
	}
	if len(inodes) != 3 {
		t.Errorf("the lab had %d namespaces, want 3", len(inodes))
	}
}
