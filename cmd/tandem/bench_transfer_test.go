//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tandem/internal/natlab"
	"tandem/session"
	"tandem/share/node"
)

// The benchmark of transfers fetches one file of random bytes, or a folder of many
// small ones, over a link, with tandem get, scp, rsync and croc, one after the other; the
// file also over one data channel of pion/webrtc, all by default.
// What is measured is the whole command: connecting, and for tandem and croc meeting
// through a server, included. A file takes the link TANDEM_BENCH_SECONDS, 10 unless
// it is set; what is not there after twice that is stopped, and its rate is that of the
// part that has come. Without a link a file has TANDEM_BENCH_MB, 500. A folder has
// TANDEM_BENCH_FILES of 4 kB, 10000.
//
//	rate     of content
//	link     that as a share of the link's rate, which counts IP packets
//	queue    median and 95th percentile of the round trips of packets of 64 bytes
//	         sent every 20 ms meanwhile, over the median of an idle link
//	CPU      of both sides, in seconds for each GB
//	memory   the most of any process, resident
//
// scp and rsync run over TCP CUBIC and, where the kernel has it, BBR; croc over CUBIC,
// with its relay beside the sender. It is left out where CROC does not name its program; see
// .ci/croc/build. The link is a forwarder in user space: at 1 Gbit/s it is what is
// measured. TANDEM_BENCH=all measures every combination.
const probePause = 20 * time.Millisecond

// scaled is what a variable of the environment says instead of usual.
func scaled(t *testing.T, name string, usual int64) int64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s", name, text)
	}
	return n
}

// transferLinks are those of DESIGN, section 8.
func transferLinks() []natlab.Link {
	link := func(mbit int64, rtt time.Duration, loss float64) natlab.Link {
		return natlab.Link{Rate: mbit * 1e6, Delay: rtt / 2, Loss: loss}
	}
	const ms = time.Millisecond
	if os.Getenv("TANDEM_BENCH") != "all" {
		return []natlab.Link{
			link(100, 50*ms, 0), link(100, 50*ms, 0.001), link(100, 50*ms, 0.01), link(100, 50*ms, 0.03),
			link(10, 20*ms, 0), link(20, 300*ms, 0.01),
		}
	}
	var all []natlab.Link
	for _, mbit := range []int64{10, 100, 1000} {
		for _, rtt := range []time.Duration{0, 20 * ms, 50 * ms, 300 * ms} {
			for _, loss := range []float64{0, 0.001, 0.01, 0.03} {
				all = append(all, link(mbit, rtt, loss))
			}
		}
	}
	return all
}

// fetcher is one program that fetches what has a name in the shared folder.
type fetcher struct {
	name       string
	congestion string // of TCP
	single     bool   // knows only one file
	command    func(name, dest string) *exec.Cmd
	// serving is the process at the other end; its children count.
	serving int
	// serve, if set, starts that process for one fetch instead. What it returns
	// ends it, and tells its CPU time and memory in KiB.
	serve func(t *testing.T, name string) (end func() (time.Duration, int64))
}

// heading is that of a table of what measure returns.
func heading() []string {
	return []string{"link", "round trip", "loss", "program", "Mbit/s", "of the link", "queue p50", "p95", "CPU s/GB", "MB"}
}

func TestBenchTransfer(t *testing.T) {
	l := newBench(t)
	wan := l.WAN(natlab.Link{})
	near, far := wan.Host("near"), wan.Host("far")
	b := l.transfers(t, wan, near, far)
	rows := [][]string{heading()}
	for _, link := range transferLinks() {
		name := fmt.Sprintf("%d Mbit/s %v %.1f %%", link.Rate/1e6, 2*link.Delay, 100*link.Loss)
		t.Run(name, func(t *testing.T) {
			b.fill(t, int64(float64(link.Rate)/8*b.takes.Seconds()))
			for _, x := range b.programs {
				rows = append(rows, b.measure(t, x, "file", link))
			}
		})
	}
	fmt.Printf("\nOne file, fetched:\n\n%s\n", table(rows))
}

// TestBenchTransferMany fetches many small files over a link of 50 ms.
func TestBenchTransferMany(t *testing.T) {
	l := newBench(t)
	wan := l.WAN(natlab.Link{})
	near, far := wan.Host("near"), wan.Host("far")
	b := l.transfers(t, wan, near, far)
	n := b.scatter(t)
	rows := [][]string{heading()}
	for _, x := range b.programs {
		if x.single {
			continue
		}
		rows = append(rows, b.measure(t, x, "many", natlab.Link{Rate: 100e6, Delay: 25 * time.Millisecond}))
	}
	fmt.Printf("\n%d files of 4 kB, fetched:\n\n%s\n", n, table(rows))
}

// TestBenchTransferLocal is the same between two processes of one host: nothing but
// the machine limits them.
func TestBenchTransferLocal(t *testing.T) {
	l := newBench(t)
	wan := l.WAN(natlab.Link{})
	host := wan.Host("host")
	b := l.transfers(t, wan, host, host)
	mb := scaled(t, "TANDEM_BENCH_MB", 500)
	b.fill(t, mb*1e6)
	n := b.scatter(t)
	one, many := [][]string{heading()}, [][]string{heading()}
	for _, x := range b.programs {
		if x.congestion == "bbr" {
			continue // nothing is congested
		}
		one = append(one, b.measure(t, x, "file", natlab.Link{}))
		if !x.single {
			many = append(many, b.measure(t, x, "many", natlab.Link{}))
		}
	}
	fmt.Printf("\nOne file of %d MB, fetched from the same machine:\n\n%s\n", mb, table(one))
	fmt.Printf("\n%d files of 4 kB, fetched from the same machine:\n\n%s\n", n, table(many))
}

// TestBenchTransferKeys types while a transfer fills the link.
func TestBenchTransferKeys(t *testing.T) {
	l := newBench(t)
	wan := l.WAN(natlab.Link{})
	near, far := wan.Host("near"), wan.Host("far")
	b := l.transfers(t, wan, near, far)
	rows := [][]string{{"link", "round trip", "loss", "idle p50", "p99", "beside a transfer p50", "p99"}}
	for _, loss := range []float64{0, 0.01} {
		link := natlab.Link{Rate: 100e6, Delay: 25 * time.Millisecond, Loss: loss}
		b.path.SetLink(link)
		s := show(t, "tandem", b.getter.command(t.Context(), "shell", "--predict", "never", b.peer, "--", "/bin/sh", "-c", echoing))
		s.await(t, "ready")
		time.Sleep(time.Second) // until nobody draws any more
		idle := typeAll(t, []*screen{s}, (*screen).typeKeys)[0]
		b.fill(t, int64(float64(link.Rate)/8*60))
		ctx, stop := context.WithCancel(t.Context())
		cmd := b.getter.command(ctx, "get", b.peer+":"+filepath.Base(b.dir)+"/file", t.TempDir())
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		busy := typeAll(t, []*screen{s}, (*screen).typeKeys)[0]
		stop()
		_ = cmd.Wait() // it was killed
		s.kill()
		rows = append(rows, []string{
			"100 Mbit/s", "50 ms", fmt.Sprintf("%.0f %%", 100*loss), ms(idle.quantile(0.5)), ms(idle.quantile(0.99)),
			ms(busy.quantile(0.5)), ms(busy.quantile(0.99)),
		})
		t.Logf("p99 beside a transfer %v over idle, goal 30 ms: %s", busy.quantile(0.99)-idle.quantile(0.99),
			verdict(busy.quantile(0.99) <= idle.quantile(0.99)+30*time.Millisecond))
	}
	fmt.Printf("\nEcho of a key in ms, of %d:\n\n%s\n", keystrokes, table(rows))
}

// transfers are two hosts with a shared folder on one, and programs to fetch from
// it on the other.
type transfers struct {
	path      *natlab.Wire
	near, far *natlab.Host
	getter    *device
	dir, peer string
	takes     time.Duration // a file over its link
	programs  []fetcher
}

func (l *lab) transfers(t *testing.T, wan *natlab.WAN, near, far *natlab.Host) *transfers {
	t.Helper()
	server := wan.Host("server")
	at := "TANDEM_SERVERS=" + l.server(t, server, nil).url
	b := &transfers{near: near, far: far, path: wan.Path(near, far), dir: filepath.Join(t.TempDir(), "shared")}
	b.takes = time.Duration(scaled(t, "TANDEM_BENCH_SECONDS", 10)) * time.Second
	if err := os.Mkdir(b.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	sharer := l.device(t, far, "sharing", at, "TANDEM_INSECURE=true")
	b.getter = l.device(t, near, "fetching", at, "TANDEM_INSECURE=true")
	sharing := sharer.start(t, "share", b.dir, "--terminal", "--approve", "always", "--json")
	joining := b.getter.start(t, "join", sharing.event(t, node.EventInvite).Code, "--json")
	b.peer = joining.event(t, node.EventJoined).Peer.ID.String()
	b.getter.awaitPath(t, b.peer, session.Direct, hangs)

	b.programs = []fetcher{{name: "tandem get", serving: sharing.cmd.Process.Pid, command: func(name, dest string) *exec.Cmd {
		return b.getter.command(t.Context(), "get", b.peer+":"+filepath.Base(b.dir)+"/"+name, dest)
	}}}
	b.programs = append(b.programs, rawPion(t, near, far, filepath.Join(b.dir, "file")))
	allowCongestion(t)
	// Without the login scripts of this machine, which are not what is measured.
	sshd := l.sshd(t, far, "Subsystem sftp internal-sftp", "SetEnv HOME="+t.TempDir())
	from := "root@" + sshd.addr.String() + ":" + b.dir + "/"
	for _, congestion := range []string{"cubic", "bbr"} {
		if err := b.congestion(t, congestion); err != nil {
			t.Logf("nothing over TCP %s: %v", congestion, err)
			continue
		}
		b.programs = append(b.programs,
			fetcher{name: "scp, " + congestion, congestion: congestion, serving: sshd.pid, command: func(name, dest string) *exec.Cmd {
				return near.Command(t.Context(), "scp", append(slices.Clone(sshd.config), "-q", "-r", from+name, dest)...)
			}},
			fetcher{name: "rsync, " + congestion, congestion: congestion, serving: sshd.pid, command: func(name, dest string) *exec.Cmd {
				return near.Command(t.Context(), tool(t, "rsync", "rsync"), "-rt", "--inplace", "-e", "ssh "+strings.Join(sshd.config, " "), from+name, dest)
			}})
	}
	if program := os.Getenv("CROC"); program != "" {
		b.programs = append(b.programs, b.croc(t, program))
	}
	return b
}

// rawPion is a fetcher over pion, which has its server on far.
func rawPion(t *testing.T, near, far *natlab.Host, file string) fetcher {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir() // TestMain goes by the name it is called by
	for _, name := range []string{"pionserve", "pionfetch"} {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	addr := net.JoinHostPort(far.Addr().String(), "4711")
	serving := far.Command(t.Context(), filepath.Join(dir, "pionserve"), addr, file)
	if err := serving.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = serving.Process.Kill()
		_ = serving.Wait() // it was killed
	})
	return fetcher{name: "pion", serving: serving.Process.Pid, single: true, command: func(name, dest string) *exec.Cmd {
		return near.Command(t.Context(), filepath.Join(dir, "pionfetch"), addr, filepath.Join(dest, name))
	}}
}

// croc sends with a relay beside the sender.
func (b *transfers) croc(t *testing.T, program string) fetcher {
	t.Helper()
	const ports = "9009,9010,9011,9012,9013"
	home := "HOME=" + t.TempDir()
	relay := b.far.Command(t.Context(), program, "--pass", "bench", "relay", "--host", b.far.Addr().String(), "--ports", ports)
	relay.Env = append(os.Environ(), home)
	if err := relay.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = relay.Process.Kill() // it is of no more use
		_ = relay.Wait()         // it was killed
	})
	common := []string{"--ignore-stdin", "--yes", "--overwrite", "--pass", "bench", "--relay", b.far.Addr().String() + ":9009"}
	secret := "CROC_SECRET=1234-bench-of-transfers"
	return fetcher{name: "croc", congestion: "cubic", command: func(_, dest string) *exec.Cmd {
		cmd := b.near.Command(t.Context(), program, append(slices.Clone(common), "--out", dest)...)
		cmd.Env = append(os.Environ(), home, secret)
		return cmd
	}, serve: func(t *testing.T, name string) func() (time.Duration, int64) {
		t.Helper()
		before := spent(t, relay.Process.Pid)
		cmd := b.far.Command(t.Context(), program, append(slices.Clone(common), "send", "--no-local", filepath.Join(b.dir, name))...)
		cmd.Env = append(os.Environ(), home, secret)
		out := new(lockedBuffer)
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for began := time.Now(); !strings.Contains(out.String(), "Code is"); time.Sleep(50 * time.Millisecond) {
			if time.Since(began) > hangs {
				t.Fatalf("croc does not send: %s", out.String())
			}
		}
		return func() (time.Duration, int64) {
			memory := max(peak(cmd.Process.Pid), peak(relay.Process.Pid))
			late := time.AfterFunc(time.Second, func() { _ = cmd.Process.Kill() })
			_ = cmd.Wait() // it may have been killed
			late.Stop()
			return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime() + spent(t, relay.Process.Pid) - before, memory
		}
	}}
}

// lockedBuffer is what a process writes and somebody reads meanwhile.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// allowCongestion lets network namespaces choose any congestion control that the
// kernel has until the test is over.
func allowCongestion(t *testing.T) {
	t.Helper()
	const have, may = "/proc/sys/net/ipv4/tcp_available_congestion_control", "/proc/sys/net/ipv4/tcp_allowed_congestion_control"
	all, err := os.ReadFile(have)
	before, beforeErr := os.ReadFile(may)
	if err := errors.Join(err, beforeErr); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(may, all, 0); err != nil {
		t.Logf("namespaces have to take the congestion control they get: %v", err)
		return
	}
	t.Cleanup(func() { _ = os.WriteFile(may, before, 0) }) // the next run asks for more again
}

// congestion makes both hosts use one of TCP's congestion controls.
func (b *transfers) congestion(t *testing.T, name string) error {
	t.Helper()
	const setting = "/proc/sys/net/ipv4/tcp_congestion_control"
	for _, host := range []*natlab.Host{b.near, b.far} {
		if err := host.Run(t.Context(), func() error {
			if now, err := os.ReadFile(setting); err == nil && strings.TrimSpace(string(now)) == name {
				return nil
			}
			return os.WriteFile(setting, []byte(name), 0)
		}); err != nil {
			return err
		}
	}
	return nil
}

// fill makes the file that is fetched.
func (b *transfers) fill(t *testing.T, size int64) {
	t.Helper()
	content := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(size)}).Read(content) // never fails
	if err := os.WriteFile(filepath.Join(b.dir, "file"), content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// scatter makes the small files that are fetched.
func (b *transfers) scatter(t *testing.T) int64 {
	t.Helper()
	n := scaled(t, "TANDEM_BENCH_FILES", 10_000)
	random := rand.NewChaCha8([32]byte{1})
	content := make([]byte, 4096)
	for i := range n {
		dir := filepath.Join(b.dir, "many", strconv.FormatInt(i/100, 10))
		if i%100 == 0 {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = random.Read(content) // never fails
		if err := os.WriteFile(filepath.Join(dir, strconv.FormatInt(i, 10)), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// measure fetches something once.
func (b *transfers) measure(t *testing.T, x fetcher, name string, link natlab.Link) []string {
	t.Helper()
	if x.congestion != "" {
		if err := b.congestion(t, x.congestion); err != nil {
			t.Fatal(err)
		}
	}
	b.path.SetLink(link)
	idle := b.probe(t, func() { time.Sleep(time.Second) }).median()
	end := func() (time.Duration, int64) { return spent(t, x.serving), peak(x.serving) }
	var before time.Duration
	if x.serve != nil {
		end = x.serve(t, name)
	} else {
		before, _ = end()
	}
	dest := t.TempDir()
	cmd := x.command(name, dest)
	var took time.Duration
	var problems bytes.Buffer
	cmd.Stderr = &problems
	var most int64
	trips := b.probe(t, func() {
		began := time.Now()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended, looked := make(chan struct{}), make(chan struct{})
		defer func() { close(ended); <-looked }()
		go func() { // what wait4(2) tells begins with the memory of whoever has forked
			defer close(looked)
			for {
				most = max(most, peak(cmd.Process.Pid))
				select {
				case <-ended:
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		}()
		patience := 2 * b.takes
		if link.Rate == 0 {
			patience = max(patience, time.Minute)
		}
		late := time.AfterFunc(patience, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
		err := cmd.Wait()
		took = time.Since(began)
		if late.Stop() && err != nil {
			complain := t.Errorf
			if x.serve != nil {
				complain = t.Logf // of many files, croc often loses its relay
			}
			complain("%s: %v\n%s", x.name, err, lastLines(strings.ReplaceAll(problems.String(), "\r", "\n"), 5))
		}
	})
	cpu, memory := end()
	got := int64(0)
	_ = filepath.WalkDir(dest, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var stat syscall.Stat_t
			if syscall.Stat(path, &stat) == nil {
				got += min(stat.Size, stat.Blocks*512) // croc makes a file long before it has its content
			}
		}
		return nil
	})
	rate := float64(got) * 8 / took.Seconds()
	cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime() - before
	row := []string{"local", "", "", x.name, fmt.Sprintf("%.1f", rate/1e6), "", "", ""}
	if link.Rate != 0 {
		row = []string{
			fmt.Sprintf("%d Mbit/s", link.Rate/1e6), fmt.Sprintf("%d ms", 2*link.Delay.Milliseconds()), fmt.Sprintf("%.1f %%", 100*link.Loss),
			x.name, row[4], fmt.Sprintf("%.1f %%", 100*rate/float64(link.Rate)),
			ms(max(0, trips.median()-idle)) + " ms", ms(max(0, trips.quantile(0.95)-idle)) + " ms",
		}
	}
	row = append(row, fmt.Sprintf("%.1f", cpu.Seconds()/float64(got)*1e9), fmt.Sprintf("%.0f", float64(max(most, memory))/1e3))
	t.Log(strings.Join(row, "  "))
	return row
}

// spent is the CPU time of a process and those of its children that have ended.
func spent(t *testing.T, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	var ticks int64
	for _, f := range fields[11:15] { // utime, stime, cutime, cstime (proc(5))
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100
}

// peak is the most memory that a process has had resident, in KiB; 0 if unknown.
func peak(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(fields[0], 10, 64) // 0 if that is no number
	return n
}

// probe measures round trips by UDP while fn runs; those of packets that were lost
// are left out.
func (b *transfers) probe(t *testing.T, fn func()) (trips sample) {
	t.Helper()
	echo, err := b.far.ListenPacket(t.Context(), "udp4", net.JoinHostPort(b.far.Addr().String(), "0"))
	client, clientErr := b.near.ListenPacket(t.Context(), "udp4", net.JoinHostPort(b.near.Addr().String(), "0"))
	if err := errors.Join(err, clientErr); err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		for buf := make([]byte, 64); ; {
			n, from, err := echo.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = echo.WriteTo(buf[:n], from) // lost
		}
	})
	began := time.Now()
	work.Go(func() {
		for buf := make([]byte, 64); ; {
			if _, _, err := client.ReadFrom(buf); err != nil {
				return
			}
			trips = append(trips, time.Since(began)-time.Duration(binary.BigEndian.Uint64(buf)))
		}
	})
	stop := make(chan struct{})
	work.Go(func() {
		ticker := time.NewTicker(probePause)
		defer ticker.Stop()
		for buf := make([]byte, 36); ; { // 64 with the headers
			select {
			case <-stop:
				_, _ = client.Close(), echo.Close()
				return
			case <-ticker.C:
				binary.BigEndian.PutUint64(buf, uint64(time.Since(began)))
				_, _ = client.WriteTo(buf, echo.LocalAddr()) // lost
			}
		}
	})
	fn()
	close(stop)
	work.Wait()
	if len(trips) == 0 {
		trips = sample{0}
	}
	return trips
}
