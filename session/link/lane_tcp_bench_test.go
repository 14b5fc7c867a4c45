package link

import (
	"io"
	"testing"

	"tandem/session"
)

// BenchmarkTCPLane is one bulk stream over a TCP lane, both ends in this process.
func BenchmarkTCPLane(b *testing.B) {
	streams := make(chan session.Stream, 1)
	near, _ := meet(b, overTCP(Config{}), overTCP(Config{Handler: accepted(streams)}))
	s, err := near.Open(b.Context(), session.Header{Service: "bench/1", Bulk: true})
	if err != nil {
		b.Fatal(err)
	}
	far, done := <-streams, make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, far) // ends with the stream
	}()
	buf := make([]byte, 64<<10)
	for near.liveTCP() == nil {
		if _, err := s.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		if _, err := s.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
	_ = s.CloseWrite()
	<-done
}
