package link

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"tandem/session"
)

// BenchmarkMeet is one full set-up on this machine: ICE, DTLS, SCTP, S1 to S3.
func BenchmarkMeet(b *testing.B) {
	dial, accept := Config{Identity: newDevice(b)}, Config{Identity: newDevice(b)}
	for b.Loop() {
		sigA, sigB := pipe(nil)
		var wg sync.WaitGroup
		var far *Link
		wg.Go(func() { far, _ = Accept(context.Background(), accept, anyone, sigB) })
		near, err := Dial(context.Background(), dial, accept.Identity.ID(), sigA)
		wg.Wait()
		if err != nil || far == nil {
			b.Fatal(err)
		}
		b.StopTimer()
		_, _ = near.Close(), far.Close()
		b.StartTimer()
	}
}

// BenchmarkThroughput is one stream over loopback.
func BenchmarkThroughput(b *testing.B) {
	const chunk = 64 << 10
	streams := make(chan session.Stream, 1)
	near, _ := meet(b, Config{}, Config{Handler: accepted(streams)})
	s, err := near.Open(b.Context(), session.Header{Service: "bench/1"})
	if err != nil {
		b.Fatal(err)
	}
	far := <-streams
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, far)
	}()
	buf := make([]byte, chunk)
	b.SetBytes(chunk)
	for b.Loop() {
		if _, err := s.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
	_ = s.CloseWrite()
	<-done
}

// BenchmarkPing is one round trip of a byte on a stream, alone and while
// another stream carries bulk data.
func BenchmarkPing(b *testing.B) {
	for _, name := range []string{"idle", "bulk"} {
		b.Run(name, func(b *testing.B) {
			near, _ := meet(b, Config{}, Config{Handler: func(ctx context.Context, o session.Offer) {
				if o.Header().Service == "echo/1" {
					echo(ctx, o)
				} else if s, err := o.Accept(); err == nil {
					_, _ = io.Copy(io.Discard, s)
				}
			}})
			if name == "bulk" {
				bulk, err := near.Open(b.Context(), session.Header{Service: "bulk/1"})
				if err != nil {
					b.Fatal(err)
				}
				done := make(chan struct{})
				go func() {
					defer close(done)
					buf := make([]byte, 64<<10)
					for {
						if _, err := bulk.Write(buf); err != nil {
							return
						}
					}
				}()
				defer func() { _ = bulk.Reset(nil); <-done }()
			}
			s, err := near.Open(b.Context(), session.Header{Service: "echo/1"})
			if err != nil {
				b.Fatal(err)
			}
			var worst time.Duration
			buf := []byte{0}
			for b.Loop() {
				began := time.Now()
				if _, err := s.Write(buf); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(s, buf); err != nil {
					b.Fatal(err)
				}
				worst = max(worst, time.Since(began))
			}
			b.ReportMetric(float64(worst.Microseconds()), "µs-worst")
		})
	}
}
