//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"tandem/session"
	"tandem/share/node"
	"tandem/share/terminal"
)

// TestSoakFrozenViewer has a program print without end for TANDEM_SOAK (a
// duration such as 10m) to two viewers, of which one is stopped (SIGSTOP) after
// a tenth of that. The other's keys must be echoed as before, and the host must
// hold no more.
func TestSoakFrozenViewer(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("TANDEM_SOAK"))
	if err != nil {
		t.Skip("a soak: set TANDEM_SOAK to a duration, such as 10m")
	}
	f := newFlooded(t)
	typist := newTypist(t, f.guest(t))
	frozen := f.viewer(t)
	typist.awaitViewers(2)
	// The kernel's own echo is lost where output is that dense; cat's is not.
	typist.send("stty raw -echo; yes & cat\n")

	typist.measure(t.Context(), length/20) // until everything has filled up
	before := typist.measure(t.Context(), length/10)
	early := rss(t, f.share)
	fmt.Printf("both watch:  echo %s, the host holds %.1f MiB\n", spread(before), mebibytes(early))
	if err := frozen.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var during []time.Duration
	most := early
	for range 10 {
		some := typist.measure(t.Context(), length/10)
		during = append(during, some...)
		now := rss(t, f.share)
		most = max(most, now)
		fmt.Printf("one stopped: echo %s, the host holds %.1f MiB, has printed %.1f GiB\n", spread(some), mebibytes(now), mebibytes(typist.offset())/1024)
	}
	fmt.Printf("in all:      echo %s, and %d in gaps\n", spread(during), typist.lost)
	if most > early+soakGrowth {
		t.Errorf("the host holds %.0f MiB instead of %.0f", mebibytes(most), mebibytes(early))
	}
	if was, is := percentile(before, 99), percentile(during, 99); is > 4*was+250*time.Millisecond {
		t.Errorf("echo p99 %v instead of %v", is, was)
	}
	if err := frozen.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	typist.awaitViewers(2) // it is still there
}

func percentile(d []time.Duration, p int) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[len(d)*p/100]
}

func spread(d []time.Duration) string {
	return fmt.Sprintf("p50 %v p99 %v of %d", percentile(d, 50).Round(100*time.Microsecond), percentile(d, 99).Round(100*time.Microsecond), len(d))
}

// viewer is a program that watches the terminal; what it shows goes nowhere.
func (f *flooded) viewer(t *testing.T) *exec.Cmd {
	t.Helper()
	home := filepath.Join(t.TempDir(), "home")
	cmd := exec.Command("tandem", "join", f.code, "--server", f.url)
	cmd.Env = append(os.Environ(), "TANDEM_HOME="+home, "HOME="+home)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = nowhere, os.Stderr
	if _, err = cmd.StdinPipe(); err == nil { // it stays open
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = nowhere.Close()
	})
	return cmd
}

// typist is a viewer that types and waits for the echo.
type typist struct {
	t      *testing.T
	client *terminal.Client

	mu      sync.Mutex
	changed *sync.Cond
	waiting byte // for this letter; seen is when it came
	seen    time.Time
	lost    int // echoes that fell into gaps of the output
	viewers int
	end     uint64
	err     error
}

func newTypist(t *testing.T, peer node.Bound) *typist {
	t.Helper()
	h, err := terminal.Request{Params: terminal.Params{Size: terminal.Size{Cols: 80, Rows: 24}}}.Header()
	if err != nil {
		t.Fatal(err)
	}
	var st session.Stream
	if st, err = peer.Open(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	y := &typist{t: t, client: terminal.NewClient(st)}
	y.changed = sync.NewCond(&y.mu)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for y.next() == nil {
		}
	}()
	t.Cleanup(func() { _ = y.client.Close(); <-done })
	return y
}

func (y *typist) next() error {
	event, err := y.client.Next()
	y.mu.Lock()
	defer y.mu.Unlock()
	defer y.changed.Broadcast()
	switch e := event.(type) {
	case terminal.Output:
		y.end = e.Offset
		if y.waiting != 0 && bytes.IndexByte(e.Data, y.waiting) >= 0 {
			y.waiting, y.seen = 0, time.Now()
		}
	case terminal.Gap: // what this viewer waits for may be in it
		if y.waiting != 0 {
			y.waiting, y.seen = 0, time.Time{}
			y.lost++
		}
	case terminal.Roster:
		y.viewers = len(e.Viewers)
	}
	if y.err = err; err == nil {
		err = y.client.Ack(y.client.Offset())
	}
	return err
}

func (y *typist) send(text string) {
	y.t.Helper()
	if err := y.client.Input([]byte(text)); err != nil {
		y.t.Fatal(err)
	}
}

func (y *typist) offset() int64 {
	y.mu.Lock()
	defer y.mu.Unlock()
	return int64(y.end)
}

func (y *typist) awaitViewers(n int) {
	y.t.Helper()
	y.mu.Lock()
	defer y.mu.Unlock()
	for y.viewers < n && y.err == nil {
		y.changed.Wait()
	}
	if y.err != nil {
		y.t.Fatal(y.err)
	}
}

// measure types a letter now and then and returns how long each echo took.
func (y *typist) measure(ctx context.Context, length time.Duration) []time.Duration {
	y.t.Helper()
	var took []time.Duration
	for start, n := time.Now(), 0; time.Since(start) < length; n++ {
		letter := 'A' + byte(n%24)
		y.mu.Lock()
		y.waiting = letter
		y.mu.Unlock()
		sent := time.Now()
		y.send(string(letter))
		y.mu.Lock()
		for y.waiting != 0 && y.err == nil {
			y.changed.Wait()
		}
		if !y.seen.IsZero() {
			took = append(took, y.seen.Sub(sent))
		}
		err := y.err
		y.mu.Unlock()
		if err != nil {
			y.t.Fatal(err)
		}
		if !pause(ctx, 100*time.Millisecond) {
			break
		}
	}
	return took
}
