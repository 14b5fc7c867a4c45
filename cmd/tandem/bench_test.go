//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh"

	"tandem/internal/natlab"
)

// newBench is a lab for a benchmark.
func newBench(t *testing.T) *lab {
	t.Helper()
	if os.Getenv("TANDEM_BENCH") == "" {
		t.Skip("a benchmark: set TANDEM_BENCH=1")
	}
	return newLab(t)
}

// visible takes the characters a person would see from a terminal's output:
// no control characters, no sequences of ECMA-48.
type visible struct{ state byte }

const (
	plain   = iota
	escaped // behind ESC
	control // in a control sequence
	text    // in a string such as a title, up to BEL or ESC \
	ending  // behind the ESC of ESC \
	charset // the character behind ESC (
)

func (v *visible) filter(p []byte) []byte {
	var out []byte
	for _, b := range p {
		switch v.state {
		case plain:
			if b == 0x1b {
				v.state = escaped
			} else if b >= ' ' && b != 0x7f {
				out = append(out, b)
			}
		case escaped:
			switch b {
			case '[':
				v.state = control
			case ']', 'P', '_', '^', 'X':
				v.state = text
			case '(', ')', '#', '%', ' ':
				v.state = charset
			default:
				v.state = plain
			}
		case control:
			if b >= '@' && b <= '~' {
				v.state = plain
			}
		case text:
			switch b {
			case 7:
				v.state = plain
			case 0x1b:
				v.state = ending
			}
		case ending, charset:
			v.state = plain
		}
	}
	return out
}

// glyph is a visible character and when it arrived.
type glyph struct {
	char byte
	at   time.Time
}

// screen is a program on a pseudo-terminal, as a person in front of it has it.
type screen struct {
	name  string
	cmd   *exec.Cmd
	pty   *os.File
	began time.Time
	ended chan struct{}
	err   error // set when ended is closed

	mu     sync.Mutex
	glyphs []glyph
	more   chan struct{} // closed and replaced when there are more
}

// show starts a program on a terminal of its own.
func show(t *testing.T, name string, cmd *exec.Cmd) *screen {
	t.Helper()
	cmd.Env = append(cmd.Env, "TERM=xterm-256color", "LC_ALL=C.UTF-8")
	s := &screen{name: name, cmd: cmd, ended: make(chan struct{}), more: make(chan struct{}), began: time.Now()}
	var err error
	// Wide, so that no tool has lines to break.
	if s.pty, err = pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 900}); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		var v visible
		buf := make([]byte, 64<<10)
		for {
			n, err := s.pty.Read(buf)
			if err != nil {
				return // EIO: nobody has the other end any more
			}
			s.add(v.filter(buf[:n]), time.Now())
		}
	}()
	go func() {
		defer close(s.ended)
		s.err = cmd.Wait()
		<-read
	}()
	t.Cleanup(func() {
		s.kill()
		_ = s.pty.Close()
	})
	return s
}

func (s *screen) add(chars []byte, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range chars {
		s.glyphs = append(s.glyphs, glyph{c, at})
	}
	close(s.more)
	s.more = make(chan struct{})
}

// seen is what has been visible from glyph n on, and a channel that is closed
// when there is more.
func (s *screen) seen(n int) ([]glyph, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.glyphs[min(n, len(s.glyphs)):]), s.more
}

// count is how many characters have been visible.
func (s *screen) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.glyphs)
}

func (s *screen) String() string {
	glyphs, _ := s.seen(0)
	return characters(glyphs)
}

func characters(glyphs []glyph) string {
	var b strings.Builder
	for _, g := range glyphs {
		b.WriteByte(g.char)
	}
	return b.String()
}

// await waits until what is visible ends with one of the given texts.
func (s *screen) await(t *testing.T, ends ...string) time.Time {
	t.Helper()
	timeout := time.After(hangs)
	for {
		glyphs, more := s.seen(0)
		text := characters(glyphs)
		for _, end := range ends {
			if strings.HasSuffix(text, end) {
				return glyphs[len(glyphs)-1].at
			}
		}
		select {
		case <-more:
		case <-s.ended:
			if again, _ := s.seen(len(glyphs)); len(again) == 0 {
				t.Fatalf("%s ended with %v before it showed %q:\n%s", s.name, s.err, ends, text)
			}
		case <-timeout:
			t.Fatalf("%s shows no %q:\n%s", s.name, ends, text)
		}
	}
}

// press types.
func (s *screen) press(t *testing.T, keys string) {
	t.Helper()
	if _, err := s.pty.WriteString(keys); err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
}

// leave types what ends the program, and waits for that.
func (s *screen) leave(t *testing.T, keys string) {
	t.Helper()
	s.press(t, keys)
	select {
	case <-s.ended:
	case <-time.After(hangs):
		t.Fatalf("%s does not end:\n%s", s.name, s)
	}
	_ = s.pty.Close()
}

// kill ends the program as a crash does.
func (s *screen) kill() {
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.ended
}

// firstPrompt is how long a program took from its start until a shell's prompt
// stood there. The shell is ended after that.
func firstPrompt(t *testing.T, name string, cmd *exec.Cmd) time.Duration {
	t.Helper()
	s := show(t, name, cmd)
	took := s.await(t, "# ", "$ ").Sub(s.began)
	s.leave(t, "exit\r")
	return took
}

// sshServer is OpenSSH's sshd on a host of the lab.
type sshServer struct {
	addr   netip.Addr
	pid    int      // of its listener
	config []string // of the client
}

// sshd starts sshd with keys of its own, and without PAM. More are lines for its
// configuration.
func (l *lab) sshd(t *testing.T, host *natlab.Host, more ...string) *sshServer {
	t.Helper()
	path := tool(t, "sshd", "openssh-server")
	tool(t, "ssh", "openssh-client")
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // where its children are locked up
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name, content string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	hostPrivate, hostPublic := sshKey(t)
	userPrivate, userPublic := sshKey(t)
	config := file("sshd_config", strings.Join(append([]string{
		"Port 22", "HostKey " + file("host", hostPrivate), "AuthorizedKeysFile " + file("authorized", userPublic),
		"UsePAM no", "StrictModes no", "PermitRootLogin yes", "PasswordAuthentication no",
		"PrintMotd no", "PrintLastLog no", "PidFile none",
	}, more...), "\n")+"\n")
	cmd := host.Command(t.Context(), path, "-D", "-e", "-f", config)
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("sshd:\n%s", lastLines(log.String(), 50))
		}
	})
	begun := time.Now()
	for {
		conn, err := host.DialContext(t.Context(), "tcp", net.JoinHostPort(host.Addr().String(), "22"))
		if err == nil {
			_ = conn.Close()
			break
		}
		if time.Since(begun) > hangs {
			t.Fatalf("sshd does not listen: %v\n%s", err, &log)
		}
		time.Sleep(10 * time.Millisecond)
	}
	known := file("known_hosts", host.Addr().String()+" "+hostPublic)
	return &sshServer{addr: host.Addr(), pid: cmd.Process.Pid, config: []string{
		"-F", "none", "-i", file("user", userPrivate), "-o", "IdentitiesOnly=yes", "-o", "UserKnownHostsFile=" + known,
		"-o", "GlobalKnownHostsFile=none", "-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=ERROR",
	}}
}

// command is `ssh -tt`, without sharing a connection.
func (s *sshServer) command(t *testing.T, from *natlab.Host, args ...string) *exec.Cmd {
	t.Helper()
	all := slices.Concat([]string{"-tt"}, s.config, []string{"root@" + s.addr.String()}, args)
	cmd := from.Command(t.Context(), "ssh", all...)
	cmd.Env = append(cmd.Env, "SSH_AUTH_SOCK=")
	return cmd
}

// plain is ssh without a terminal.
func (s *sshServer) plain(ctx context.Context, from *natlab.Host, args ...string) *exec.Cmd {
	cmd := from.Command(ctx, "ssh", slices.Concat([]string{"-T"}, s.config, []string{"root@" + s.addr.String()}, args)...)
	cmd.Env = append(cmd.Env, "SSH_AUTH_SOCK=")
	return cmd
}

// sshKey is a new Ed25519 key: the private one for a file, the public one for
// a line.
func sshKey(t *testing.T) (private, public string) {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(priv, "")
	line, lineErr := ssh.NewPublicKey(pub)
	if err := errors.Join(err, lineErr); err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block)), string(ssh.MarshalAuthorizedKey(line))
}

// tool finds a program that a package of Debian's brings.
func tool(t *testing.T, name, from string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	if err != nil {
		t.Skipf("%s is missing: apt-get install %s", name, from)
	}
	return path
}

// sample is what was measured, many times.
type sample []time.Duration

// quantile is the smallest value that at least the share q is not above.
func (s sample) quantile(q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(s))
	n := int(q*float64(len(sorted)) + 0.999999)
	return sorted[min(max(n, 1), len(sorted))-1]
}

// below is the share of s that is below d.
func (s sample) below(d time.Duration) float64 {
	n := 0
	for _, v := range s {
		if v < d {
			n++
		}
	}
	return float64(n) / float64(len(s))
}

func (s sample) median() time.Duration { return s.quantile(0.5) }

// ms writes milliseconds, with a decimal where that matters.
func ms(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.1f", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%.0f", d.Seconds()*1e3)
}

// table prints rows as Markdown does; the first one is the head.
func table(rows [][]string) string {
	var b strings.Builder
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for n, row := range rows {
		for i, cell := range row {
			fmt.Fprintf(&b, "| %-*s ", widths[i], cell)
		}
		b.WriteString("|\n")
		if n == 0 {
			for _, w := range widths {
				b.WriteString("|" + strings.Repeat("-", w+2))
			}
			b.WriteString("|\n")
		}
	}
	return b.String()
}
