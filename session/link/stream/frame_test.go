package stream

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"tandem/session"
)

// encode writes f as the other functions of the package do.
func encode(f frame) []byte {
	switch f.kind {
	case typeWindow:
		return windowFrame(f.limit)
	case typeReset:
		return resetFrame(f.reset)
	}
	return append([]byte{byte(f.kind)}, f.data...)
}

func TestGoldenFrames(t *testing.T) {
	header, err := headerFrame(session.Header{Service: "folder/1", Resource: "docs", Action: "read", Params: []byte(`{"a":1}`)})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		got  []byte
		want string
	}{
		"header":  {header, "01" + hex.EncodeToString([]byte(`{"service":"folder/1","resource":"docs","action":"read","params":{"a":1}}`))},
		"data":    {encode(frame{kind: typeData, data: []byte("hi")}), "026869"},
		"window":  {windowFrame(InitialWindow + 1), "030000000000040001"},
		"blocked": {encode(frame{kind: typeBlocked}), "04"},
		"eof":     {encode(frame{kind: typeEOF}), "05"},
		"stop":    {encode(frame{kind: typeStop}), "06"},
		"reset":   {resetFrame(session.Errorf("x", session.Denied, "no")), "07" + "06" + hex.EncodeToString([]byte("deniedno"))},
		"cancel":  {resetFrame(nil), "07" + "08" + hex.EncodeToString([]byte("canceled"))},
		"private": {resetFrame(errors.New("/home/x")), "07" + "08" + hex.EncodeToString([]byte("internal"))},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s = %s, want %s", name, got, c.want)
		}
		if _, err := parse(c.got); err != nil {
			t.Errorf("%s does not parse: %v", name, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for name, msg := range map[string][]byte{
		"nothing":         {},
		"type 0":          {0},
		"type 8":          {8, 1, 2},
		"empty header":    {1},
		"huge header":     append([]byte{1}, make([]byte, MaxMessage)...),
		"empty data":      {2},
		"huge data":       append([]byte{2}, make([]byte, MaxPayload+1)...),
		"short window":    {3, 0, 0},
		"long window":     {3, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"window overflow": {3, 0x80, 0, 0, 0, 0, 0, 0, 0},
		"blocked body":    {4, 1},
		"eof body":        {5, 1},
		"stop body":       {6, 1},
		"empty reset":     {7},
		"reset cut":       {7, 4, 'a'},
		"reset long kind": append([]byte{7, 65}, make([]byte, 65)...),
		"reset long text": append([]byte{7, 0}, make([]byte, session.MaxErrorText+1)...),
	} {
		if f, err := parse(msg); session.KindOf(err) != session.Invalid {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
}

func TestResetTextIsCut(t *testing.T) {
	f, err := parse(resetFrame(&session.Error{Kind: session.Denied, Text: strings.Repeat("é", 1000) + "\xff"}))
	if err != nil || f.reset.Kind != session.Denied || f.reset.Text != strings.Repeat("é", session.MaxErrorText/2) {
		t.Fatalf("%+v, %v", f.reset, err)
	}
}

func TestHeaderTooLarge(t *testing.T) {
	h := session.Header{Service: strings.Repeat("x", session.MaxHeader)}
	if _, err := Open(nil, h, Options{}); session.KindOf(err) != session.TooLarge {
		t.Fatalf("Open = %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("\x01{}"))
	f.Add([]byte("\x02data"))
	f.Add(windowFrame(1 << 40))
	f.Add([]byte{5})
	f.Add(resetFrame(session.Errorf("", session.NoSpace, "full")))
	f.Fuzz(func(t *testing.T, msg []byte) {
		got, err := parse(msg)
		if err != nil {
			if session.KindOf(err) != session.Invalid {
				t.Fatalf("error of kind %v", session.KindOf(err))
			}
			return
		}
		if got.kind == typeReset {
			// Texts are made printable: what was read once reads the same again.
			again, err := parse(encode(got))
			if len(got.reset.Text) <= session.MaxErrorText && (err != nil || *again.reset != *got.reset) {
				t.Fatalf("%+v became %+v, %v", got.reset, again.reset, err)
			}
			return
		}
		if out := encode(got); !bytes.Equal(out, msg) {
			t.Fatalf("%x became %x", msg, out)
		}
	})
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte("\x00\x03\x02hi\x00\x01\x05"))
	f.Add([]byte("\x00\x01\x04\x00\x01\x06\x00\x01\x06"))
	f.Add(append([]byte{0, 9}, windowFrame(1<<20)...))
	f.Fuzz(func(t *testing.T, script []byte) {
		s := newStream(nil, Options{})
		for len(script) >= 2 {
			n := min(int(binary.BigEndian.Uint16(script)), MaxFrame, len(script)-2)
			b := newBuffer()
			b.start, b.end = 1, max(n, 1)
			copy(b.mem[:], script[2:2+n])
			script = script[2+n:]
			if _, err := s.receive(b, n); err != nil {
				s.failLocked(err)
			}
			if s.in.queue.size > InitialWindow || uint64(s.in.queue.size) > s.in.received || s.err != nil && s.in.queue.size != 0 {
				t.Fatalf("%d bytes wait", s.in.queue.size)
			}
		}
	})
}
