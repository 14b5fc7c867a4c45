package folder

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"tandem/session"
	"tandem/share/chunk"
)

func unit(p string) string { return string([]byte{0, 0, byte(len(p) >> 8), byte(len(p))}) + p }

func TestGoldenMessages(t *testing.T) {
	h := chunk.Sum{1, 2, 0xff}
	hash := `"0102ff` + strings.Repeat("0", 58) + `"`
	for want, v := range map[string]any{
		`{"id":1,"op":"stat","path":"a/b"}`:                     request{ID: 1, Op: opStat, Path: "a/b"},
		`{"id":2,"op":"list","path":"","recursive":true}`:       request{ID: 2, Op: opList, Recursive: true},
		`{"id":3,"op":"read","path":"x","offset":5,"length":6}`: request{ID: 3, Op: opRead, Path: "x", Offset: 5, Length: 6},
		`{"id":3,"op":"fetch","path":"x","body":true,"offset":5,"prefix":` + hash + `,"unless":` + hash + `,"normal":65536,"key":` + hash + `}`: request{ID: 3, Op: opFetch, Path: "x", Body: true, Offset: 5, Prefix: &h, Unless: &h, Normal: 65536, Key: &h},
		`{"id":4,"op":"check","path":"x","size":7,"mtime":8,"list":true,"normal":131072,"key":` + hash + `}`:                                    request{ID: 4, Op: opCheck, Path: "x", Size: 7, MTime: 8, List: true, Normal: 131072, Key: &h},
		`{"id":5,"op":"put","path":"x","body":true,"offset":3,"size":7,"mtime":1500000000,"exec":true,"force":true}`:                            request{ID: 5, Op: opPut, Path: "x", Body: true, Offset: 3, Size: 7, MTime: 15e8, Exec: true, Force: true},
		`{"id":5,"error":{"kind":"not-found","text":"x is not there"}}`:                                                                         reply{ID: 5, Error: &wireError{Kind: "not-found", Text: "x is not there"}},
		`{"id":6,"body":true,"entry":{"name":"x","size":9,"mtime":-1,"exec":true},"offset":5}`:                                                  reply{ID: 6, Body: true, Entry: &Entry{Name: "x", Size: 9, MTime: -1, Exec: true}, Offset: 5},
		`{"id":7,"entry":{"name":"x","size":9,"mtime":1},"hash":` + hash + `,"have":12,"prefix":` + hash + `}`:                                  reply{ID: 7, Entry: &Entry{Name: "x", Size: 9, MTime: 1}, Hash: &h, Have: 12, Prefix: &h},
		`{"id":7,"op":"push","path":"in","body":true}`:                                                                                          request{ID: 7, Op: opPush, Path: "in", Body: true},
		`{"id":7,"op":"fetch","path":"x","plain":true}`:                                                                                         request{ID: 7, Op: opFetch, Path: "x", Plain: true},
		`{"id":7,"entry":{"name":"","dir":true,"mtime":1},"asks":true}`:                                                                         reply{ID: 7, Entry: &Entry{Dir: true, MTime: 1}, Asks: true},
		`{"id":7,"error":{"kind":"changed","text":"x"},"missed":true}`:                                                                          reply{ID: 7, Error: &wireError{Kind: "changed", Text: "x"}, Missed: true},
		`{"id":7,"error":{"kind":"exists","as":"X"}}`:                                                                                           reply{ID: 7, Error: &wireError{Kind: "exists", As: "X"}},
		`{"id":8,"same":true}`:         reply{ID: 8, Same: true},
		`{"id":9,"hash":` + hash + `}`: reply{ID: 9, Hash: &h},
		`{"hash":` + hash + `}`:        trailer{Hash: &h},
		`{"error":{"kind":"changed"}}`: trailer{Error: &wireError{Kind: "changed"}},
		`{"dir":"a","entries":[{"name":"d","dir":true,"mtime":1}],"skipped":2}`: page{Dir: "a", Entries: []Entry{{Name: "d", Dir: true, MTime: 1}}, Skipped: 2},
	} {
		var out bytes.Buffer
		w := bufio.NewWriter(&out)
		if err := errors.Join(writeMessage(w, v), w.Flush()); err != nil {
			t.Fatal(err)
		}
		if out.String() != unit(want) {
			t.Errorf("%T: wrote %q, want %q", v, out.String(), unit(want))
		}
	}
}

func TestGoldenBody(t *testing.T) {
	var out bytes.Buffer
	w := bufio.NewWriter(&out)
	if err := errors.Join(writeUnit(w, []byte("ab")), writeUnit(w, []byte("c")), writeTrailer(w, trailer{Hash: &chunk.Sum{}}), w.Flush()); err != nil {
		t.Fatal(err)
	}
	want := "00000002" + "6162" + "00000001" + "63" + "00000000" + hex.EncodeToString([]byte(unit(`{"hash":"`+strings.Repeat("0", 64)+`"}`)))
	if got := hex.EncodeToString(out.Bytes()); got != want {
		t.Errorf("wrote %s, want %s", got, want)
	}
	b := &body{r: &out}
	if p, err := io.ReadAll(b); err != nil || string(p) != "abc" {
		t.Errorf("read %q, %v", p, err)
	}
	if tr, err := b.finish(); err != nil || *tr.Hash != (chunk.Sum{}) {
		t.Errorf("trailer %+v, %v", tr, err)
	}
}

func TestUnknownFieldsAreIgnored(t *testing.T) {
	var req request
	err := readMessage(strings.NewReader(unit(`{"id":1,"op":"stat","path":"x","colour":"red","deep":{"a":[1]}}`)), &req)
	if err != nil || req.Path != "x" {
		t.Errorf("%+v, %v", req, err)
	}
}

func TestLimitsOfUnits(t *testing.T) {
	var v any
	for name, c := range map[string]struct {
		in   string
		kind session.Kind
	}{
		"huge message":   {"\xff\xff\xff\xff{}", session.Invalid},
		"over the limit": {"\x00\x01\x00\x01{}", session.Invalid},
		"empty message":  {"\x00\x00\x00\x00", session.Invalid},
		"not JSON":       {unit("{"), session.Invalid},
	} {
		if err := readMessage(strings.NewReader(c.in), &v); session.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := readMessage(strings.NewReader(unit("{}")[:5]), &v); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut message: %v", err)
	}
	for name, in := range map[string]string{"cut block": "\x00\x00\x00\x05ab", "no end": unit("ab"), "no trailer": "\x00\x00\x00\x00"} {
		if _, err := (&body{r: strings.NewReader(in)}).finish(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (&body{r: strings.NewReader("\x00\x10\x00\x41x")}).finish(); session.KindOf(err) != session.Invalid {
		t.Errorf("huge block: %v", err)
	}
}

// badNames is the corpus of names that mean something else somewhere.
var badNames = []string{
	"", ".", "..", "/", "/etc", "a/", "a//b", "./a", "a/..", "../a", "a/../../b", `\`, `a\b`, `..\a`, `\\host\share`, `\??\C:`,
	"C:", "c:x", "a:b", "file.txt:stream", "file::$DATA", "NUL", "nul", "nul.txt", "Nul .x", "CON", "con.tar.gz", "PRN", "AUX", "COM1", "com9.txt", "COM¹", "com².c",
	"LPT³", "LPT0", "CONIN$", "conout$.x", "a\x00b", "\x00", "a\nb", "a\x1b[2Jb", "a\x7f", "a\u0085b", "dot.", "dots...", "space ", "a .", "\xff\xfe", "a\xc0\xafb",
	strings.Repeat("x", 256), strings.Repeat("é", 128), ".tandem-partial", ".Tandem-PARTIAL", ".tandem-partial/x", ".tandem-partial-x",
	strings.Repeat("a/", 2048) + "a",
}

func TestNames(t *testing.T) {
	for _, name := range badNames {
		if name != "" && checkPath(name) == nil {
			t.Errorf("path %q is allowed", name)
		}
		if checkPath("a/"+name) == nil || checkPath(name+"/a") == nil {
			t.Errorf("%q is allowed in a path", name)
		}
	}
	for _, path := range []string{
		"", "a", "a/b", ".hidden", "..a", "a..b", "...a", "com", "com10", "common.h", "null", "console", "é", "e\u0301", "日本語", "a b", " a", "-rf", "~",
		strings.Repeat("x", 255), ".tandem", "tandem-partial", "a|b?c*", "%2e%2e", "%2f",
	} {
		if err := checkPath(path); err != nil {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func FuzzPath(f *testing.F) {
	for _, name := range badNames {
		f.Add(name)
	}
	f.Add("a/b")
	f.Fuzz(func(t *testing.T, path string) {
		if checkPath(path) != nil || path == "" {
			return
		}
		if strings.HasPrefix(path, "/") || strings.Contains("/"+path+"/", "/../") || strings.ContainsAny(path, "\\:\x00") {
			t.Fatalf("%q is allowed", path)
		}
	})
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte(unit(`{"id":1,"op":"put","path":"x","body":true,"size":-1}`)))
	f.Add([]byte(unit(`{"op":"read","offset":-5}`)))
	f.Fuzz(func(t *testing.T, in []byte) {
		var req request
		if readMessage(bytes.NewReader(in), &req) != nil || req.check() != nil {
			return
		}
		if req.Offset < 0 || req.Length < 0 || req.Size < -1 || checkPath(req.Path) != nil {
			t.Fatalf("accepted %+v", req)
		}
		raw, err := json.Marshal(req)
		if err != nil {
			t.Fatal(err)
		}
		var again request
		if err := json.Unmarshal(raw, &again); err != nil {
			t.Fatal(err)
		}
		if raw2, err := json.Marshal(again); err != nil || !bytes.Equal(raw, raw2) {
			t.Fatalf("%s became %s, %v", raw, raw2, err)
		}
	})
}

func FuzzBody(f *testing.F) {
	f.Add([]byte(unit("ab")+unit("")+unit("{}")), 1)
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		b := &body{r: bytes.NewReader(in)}
		p := make([]byte, 1+size&0xff)
		total := 0
		for {
			n, err := b.Read(p)
			total += n
			if err != nil {
				break
			}
		}
		if total > len(in) {
			t.Fatalf("%d bytes of %d", total, len(in))
		}
		t1, err1 := b.finish()
		t2, err2 := b.finish()
		if t1 != t2 || (err1 == nil) != (err2 == nil) {
			t.Fatal("finish is not final")
		}
	})
}

func FuzzListing(f *testing.F) {
	f.Add([]byte(`{"dir":"","entries":[{"name":"d","dir":true}]}`), []byte(`{"dir":"d"}`), true)
	f.Fuzz(func(t *testing.T, one, two []byte, recursive bool) {
		l := listing{recursive: recursive}
		for _, raw := range [][]byte{one, two} {
			var p page
			if json.Unmarshal(raw, &p) != nil || l.check(p) != nil {
				return
			}
			for _, e := range p.Entries {
				if checkPath(join(p.Dir, e.Name)) != nil || e.Name == "" {
					t.Fatalf("accepted %q in %q", e.Name, p.Dir)
				}
			}
		}
	})
}
