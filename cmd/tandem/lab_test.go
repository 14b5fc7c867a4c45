//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
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

// hangs is when a lab test gives up: whatever it waits for takes a fraction of it, even on a busy
// machine. What things really take is logged.
const hangs = 60 * time.Second

// labBinary builds tandem, once for all lab tests. The file has no name any more: it goes when this
// process does, however it ends.
var labBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tandem-lab-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "tandem")
	build := exec.Command("go", "build", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	// The descriptor stays open on purpose, and out of the garbage collector's reach.
	fd, err := syscall.Dup(int(file.Fd()))
	if err != nil {
		return "", err
	}
	syscall.CloseOnExec(fd)
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd), file.Close()
})

// lab is a network to run the real binary in.
type lab struct {
	*natlab.Lab
	t      *testing.T
	binary string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	if testing.Short() {
		t.Skip("the lab takes a while; not with -short")
	}
	l := &lab{Lab: natlab.New(t), t: t}
	var err error
	if l.binary, err = labBinary(); err != nil {
		t.Fatal(err)
	}
	return l
}

// device is a computer of the lab with a tandem home of its own.
type device struct {
	host   *natlab.Host
	binary string
	home   string
	env    []string
}

// device makes a new home on host. Env is added to the environment of its programs.
func (l *lab) device(t *testing.T, host *natlab.Host, name string, env ...string) *device {
	t.Helper()
	// A short path, to fit the name of the control socket.
	home, err := os.MkdirTemp("", "tl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	for _, v := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"} {
		env = append(env, v+"=", strings.ToLower(v)+"=") // not a proxy of the machine around the lab
	}
	env = append(env, "TANDEM_HOME="+home, "TANDEM_NAME="+name, "TERM=dumb")
	return &device{host: host, binary: l.binary, home: home, env: env}
}

func (d *device) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := d.host.Command(ctx, d.binary, args...)
	cmd.Env = append(cmd.Env, d.env...)
	cmd.Dir = d.home
	return cmd
}

// run runs a verb to its end and returns what it printed. It fails the test if the verb fails.
func (d *device) run(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*hangs)
	defer cancel()
	cmd := d.command(ctx, args...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		t.Fatalf("tandem %s on %v: %v\n%s%s", strings.Join(args, " "), d.host, err, out.Bytes(), problems.Bytes())
	}
	return out.String()
}

// why is what tandem why says about a peer.
func (d *device) why(t *testing.T, peer string) node.PeerStatus {
	t.Helper()
	var status node.PeerStatus
	if err := json.Unmarshal([]byte(d.run(t, "why", peer, "--json")), &status); err != nil {
		t.Fatal(err)
	}
	return status
}

// awaitPath waits until the path to a peer is of a kind.
func (d *device) awaitPath(t *testing.T, peer string, kind session.PathKind, limit time.Duration) session.Path {
	t.Helper()
	begun := time.Now()
	for {
		path := d.why(t, peer).Path
		if path.Kind == kind {
			return path
		}
		if time.Since(begun) > limit {
			t.Fatalf("after %v the path from %v is %+v, want %s", time.Since(begun), d.host, path, kind)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// line is a line a program printed, and when.
type line struct {
	text string
	at   time.Time
}

// program is a tandem that runs beside the test.
type program struct {
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	log   *bytes.Buffer // standard error; complete once it has ended
	ended chan struct{}
	err   error // set when ended is closed
	dead  bool  // killed by the test

	mu    sync.Mutex
	lines []line
	more  chan struct{} // closed and replaced at each line
}

// start runs a verb in the background until the end of the test, which shows its log on failure.
func (d *device) start(t *testing.T, args ...string) *program {
	t.Helper()
	return background(t, fmt.Sprintf("tandem %s on %v", args[0], d.host), d.command(context.Background(), args...))
}

// background runs a program in the background until the end of the test, which shows its log on failure.
func background(t *testing.T, name string, cmd *exec.Cmd) *program {
	t.Helper()
	p := &program{name: name, cmd: cmd, log: new(bytes.Buffer), ended: make(chan struct{}), more: make(chan struct{})}
	p.cmd.Stderr = p.log
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin = stdin
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		scanner := bufio.NewScanner(stdout)
		scanner.Buffer(nil, 1<<20)
		for scanner.Scan() {
			p.add(scanner.Text())
		}
		p.err = errors.Join(scanner.Err(), p.cmd.Wait())
	}()
	t.Cleanup(func() {
		p.stop(t)
		if t.Failed() {
			t.Logf("%s ended with %v\n%s\nlog:\n%s", p.name, p.err, strings.Join(p.texts(), "\n"), lastLines(p.log.String(), 150))
		}
	})
	return p
}

func (p *program) add(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, line{text, time.Now()})
	close(p.more)
	p.more = make(chan struct{})
}

// printed is what the program has printed since line n, and a channel that is closed at the next
// line.
func (p *program) printed(n int) ([]line, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.lines[n:]), p.more
}

func (p *program) texts() []string {
	lines, _ := p.printed(0)
	var texts []string
	for _, l := range lines {
		texts = append(texts, l.text)
	}
	return texts
}

// await waits for a line, the first from line n on that match accepts, and returns its number.
func (p *program) await(t *testing.T, what string, n int, limit time.Duration, match func(string) bool) int {
	t.Helper()
	timeout := time.After(limit)
	for {
		lines, more := p.printed(n)
		for _, l := range lines {
			if match(l.text) {
				return n
			}
			n++
		}
		select {
		case <-more:
		case <-p.ended:
			if fresh, _ := p.printed(n); len(fresh) == 0 {
				t.Fatalf("%s ended without %s: %v", p.name, what, p.err)
			}
		case <-timeout:
			t.Fatalf("%s: no %s within %v", p.name, what, limit)
		}
	}
}

// event waits for the program's first event of a kind.
func (p *program) event(t *testing.T, kind string) node.Event {
	t.Helper()
	n := p.await(t, "event "+kind, 0, 2*hangs, func(text string) bool {
		e, ok := parseEvent(text)
		return ok && e.Event == kind
	})
	lines, _ := p.printed(n)
	e, _ := parseEvent(lines[0].text)
	return e
}

// events are those printed so far.
func (p *program) events() []node.Event {
	var events []node.Event
	for _, text := range p.texts() {
		if e, ok := parseEvent(text); ok {
			events = append(events, e)
		}
	}
	return events
}

func parseEvent(text string) (e node.Event, ok bool) {
	return e, json.Unmarshal([]byte(text), &e) == nil && e.Event != ""
}

// wait waits for the program to end by itself.
func (p *program) wait(t *testing.T, limit time.Duration) error {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(limit):
		t.Fatalf("%s still runs after %v", p.name, limit)
	}
	return p.err
}

// stop ends the program as Ctrl-C does.
func (p *program) stop(t *testing.T) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGINT) // it may have ended
	select {
	case <-p.ended:
	case <-time.After(hangs):
		t.Errorf("%s does not end", p.name)
		p.kill()
	}
}

// kill ends the program as a crash does.
func (p *program) kill() {
	p.dead = true
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

func lastLines(s string, n int) string {
	lines := strings.Split(s, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// authority is a certificate authority that the lab's devices trust.
type authority struct {
	file string // its certificate, for SSL_CERT_FILE
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lab"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{file: filepath.Join(t.TempDir(), "ca.pem"), cert: cert, key: key}
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

// issue writes a certificate for addrs and its key to dir.
func (a *authority) issue(t *testing.T, dir string, addrs ...netip.Addr) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, addr := range addrs {
		template.IPAddresses = append(template.IPAddresses, addr.AsSlice())
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePEM(t, certFile, "CERTIFICATE", der)
	writePEM(t, keyFile, "EC PRIVATE KEY", keyDER)
	return certFile, keyFile
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// labServer is a running tandem server.
type labServer struct {
	*program
	device *device
	args   []string
	url    string // for devices with IPv4
	url6   string // for devices without; empty if the server has no IPv6
	client *http.Client
}

// server runs tandem server with a relay on a public host: over TLS on port 443 with a certificate
// of ca, or over plain HTTP on port 8080 without one.
func (l *lab) server(t *testing.T, host *natlab.Host, ca *authority, args ...string) *labServer {
	t.Helper()
	s := &labServer{device: l.device(t, host, "server")}
	scheme, port := "http", 8080
	s.args = []string{"server", "--json", "--log", "debug", "--public-metrics", "--drain", "1s", "--public-ip", host.Addr().String()}
	addrs := []netip.Addr{host.Addr()}
	if host.Addr6().IsValid() {
		addrs = append(addrs, host.Addr6())
		s.args = append(s.args, "--public-ip", host.Addr6().String())
	}
	transport := &http.Transport{DialContext: host.DialContext, DisableKeepAlives: true}
	if ca == nil {
		s.args = append(s.args, "--insecure-http")
	} else {
		scheme, port = "https", 443
		cert, key := ca.issue(t, s.device.home, addrs...)
		s.args = append(s.args, "--tls-cert", cert, "--tls-key", key)
		roots := x509.NewCertPool()
		roots.AddCert(ca.cert)
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	s.args = append(s.args, args...)
	s.client = &http.Client{Transport: transport}
	urls := []string{"", ""}
	for i, addr := range addrs {
		urls[i] = scheme + "://" + net.JoinHostPort(addr.String(), strconv.Itoa(port))
	}
	s.url, s.url6 = urls[0], urls[1]
	s.begin(t)
	return s
}

// begin runs the server, the first time or again.
func (s *labServer) begin(t *testing.T) {
	t.Helper()
	p := s.device.start(t, s.args...)
	t.Cleanup(func() {
		if p.stop(t); p.err != nil && !p.dead {
			t.Errorf("%s ended with %v", p.name, p.err)
		}
	})
	s.program = p
	s.event(t, "listening")
}

// relayed is how many payload bytes the server's relay has carried.
func (s *labServer) relayed(t *testing.T) int64 {
	t.Helper()
	return s.metric(t, "tandem_relay_bytes_total")
}

// metric is the sum of a metric over its labels.
func (s *labServer) metric(t *testing.T, name string) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hangs)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := s.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var sum float64
	found := false
	scanner := bufio.NewScanner(response.Body)
	for scanner.Scan() {
		rest, ok := strings.CutPrefix(scanner.Text(), name)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		value, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			t.Fatal(err)
		}
		sum, found = sum+value, true
	}
	if err := scanner.Err(); err != nil || !found {
		t.Fatalf("%s/metrics has no %s: %v %s", s.url, name, err, response.Status)
	}
	return int64(sum)
}

// meeting is two devices with a session between them.
type meeting struct {
	host, guest *device
	sharing     *program
	joining     *program
	peer        string // the host, as the guest calls it
	folder      string // what the host shares, with --write
	began       time.Duration
	invite      node.Event
	first       session.Path // of the guest, when it had joined
	copied      int          // how often files were copied
}

// meet shares a folder and a terminal on host and joins from guest, by code over the given
// servers.
func meet(t *testing.T, host, guest *device, hostServers, guestServers []string) *meeting {
	t.Helper()
	m := &meeting{host: host, guest: guest, folder: filepath.Join(host.home, "shared")}
	if err := os.Mkdir(m.folder, 0o700); err != nil {
		t.Fatal(err)
	}
	with := func(args []string, servers []string) []string {
		for _, s := range servers {
			args = append(args, "--server", s)
		}
		return append(args, "--json", "--log", "debug")
	}
	m.sharing = host.start(t, with([]string{"share", m.folder, "--write", "--terminal", "--approve", "always"}, hostServers)...)
	m.invite = m.sharing.event(t, node.EventInvite)
	begun := time.Now()
	m.joining = guest.start(t, with([]string{"join", m.invite.Code}, guestServers)...)
	joined := m.joining.event(t, node.EventJoined)
	m.began = time.Since(begun)
	m.peer, m.first = joined.Peer.ID.String(), *joined.Path
	return m
}

// copies gets one file from the host and puts another there, and compares both.
func (m *meeting) copies(t *testing.T, content string) (get, put time.Duration) {
	t.Helper()
	want := fileHash(t, content)
	m.copied++
	down, up := fmt.Sprintf("down-%d.bin", m.copied), fmt.Sprintf("up-%d.bin", m.copied)
	if err := os.Link(content, filepath.Join(m.folder, down)); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	got := filepath.Join(m.guest.home, down)
	m.guest.run(t, "get", m.peer+":shared/"+down, got)
	get = time.Since(begun)
	if fileHash(t, got) != want {
		t.Error("the file that was got is another one")
	}
	begun = time.Now()
	m.guest.run(t, "put", content, m.peer+":shared/"+up)
	put = time.Since(begun)
	if fileHash(t, filepath.Join(m.folder, up)) != want {
		t.Error("the file that was put is another one")
	}
	return get, put
}

// randomFile makes a file of n bytes that does not compress.
func randomFile(t *testing.T, n int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "content.bin")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.CopyN(file, rand.Reader, n)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func fileHash(t *testing.T, path string) string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		t.Fatal(err)
	}
	return string(h.Sum(nil))
}
