package stream

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
)

// A Channel moves whole messages in both directions, reliably and in order.
//
// A stream calls ReadMessage from one goroutine and WriteMessage from one
// other. Close may be called at any time, several times and concurrently: it
// ends blocked calls on both sides, but messages written before it still
// reach the peer as long as the path works. When the peer has closed,
// ReadMessage first returns what had arrived and then an error. A channel
// whose WriteMessage has failed is dead, and its ReadMessage fails as well once
// it has returned what had arrived.
type Channel interface {
	// ReadMessage reads the next message into buf and returns its length. A
	// message longer than buf is an error, such as io.ErrShortBuffer.
	ReadMessage(buf []byte) (int, error)
	// WriteMessage sends one message of at most MaxMessage bytes. It blocks
	// while the channel has enough outstanding, and does not keep b.
	WriteMessage(b []byte) error
	Close() error
}

// A Sizer is a Channel that knows how long messages with data should be at this
// moment, in bytes. It may be asked at any time.
type Sizer interface{ MessageSize() int }

// frameConn is a Channel over a byte stream.
type frameConn struct {
	conn   net.Conn
	reader *bufio.Reader
	prefix [4]byte
	parts  [2][]byte
	vector net.Buffers
}

// FrameConn makes a Channel of a connection that carries bytes, such as a unix
// socket: each message is preceded by its length, a big-endian uint32 of at
// most MaxMessage. The channel owns conn.
func FrameConn(conn net.Conn) Channel {
	return &frameConn{conn: conn, reader: bufio.NewReaderSize(conn, MaxFrame+4)}
}

func (c *frameConn) ReadMessage(buf []byte) (int, error) {
	prefix, err := c.reader.Peek(4)
	if err != nil {
		if len(prefix) > 0 && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	n := binary.BigEndian.Uint32(prefix)
	if uint64(n) > uint64(len(buf)) {
		return 0, io.ErrShortBuffer
	}
	if _, err := c.reader.Discard(4); err != nil {
		return 0, err
	}
	if _, err := io.ReadFull(c.reader, buf[:n]); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	return int(n), nil
}

func (c *frameConn) WriteMessage(b []byte) error {
	if len(b) > MaxMessage {
		return io.ErrShortWrite
	}
	binary.BigEndian.PutUint32(c.prefix[:], uint32(len(b)))
	c.parts = [2][]byte{c.prefix[:], b}
	c.vector = c.parts[:]
	_, err := c.vector.WriteTo(c.conn)
	c.parts[1] = nil
	return err
}

func (c *frameConn) Close() error { return c.conn.Close() }
