package relay

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"golang.org/x/net/ipv4"
)

// The benchmark relays the same load through a relay of ours and through
// coturn, each in a process of its own, in turns, and prints what both took:
//
//	TANDEM_BENCH=1 go test ./relay -run '^TestBenchRelay$' -v -count=1 (make bench-relay)
//
// TANDEM_BENCH_PROFILE=FILE writes a CPU profile of our process.

const (
	roleVar    = "TANDEM_RELAY_BENCH_LISTEN" // makes this binary a relay
	benchFlows = 8                           // half to the peer, half from it
	benchBytes = 1200                        // payload of a datagram: a WebRTC packet
	benchTime  = 2500 * time.Millisecond
	benchTurns = 3
)

// runAsRelay is main for the process under test.
func runAsRelay(listen string) error {
	s, err := New(Config{
		Public: []netip.Addr{loopback4.Addr()}, UDP: []netip.AddrPort{netip.MustParseAddrPort(listen)},
		Secrets: []string{secretA}, AllowPeers: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Limits: Limits{UserRate: -1}, MinPort: 49152, MaxPort: 65535,
	})
	if err != nil {
		return err
	}
	if file := os.Getenv("TANDEM_BENCH_PROFILE"); file != "" {
		stop, err := startProfile(file)
		if err != nil {
			return err
		}
		defer stop()
	}
	fmt.Println("ready")
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	<-ctx.Done()
	return s.Close()
}

// startProfile writes a CPU profile until it is stopped.
func startProfile(file string) (stop func(), err error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() { pprof.StopCPUProfile(); _ = f.Close() }, nil
}

func TestBenchRelay(t *testing.T) {
	if os.Getenv("TANDEM_BENCH") == "" {
		t.Skip("a benchmark: set TANDEM_BENCH=1")
	}
	if runtime.GOOS != "linux" {
		t.Skip("reads CPU times from /proc")
	}
	ours := startRelay(t, os.Args[0])
	rivals := []*relayProcess{ours}
	if path, err := exec.LookPath("turnserver"); err == nil {
		rivals = append(rivals, startCoturn(t, path))
	} else {
		t.Log("coturn is not installed: no comparison")
	}
	results := make(map[string][]benchResult)
	for range benchTurns {
		for _, r := range rivals {
			results[r.name] = append(results[r.name], r.measure(t))
		}
	}
	best := make(map[string]benchResult)
	for name, runs := range results {
		// The middle by cost, so that one disturbed turn doesn't decide.
		slices.SortFunc(runs, func(a, b benchResult) int { return int(1e6 * (a.cost() - b.cost())) })
		best[name] = runs[len(runs)/2]
		r := best[name]
		t.Logf("%-8s %7.0f Mbit/s  %5.2f CPU seconds per Gbit  %6.0f Mbit/s per core  %4.1f %% lost",
			name, r.megabits()/r.wall.Seconds(), r.cost(), r.megabits()/r.cpu.Seconds(), 100*r.lost)
	}
	if coturn, ok := best["coturn"]; ok {
		t.Logf("ratio, ours to coturn's: throughput per core %.2f, throughput %.2f",
			coturn.cost()/best["tandem"].cost(),
			best["tandem"].megabits()/best["tandem"].wall.Seconds()/(coturn.megabits()/coturn.wall.Seconds()))
	}
}

type benchResult struct {
	bytes     uint64
	wall, cpu time.Duration
	lost      float64
}

func (r benchResult) megabits() float64 { return float64(r.bytes) * 8 / 1e6 }
func (r benchResult) cost() float64     { return r.cpu.Seconds() / (r.megabits() / 1e3) }

// relayProcess is a relay under test.
type relayProcess struct {
	name string
	addr netip.AddrPort
	pid  int
}

func startRelay(t *testing.T, path string) *relayProcess {
	t.Helper()
	addr := freePort(t)
	cmd := exec.Command(path, "-test.run=^$")
	cmd.Env = append(os.Environ(), roleVar+"="+addr.String())
	return start(t, "tandem", addr, cmd)
}

func startCoturn(t *testing.T, path string) *relayProcess {
	t.Helper()
	addr := freePort(t)
	cmd := exec.Command(path, "-n", "--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1",
		"--listening-port", strconv.Itoa(int(addr.Port())), "--min-port", "49152", "--max-port", "65535",
		"--use-auth-secret", "--static-auth-secret", secretA, "--realm", "tandem", "--allow-loopback-peers",
		"--no-tls", "--no-dtls", "--no-tcp", "--no-cli", "--log-file", "stdout", "--simple-log",
		"--pidfile", t.TempDir()+"/pid", "--userdb", t.TempDir()+"/db")
	return start(t, "coturn", addr, cmd)
}

func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	conn := newPeer(t, "127.0.0.1")
	defer conn.Close()
	return addrPort(conn.LocalAddr())
}

// start runs a relay and waits until it answers.
func start(t *testing.T, name string, addr netip.AddrPort, cmd *exec.Cmd) *relayProcess {
	t.Helper()
	var out bytes.Buffer
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s: %s", name, &out)
		}
	})
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	eventually(t, name+" answers", func() bool {
		_, _ = conn.Write(stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw)
		_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, err := conn.Read(make([]byte, 1500))
		return err == nil
	})
	return &relayProcess{name: name, addr: addr, pid: cmd.Process.Pid}
}

// cpu is the user and system time that the process has used.
func (r *relayProcess) cpu(t *testing.T) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+2:]))
	var ticks int64
	for _, field := range fields[11:13] { // utime and stime, proc(5)
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100
}

// measure relays for benchTime.
func (r *relayProcess) measure(t *testing.T) benchResult {
	t.Helper()
	var flows []*flow
	for i := range benchFlows {
		flows = append(flows, newFlow(t, r, i%2 == 0))
	}
	var wg sync.WaitGroup
	var stop atomic.Bool
	begin, cpu := time.Now(), r.cpu(t)
	for _, f := range flows {
		wg.Go(func() { f.receive(&stop) })
		wg.Go(func() { f.send(&stop) })
	}
	time.Sleep(benchTime)
	result := benchResult{wall: time.Since(begin), cpu: r.cpu(t) - cpu}
	var sent uint64
	for _, f := range flows {
		result.bytes += f.received.Load() * benchBytes
		sent += f.sent.Load()
	}
	result.lost = max(0, 1-float64(result.bytes/benchBytes)/float64(sent))
	stop.Store(true)
	for _, f := range flows {
		_ = f.from.SetDeadline(time.Now())
		_ = f.to.SetDeadline(time.Now())
	}
	wg.Wait()
	for _, f := range flows {
		_ = f.from.Close()
		_ = f.to.Close()
	}
	return result
}

// flow is a sender that keeps a window of datagrams on their way to a receiver
// through the relay, as a transport with congestion control would.
type flow struct {
	from, to       *net.UDPConn
	dst            *net.UDPAddr // nil: from is connected
	message        []byte
	sent, received atomic.Uint64
	lostAlready    atomic.Uint64
	progress       chan struct{}
}

const benchWindow, benchBatch = 64, 16

// newFlow makes an allocation with a channel, and a flow to its peer or from it.
func newFlow(t *testing.T, r *relayProcess, toPeer bool) *flow {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(r.addr))
	if err != nil {
		t.Fatal(err)
	}
	peer, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(loopback4))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*net.UDPConn{conn, peer} {
		_ = c.SetReadBuffer(4 << 20)
		_ = c.SetWriteBuffer(4 << 20)
	}
	c := &rawClient{t: t, conn: conn}
	c.username, c.password, _ = Issuer{Secret: secretA, TTL: time.Hour}.Credentials("bench", time.Now())
	answer := c.exchange(c.build(stun.MethodAllocate, attr{stun.AttrRequestedTransport, []byte{17, 0, 0, 0}}))
	var relayed stun.XORMappedAddress
	if err := relayed.GetFromAs(answer, stun.AttrXORRelayedAddress); err != nil {
		t.Fatalf("%s: allocate: %v", r.name, answer)
	}
	if got := c.request(stun.MethodChannelBind, channelNumber(0x4000), rawPeer(addrPort(peer.LocalAddr()))); got != 0 {
		t.Fatalf("%s: channel: %d", r.name, got)
	}
	_ = conn.SetReadDeadline(time.Time{})
	payload := bytes.Repeat([]byte{0xa5}, benchBytes)
	f := &flow{progress: make(chan struct{}, 1)}
	if toPeer {
		f.from, f.to = conn, peer
		f.message = append([]byte{0x40, 0, benchBytes >> 8, benchBytes & 0xff}, payload...)
	} else {
		f.from, f.to = peer, conn
		f.dst = &net.UDPAddr{IP: relayed.IP, Port: relayed.Port}
		f.message = payload
	}
	return f
}

func (f *flow) send(stop *atomic.Bool) {
	out := ipv4.NewPacketConn(f.from)
	batch := make([]ipv4.Message, benchBatch)
	for i := range batch {
		batch[i].Buffers = [][]byte{f.message}
		if f.dst != nil {
			batch[i].Addr = f.dst
		}
	}
	for !stop.Load() {
		if f.sent.Load()-f.lostAlready.Load() >= f.received.Load()+benchWindow {
			select {
			case <-f.progress:
			case <-time.After(50 * time.Millisecond): // lost: start again
				f.lostAlready.Store(f.sent.Load() - f.received.Load())
			}
			continue
		}
		if n, err := out.WriteBatch(batch, 0); err == nil {
			f.sent.Add(uint64(n))
		}
	}
}

func (f *flow) receive(stop *atomic.Bool) {
	in := ipv4.NewPacketConn(f.to)
	batch := make([]ipv4.Message, 32)
	for i := range batch {
		batch[i].Buffers = [][]byte{make([]byte, 2048)}
	}
	for !stop.Load() {
		n, err := in.ReadBatch(batch, 0)
		if err != nil {
			continue
		}
		f.received.Add(uint64(n))
		select {
		case f.progress <- struct{}{}:
		default:
		}
	}
}
