package stream_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/net/nettest"

	"tandem/session"
	"tandem/session/link/stream"
	"tandem/session/sessiontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connect makes the two ends of a stream over the two ends of a channel.
func connect(a, b stream.Channel) (c1, c2 *stream.Stream, err error) {
	if c1, err = stream.Open(a, session.Header{Service: "test/1"}, stream.Options{}); err != nil {
		return nil, nil, err
	}
	o, err := stream.Receive(context.Background(), b, stream.Options{})
	if err != nil {
		return nil, nil, err
	}
	if _, err := o.Accept(); err != nil {
		return nil, nil, err
	}
	return c1, o.Stream(), nil
}

// channels are the kinds of channel below a stream.
func channels(t testing.TB) map[string]func() (a, b stream.Channel, err error) {
	return map[string]func() (a, b stream.Channel, err error){
		"memory": func() (a, b stream.Channel, err error) {
			a, b = sessiontest.Channels(0)
			return a, b, nil
		},
		"pipe": func() (a, b stream.Channel, err error) {
			c1, c2 := net.Pipe()
			return stream.FrameConn(c1), stream.FrameConn(c2), nil
		},
		"unix": func() (a, b stream.Channel, err error) {
			l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
			if err != nil {
				return nil, nil, err
			}
			defer l.Close()
			c1, err := net.Dial("unix", l.Addr().String())
			if err != nil {
				return nil, nil, err
			}
			c2, err := l.Accept()
			if err != nil {
				return nil, nil, err
			}
			return stream.FrameConn(c1), stream.FrameConn(c2), nil
		},
	}
}

func TestConn(t *testing.T) {
	for name, channel := range channels(t) {
		t.Run(name, func(t *testing.T) {
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				a, b, err := channel()
				if err != nil {
					return nil, nil, nil, err
				}
				s1, s2, err := connect(a, b)
				if err != nil {
					return nil, nil, nil, err
				}
				return s1, s2, func() {
					s1.Close()
					s2.Close()
					<-s1.Done()
					<-s2.Done()
				}, nil
			})
		})
	}
}

// TestConcurrentWritesDoNotMix writes blocks larger than any buffer from
// several goroutines; each block arrives in one piece.
func TestConcurrentWritesDoNotMix(t *testing.T) {
	a, b := sessiontest.Channels(0)
	s1, s2, err := connect(a, b)
	if err != nil {
		t.Fatal(err)
	}
	const block, writers, each = 100_000, 4, 5
	var work sync.WaitGroup
	for w := range writers {
		work.Go(func() {
			for range each {
				if _, err := s1.Write(bytes.Repeat([]byte{byte(w)}, block)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	p := make([]byte, block)
	for range writers * each {
		if _, err := io.ReadFull(s2, p); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p, bytes.Repeat(p[:1], block)) {
			t.Fatal("two writes are mixed")
		}
	}
	work.Wait()
	s1.Close()
	s2.Close()
	<-s1.Done()
	<-s2.Done()
}
