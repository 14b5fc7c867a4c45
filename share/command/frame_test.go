package command

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"tandem/session"
)

// golden has one example of every frame.
var golden = []struct {
	m   message
	hex string
}{
	{stdout("hi\n"), "01 00000003 68690a"},
	{stderr("no\n"), "02 00000003 6e6f0a"},
	{taken(131072), "03 00000008 0000000000020000"},
	{Exit{Code: 0}, "04 0000000a 7b22636f6465223a307d"},
	{Exit{Code: 143, Signal: "SIGTERM", Reason: "x"}, "04 0000002c 7b22636f6465223a3134332c227369676e616c223a225349475445524d222c22726561736f6e223a2278227d"},
	{stdin("a"), "41 00000001 61"},
	{end{}, "42 00000000"},
	{signalName("INT"), "43 00000003 494e54"},
}

func TestGoldenFrames(t *testing.T) {
	var all []byte
	for _, g := range golden {
		want, err := hex.DecodeString(strings.ReplaceAll(g.hex, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if got := appendFrame(nil, g.m); !bytes.Equal(got, want) {
			t.Errorf("%#v is\n%x, want\n%x", g.m, got, want)
		}
		all = append(all, want...)
		all = append(all, 0x7f, 0, 0, 0, 1, 'x') // unknown: skipped
	}
	r := newFrameReader(bytes.NewReader(all))
	for _, g := range golden {
		if m, err := r.Next(); err != nil || !reflect.DeepEqual(m, g.m) {
			t.Errorf("read %#v, %v; want %#v", m, err, g.m)
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func TestBadFrames(t *testing.T) {
	for name, c := range map[string]struct {
		raw  string
		want session.Kind
	}{
		"too long":        {"\x01\x00\x01\x00\x01", session.TooLarge},
		"empty output":    {"\x01\x00\x00\x00\x00", session.Invalid},
		"empty input":     {"\x41\x00\x00\x00\x00", session.Invalid},
		"short taken":     {"\x03\x00\x00\x00\x01x", session.Invalid},
		"huge taken":      {"\x03\x00\x00\x00\x08\xff\xff\xff\xff\xff\xff\xff\xff", session.Invalid},
		"code 256":        {"\x04\x00\x00\x00\x0c{\"code\":256}", session.Invalid},
		"code -1":         {"\x04\x00\x00\x00\x0b{\"code\":-1}", session.Invalid},
		"exit not JSON":   {"\x04\x00\x00\x00\x01{", session.Invalid},
		"end with a body": {"\x42\x00\x00\x00\x01x", session.Invalid},
		"unknown signal":  {"\x43\x00\x00\x00\x04SEGV", session.Invalid},
	} {
		if _, err := newFrameReader(strings.NewReader(c.raw)).Next(); session.KindOf(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	for n := 1; n < 8; n++ { // cut anywhere
		if _, err := newFrameReader(strings.NewReader("\x01\x00\x00\x00\x03hi\n"[:n])).Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	m, err := decode(typeExit, []byte(`{"code":1,"reason":"\u001b]0;x\u0007","signal":"\u202e"}`))
	if e, ok := m.(Exit); err != nil || !ok || strings.ContainsAny(e.Reason+e.Signal, "\x1b\a\u202e") {
		t.Errorf("an exit's text stays as it was: %#v, %v", m, err)
	}
}

func FuzzFrames(f *testing.F) {
	for _, g := range golden {
		f.Add(appendFrame(nil, g.m))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := newFrameReader(bytes.NewReader(raw))
		for {
			m, err := r.Next()
			if err != nil {
				return
			}
			again, err := newFrameReader(bytes.NewReader(appendFrame(nil, m))).Next()
			if err != nil || !reflect.DeepEqual(m, again) {
				t.Fatalf("%#v comes back as %#v, %v", m, again, err)
			}
		}
	})
}

func FuzzRequest(f *testing.F) {
	f.Add("", []byte(`{"argv":["true"],"dir":"/","env":{"LANG":"C"},"timeout":5}`))
	f.Add("backup", []byte(`{}`))
	f.Add("", []byte(`{"argv":["a\u0000"]}`))
	f.Fuzz(func(t *testing.T, resource string, params []byte) {
		r, err := parse(session.Header{Service: ServiceName, Resource: resource, Action: Run, Params: params})
		if err != nil {
			return
		}
		if (r.Pinned == "") == (len(r.Argv) == 0) || r.Timeout < 0 || len(r.Argv) > maxArgs || len(r.Env) > maxEnv {
			t.Fatalf("parsed to %+v", r)
		}
		if _, err := r.Header(); err != nil {
			t.Fatalf("%+v can't be asked for again: %v", r, err)
		}
	})
}
