package share

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"tandem/session"
)

type word string

// readWords is a reader of frames of type 1, which are words without an x.
func readWords(raw string) *FrameReader[any] {
	return NewFrameReader("test", strings.NewReader(raw), func(kind byte, body []byte) (any, error) {
		switch {
		case kind != 1:
			return nil, nil
		case bytes.ContainsRune(body, 'x'):
			return nil, errors.New("an x")
		}
		return word(body), nil
	})
}

func TestFrames(t *testing.T) {
	text := func(s string) func([]byte) []byte { return func(b []byte) []byte { return append(b, s...) } }
	raw := AppendFrame([]byte("kept"), 1, text("one"))
	if want := "kept\x01\x00\x00\x00\x03one"; string(raw) != want {
		t.Errorf("%q, want %q", raw, want)
	}
	long := strings.Repeat("l", MaxFrame)
	raw = AppendFrame(AppendFrame(AppendFrame(raw[4:], 9, text("unknown")), 1, text("")), 1, text(long))
	r := readWords(string(raw))
	for _, want := range []word{"one", "", word(long)} {
		if m, err := r.Next(); m != want || err != nil {
			t.Errorf("%.20v, %v", m, err)
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func TestBadFrames(t *testing.T) {
	for raw, want := range map[string]session.Kind{
		"\x01\x00\x01\x00\x01":  session.TooLarge, // and nothing was made for its body
		"\x01\xff\xff\xff\xff":  session.TooLarge,
		"\x09\xff\xff\xff\xff":  session.TooLarge, // unknown ones are read too
		"\x01\x00\x00\x00\x01x": session.Invalid,
	} {
		if m, err := readWords(raw).Next(); m != nil || session.KindOf(err) != want {
			t.Errorf("%q: %v, %v", raw, m, err)
		}
	}
	const whole = "\x01\x00\x00\x00\x03one"
	for n := 1; n < len(whole); n++ {
		if m, err := readWords(whole[:n]).Next(); m != nil || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at %d: %v, %v", n, m, err)
		}
	}
}

func FuzzFrameReader(f *testing.F) {
	f.Add("\x01\x00\x00\x00\x03one\x09\x00\x00\x00\x00")
	f.Add("\x01\xff\xff\xff\xff")
	f.Fuzz(func(t *testing.T, raw string) {
		r := readWords(raw)
		for read := 0; ; {
			m, err := r.Next()
			if cap(r.buf) > MaxFrame {
				t.Fatalf("a buffer of %d bytes", cap(r.buf))
			}
			if err != nil {
				return
			}
			w := string(m.(word))
			again := string(AppendFrame(nil, 1, func(b []byte) []byte { return append(b, w...) }))
			i := strings.Index(raw[read:], again)
			if i < 0 {
				t.Fatalf("%q is not in what was read", w)
			}
			read += i + len(again)
		}
	})
}
