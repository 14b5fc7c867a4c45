//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// TestBenchTUI measures the terminal UI of the real binary: from its start to the
// first frame, and what it costs while nothing happens.
func TestBenchTUI(t *testing.T) {
	if os.Getenv("TANDEM_BENCH") == "" {
		t.Skip("a benchmark: set TANDEM_BENCH=1")
	}
	const idle = 10 * time.Second
	home := t.TempDir()
	if err := os.Chmod(home, 0o700); err != nil {
		t.Fatal(err)
	}
	var starts []time.Duration
	for i := range 7 {
		cmd, master, first := startTUI(t, home)
		starts = append(starts, first)
		if i == 0 {
			time.Sleep(3 * time.Second)
			before := spent(t, cmd.Process.Pid)
			time.Sleep(idle)
			used := spent(t, cmd.Process.Pid) - before
			t.Logf("idle: %.2f %% of one processor over %v, %s resident", 100*used.Seconds()/idle.Seconds(), idle, resident(t, cmd.Process.Pid))
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was interrupted
		if err := master.Close(); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(starts[1:]) // the first makes the device
	t.Logf("start to first frame: %v with a new device, then p50 %v, most %v", starts[0].Round(time.Millisecond),
		starts[1+len(starts[1:])/2].Round(time.Millisecond), starts[len(starts)-1].Round(time.Millisecond))
}

// startTUI runs tandem in a terminal, and returns how long the first frame took.
func startTUI(t *testing.T, home string) (*exec.Cmd, *os.File, time.Duration) {
	t.Helper()
	cmd := exec.Command("tandem")
	cmd.Env = append(os.Environ(), "TANDEM_HOME="+home, "HOME="+home, "TERM=xterm-256color", "LANG=C.UTF-8", "TANDEM_SERVERS=")
	begun := time.Now()
	master, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: 100, Rows: 30})
	if err != nil {
		t.Fatal(err)
	}
	drawn := make(chan time.Duration, 1)
	go func() { // until the terminal is closed
		var seen bytes.Buffer
		var once sync.Once
		buffer := make([]byte, 32<<10)
		for {
			n, err := master.Read(buffer)
			seen.Write(buffer[:n])
			if bytes.Contains(seen.Bytes(), []byte("Home")) {
				once.Do(func() { drawn <- time.Since(begun) })
			}
			if err != nil {
				return
			}
		}
	}()
	select {
	case took := <-drawn:
		return cmd, master, took
	case <-time.After(30 * time.Second):
		t.Fatal("nothing is drawn")
	}
	return nil, nil, 0
}

// resident is the memory of a process.
func resident(t *testing.T, pid int) string {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	raw, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), "VmRSS:")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}
