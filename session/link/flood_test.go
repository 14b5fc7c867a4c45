package link

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/pion/datachannel"

	"tandem/session"
)

// A peer that keeps to no rate and opens 10,000 streams at once is let open few
// enough, and pays for it itself: another peer's streams are served meanwhile.
func TestFloodOfOpens(t *testing.T) {
	most := 0
	hostile, host := meet(t, Config{}, Config{Handler: func(_ context.Context, o session.Offer) {
		o.Reject(session.Unsupported, "nothing is here")
	}})
	honest, _ := meet(t, Config{}, Config{Handler: echo})
	host.mu.Lock()
	host.incoming = MaxStreams // as if that many were open already
	host.mu.Unlock()
	var flooding sync.WaitGroup
	flooding.Go(func() {
		header := append([]byte{1}, `{"service":"nothing/1"}`...)
		for n := range uint16(10000) {
			dc, err := datachannel.Dial(hostile.trunk.sctp, 2*n+1001, channelConfig(false, hostile.trunk.log))
			if err != nil {
				return // it has been thrown out
			}
			if _, err := dc.Write(header); err != nil {
				return
			}
		}
	})
	// Until no more are let in, and a while longer.
	begun := time.Now()
	for full := 0; full < 100; {
		if time.Since(begun) > time.Minute {
			t.Fatalf("only %d streams are open", most)
		}
		s, err := honest.Open(t.Context(), session.Header{Service: "echo/1"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(s, make([]byte, 1)); err != nil {
			t.Fatal("an honest peer's stream:", err)
		}
		_ = s.Close()
		host.mu.Lock()
		most = max(most, host.incoming)
		host.mu.Unlock()
		if most >= MaxStreams+MaxStreams/10 {
			full++
		}
	}
	if most > MaxStreams+MaxStreams/10 {
		t.Errorf("%d streams were open at once", most)
	}
	_ = hostile.Close()
	flooding.Wait()
}
