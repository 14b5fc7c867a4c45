package terminal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"tandem/session"
	"tandem/session/sessiontest"
)

var nobody = session.PeerID{}.String()

// golden is one frame of each type.
var golden = []struct {
	message message
	hex     string
}{
	{
		Welcome{Terminal: strings.Repeat("0f", 16), Name: "main", Right: View, Viewer: 2, Offset: 5, Live: 9, Size: Size{80, 24}},
		"010000007f" + hex.EncodeToString([]byte(`{"terminal":"`+strings.Repeat("0f", 16)+
			`","name":"main","right":"view","viewer":2,"offset":5,"live":9,"cols":80,"rows":24}`)),
	},
	{Output{Offset: 258, Data: []byte("hi\x1b")}, "020000000b" + "0000000000000102" + "68691b"},
	{Gap{From: 1, To: 65536}, "0300000010" + "0000000000000001" + "0000000000010000"},
	{Size{Cols: 1000, Rows: 1}, "0400000004" + "03e8" + "0001"},
	{Roster{Viewers: []Viewer{}, Answers: 7}, "050000001a" + hex.EncodeToString([]byte(`{"viewers":[],"answers":7}`))},
	{Taken(513), "0600000008" + "0000000000000201"},
	{Exit{Code: 130, Signal: "SIGINT"}, "070000001e" + hex.EncodeToString([]byte(`{"code":130,"signal":"SIGINT"}`))},
	{input("ls\n"), "4100000003" + "6c730a"},
	{resize{Cols: 80, Rows: 24}, "4200000004" + "0050" + "0018"},
	{ack(1 << 40), "4300000008" + "0000010000000000"},
	{end{}, "4400000000"},
	{
		Info{
			ID: strings.Repeat("0f", 16), Name: "main", Size: Size{80, 24}, Viewers: []Viewer{{
				Viewer: 3, Right: View, Size: Size{80, 24}, Host: true, Asks: 3, RTT: 4, Typed: 5,
			}}, Program: "sh", Typist: 3,
		},
		"0c0000019e" + hex.EncodeToString([]byte(`{"id":"`+strings.Repeat("0f", 16)+`","name":"main","owner":"`+nobody+
			`","size":{"cols":80,"rows":24},"made":"0001-01-01T00:00:00Z","used":"0001-01-01T00:00:00Z","idle":0,"output":0,`+
			`"viewers":[{"viewer":3,"peer":"`+nobody+`","right":"view","cols":80,"rows":24,"host":true,"asks":3,"rtt":4,"typed":5}],`+
			`"program":"sh","typist":3}`)),
	},
	{
		Snapshot{Offset: 3, Size: Size{80, 24}, First: true, Left: 5, Data: []byte("\x1b[H")},
		"0800000013" + "0000000000000003" + "00500018" + "80000005" + "1b5b48",
	},
	{
		History{Start: 1, First: 2, End: 9, Lines: []Line{{Text: []byte("hi"), Wrapped: true}, {Text: []byte{}}}},
		"0900000020" + "0000000000000001" + "0000000000000002" + "0000000000000009" + "01" + "0002" + "6869" + "00" + "0000",
	},
	{page{before: 7, lines: 5000}, "450000000a" + "0000000000000007" + "1388"},
	{ping(513), "0d00000008" + "0000000000000201"},
	{Typing(2), "0e00000008" + "0000000000000002"},
	{ask{}, "4900000000"},
	{redraw{}, "4b00000000"},
	{pong(513), "4a00000008" + "0000000000000201"},
}

func TestGoldenFrames(t *testing.T) {
	for _, g := range golden {
		encoded := appendFrame(nil, g.message)
		if got := hex.EncodeToString(encoded); got != g.hex {
			t.Errorf("%T encodes to\n%s, want\n%s", g.message, got, g.hex)
		}
		back, err := newFrameReader(bytes.NewReader(encoded)).Next()
		if err != nil || !reflect.DeepEqual(back, g.message) {
			t.Errorf("%T decodes to %+v, %v", g.message, back, err)
		}
	}
}

func TestMalformedFrames(t *testing.T) {
	for name, body := range map[string]string{
		"too long":                "4100010001",
		"cut header":              "4100",
		"cut body":                "41000000056162",
		"empty input":             "4100000000",
		"empty output":            "0200000008" + "0000000000000000",
		"short ack":               "4300000004" + "00000000",
		"huge ack":                "4300000008" + "ffffffffffffffff",
		"huge output offset":      "0200000009" + "ffffffffffffffff" + "61",
		"gap backwards":           "0300000010" + "0000000000000002" + "0000000000000002",
		"end with body":           "440000000161",
		"resize to nothing":       "4200000004" + "00000018",
		"resize to everything":    "4200000004" + "ffffffff",
		"exit 256":                "070000000c" + hex.EncodeToString([]byte(`{"code":256}`)),
		"welcome to nowhere":      "0100000002" + hex.EncodeToString([]byte(`{}`)),
		"ask with body":           "490000000161",
		"snapshot of nothing":     "0800000010" + "0000000000000003" + "00000018" + "80000005",
		"snapshot without end":    "0800000010" + "0000000000000003" + "00500018" + "7fffffff",
		"half a snapshot":         "080000000c" + "0000000000000003" + "00500018",
		"history cut short":       "090000001b" + strings.Repeat("0", 46) + "09" + "000005",
		"more history than there": "090000001b" + strings.Repeat("0", 48) + "000000",
		"history backwards":       "0900000018" + "0000000000000005" + "0000000000000002" + "0000000000000009",
		"page of nothing":         "450000000a" + "0000000000000007" + "0000",
		"short pong":              "4a00000004" + "00000000",
		"huge ping":               "0d00000008" + "ffffffffffffffff",
		"info of nothing":         "0c00000002" + hex.EncodeToString([]byte(`{}`)),
		"roster of strings":       "050000000f" + hex.EncodeToString([]byte(`{"viewers":"x"}`)),
	} {
		raw, err := hex.DecodeString(body)
		if err != nil {
			t.Fatal(name, err)
		}
		if m, err := newFrameReader(bytes.NewReader(raw)).Next(); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: %+v, %v; want an error other than EOF", name, m, err)
		} else if name == "too long" && session.KindOf(err) != session.TooLarge {
			t.Errorf("%s: %v", name, err)
		}
	}
	unknown := []byte("\x7f\x00\x00\x00\x02xx\x44\x00\x00\x00\x00")
	if m, err := newFrameReader(bytes.NewReader(unknown)).Next(); m != (end{}) || err != nil {
		t.Errorf("behind a frame of unknown type: %v, %v", m, err)
	}
}

func TestRosterNamesArePrintable(t *testing.T) {
	r := Roster{Viewers: []Viewer{{Viewer: 1, Peer: sessiontest.Peer("a").ID, Name: "\x1b]0;x\a", Right: View}}}
	m, err := newFrameReader(bytes.NewReader(appendFrame(nil, r))).Next()
	if err != nil || strings.ContainsAny(m.(Roster).Viewers[0].Name, "\x1b\a") {
		t.Errorf("%+v, %v", m, err)
	}
}

func FuzzFrames(f *testing.F) {
	for _, g := range golden {
		raw, _ := hex.DecodeString(g.hex)
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := newFrameReader(bytes.NewReader(raw))
		for {
			m, err := r.Next()
			if err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && session.KindOf(err) == session.Internal {
					t.Fatalf("error without a kind: %v", err)
				}
				return
			}
			again, err := newFrameReader(bytes.NewReader(appendFrame(nil, m))).Next()
			if err != nil || !reflect.DeepEqual(again, m) {
				t.Fatalf("%#v came back as %#v, %v", m, again, err)
			}
		}
	})
}
