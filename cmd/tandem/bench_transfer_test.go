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

// The benchmark of transfers fetches one file of random bytes over a link, with
// tandem get, scp and rsync, one after the other. What is measured is the whole
// command: connecting, and for tandem meeting through a server, included. A file
// takes the link transferTime; what is not there after transferMost is stopped, and
// its rate is that of the part that has come.
//
//	rate     of content
//	link     that as a share of the link's rate, which counts IP packets
//	queue    median and 95th percentile of the round trips of packets of 64 bytes
//	         sent every 20 ms meanwhile, over the median of an idle link
//	CPU      of both sides, in seconds for each GB
//	memory   the most of any process, resident
//
// scp and rsync run over TCP CUBIC and, where the kernel has it, BBR. The link is
// a forwarder in user space: at 1 Gbit/s it is what is measured. TANDEM_BENCH=all
// measures every combination.
const (
	transferTime = 10 * time.Second
	transferMost = 12 * time.Second
	probePause   = 20 * time.Millisecond
)

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

// fetcher is one program that fetches the file to dest.
type fetcher struct {
	name       string
	congestion string // of TCP
	command    func(dest string) *exec.Cmd
	// serving is the process at the other end; its children count.
	serving int
}

func TestBenchTransfer(t *testing.T) {
	l := newBench(t)
	wan := l.WAN(natlab.Link{})
	near, far := wan.Host("near"), wan.Host("far")
	b := l.transfers(t, wan, near, far)
	rows := [][]string{{"link", "round trip", "loss", "program", "Mbit/s", "of the link", "queue p50", "p95", "CPU s/GB", "MB"}}
	for _, link := range transferLinks() {
		name := fmt.Sprintf("%d Mbit/s %v %.1f %%", link.Rate/1e6, 2*link.Delay, 100*link.Loss)
		t.Run(name, func(t *testing.T) {
			for _, x := range b.programs {
				rows = append(rows, b.measure(t, x, link))
			}
		})
	}
	fmt.Printf("\nOne file, fetched:\n\n%s\n", table(rows))
}

// TestBenchTransferLocal is the same between two processes of one host: nothing but
// the machine limits them.
func TestBenchTransferLocal(t *testing.T) {
	l := newBench(t)
	wan := l.WAN(natlab.Link{})
	host := wan.Host("host")
	b := l.transfers(t, wan, host, host)
	rows := [][]string{{"link", "round trip", "loss", "program", "Mbit/s", "of the link", "queue p50", "p95", "CPU s/GB", "MB"}}
	for _, x := range b.programs {
		rows = append(rows, b.measure(t, x, natlab.Link{}))
	}
	fmt.Printf("\nOne file, fetched from the same machine:\n\n%s\n", table(rows))
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
		s := show(t, "tandem", b.getter.command(t.Context(), "shell", b.peer, "--", "/bin/sh", "-c", echoing))
		s.await(t, "ready")
		time.Sleep(time.Second) // until nobody draws any more
		idle := typeAll(t, []*screen{s}, (*screen).typeKeys)[0]
		b.fill(t, int64(float64(link.Rate)/8*60))
		ctx, stop := context.WithCancel(t.Context())
		cmd := b.getter.command(ctx, "get", b.peer+":"+filepath.Base(b.dir)+"/file", filepath.Join(t.TempDir(), "file"))
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
	programs  []fetcher
}

func (l *lab) transfers(t *testing.T, wan *natlab.WAN, near, far *natlab.Host) *transfers {
	t.Helper()
	server := wan.Host("server")
	at := "TANDEM_SERVERS=" + l.server(t, server, nil).url
	b := &transfers{near: near, far: far, path: wan.Path(near, far), dir: filepath.Join(t.TempDir(), "shared")}
	if err := os.Mkdir(b.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	sharer := l.device(t, far, "sharing", at, "TANDEM_INSECURE=true")
	b.getter = l.device(t, near, "fetching", at, "TANDEM_INSECURE=true")
	sharing := sharer.start(t, "share", b.dir, "--terminal", "--approve", "always", "--json")
	joining := b.getter.start(t, "join", sharing.event(t, node.EventInvite).Code, "--json")
	b.peer = joining.event(t, node.EventJoined).Peer.ID.String()
	b.getter.awaitPath(t, b.peer, session.Direct, hangs)

	file := filepath.Join(b.dir, "file")
	b.programs = []fetcher{{name: "tandem get", serving: sharing.cmd.Process.Pid, command: func(dest string) *exec.Cmd {
		return b.getter.command(t.Context(), "get", b.peer+":"+filepath.Base(b.dir)+"/file", dest)
	}}}
	sshd := l.sshd(t, far)
	from := "root@" + sshd.addr.String() + ":" + file
	for _, congestion := range []string{"cubic", "bbr"} {
		if err := b.congestion(t, congestion); err != nil {
			t.Logf("nothing over TCP %s: %v", congestion, err)
			continue
		}
		b.programs = append(b.programs,
			fetcher{name: "scp, " + congestion, congestion: congestion, serving: sshd.pid, command: func(dest string) *exec.Cmd {
				return near.Command(t.Context(), "scp", append(slices.Clone(sshd.config), "-q", from, dest)...)
			}},
			fetcher{name: "rsync, " + congestion, congestion: congestion, serving: sshd.pid, command: func(dest string) *exec.Cmd {
				return near.Command(t.Context(), tool(t, "rsync", "rsync"), "--inplace", "-e", "ssh "+strings.Join(sshd.config, " "), from, dest)
			}})
	}
	return b
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

// measure fetches the file once.
func (b *transfers) measure(t *testing.T, x fetcher, link natlab.Link) []string {
	t.Helper()
	b.path.SetLink(natlab.Link{Delay: link.Delay})
	size := int64(1 << 30)
	if link.Rate != 0 {
		size = int64(float64(link.Rate) / 8 * transferTime.Seconds())
	}
	b.fill(t, size)
	if x.congestion != "" {
		if err := b.congestion(t, x.congestion); err != nil {
			t.Fatal(err)
		}
	}
	b.path.SetLink(link)
	idle := b.probe(t, func() { time.Sleep(time.Second) }).median()
	dest := t.TempDir()
	before := spent(t, x.serving)
	cmd := x.command(filepath.Join(dest, "file"))
	var took time.Duration
	var problems bytes.Buffer
	cmd.Stderr = &problems
	trips := b.probe(t, func() {
		began := time.Now()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		late := time.AfterFunc(2*transferMost, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
		if x.congestion != "" {
			late.Reset(transferMost)
		}
		err := cmd.Wait()
		took = time.Since(began)
		if late.Stop() && err != nil {
			t.Errorf("%s: %v\n%s", x.name, err, &problems)
		}
	})
	got := int64(0)
	_ = filepath.WalkDir(dest, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				got += info.Size()
			}
		}
		return nil
	})
	rate := float64(got) * 8 / took.Seconds()
	used, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		t.Fatal("no resource usage")
	}
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime() + spent(t, x.serving) - before
	row := []string{"local", "", "", x.name, fmt.Sprintf("%.1f", rate/1e6), "", "", ""}
	if link.Rate != 0 {
		row = []string{
			fmt.Sprintf("%d Mbit/s", link.Rate/1e6), fmt.Sprintf("%d ms", 2*link.Delay.Milliseconds()), fmt.Sprintf("%.1f %%", 100*link.Loss),
			x.name, row[4], fmt.Sprintf("%.1f %%", 100*rate/float64(link.Rate)),
			ms(max(0, trips.median()-idle)) + " ms", ms(max(0, trips.quantile(0.95)-idle)) + " ms",
		}
	}
	row = append(row, fmt.Sprintf("%.1f", cpu.Seconds()/float64(got)*1e9), fmt.Sprintf("%.0f", float64(max(used.Maxrss, peak(x.serving)))/1e3))
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
