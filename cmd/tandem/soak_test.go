//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tandem/session"
	"tandem/share/command"
	"tandem/share/folder"
	"tandem/share/node"
	"tandem/share/terminal"
	"tandem/signaling"
)

const (
	// soakGrowth is by how much a process may grow between the first quarter
	// of a soak and its end: what is bounded has reached its bound by then.
	soakGrowth = 64 << 20
	// soakMost is what none may hold at any time.
	soakMost = 1 << 30
)

// TestSoakFlood runs a real server with a relay and a real share, and floods
// both for TANDEM_SOAK (a duration such as 1h): as a guest who was let in, as
// somebody who has only the number of the code, as a client of the signaling
// server, and as one who sends noise to every port. It prints what the two
// processes hold over time, and how long an honest guest's program takes
// meanwhile; both must stay bounded.
func TestSoakFlood(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("TANDEM_SOAK"))
	if err != nil {
		t.Skip("a soak: set TANDEM_SOAK to a duration, such as 1h")
	}
	f := newFlooded(t)
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	for n := range 4 {
		work.Go(func() { f.floodSignaling(ctx, byte(2+n)) })
		work.Go(func() { f.floodPorts(ctx, byte(12+n)) })
	}
	work.Go(func() { f.floodRelay(ctx) })
	for range 2 {
		mallory := f.guest(t)
		for _, flood := range []func(context.Context, node.Bound){f.floodOpens, f.floodTerminal, f.floodFolder, f.floodCommands} {
			work.Go(func() { flood(ctx, mallory) })
		}
	}
	f.watch(ctx, t, f.guest(t), length)
}

// flooded are the two processes under attack.
type flooded struct {
	server, share *exec.Cmd
	url           string
	addr          netip.AddrPort // of the signaling server
	relay         netip.AddrPort
	code          string
	number        string

	letters, opens, frames, noise atomic.Int64 // what was sent
}

func newFlooded(t *testing.T) *flooded {
	t.Helper()
	f := &flooded{}
	var events <-chan map[string]any
	relayPort := freePort(t)
	f.server, events = f.run(t, "server", "--json", "--insecure-http", "--listen", "127.0.0.1:0", "--public-ip", "127.0.0.1",
		"--relay-port", strconv.Itoa(int(relayPort)), "--relay-ports", "50000-50999", "--relay-allow", "127.0.0.0/8")
	f.addr = netip.MustParseAddrPort(fmt.Sprint((<-events)["addr"]))
	f.relay = netip.AddrPortFrom(f.addr.Addr(), relayPort)
	f.url = "http://" + f.addr.String()
	dir := t.TempDir()
	for n := range 100 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file-%d", n)), make([]byte, 10_000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f.share, events = f.run(t, "share", dir, "--json", "--write", "--terminal", "--approve", "always",
		"--uses", "1000", "--expires", "720h", "--server", f.url)
	invite := <-events
	if invite == nil {
		t.Fatal("the share has ended")
	}
	f.code = fmt.Sprint(invite["code"])
	f.number, _, _ = strings.Cut(f.code, "-")
	return f
}

// run starts the real binary, ends it with the test, and reads its events; all
// but the first are thrown away.
func (f *flooded) run(t *testing.T, args ...string) (*exec.Cmd, <-chan map[string]any) {
	t.Helper()
	cmd := exec.Command("tandem", args...)
	home := filepath.Join(t.TempDir(), "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "TANDEM_HOME="+home, "HOME="+home, "SHELL=/bin/sh", "TANDEM_LOG=error")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	events := make(chan map[string]any, 1)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(events)
		lines := bufio.NewReader(out)
		for first := true; ; first = false {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				return
			}
			var event map[string]any
			if first && json.Unmarshal(line, &event) == nil {
				events <- event
			}
		}
	})
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		end := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		defer end.Stop()
		reading.Wait()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", args[0], err)
		}
	})
	return cmd, events
}

// guest is a node of this process that has joined.
func (f *flooded) guest(t *testing.T) node.Bound {
	t.Helper()
	n, err := node.StartGuest(t.Context(), node.Config{Servers: []string{f.url}, Insecure: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() }) // the host may have hung up on it
	joined, err := n.Join(t.Context(), f.code, nil)
	if err != nil {
		t.Fatal(err)
	}
	return node.Bound{Backend: n, Peer: joined.Peer.ID.String()}
}

// from dials from another address of this machine, so that what the server
// allows one address is not what it allows all.
func (f *flooded) from(host byte) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, host)}, Timeout: 5 * time.Second}
}

// pause waits a little, and reports whether to go on.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// knock is pairing's first message for an attempt of its own; it costs no
// attempt, and may be sent by whoever knows the number.
func (f *flooded) knock() []byte {
	b := append([]byte{'P', 1, 1}, noise(16)...)
	return append(append(b, byte(len(f.number))), f.number...)
}

// floodSignaling is a client that asks for all there is, without end, and
// writes to the share what only its number is needed for.
func (f *flooded) floodSignaling(ctx context.Context, host byte) {
	transport := &http.Transport{DialContext: f.from(host).DialContext}
	defer transport.CloseIdleConnections()
	for pause(ctx, 100*time.Millisecond) {
		c, err := signaling.New(signaling.Config{
			Servers: []string{f.url}, Key: ed25519.NewKeyFromSeed(noise(ed25519.SeedSize)), HTTPClient: &http.Client{Transport: transport}, AllowInsecure: true,
		})
		if err != nil {
			continue
		}
		f.letterFlood(ctx, c)
		_ = c.Close()
	}
}

func (f *flooded) letterFlood(ctx context.Context, c *signaling.Client) {
	to := signaling.PlateAddress(f.number)
	for n := 0; n < 2000 && pause(ctx, time.Millisecond); n++ {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		switch n % 8 {
		case 0:
			_ = c.Send(ctx, "", to, append([]byte{'S'}, noise(rand.N(40_000))...))
		case 1:
			_ = c.Send(ctx, "", to, append([]byte{'P', 1, byte(rand.N(12))}, noise(rand.N(16_384))...))
		case 2:
			watched := make([]string, 200)
			for i := range watched {
				watched[i] = signaling.MailboxOf(noise(32))
			}
			_ = c.Watch(ctx, watched)
		case 3:
			_, _ = c.Nameplate(ctx)
		case 4:
			_, _ = c.Relays(ctx)
		default:
			_ = c.Send(ctx, "", to, f.knock())
		}
		cancel()
		f.letters.Add(1)
	}
}

// floodPorts speaks noise, half requests, and STUN without end to the port of
// the signaling server, and lets some connections hang.
func (f *flooded) floodPorts(ctx context.Context, host byte) {
	var hanging []net.Conn
	defer func() {
		for _, c := range hanging {
			_ = c.Close()
		}
	}()
	for n := 0; pause(ctx, 2*time.Millisecond); n++ {
		at := f.addr
		if n%2 == 1 {
			at = f.relay
		}
		c, err := f.from(host).DialContext(ctx, "tcp", at.String())
		if err != nil {
			continue
		}
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		switch n / 2 % 5 {
		case 0:
			_, _ = c.Write(noise(1 + rand.N(4096)))
		case 1:
			_, _ = io.WriteString(c, "GET /v1/ws HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", rand.N(16_384)))
		case 2: // a TURN client that never says who it is
			_, _ = c.Write(stunRequest(uint16(3), noise(rand.N(64)*4)))
		case 3:
			_, _ = io.WriteString(c, "GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
				"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
			_, _ = c.Write(noise(rand.N(256)))
		}
		f.noise.Add(1)
		if hanging = append(hanging, c); len(hanging) > 200 {
			_ = hanging[0].Close()
			hanging = hanging[1:]
		}
	}
}

// stunRequest is a STUN request (RFC 8489, section 5) of a type, with whatever
// for attributes.
func stunRequest(kind uint16, attributes []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(len(attributes)))
	b = binary.BigEndian.AppendUint32(b, 0x2112A442)
	b = append(b, noise(12)...)
	return append(b, attributes...)
}

// floodRelay sends datagrams to the relay from many ports.
func (f *flooded) floodRelay(ctx context.Context) {
	for pause(ctx, time.Millisecond) {
		c, err := net.Dial("udp", f.relay.String())
		if err != nil {
			continue
		}
		for range 20 {
			switch rand.N(3) {
			case 0:
				_, _ = c.Write(noise(rand.N(1400)))
			case 1:
				_, _ = c.Write(stunRequest(uint16(rand.N(16)), noise(rand.N(64)*4)))
			default:
				_, _ = c.Write(append([]byte{0x40 | byte(rand.N(64)), 1}, noise(rand.N(200))...)) // ChannelData
			}
			f.noise.Add(1)
		}
		_ = c.Close()
	}
}

// floodOpens opens streams to services that exist and that don't, with large
// and senseless headers, and leaves them open until there are many.
func (f *flooded) floodOpens(ctx context.Context, peer node.Bound) {
	services := []string{"", "nothing/1", strings.Repeat("x", 64), strings.Repeat("y", 1000), command.ServiceName, folder.Name, terminal.ServiceName, "forward/1", "facts/1"}
	var open []session.Stream
	abandon := func() {
		for _, s := range open {
			_ = s.Reset(session.Errorf("soak", session.Canceled, "enough"))
		}
		open = nil
	}
	defer abandon()
	for pause(ctx, 5*time.Millisecond) {
		params := []byte(`{}`)
		if rand.N(20) == 0 {
			params, _ = json.Marshal(strings.Repeat("z", rand.N(60_000)))
		}
		bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
		s, err := peer.Open(bounded, session.Header{
			Service: services[rand.N(len(services))], Resource: string(noise(rand.N(100))), Action: "read", Params: params,
		})
		cancel()
		f.opens.Add(1)
		if err != nil {
			continue
		}
		if open = append(open, s); len(open) > 500 {
			abandon()
		}
	}
}

// flood writes what next makes to a stream that it opens again and again, and
// reads nothing of it.
func (f *flooded) flood(ctx context.Context, peer node.Bound, h session.Header, next func() []byte) {
	for pause(ctx, 20*time.Millisecond) {
		bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
		s, err := peer.Open(bounded, h)
		cancel()
		if err != nil {
			continue
		}
		_ = s.SetDeadline(time.Now().Add(2 * time.Second))
		for range 500 {
			if _, err := s.Write(next()); err != nil || ctx.Err() != nil {
				break
			}
			f.frames.Add(1)
		}
		_ = s.Reset(session.Errorf("soak", session.Canceled, "enough"))
	}
}

// frame is one of the terminal's and the command's frames.
func frame(kind byte, body []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)))
	return append(b, body...)
}

func (f *flooded) floodTerminal(ctx context.Context, peer node.Bound) {
	h := session.Header{Service: terminal.ServiceName, Action: "control", Params: []byte(`{"cols":80,"rows":24}`)}
	f.flood(ctx, peer, h, func() []byte {
		switch rand.N(5) {
		case 0:
			return frame(0x42, noise(4)) // sizes
		case 1:
			return frame(0x43, noise(8)) // acknowledgements of what was never sent
		case 2:
			return frame(byte(0x80+rand.N(100)), noise(rand.N(1000)))
		case 3:
			return append([]byte{0x41}, 0xff, 0xff, 0xff, 0xff)
		}
		return frame(0x41, []byte("# "+strings.Repeat("x", rand.N(2000))+"\n"))
	})
}

func (f *flooded) floodFolder(ctx context.Context, peer node.Bound) {
	id := 0
	f.flood(ctx, peer, session.Header{Service: folder.Name, Action: "write"}, func() []byte {
		id++
		requests := []string{
			`{"id":%d,"op":"list","recursive":true}`, `{"id":%d,"op":"read","path":"file-1"}`, `{"id":%d,"op":"stat","path":"../../etc/passwd"}`,
			`{"id":%d,"op":"dance"}`, `{"id":%d,"op":"hash","path":"file-2","length":9223372036854775807}`, `{"id":%d`,
		}
		text := fmt.Appendf(nil, requests[rand.N(len(requests))], id)
		length := len(text)
		if rand.N(500) == 0 {
			length = rand.N(1 << 31)
		}
		return append(binary.BigEndian.AppendUint32(nil, uint32(length)), text...)
	})
}

func (f *flooded) floodCommands(ctx context.Context, peer node.Bound) {
	params, _ := json.Marshal(map[string]any{"argv": []string{"yes", strings.Repeat("y", 1000)}})
	f.flood(ctx, peer, session.Header{Service: command.ServiceName, Action: "run", Params: params}, func() []byte {
		switch rand.N(4) {
		case 0:
			return frame(0x43, noise(rand.N(20)))
		case 1:
			return frame(byte(0x80+rand.N(100)), noise(rand.N(1000)))
		}
		return frame(0x41, noise(1+rand.N(4000)))
	})
}

// watch reports for as long as the flood lasts, and judges at its end.
func (f *flooded) watch(ctx context.Context, t *testing.T, honest node.Bound, length time.Duration) {
	start := time.Now()
	every := max(length/60, time.Second)
	early := map[*exec.Cmd]int64{}
	served, failed := 0, 0
	report := func() {
		fmt.Printf("%8s  server %6.1f MiB  share %6.1f MiB  sent: %d letters, %d opens, %d frames, %d noises  honest: %d served, %d not\n",
			time.Since(start).Round(time.Second), mebibytes(rss(t, f.server)), mebibytes(rss(t, f.share)),
			f.letters.Load(), f.opens.Load(), f.frames.Load(), f.noise.Load(), served, failed)
	}
	report()
	for pause(ctx, every) {
		if err := runHonest(ctx, honest); err == nil {
			served++
		} else if ctx.Err() == nil {
			failed++
			t.Logf("%s: the honest guest: %v", time.Since(start).Round(time.Second), err)
		}
		report()
		for _, cmd := range []*exec.Cmd{f.server, f.share} {
			now := rss(t, cmd)
			if time.Since(start) < length/4 {
				early[cmd] = max(early[cmd], now)
			}
			if now > soakMost {
				t.Fatalf("%s holds %.0f MiB", cmd.Args[1], mebibytes(now))
			}
		}
	}
	for _, cmd := range []*exec.Cmd{f.server, f.share} {
		if now := rss(t, cmd); now > early[cmd]+soakGrowth {
			t.Errorf("%s holds %.0f MiB, %.0f in the first quarter: it grows", cmd.Args[1], mebibytes(now), mebibytes(early[cmd]))
		}
	}
	if served == 0 {
		t.Error("no honest guest was served")
	}
}

// runHonest has the host run a program, and wants its output.
func runHonest(ctx context.Context, peer node.Bound) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	params, err := json.Marshal(map[string]any{"argv": []string{"echo", "here"}})
	if err != nil {
		return err
	}
	s, err := peer.Open(ctx, session.Header{Service: command.ServiceName, Action: "run", Params: params})
	if err != nil {
		return err
	}
	defer s.Close()
	deadline, _ := ctx.Deadline()
	if err := s.SetDeadline(deadline); err != nil {
		return err
	}
	head := make([]byte, 5)
	if _, err := io.ReadFull(s, head); err != nil {
		return err
	}
	body := make([]byte, min(binary.BigEndian.Uint32(head[1:]), 1<<16))
	if _, err := io.ReadFull(s, body); err != nil {
		return err
	}
	if string(body) != "here\n" {
		return fmt.Errorf("got %q", body)
	}
	return nil
}

// rss is what a process holds of memory, in bytes.
func rss(t *testing.T, cmd *exec.Cmd) int64 {
	t.Helper()
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
	if err != nil {
		t.Fatalf("%s has ended: %v", cmd.Args[1], err)
	}
	return pages * int64(os.Getpagesize())
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }
