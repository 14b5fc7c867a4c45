//go:build linux

package link

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tandem/session"
)

// BenchmarkLanes is bulk data from one peer to another over links that a process
// simulates, with pion's whole stack on either end, and a key's round trip on the
// trunk beside it. Run it with -benchtime=1x.
//
//	%-of-link    content, as a share of what the link can carry of IP packets
//	%-used       all packets, as that share
//	q50, q95     how long packets waited for the link, in ms
//	idle, keys   99th percentile of a key's round trip, in ms, alone and beside
//	sent-twice   bytes sent on the link beyond content and headers, in percent
//	s/GB         CPU of both ends and the link
func BenchmarkLanes(b *testing.B) {
	const ms = time.Millisecond
	for _, l := range []lossy{
		{rate: 100e6, delay: 25 * ms},
		{rate: 100e6, delay: 25 * ms, loss: 0.001},
		{rate: 100e6, delay: 25 * ms, loss: 0.01},
		{rate: 100e6, delay: 25 * ms, loss: 0.03},
		{rate: 10e6, delay: 10 * ms},
		{rate: 20e6, delay: 150 * ms, loss: 0.01},
		{rate: 50e6, delay: 25 * ms, jitter: 5 * ms},
		{rate: 50e6, delay: 25 * ms, jitter: 20 * ms, loss: 0.01},
		{rate: 5e6, delay: 20 * ms, loss: 0.01},
		{},
	} {
		b.Run(fmt.Sprintf("%.0fMbit-%v-%.1f%%-jitter-%v", l.rate/1e6, 2*l.delay, 100*l.loss, l.jitter), func(b *testing.B) {
			for b.Loop() {
				lanesOver(b, l)
			}
		})
	}
}

func lanesOver(b *testing.B, l lossy) {
	const idle, pause = time.Second, 20 * time.Millisecond
	warm, measured := 4*time.Second, 10*time.Second
	if v, err := time.ParseDuration(os.Getenv("TANDEM_BENCH_TIME")); err == nil {
		measured = v
	}
	l.start(b)
	bulk := make(chan session.Stream, 1)
	near, _ := meet(b, l.up.config(Config{}), l.down.config(Config{Handler: func(ctx context.Context, o session.Offer) {
		if o.Header().Service == "echo/1" {
			echo(ctx, o)
		} else if s, err := o.Accept(); err == nil {
			bulk <- s
			<-ctx.Done()
		}
	}}))
	keys, err := near.Open(b.Context(), session.Header{Service: "echo/1"})
	if err != nil {
		b.Fatal(err)
	}
	typing := func(d time.Duration) (trips []time.Duration) {
		for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(pause) {
			began := time.Now()
			if _, err := keys.Write([]byte{1}); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(keys, make([]byte, 1)); err != nil {
				b.Fatal(err)
			}
			trips = append(trips, time.Since(began))
		}
		slices.Sort(trips)
		return trips
	}
	alone := typing(idle)
	s, err := near.Open(b.Context(), session.Header{Service: "bulk/1", Bulk: os.Getenv("TANDEM_BENCH_TRUNK") == ""})
	if err != nil {
		b.Fatal(err)
	}
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		for buf := make([]byte, 256<<10); ; {
			if _, err := s.Write(buf); err != nil {
				return
			}
		}
	}()
	stop := make(chan struct{})
	told := make(chan struct{})
	go func() {
		defer close(told)
		if os.Getenv("TANDEM_BENCH_LOG") == "" {
			return
		}
		for {
			select {
			case <-stop:
				return
			case <-time.After(250 * time.Millisecond):
				near.lanes.mu.Lock()
				outstanding := []int{len(near.lanes.again), len(near.lanes.fresh)}
				for _, l := range near.lanes.live {
					outstanding = append(outstanding, l.flight.Bytes())
				}
				fmt.Fprintf(os.Stderr, "%v retained %d lanes %v\n", near.lanes.control, near.lanes.retained, outstanding)
				near.lanes.mu.Unlock()
			}
		}
	}()
	far := <-bulk
	counted, received := &counter{}, make(chan struct{})
	go func() { defer close(received); _, _ = io.Copy(counted, far) }()
	time.Sleep(warm)
	l.up.queued()
	began, before, cpu := time.Now(), counted.n.Load(), cpuTime()
	wire, lost, dropped := l.up.count()
	beside := typing(measured)
	took, content := time.Since(began).Seconds(), float64(counted.n.Load()-before)
	used, lostNow, droppedNow := l.up.count()
	cpu = cpuTime() - cpu
	waits := l.up.queued()
	s.Reset(nil)
	<-writing
	<-received
	close(stop)
	<-told
	inMS := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(content*8/took/1e6, "Mbit/s")
	if l.rate != 0 {
		b.ReportMetric(100*content*8/took/l.rate, "%-of-link")
		b.ReportMetric(100*float64(used-wire)*8/took/l.rate, "%-used")
	}
	b.ReportMetric(inMS(quantile(waits, 0.5)), "q50")
	b.ReportMetric(inMS(quantile(waits, 0.95)), "q95")
	b.ReportMetric(inMS(quantile(alone, 0.99)), "idle")
	b.ReportMetric(inMS(quantile(beside, 0.99)), "keys")
	b.ReportMetric(float64(lostNow-lost), "lost")
	b.ReportMetric(float64(droppedNow-dropped), "dropped")
	b.ReportMetric(cpu.Seconds()/content*1e9, "s/GB")
	b.ReportMetric(0, "ns/op")
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // never fails for oneself
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// counter counts what is written to it.
type counter struct{ n atomic.Int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}
