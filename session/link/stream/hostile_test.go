package stream_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tandem/session"
	"tandem/session/link/stream"
	"tandem/session/sessiontest"
)

const header = "\x01" + `{"service":"test/1"}`

func data(n int) []byte { return append([]byte{2}, make([]byte, n)...) }

func window(limit uint64) []byte { return binary.BigEndian.AppendUint64([]byte{3}, limit) }

// talk plays the peer that opens a stream: it sends msgs and returns the reset
// that answers them, or "" if the channel ends without one.
func talk(ch stream.Channel, msgs ...[]byte) string {
	go func() {
		for _, m := range msgs {
			if ch.WriteMessage(m) != nil {
				return
			}
		}
	}()
	buf := make([]byte, stream.MaxMessage)
	for {
		n, err := ch.ReadMessage(buf)
		if err != nil {
			return ""
		}
		if n > 0 && buf[0] == 7 {
			return string(buf[2 : 2+buf[1]])
		}
	}
}

func TestViolationsResetTheStream(t *testing.T) {
	flood := [][]byte{[]byte(header)}
	for sent := 0; sent <= stream.InitialWindow; sent += stream.MaxPayload {
		flood = append(flood, data(stream.MaxPayload))
	}
	for name, msgs := range map[string][][]byte{
		"beyond the credit":    flood,
		"header twice":         {[]byte(header), []byte(header)},
		"data after EOF":       {[]byte(header), {5}, data(1)},
		"EOF twice":            {[]byte(header), {5}, {5}},
		"blocked after EOF":    {[]byte(header), {5}, {4}},
		"stop twice":           {[]byte(header), {6}, {6}},
		"window falls":         {[]byte(header), window(stream.InitialWindow + 5), window(stream.InitialWindow + 4)},
		"window below start":   {[]byte(header), window(1)},
		"window overflow":      {[]byte(header), window(1<<63 + 1)},
		"unknown frame":        {[]byte(header), {99}},
		"empty message":        {[]byte(header), {}},
		"oversized data":       {[]byte(header), data(stream.MaxPayload + 1)},
		"no header":            {data(1)},
		"header is not JSON":   {[]byte("\x01{")},
		"header is not object": {[]byte("\x01[]")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				theirs, ours := sessiontest.Channels(0)
				answer := make(chan string, 1)
				go func() { answer <- talk(theirs, msgs...) }()
				o, err := stream.Receive(t.Context(), ours, stream.Options{})
				if err == nil {
					synctest.Wait()
					if _, err = o.Accept(); err == nil {
						_, err = o.Stream().Write(make([]byte, 1<<20))
					}
					<-o.Stream().Done()
				}
				if session.KindOf(err) != session.Invalid {
					t.Errorf("our side: %v", err)
				}
				if kind := <-answer; kind != string(session.Invalid) {
					t.Errorf("the peer was told %q", kind)
				}
				theirs.Close()
			})
		})
	}
}

func TestHugeHeaderIsRefused(t *testing.T) {
	theirs, ours := sessiontest.Channels(0)
	go talk(theirs, append([]byte{1}, bytes.Repeat([]byte(" "), stream.MaxMessage)...))
	if _, err := stream.Receive(t.Context(), ours, stream.Options{}); !errors.Is(err, io.ErrShortBuffer) {
		t.Errorf("Receive = %v", err)
	}
}

func TestFrameConnRefusesLongMessages(t *testing.T) {
	c1, c2 := net.Pipe()
	defer c1.Close()
	go c1.Write([]byte{0xff, 0xff, 0xff, 0xff, 1})
	ch := stream.FrameConn(c2)
	defer ch.Close()
	if _, err := ch.ReadMessage(make([]byte, stream.MaxMessage)); !errors.Is(err, io.ErrShortBuffer) {
		t.Errorf("ReadMessage = %v", err)
	}
	if err := ch.WriteMessage(make([]byte, stream.MaxMessage+1)); err == nil {
		t.Error("WriteMessage took a message over the limit")
	}
}

func TestFrameConnGolden(t *testing.T) {
	c1, c2 := net.Pipe()
	ch := stream.FrameConn(c1)
	go func() { ch.WriteMessage([]byte("\x02hi")); ch.Close() }()
	if got, err := io.ReadAll(c2); err != nil || string(got) != "\x00\x00\x00\x03\x02hi" {
		t.Errorf("wrote %q, %v", got, err)
	}
	c1, c2 = net.Pipe()
	go func() { c1.Write([]byte("\x00\x00\x00\x05ab")); c1.Close() }()
	if _, err := stream.FrameConn(c2).ReadMessage(make([]byte, 10)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut message: %v", err)
	}
}

func TestFramesAfterOurCloseAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		theirs, ours := sessiontest.Channels(0)
		answer := make(chan string, 1)
		var flood [][]byte
		for range 100 {
			flood = append(flood, data(stream.MaxPayload))
		}
		go func() { answer <- talk(theirs, append([][]byte{[]byte(header)}, flood...)...) }()
		o, err := stream.Receive(t.Context(), ours, stream.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := o.Stream().Close(); err != nil {
			t.Fatal(err)
		}
		if kind := <-answer; kind != string(session.Invalid) {
			t.Errorf("the flood was answered with %q", kind)
		}
		<-o.Stream().Done()
		theirs.Close()
	})
}

func TestPeerThatNeverFinishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		theirs, ours := sessiontest.Channels(0)
		go talk(theirs, []byte(header))
		o, err := stream.Receive(t.Context(), ours, stream.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := o.Stream().Close(); err != nil {
			t.Fatal(err)
		}
		<-o.Stream().Done() // not a deadlock: the stream gives up
	})
}

// parting is a Channel that can't be written to any more, and from which the
// peer's last frame is still to be read.
type parting struct {
	last   chan []byte
	closed chan struct{}
}

func (c parting) ReadMessage(buf []byte) (int, error) {
	select {
	case b, ok := <-c.last:
		if !ok {
			return 0, io.EOF
		}
		return copy(buf, b), nil
	case <-c.closed:
		return 0, io.ErrClosedPipe
	}
}
func (c parting) WriteMessage([]byte) error { return io.ErrClosedPipe }
func (c parting) Close() error {
	select {
	case <-c.closed:
	default:
		close(c.closed)
	}
	return nil
}

// Whoever writes learns the peer's reason, though the channel ends first.
func TestReasonBehindTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch := parting{last: make(chan []byte, 1), closed: make(chan struct{})}
		s, err := stream.Open(ch, session.Header{Service: "test/1"}, stream.Options{})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(time.Second)
			reset := append([]byte{7, byte(len("revoked"))}, "revoked"...)
			ch.last <- append(reset, "permission was withdrawn"...)
			close(ch.last)
		}()
		for err == nil {
			_, err = s.Write(make([]byte, 1000))
		}
		if session.KindOf(err) != session.Revoked {
			t.Errorf("Write = %v", err)
		}
		<-s.Done()
	})
}

// stuck is a channel whose path is dead: writes block until Close.
type stuck struct{ closed chan struct{} }

func (c stuck) ReadMessage([]byte) (int, error) { <-c.closed; return 0, io.ErrClosedPipe }
func (c stuck) WriteMessage([]byte) error       { <-c.closed; return io.ErrClosedPipe }
func (c stuck) Close() error {
	select {
	case <-c.closed:
	default:
		close(c.closed)
	}
	return nil
}

func TestDeadPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, end := range map[string]func(*stream.Stream) error{
			"close": (*stream.Stream).Close,
			"reset": func(s *stream.Stream) error { return s.Reset(nil) },
			"fail":  func(s *stream.Stream) error { s.Fail(io.ErrUnexpectedEOF); return nil },
		} {
			s, err := stream.Open(stuck{make(chan struct{})}, session.Header{Service: "test/1"}, stream.Options{})
			if err != nil {
				t.Fatal(err)
			}
			s.SetDeadline(time.Now().Add(time.Second))
			if _, err := s.Write(make([]byte, 1<<20)); !isTimeout(err) {
				t.Errorf("%s: Write = %v", name, err)
			}
			if _, err := s.Read(make([]byte, 1)); !isTimeout(err) {
				t.Errorf("%s: Read = %v", name, err)
			}
			if err := end(s); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			<-s.Done()
		}
	})
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func TestLostChannel(t *testing.T) {
	a, b := sessiontest.Channels(0)
	s1, s2, err := connect(a, b)
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	for _, s := range []*stream.Stream{s1, s2} {
		if _, err := s.Read(make([]byte, 1)); session.KindOf(err) != session.Unavailable {
			t.Errorf("Read = %v", err)
		}
		if _, err := s.Write(make([]byte, 1)); session.KindOf(err) != session.Unavailable {
			t.Errorf("Write = %v", err)
		}
		<-s.Done()
	}
}

// Having said all we have to say doesn't mean that the peer has.
func TestLostChannelAfterOurEnd(t *testing.T) {
	a, b := net.Pipe()
	c1, c2, err := connect(stream.FrameConn(a), stream.FrameConn(b))
	if err != nil {
		t.Fatal(err)
	}
	if err := c2.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c1); err != nil { // until the end has arrived
		t.Fatal(err)
	}
	_ = a.Close()
	if _, err := c2.Read(make([]byte, 1)); session.KindOf(err) != session.Unavailable {
		t.Errorf("Read of a lost channel: %v", err)
	}
	_, _ = c1.Close(), c2.Close()
	<-c1.Done()
	<-c2.Done()
}

func TestOffer(t *testing.T) {
	peer := sessiontest.Peer("alice")
	offered := func(t *testing.T) (*stream.Stream, *stream.Offer) {
		a, b := sessiontest.Channels(0)
		s, err := stream.Open(a, session.Header{Service: "test/1", Action: "view"}, stream.Options{})
		if err != nil {
			t.Fatal(err)
		}
		o, err := stream.Receive(t.Context(), b, stream.Options{Peer: peer})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			s.Close()
			o.Stream().Close()
			<-s.Done()
			<-o.Stream().Done()
		})
		if o.Peer() != peer || o.Header().Service != "test/1" || o.Header().Action != "view" {
			t.Errorf("offer of %v from %v", o.Header(), o.Peer())
		}
		return s, o
	}
	t.Run("reject", func(t *testing.T) {
		s, o := offered(t)
		if err := o.Reject(session.Denied, "not today\x1b[2J"); err != nil {
			t.Fatal(err)
		}
		if _, err := o.Accept(); err == nil {
			t.Error("accepted a rejected offer")
		}
		_, err := s.Read(make([]byte, 1))
		if session.KindOf(err) != session.Denied || !strings.HasPrefix(err.Error(), "not today\uFFFD") {
			t.Errorf("Read = %v", err)
		}
		if _, err := s.Write(make([]byte, 1)); session.KindOf(err) != session.Denied {
			t.Errorf("Write = %v", err)
		}
	})
	t.Run("accept once", func(t *testing.T) {
		s, o := offered(t)
		st, err := o.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.Accept(); session.KindOf(err) != session.Invalid {
			t.Errorf("second Accept = %v", err)
		}
		if err := o.Reject(session.Denied, "late"); err != nil {
			t.Fatal(err)
		}
		go st.Write([]byte("x"))
		if _, err := s.Read(make([]byte, 1)); err != nil {
			t.Errorf("a late Reject took effect: %v", err)
		}
	})
	t.Run("withdrawn", func(t *testing.T) {
		s, o := offered(t)
		if err := s.Reset(session.Errorf("x", session.Canceled, "never mind")); err != nil {
			t.Fatal(err)
		}
		<-o.Stream().Done()
		if _, err := o.Accept(); session.KindOf(err) != session.Canceled {
			t.Errorf("Accept = %v", err)
		}
	})
	t.Run("no header in time", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		_, b := sessiontest.Channels(0)
		cancel()
		if _, err := stream.Receive(ctx, b, stream.Options{}); !errors.Is(err, context.Canceled) {
			t.Errorf("Receive = %v", err)
		}
	})
}

// TestSendingBeforeAcceptance shows that an opener may send its credit and no
// more before anyone accepts.
func TestSendingBeforeAcceptance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := sessiontest.Channels(0)
		s, err := stream.Open(a, session.Header{Service: "test/1"}, stream.Options{})
		if err != nil {
			t.Fatal(err)
		}
		o, err := stream.Receive(t.Context(), b, stream.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s.SetWriteDeadline(time.Now().Add(time.Second))
		if n, err := s.Write(make([]byte, 1<<20)); n != stream.InitialWindow || !isTimeout(err) {
			t.Errorf("Write = %d, %v", n, err)
		}
		st, err := o.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(st); err != nil || len(got) != stream.InitialWindow {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
		s.Close()
		st.Close()
	})
}

// TestWindowGrows shows that a path that holds more than the first window gets
// a larger one, up to the receiver's bound.
func TestWindowGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bound = 1 << 20
		a, b := sessiontest.Channels(50 * time.Millisecond)
		l := &ledger{limit: [2]uint64{stream.InitialWindow, stream.InitialWindow}}
		s, err := stream.Open(&tap{a, l, 0}, session.Header{Service: "test/1"}, stream.Options{})
		if err != nil {
			t.Fatal(err)
		}
		o, err := stream.Receive(t.Context(), &tap{b, l, 1}, stream.Options{MaxWindow: bound})
		if err != nil {
			t.Fatal(err)
		}
		go func() { s.Write(make([]byte, 16<<20)); s.CloseWrite() }()
		read, most := uint64(0), uint64(0)
		buf := make([]byte, 64<<10)
		for err == nil {
			var n int
			n, err = o.Stream().Read(buf)
			read += uint64(n)
			l.mu.Lock()
			most = max(most, l.limit[0]-read)
			l.mu.Unlock()
		}
		if err != io.EOF || read != 16<<20 {
			t.Errorf("read %d, %v", read, err)
		}
		if most < bound*3/4 || most > bound || l.over {
			t.Errorf("the window grew to %d", most)
		}
		s.Close()
		o.Stream().Close()
		<-s.Done()
		<-o.Stream().Done()
	})
}

func BenchmarkThroughput(b *testing.B) {
	for name, channel := range channels(b) {
		b.Run(name, func(b *testing.B) {
			c1, c2, err := channel()
			if err != nil {
				b.Fatal(err)
			}
			s1, s2, err := connect(c1, c2)
			if err != nil {
				b.Fatal(err)
			}
			const block = 64 << 10
			b.SetBytes(block)
			b.ReportAllocs()
			go func() {
				buf := make([]byte, block)
				for range b.N {
					s1.Write(buf)
				}
				s1.Close()
			}()
			if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, s2, make([]byte, block)); err != nil {
				b.Fatal(err)
			}
			s2.Close()
		})
	}
}
