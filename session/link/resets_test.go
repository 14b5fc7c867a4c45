package link

import (
	"encoding/binary"
	"hash/crc32"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pion/sctp"
)

// unit is a chunk or a parameter: a kind, a length, and the rest.
func unit(kind uint16, rest ...uint32) []byte {
	b := binary.BigEndian.AppendUint16(nil, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(4+4*len(rest)))
	for _, r := range rest {
		b = binary.BigEndian.AppendUint32(b, r)
	}
	return b
}

// inChunk puts a parameter into a RE-CONFIG chunk.
func inChunk(param []byte) []byte {
	b := []byte{chunkReconfig, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(4+len(param)))
	return append(b, param...)
}

// sctpPacket has a valid checksum, and goes to whoever has the tag.
func sctpPacket(tag uint32, chunks ...[]byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, 5000<<16|5000)
	b = binary.BigEndian.AppendUint32(b, tag)
	b = binary.BigEndian.AppendUint32(b, 0)
	for _, c := range chunks {
		b = append(b, c...)
	}
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func resetRequest(sequence, tsn uint32) []byte {
	return inChunk(unit(paramReset, sequence, 0, tsn))
}

func TestResets(t *testing.T) {
	var r resets
	sack := func(tsn uint32) { r.sends(sctpPacket(1, unit(chunkSACK<<8, tsn, 0, 0))) }
	asks := func(sequence, tsn uint32) bool { return r.admits(sctpPacket(1, resetRequest(sequence, tsn))) }
	here := uint32(0xffff_fff0) // numbers wrap around
	sack(here)
	for n := range uint32(2 * maxResets) {
		if !asks(n, here-n) {
			t.Fatalf("request %d waits for nothing and was held back", n)
		}
	}
	for n := range uint32(2 * maxResets) {
		if got := asks(1000+n, here+n+1); got != (n < maxResets) {
			t.Fatalf("request %d that waits: %v", n, got)
		}
	}
	if !asks(1000, here+1) {
		t.Error("one that waits already was held back when it was repeated")
	}
	if r.admits(sctpPacket(1, unit(0, 1, 2, 3), resetRequest(2000, here+1))) {
		t.Error("a request behind another chunk was let through")
	}
	sack(here + 1)
	if !asks(2000, here+100) || asks(2001, here+100) {
		t.Error("data that arrived made room for other than one")
	}
	r.sends(sctpPacket(1, inChunk(unit(paramResponse, 1001, resultInProgress))))
	if asks(2001, here+100) {
		t.Error("an answer that it waits made room")
	}
	r.sends(sctpPacket(1, inChunk(unit(paramResponse, 1001, 1))))
	if !asks(2001, here+100) {
		t.Error("a request that was answered made no room")
	}
}

func FuzzResets(f *testing.F) {
	f.Add(sctpPacket(1, unit(chunkSACK<<8, 1, 2, 3), resetRequest(4, 5)))
	f.Add(sctpPacket(1, inChunk(unit(paramResponse, 1, 1))))
	f.Fuzz(func(t *testing.T, packet []byte) {
		var r resets
		for range 2 {
			r.admits(packet)
			r.sends(packet)
		}
		if len(r.ahead) > maxResets {
			t.Errorf("%d requests wait", len(r.ahead))
		}
	})
}

// watchedConn is under an association whose packets go through resets.
type watchedConn struct {
	net.Conn
	resets  *resets
	answers *atomic.Int64 // requests answered
}

func (c watchedConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err != nil || c.resets.admits(p[:n]) {
			return n, err
		}
	}
}

func (c watchedConn) Write(p []byte) (int, error) {
	c.resets.sends(p)
	eachUnit(p, sctpHeader, func(kind uint16, _ []byte) {
		if kind>>8 == chunkReconfig {
			c.answers.Add(1)
		}
	})
	return c.Conn.Write(p)
}

// spy notes how its association numbers what it sends.
type spy struct {
	net.Conn
	mu       *sync.Mutex
	tag, tsn *uint32
}

func (s spy) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*s.tag = binary.BigEndian.Uint32(p[4:])
	eachUnit(p, sctpHeader, func(kind uint16, chunk []byte) {
		if kind>>8 == 0 && len(chunk) >= 8 { // DATA
			*s.tsn = binary.BigEndian.Uint32(chunk[4:])
		}
	})
	return s.Conn.Write(p)
}

// A thousand requests that wait do not multiply with the data that comes.
func TestResetsMultiplyNothing(t *testing.T) {
	near, far := net.Pipe()
	var answers atomic.Int64
	var mu sync.Mutex
	var tag, tsn uint32
	peer := spy{far, &mu, &tag, &tsn}
	logging := sctp.WithLoggerFactory(pionLog{slog.New(slog.DiscardHandler)})
	served := make(chan *sctp.Association, 1)
	go func() {
		a, err := sctp.ServerWithOptions(sctp.WithNetConn(watchedConn{near, new(resets), &answers}), logging)
		if err != nil {
			t.Error(err)
		}
		served <- a
	}()
	b, err := sctp.ClientWithOptions(sctp.WithNetConn(peer), logging)
	if err != nil {
		t.Fatal(err)
	}
	a := <-served
	defer func() {
		_ = a.Close() // the other one may have gone first
		_ = b.Close()
	}()
	stream, err := b.OpenStream(1, sctp.PayloadTypeWebRTCBinary)
	if err != nil {
		t.Fatal(err)
	}
	const messages = 500
	read := make(chan struct{})
	go func() {
		defer close(read)
		s, err := a.AcceptStream()
		for n := 0; err == nil && n <= messages; n++ {
			_, err = s.Read(make([]byte, 100))
		}
		if err != nil {
			t.Error(err)
		}
	}()
	if _, err := stream.Write([]byte("first")); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	for n := range uint32(900) {
		if _, err := far.Write(sctpPacket(tag, resetRequest(7_000_000+n, tsn+1<<20))); err != nil {
			t.Fatal(err)
		}
	}
	mu.Unlock()
	for range messages {
		if _, err := stream.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	<-read
	if n := answers.Load(); n > (messages+10)*maxResets {
		t.Errorf("%d answers to 900 requests and %d messages", n, messages)
	}
}
