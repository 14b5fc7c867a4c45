package lan

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// On a machine, made here, that has nothing but a loopback interface two
// processes meet as well.
func TestLoopbackOnly(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LAN_TEST_ROLE=loopback")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if _, ran := err.(*exec.ExitError); err != nil && !ran {
		t.Skip("this system makes no network namespaces: ", err)
	}
	if text := string(out); strings.HasPrefix(text, "skip") {
		t.Skip(text)
	} else if err != nil || !slices.Contains(strings.Fields(text), "http://127.0.0.1:4711") {
		t.Fatalf("%v: %s", err, text)
	}
}

func onLoopbackOnly() {
	fail := func(word string, err error) {
		os.Stdout.WriteString(word + ": " + err.Error() + "\n")
		os.Exit(1)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		fail("skip", err)
	}
	req, err := unix.NewIfreq("lo")
	if err != nil {
		fail("skip", err)
	}
	req.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, req); err != nil {
		fail("skip", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := Advertise(ctx, "123456", 4711)
	if err != nil {
		fail("advertise", err)
	}
	urls, err := Find(ctx, "123456")
	if err != nil {
		fail("find", err)
	}
	_ = c.Close()
	os.Stdout.WriteString(strings.Join(urls, " ") + "\n")
	os.Exit(0)
}
