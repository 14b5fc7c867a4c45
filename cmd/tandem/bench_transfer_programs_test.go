//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tandem/internal/natlab"
	"tandem/session"
	"tandem/share/node"
)

// transfers are two hosts with a shared folder on one, and programs to fetch from
// it on the other.
type transfers struct {
	wan               *natlab.WAN
	server, near, far *natlab.Host
	getter            *device
	joining           *program
	dir, peer, code   string
	sharing           int // the process of who shares
	programs          []fetcher

	takes     time.Duration // what is copied over a link, at most
	mb, files int64         // the size of the file and the number of small ones, at most
}

// fileSize is that of a small file.
const fileSize = 4096

func (l *lab) transfers(t *testing.T, wan *natlab.WAN, near, far *natlab.Host) *transfers {
	t.Helper()
	b := &transfers{wan: wan, server: wan.Host("server"), near: near, far: far, dir: filepath.Join(t.TempDir(), "shared")}
	at := "TANDEM_SERVERS=" + l.server(t, b.server, nil).url
	usual := int64(60)
	if wholeGrid() {
		usual = 10
	}
	b.takes = time.Duration(scaled(t, "TANDEM_BENCH_SECONDS", usual)) * time.Second
	b.mb, b.files = scaled(t, "TANDEM_BENCH_MB", 500), scaled(t, "TANDEM_BENCH_FILES", 10_000)
	if err := os.Mkdir(b.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	sharer := l.device(t, far, "sharing", at, "TANDEM_INSECURE=true")
	b.getter = l.device(t, near, "fetching", at, "TANDEM_INSECURE=true")
	sharing := sharer.start(t, "share", b.dir, "--terminal", "--approve", "always", "--uses", "1000", "--expires", "24h", "--json")
	b.code, b.sharing = sharing.event(t, node.EventInvite).Code, sharing.cmd.Process.Pid
	b.join(t)

	get := func(name, dest string) *exec.Cmd { return b.getter.command(t.Context(), "get", b.shared(name), dest) }
	b.programs = append(b.programs,
		fetcher{name: "tandem get", serving: b.sharing, command: get},
		fetcher{name: "tandem get, joined", command: get, serve: b.joined},
		rawPion(t, near, far, filepath.Join(b.dir, oneFile)))
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
	} else {
		fmt.Println("croc is left out: CROC does not name its program; .ci/croc/build makes it")
	}
	return b
}

// join begins a session that lasts.
func (b *transfers) join(t *testing.T) {
	t.Helper()
	b.joining = b.getter.start(t, "join", b.code, "--json")
	b.peer = b.joining.event(t, node.EventJoined).Peer.ID.String()
	b.getter.awaitPath(t, b.peer, session.Direct, hangs)
}

// joined has a session there already for one fetch, as somebody has who works with the folder.
func (b *transfers) joined(t *testing.T, _ string) func() (time.Duration, int64) {
	t.Helper()
	b.join(t)
	pid := b.joining.cmd.Process.Pid
	before := spent(t, b.sharing) + spent(t, pid)
	forgetPeak(b.sharing)
	return func() (time.Duration, int64) {
		cpu, memory := spent(t, b.sharing)+spent(t, pid)-before, max(peak(b.sharing), peak(pid))
		b.leave(t)
		return cpu, memory
	}
}

// shared is a name in the shared folder as tandem get takes it.
func (b *transfers) shared(name string) string {
	return b.peer + ":" + filepath.Base(b.dir) + "/" + name
}

// leave ends the session, so that every tandem get connects anew, as the others do.
func (b *transfers) leave(t *testing.T) {
	t.Helper()
	b.joining.stop(t)
}

// worth is how many bytes a link carries in the time that is meant for one fetch.
func (b *transfers) worth(link natlab.Link) int64 {
	return int64(float64(link.Rate) / 8 * b.takes.Seconds())
}

// patience is how long a fetch of size bytes may take.
func (b *transfers) patience(size int64, link natlab.Link) time.Duration {
	if link.Rate == 0 {
		return max(2*b.takes, time.Minute)
	}
	return max(time.Duration(2*float64(size)*8/float64(link.Rate)*float64(time.Second)), b.takes/2)
}

// announce says beforehand how long it all takes.
func (b *transfers) announce(links []natlab.Link) {
	var least, most time.Duration
	for n, link := range links {
		sizes := []int64{min(b.mb*1e6, b.worth(link))}
		if wholeGrid() || n == 0 {
			sizes = append(sizes, min(b.files*fileSize, b.worth(link)))
		}
		for _, size := range sizes {
			most += time.Duration(len(b.programs)) * (b.patience(size, link) + 3*time.Second)
			least += time.Duration(len(b.programs)) * (b.patience(size, link)/2 + 2*time.Second)
		}
	}
	fmt.Printf("%d links, %d programs: between %v and %v, and a few minutes for one machine\n",
		len(links), len(b.programs), least.Round(time.Minute), most.Round(time.Minute))
}

// setLink makes the link between the two, with the server half way.
func (b *transfers) setLink(link natlab.Link) {
	b.wan.Path(b.near, b.far).SetLink(link)
	for _, peer := range []*natlab.Host{b.near, b.far} {
		b.wan.Path(b.server, peer).SetDelay(link.Delay / 2)
	}
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
	// fails says that it may, without more than a word about it.
	fails bool
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
	return fetcher{name: "croc", congestion: "cubic", fails: true, command: func(_, dest string) *exec.Cmd {
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

// carried is what TCP alone carries.
type carried struct {
	rate, packets float64 // of content and of IP packets, in bits per second
	got           int64   // of content
}

// plainTCP measures what one connection carries from memory to memory over a link
// of a rate that has neither delay nor loss.
func (b *transfers) plainTCP(t *testing.T, rate int64) carried {
	t.Helper()
	b.setLink(natlab.Link{Rate: rate})
	listener, err := b.far.Listen(t.Context(), "tcp4", net.JoinHostPort(b.far.Addr().String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	defer work.Wait()
	defer listener.Close()
	work.Go(func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		for zeros := make([]byte, 256<<10); err == nil; {
			_, err = conn.Write(zeros)
		}
	})
	conn, err := b.near.DialContext(t.Context(), "tcp4", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	buf := make([]byte, 256<<10)
	read := func(length time.Duration) (content, packets int64, took time.Duration) {
		_, before := b.wan.Path(b.near, b.far).Stats()
		began := time.Now()
		for took = 0; took < length; took = time.Since(began) {
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			content += int64(n)
		}
		_, after := b.wan.Path(b.near, b.far).Stats()
		return content, after.Bytes - before.Bytes, took
	}
	read(time.Second) // until it has found the rate
	content, packets, took := read(min(b.takes, 5*time.Second))
	return carried{rate: float64(content) * 8 / took.Seconds(), packets: float64(packets) * 8 / took.Seconds(), got: content}
}

// fill makes the file that is fetched, unless it is there.
func (b *transfers) fill(t *testing.T, size int64) {
	t.Helper()
	path := filepath.Join(b.dir, oneFile)
	if info, err := os.Stat(path); err == nil && info.Size() == size {
		return
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.CopyN(f, rand.NewChaCha8([32]byte{9}), size)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// scatter makes n small files that are fetched.
func (b *transfers) scatter(t *testing.T, n int64) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(b.dir, manyFiles)); err != nil {
		t.Fatal(err)
	}
	random := rand.NewChaCha8([32]byte{1})
	content := make([]byte, fileSize)
	for i := range n {
		dir := filepath.Join(b.dir, manyFiles, strconv.FormatInt(i/100, 10))
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
}
