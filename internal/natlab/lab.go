//go:build linux

package natlab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// TB is what a lab needs of a test; *testing.T and *testing.B are TBs.
type TB interface {
	Helper()
	Cleanup(func())
	Logf(format string, args ...any)
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Lab is a set of networks that live as long as one test. Its methods that build or change networks
// end the test when they fail, and so must be called from the test's own goroutine.
type Lab struct {
	t     TB
	tools tools

	mu     sync.Mutex
	spaces []*namespace
	wans   []*WAN
}

// New makes an empty lab, which the end of the test takes down. It skips the test unless TANDEM_LAB
// (or TANDEM_BENCH) is set: a plain `go test ./...` is quick, also for root. Where no lab can be
// built it skips the test too, or fails it if TANDEM_LAB is "required".
func New(t TB) *Lab {
	t.Helper()
	if os.Getenv("TANDEM_LAB") == "" && os.Getenv("TANDEM_BENCH") == "" {
		t.Skipf("natlab: set TANDEM_LAB=1, as root, to build networks")
	}
	tools, err := findTools()
	if err == nil {
		err = usable()
	}
	if err != nil {
		if os.Getenv("TANDEM_LAB") == "required" {
			t.Fatalf("natlab: %v", err)
		}
		t.Skipf("natlab: no lab here: %v", err)
	}
	sweepOrphans(t)
	l := &Lab{t: t, tools: tools}
	t.Cleanup(l.close)
	return l
}

// tools are the absolute paths of the programs a lab uses.
type tools struct{ ip, nft, nsenter string }

func findTools() (tools, error) {
	var t tools
	for name, path := range map[string]*string{"ip": &t.ip, "nft": &t.nft, "nsenter": &t.nsenter} {
		found, err := exec.LookPath(name)
		for _, dir := range []string{"/usr/sbin", "/sbin"} { // often missing from PATH
			if err == nil {
				break
			}
			found, err = exec.LookPath(filepath.Join(dir, name))
		}
		if err != nil {
			return tools{}, fmt.Errorf("the program %s is not installed", name)
		}
		*path = found
	}
	return t, nil
}

// usable reports why this process may not make namespaces and TUN devices.
func usable() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("it needs root")
	}
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	ns, err := newNamespace("probe")
	if err != nil {
		return err
	}
	return ns.close()
}

// WAN adds a wide area network, apart from any other of the lab. Every packet between two of its
// sites crosses link once.
func (l *Lab) WAN(link Link) *WAN {
	l.t.Helper()
	if err := link.check(); err != nil {
		l.t.Fatalf("natlab: %v", err)
	}
	w := newWAN(l, link)
	l.mu.Lock()
	l.wans = append(l.wans, w)
	l.mu.Unlock()
	return w
}

// LAN adds a local network with no way out: a bridge with the addresses 192.168.0.0/24, at the
// kernel's full speed. Its Wire is nil.
func (l *Lab) LAN() *NAT {
	l.t.Helper()
	return buildLAN(l)
}

// space adds a namespace to the lab.
func (l *Lab) space(name string) *namespace {
	l.t.Helper()
	ns, err := newNamespace(name)
	if err != nil {
		l.t.Fatalf("natlab: %v", err)
	}
	ns.tools = l.tools
	l.mu.Lock()
	l.spaces = append(l.spaces, ns)
	l.mu.Unlock()
	return ns
}

// must ends the test if err is not nil.
func (l *Lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatalf("natlab: %v", err)
	}
}

// close ends every process in the lab, stops forwarding and lets the namespaces go.
func (l *Lab) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	killInside(l.t, l.spaces)
	for _, w := range l.wans {
		w.close()
	}
	for _, ns := range l.spaces {
		if err := ns.close(); err != nil {
			l.t.Logf("natlab: %v", err)
		}
	}
	l.wans, l.spaces = nil, nil
}
