package server

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"tandem/signaling"
)

// still is a connection on which nothing happens.
type still struct{ net.Conn }

func (still) SetReadDeadline(time.Time) error { return nil }

// owner remembers control frames.
type owner struct{ controls int }

func (*owner) alive() {}

func (o *owner) control(f ws.Frame) bool {
	o.controls++
	return f.Header.OpCode != ws.OpClose
}

// messages reads all messages in data.
func messages(data []byte) (texts []string, controls int, err error) {
	o := &owner{}
	f := frames{conn: still{}, src: bytes.NewReader(data), owner: o}
	for {
		text, err := f.next()
		if err != nil {
			return texts, o.controls, err
		}
		texts = append(texts, string(text))
	}
}

// masked is a client's frame, with the mask 1, 2, 3, 4.
func masked(h ws.Header, payload string) []byte {
	h.Masked, h.Mask, h.Length = true, [4]byte{1, 2, 3, 4}, int64(len(payload))
	data := []byte(payload)
	ws.Cipher(data, h.Mask, 0)
	var buf bytes.Buffer
	_ = ws.WriteHeader(&buf, h)
	buf.Write(data)
	return buf.Bytes()
}

func TestFrames(t *testing.T) {
	golden := []byte{0x81, 0x82, 1, 2, 3, 4, 'h' ^ 1, 'i' ^ 2}
	if got := masked(ws.Header{Fin: true, OpCode: ws.OpText}, "hi"); !bytes.Equal(got, golden) {
		t.Errorf("a frame is %x, want %x", got, golden)
	}
	data := bytes.Join([][]byte{
		golden,
		masked(ws.Header{OpCode: ws.OpText}, "to"),
		masked(ws.Header{Fin: true, OpCode: ws.OpPing}, "?"),
		masked(ws.Header{OpCode: ws.OpContinuation}, ""),
		masked(ws.Header{Fin: true, OpCode: ws.OpContinuation}, "gether"),
		masked(ws.Header{Fin: true, OpCode: ws.OpText}, ""),
		masked(ws.Header{Fin: true, OpCode: ws.OpClose}, ""),
		golden,
	}, nil)
	texts, controls, err := messages(data)
	if len(texts) != 3 || texts[0] != "hi" || texts[1] != "together" || texts[2] != "" || controls != 2 || !errors.Is(err, io.EOF) {
		t.Errorf("read %q, %d controls, %v", texts, controls, err)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(masked(ws.Header{Fin: true, OpCode: ws.OpText}, "hi"))
	f.Add(append(masked(ws.Header{OpCode: ws.OpText}, "h"), masked(ws.Header{Fin: true, OpCode: ws.OpContinuation}, "i")...))
	f.Add(append(masked(ws.Header{Fin: true, OpCode: ws.OpPing}, "?"), masked(ws.Header{Fin: true, OpCode: ws.OpClose}, "")...))
	f.Add([]byte{0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, data []byte) {
		texts, _, err := messages(data)
		total := 0
		for _, text := range texts {
			if total += len(text); len(text) > signaling.MaxFrame {
				t.Errorf("a message of %d bytes", len(text))
			}
		}
		if total > len(data) {
			t.Errorf("%d bytes out of %d", total, len(data))
		}
		var fe *frameError
		if !errors.As(err, &fe) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("ends with %v", err)
		}
	})
}
