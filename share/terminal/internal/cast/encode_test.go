package cast

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"
)

// TestGolden pins what a recording looks like.
func TestGolden(t *testing.T) {
	got := appendHeader(nil, Header{
		Cols: 80, Rows: 24, Began: time.Unix(1_700_000_000, 0), Title: "main",
		Env: map[string]string{"TERM": "xterm-256color", "SHELL": "/bin/sh"},
	})
	var e encoder
	for _, ev := range []Event{
		{At: 0, Kind: Output, Data: []byte("$ <&>\"\\ \x1b[1m\r\n")},
		{At: 250 * time.Millisecond, Kind: Input, Data: []byte("l")},
		{At: 300 * time.Millisecond, Kind: Output, Data: []byte("caf\xc3")}, // the character goes on in the next
		{At: 400 * time.Millisecond, Kind: Resize, Cols: 132, Rows: 43},
		{At: 500 * time.Millisecond, Kind: Output, Data: []byte("\xa9")},
		{At: 450 * time.Millisecond, Kind: Marker, Data: []byte("a clock that falls")},
		{At: 1500 * time.Millisecond, Kind: Output, Data: []byte("a\xff\xfeb")},
		{At: 2 * time.Second, Kind: Output, Data: []byte("\xe2\x82")}, // never completed
	} {
		got = e.append(got, ev)
	}
	got = e.flush(got)
	want := `{"version":2,"width":80,"height":24,"timestamp":1700000000,"title":"main","env":{"SHELL":"/bin/sh","TERM":"xterm-256color"}}
[0.000000, "o", "$ <&>\"\\ \u001b[1m\r\n"]
[0.250000, "i", "l"]
[0.300000, "o", "caf"]
[0.400000, "r", "132x43"]
[0.500000, "o", "é"]
[0.500000, "m", "a clock that falls"]
[1.500000, "bytes", "Yf/+Yg=="]
[1.500000, "o", "a��b"]
[2.000000, "bytes", "4oI="]
[2.000000, "o", "��"]
`
	if string(got) != want {
		t.Errorf("wrote\n%s\nwant\n%s", got, want)
	}
}

// output is everything that a recording says was printed.
func output(t *testing.T, recording []byte) []byte {
	t.Helper()
	r, err := NewReader(bytes.NewReader(recording))
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for {
		ev, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if ev.Kind == Output {
			out = append(out, ev.Data...)
		}
	}
}

// TestEveryByteSurvives splits bytes of all sorts anywhere.
func TestEveryByteSurvives(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	sorts := []string{"plain\r\n", "é", "€", "😀", "e\u0301", "\u2028", "\ufffd", "\x1b[31m", "\xff", "\xc3", "\xe2\x82", "\xed\xa0\x80", "\x00", "\xf0\x9f\x98"}
	for range 300 {
		var want []byte
		for range random.IntN(40) {
			want = append(want, sorts[random.IntN(len(sorts))]...)
		}
		var e encoder
		recording := appendHeader(nil, Header{Cols: 1, Rows: 1})
		for rest := want; len(rest) > 0; {
			n := 1 + random.IntN(min(7, len(rest)))
			recording = e.append(recording, Event{Kind: Output, Data: rest[:n]})
			rest = rest[n:]
		}
		recording = e.flush(recording)
		if got := output(t, recording); !bytes.Equal(got, want) {
			t.Fatalf("%q came back as %q from\n%s", want, got, recording)
		}
	}
}
