//go:build linux

package link

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"

	"tandem/internal/natlab"
	"tandem/session"
)

// labNet is the network of a host in the lab.
type labNet struct {
	transport.Net
	host *natlab.Host
}

func (n labNet) ListenUDP(network string, local *net.UDPAddr) (conn transport.UDPConn, err error) {
	err = n.host.Run(context.Background(), func() error {
		conn, err = n.Net.ListenUDP(network, local)
		return err
	})
	return conn, err
}

// at makes links as host does.
func at(host *natlab.Host, c Config) Config {
	c.network = &network{Net: labNet{&stdnet.Net{}, host}, interfaces: func() (all []*transport.Interface, err error) {
		err = host.Run(context.Background(), func() error {
			fresh, err := stdnet.NewNet()
			if err == nil {
				all, err = fresh.Interfaces()
			}
			return err
		})
		return all, err
	}}
	return c
}

// quantile of sorted durations.
func quantile(d []time.Duration, q float64) time.Duration { return d[int(q*float64(len(d)-1))] }

// BenchmarkLabTrunk is a keystroke's round trip on an idle trunk and beside a
// bulk transfer, and what the transfer gets of the link.
func BenchmarkLabTrunk(b *testing.B) {
	for _, c := range []struct {
		name string
		link natlab.Link
	}{
		{"5Mbit-20ms", natlab.Link{Delay: 10 * time.Millisecond, Rate: 5e6}},
		{"20Mbit-20ms", natlab.Link{Delay: 10 * time.Millisecond, Rate: 20e6}},
		{"20Mbit-20ms-1%", natlab.Link{Delay: 10 * time.Millisecond, Rate: 20e6, Loss: 0.01}},
		{"100Mbit-50ms", natlab.Link{Delay: 25 * time.Millisecond, Rate: 100e6}},
		{"20Mbit-300ms", natlab.Link{Delay: 150 * time.Millisecond, Rate: 20e6}},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				trunkBesideBulk(b, c.link, false)
			}
		})
	}
}

func trunkBesideBulk(b *testing.B, link natlab.Link, bulky bool) {
	const idle, warm, bulkTime, pause = 2 * time.Second, 5 * time.Second, 25 * time.Second, 50 * time.Millisecond
	lab := natlab.New(b)
	wan := lab.WAN(link)
	bulk := make(chan session.Stream, 1)
	near, _ := meet(b, at(wan.Host("near"), Config{}), at(wan.Host("far"), Config{Handler: func(ctx context.Context, o session.Offer) {
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
	s, err := near.Open(b.Context(), session.Header{Service: "bulk/1", Bulk: bulky})
	if err != nil {
		b.Fatal(err)
	}
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		for buf := make([]byte, 64<<10); ; {
			if _, err := s.Write(buf); err != nil {
				return
			}
		}
	}()
	far := <-bulk
	received := make(chan int64, 1)
	var before int64
	counted := &counter{}
	go func() { _, _ = io.Copy(counted, far); received <- counted.n.Load() }()
	typing(warm)
	before = counted.n.Load()
	beside := typing(bulkTime)
	rate := float64(counted.n.Load()-before) * 8 / bulkTime.Seconds()
	s.Reset(nil)
	<-writing
	<-received
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(quantile(alone, 0.99)), "idle-p99-ms")
	b.ReportMetric(ms(quantile(beside, 0.5)), "bulk-p50-ms")
	b.ReportMetric(ms(quantile(beside, 0.99)), "bulk-p99-ms")
	b.ReportMetric(100*rate/float64(link.Rate), "%-of-link")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkLabLanes is the same with bulk data on lanes.
func BenchmarkLabLanes(b *testing.B) {
	for _, rate := range []int64{10e6, 20e6, 100e6} {
		for _, trip := range []time.Duration{20 * time.Millisecond, 50 * time.Millisecond, 300 * time.Millisecond} {
			for _, loss := range []float64{0, 0.001, 0.01, 0.03} {
				b.Run(fmt.Sprintf("%dMbit-%v-%v", rate/1e6, trip, loss), func(b *testing.B) {
					for b.Loop() {
						trunkBesideBulk(b, natlab.Link{Delay: trip / 2, Rate: rate, Loss: loss}, true)
					}
				})
			}
		}
	}
}
