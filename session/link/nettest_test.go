package link

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"tandem/session"
)

// accepted is a Handler that passes accepted streams to whoever asked.
func accepted(ch chan<- session.Stream) session.Handler {
	return func(_ context.Context, o session.Offer) {
		if s, err := o.Accept(); err == nil {
			ch <- s
		}
	}
}

func TestConn(t *testing.T) {
	streams := make(chan session.Stream, 1)
	a, _ := meet(t, Config{}, Config{Handler: accepted(streams)})
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		c1, err = a.Open(context.Background(), session.Header{Service: "test/1"})
		if err != nil {
			return nil, nil, nil, err
		}
		c2 = <-streams
		return c1, c2, func() { _ = c1.Close(); _ = c2.Close() }, nil
	})
}

func TestBurst(t *testing.T) {
	const n = 1000
	a, _ := meet(t, Config{}, Config{Handler: echo})
	began := time.Now()
	var wg sync.WaitGroup
	errs := make(chan error, n)
	for i := range n {
		s, err := a.Open(t.Context(), session.Header{Service: "echo/1"})
		if err != nil {
			t.Fatal(i, err)
		}
		wg.Go(func() {
			defer func() { _ = s.Close() }()
			want := fmt.Sprint("stream ", i)
			_, err := io.WriteString(s, want)
			if err == nil {
				err = s.CloseWrite()
			}
			got, readErr := io.ReadAll(s)
			if err != nil || readErr != nil || string(got) != want {
				errs <- fmt.Errorf("stream %d: %q %v %v", i, got, err, readErr)
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	t.Logf("%d streams in %v", n, time.Since(began))
}
