//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tandem/internal/natlab"
)

// probePause is the time between the packets that measure the queue.
const probePause = 20 * time.Millisecond

// measure fetches something once.
func (b *transfers) measure(t *testing.T, x fetcher, what string, link natlab.Link) transferred {
	t.Helper()
	if x.congestion != "" {
		if err := b.congestion(t, x.congestion); err != nil {
			t.Fatal(err)
		}
	}
	b.setLink(link)
	m := transferred{link: link, what: what, program: x.name, size: contentOf(filepath.Join(b.dir, what))}
	m.idle = b.probe(t, func() { time.Sleep(time.Second) }).median()
	end := func() (time.Duration, int64) { return spent(t, x.serving), 0 }
	var before time.Duration
	if x.serve != nil {
		end = x.serve(t, what)
	} else {
		before, _ = end()
	}
	dest := t.TempDir()
	cmd := x.command(what, dest)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	var took time.Duration
	m.trips = b.probe(t, func() {
		forgetPeak(x.serving)
		began := time.Now()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended, looked := make(chan struct{}), make(chan struct{})
		defer func() { close(ended); <-looked }()
		go func() { // what wait4(2) tells begins with the memory of whoever has forked
			defer close(looked)
			for {
				m.memory = max(m.memory, peak(cmd.Process.Pid), peak(x.serving))
				select {
				case <-ended:
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		}()
		late := time.AfterFunc(b.patience(m.size, link), func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
		err := cmd.Wait()
		took = time.Since(began)
		if late.Stop() && err != nil {
			complain := t.Errorf
			if x.fails {
				complain = t.Logf // of many files, croc often loses its relay
			}
			complain("%s: %v\n%s", x.name, err, lastLines(strings.ReplaceAll(problems.String(), "\r", "\n"), 5))
		}
	})
	cpu, memory := end()
	m.got, m.memory = contentOf(dest), max(m.memory, memory)
	m.rate = float64(m.got) * 8 / took.Seconds()
	m.cpu = cpu + cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime() - before
	return m
}

// contentOf is how many bytes the files at a path and below it have.
func contentOf(path string) (bytes int64) {
	_ = filepath.WalkDir(path, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var stat syscall.Stat_t
			if syscall.Stat(path, &stat) == nil {
				bytes += min(stat.Size, stat.Blocks*512) // croc makes a file long before it has its content
			}
		}
		return nil
	})
	return bytes
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

// forgetPeak has a process begin anew with the most memory that it has had.
func forgetPeak(pid int) {
	if pid != 0 {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0) // as proc(5) says; or it tells too much
	}
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
