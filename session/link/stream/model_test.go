package stream_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"tandem/session"
	"tandem/session/link/stream"
	"tandem/session/sessiontest"
)

// tap watches what passes a channel and counts DATA against the peer's limit.
type tap struct {
	stream.Channel
	ledger *ledger
	side   int
}

type ledger struct {
	mu    sync.Mutex
	sent  [2]uint64
	limit [2]uint64
	over  bool
}

func (c *tap) WriteMessage(b []byte) error {
	l := c.ledger
	l.mu.Lock()
	switch b[0] {
	case 2:
		l.sent[c.side] += uint64(len(b) - 1)
		l.over = l.over || l.sent[c.side] > l.limit[c.side]
	case 3:
		l.limit[1-c.side] = binary.BigEndian.Uint64(b[1:])
	}
	l.mu.Unlock()
	return c.Channel.WriteMessage(b)
}

// octet is the byte at an offset of a direction.
func octet(side, offset int) byte { return byte(offset*7 + offset>>8 + offset>>16 + side*101) }

// end is what the model knows of one end of a stream.
type end struct {
	stream  *stream.Stream
	sent    int  // bytes Write took
	read    int  // bytes Read gave
	eof     bool // CloseWrite or Close
	closed  bool
	fatal   bool         // nothing works any more
	stopped bool         // the peer closed before our end
	kind    session.Kind // of the error, where fatal
}

// TestModel drives both ends at random against a model: no byte is lost,
// repeated or reordered, writers wait only where credit is used up, readers
// only where nothing was written, and every end is seen at the other.
func TestModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A bubble has no Deadline to ask for.
		rapid.Check(struct{ testing.TB }{t}, func(rt *rapid.T) {
			l := &ledger{limit: [2]uint64{stream.InitialWindow, stream.InitialWindow}}
			a, b := sessiontest.Channels(time.Duration(rapid.IntRange(0, 1).Draw(rt, "delay")) * time.Millisecond)
			s0, s1, err := connect(&tap{a, l, 0}, &tap{b, l, 1})
			if err != nil {
				rt.Fatal(err)
			}
			ends := [2]*end{{stream: s0}, {stream: s1}}
			settle := func() { time.Sleep(10 * time.Millisecond); synctest.Wait() }
			pick := func(rt *rapid.T) (int, *end, *end) {
				i := rapid.IntRange(0, 1).Draw(rt, "side")
				return i, ends[i], ends[1-i]
			}
			defer func() {
				for _, e := range ends {
					e.stream.Close()
				}
				<-s0.Done()
				<-s1.Done()
			}()
			rt.Repeat(map[string]func(*rapid.T){
				"write": func(rt *rapid.T) { i, e, _ := pick(rt); e.write(rt, i, ends[1-i]); settle() },
				"read":  func(rt *rapid.T) { i, e, p := pick(rt); e.readSome(rt, 1-i, p); settle() },
				"closeWrite": func(rt *rapid.T) {
					_, e, _ := pick(rt)
					if rapid.IntRange(0, 3).Draw(rt, "really") == 0 {
						e.stream.CloseWrite()
						e.eof = true
						settle()
					}
				},
				"close": func(rt *rapid.T) {
					_, e, p := pick(rt)
					if rapid.IntRange(0, 7).Draw(rt, "really") == 0 {
						p.stopped = p.stopped || !e.closed && !e.fatal && !p.eof
						e.stream.Close()
						e.closed, e.eof = true, true
						settle()
					}
				},
				"reset": func(rt *rapid.T) {
					_, e, p := pick(rt)
					if rapid.IntRange(0, 15).Draw(rt, "really") != 0 || e.fatal {
						return
					}
					over := e.eof && (p.eof || p.stopped) || p.eof && e.stopped
					e.stream.Reset(session.Errorf("test", session.Revoked, "enough"))
					e.fatal, e.kind = true, session.Revoked
					if !over && !p.fatal {
						p.fatal, p.kind = true, session.Revoked
					}
					settle()
				},
				"": func(rt *rapid.T) {
					l.mu.Lock()
					defer l.mu.Unlock()
					if l.over {
						rt.Fatal("more was sent than the peer allowed")
					}
				},
			})
		})
	})
}

func (e *end) write(rt *rapid.T, side int, peer *end) {
	n := rapid.OneOf(rapid.IntRange(0, 50), rapid.IntRange(0, 600<<10)).Draw(rt, "n")
	p := make([]byte, n)
	for i := range p {
		p[i] = octet(side, e.sent+i)
	}
	e.stream.SetWriteDeadline(time.Now().Add(time.Second))
	done, err := e.stream.Write(p)
	e.sent += done
	switch {
	case e.closed, e.fatal, e.stopped, e.eof:
		if err == nil || done != 0 {
			rt.Fatalf("Write = %d, %v on an ended stream", done, err)
		}
		if !e.closed && e.fatal && session.KindOf(err) != e.kind {
			rt.Fatalf("Write failed with %v, want %v", err, e.kind)
		}
	case err == nil:
		if done != n {
			rt.Fatalf("Write = %d of %d without an error", done, n)
		}
	case !errors.Is(err, os.ErrDeadlineExceeded):
		rt.Fatalf("Write = %v", err)
	case e.sent-peer.read < stream.InitialWindow/2:
		rt.Fatalf("writer stuck with %d bytes unread", e.sent-peer.read)
	}
}

func (e *end) readSome(rt *rapid.T, side int, peer *end) {
	p := make([]byte, rapid.OneOf(rapid.IntRange(1, 50), rapid.IntRange(1, 600<<10)).Draw(rt, "n"))
	e.stream.SetReadDeadline(time.Now().Add(time.Second))
	n, err := e.stream.Read(p)
	for i, c := range p[:n] {
		if c != octet(side, e.read+i) {
			rt.Fatalf("byte %d is wrong", e.read+i)
		}
	}
	e.read += n
	unread := peer.sent - e.read + n
	switch {
	case e.closed:
		if !errors.Is(err, net.ErrClosed) {
			rt.Fatalf("Read = %v after Close", err)
		}
	case e.fatal:
		if session.KindOf(err) != e.kind {
			rt.Fatalf("Read = %v, want %v", err, e.kind)
		}
	case unread > 0:
		if err != nil || n == 0 {
			rt.Fatalf("Read = %d, %v with %d bytes unread", n, err, unread)
		}
	case peer.eof:
		if err != io.EOF {
			rt.Fatalf("Read = %v at the end", err)
		}
	case !errors.Is(err, os.ErrDeadlineExceeded):
		rt.Fatalf("Read = %d, %v with nothing to read", n, err)
	}
}
