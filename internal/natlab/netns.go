//go:build linux

package natlab

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// namespace is one network namespace, held open by its descriptor.
type namespace struct {
	name  string // for messages
	file  *os.File
	inode uint64
	tools tools
}

// newNamespace makes an empty network namespace.
func newNamespace(name string) (*namespace, error) {
	var ns *namespace
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		f, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			return err
		}
		ns = &namespace{name: name, file: f, inode: st.Ino}
		return nil
	})
	return ns, err
}

// onThread runs fn on a thread of its own network namespace setting and puts the thread back where
// it was, so that no thread has to die for it.
func onThread(fn func() error) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() {
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			// Going on would run the caller in a strange network.
			panic("natlab: leave a network namespace: " + err.Error())
		}
		runtime.UnlockOSThread()
		home.Close()
	}()
	return fn()
}

// run calls fn on a thread inside the namespace.
func (ns *namespace) run(fn func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter %s: %w", ns.name, err)
		}
		return fn()
	})
}

// path names the namespace to programs that this process starts.
func (ns *namespace) path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.file.Fd())
}

// ip runs lines, each one ip command without the word "ip".
func (ns *namespace) ip(lines ...string) error {
	_, err := ns.exec(strings.Join(lines, "\n")+"\n", ns.tools.ip, "-batch", "-")
	return err
}

// nft loads a ruleset as one transaction.
func (ns *namespace) nft(rules string) error {
	_, err := ns.exec(rules, ns.tools.nft, "-f", "-")
	return err
}

// exec runs a program in the namespace and returns what it prints.
func (ns *namespace) exec(input, name string, args ...string) (output string, err error) {
	err = ns.run(func() error {
		cmd := exec.Command(name, args...) // the child inherits this thread's namespace
		cmd.Stdin = strings.NewReader(input)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %s: %w\n%s%s", ns.name, filepath.Base(name), err, out, input)
		}
		output = string(out)
		return nil
	})
	return output, err
}

// sysctl sets names below /proc/sys/net; a name this kernel lacks is an error only if it is not
// optional, which a leading "-" makes it.
func (ns *namespace) sysctl(settings map[string]string) error {
	return ns.run(func() error {
		for name, value := range settings {
			name, optional := strings.CutPrefix(name, "-")
			err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0)
			if err != nil && !(optional && os.IsNotExist(err)) {
				return fmt.Errorf("%s: %w", ns.name, err)
			}
		}
		return nil
	})
}

// await6 waits until the namespace takes packets to its own IPv6 address a, which the kernel arranges
// behind the back of the command that added it.
func (ns *namespace) await6(a netip.Addr) error {
	if !a.IsValid() {
		return nil
	}
	route := fmt.Appendf(nil, "%x 80 ", a.AsSlice()) // the address as a network of 0x80 bits
	for range 1000 {
		var ready bool
		err := ns.run(func() error {
			table, err := os.ReadFile("/proc/thread-self/net/ipv6_route")
			ready = bytes.Contains(table, route)
			return err
		})
		if err != nil || ready {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("%s: the address %v does not come up", ns.name, a)
}

// flushConntrack forgets every tracked connection, and with it every NAT mapping.
func (ns *namespace) flushConntrack() error {
	const (
		ctnetlinkDelete = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2 // IPCTNL_MSG_CT_DELETE
		size            = unix.SizeofNlMsghdr + 4           // nfgenmsg: family, version, resource id
	)
	return ns.run(func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
		if err != nil {
			return fmt.Errorf("%s: flush connections: %w", ns.name, err)
		}
		defer unix.Close(fd)
		req := make([]byte, size) // a delete that names no connection deletes all
		binary.NativeEndian.PutUint32(req[0:], size)
		binary.NativeEndian.PutUint16(req[4:], ctnetlinkDelete)
		binary.NativeEndian.PutUint16(req[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
		if err := unix.Sendto(fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return fmt.Errorf("%s: flush connections: %w", ns.name, err)
		}
		reply := make([]byte, 4096)
		n, _, err := unix.Recvfrom(fd, reply, 0)
		if err != nil {
			return fmt.Errorf("%s: flush connections: %w", ns.name, err)
		}
		if n < unix.SizeofNlMsghdr+4 {
			return fmt.Errorf("%s: flush connections: a reply of %d bytes", ns.name, n)
		}
		if code := int32(binary.NativeEndian.Uint32(reply[unix.SizeofNlMsghdr:])); code != 0 {
			return fmt.Errorf("%s: flush connections: %w", ns.name, unix.Errno(-code))
		}
		return nil
	})
}

// counters reads what the interface dev has received and sent.
func (ns *namespace) counters(dev string) (Counters, error) {
	var c Counters
	err := ns.run(func() error {
		b, err := os.ReadFile("/proc/thread-self/net/dev")
		if err != nil {
			return err
		}
		for line := range bytes.Lines(b) {
			name, rest, _ := strings.Cut(strings.TrimSpace(string(line)), ":")
			if name != dev {
				continue
			}
			var skip int64
			_, err := fmt.Sscan(rest, &c.RxBytes, &c.RxPackets, &skip, &skip, &skip, &skip, &skip, &skip,
				&c.TxBytes, &c.TxPackets)
			return err
		}
		return fmt.Errorf("%s has no interface %s", ns.name, dev)
	})
	return c, err
}

func (ns *namespace) close() error { return ns.file.Close() }

// Counters are what an interface has carried since it was made, link-layer headers included.
type Counters struct {
	RxBytes, RxPackets int64
	TxBytes, TxPackets int64
}
