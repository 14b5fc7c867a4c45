package chunk

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"tandem/session"
)

// noise is n bytes that look random.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}

func cut(t testing.TB, data []byte, p Params) List {
	t.Helper()
	l, err := Cut(bytes.NewReader(data), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestCutsAreWhole(t *testing.T) {
	p := Usual([32]byte{1})
	for _, size := range []int{0, 1, p.Min - 1, p.Min, p.Min + 1, p.Normal, p.Max, p.Max + 1, 3 << 20} {
		data := noise(1, size)
		var joined []byte
		l, err := Cut(iotest.HalfReader(bytes.NewReader(data)), p, func(r Ref, b []byte) error {
			if r.Size != len(b) || r.Sum != SumOf(b) || r.Size > p.Max {
				t.Errorf("a chunk of %d bytes says it has %d", len(b), r.Size)
			}
			joined = append(joined, b...)
			return nil
		})
		if err != nil || !bytes.Equal(joined, data) || l.Size() != int64(size) {
			t.Errorf("%d bytes came out as %d, list of %d: %v", size, len(joined), l.Size(), err)
		}
		for i, r := range l {
			if r.Size < p.Min && i != len(l)-1 {
				t.Errorf("chunk %d of %d has %d bytes", i, len(l), r.Size)
			}
		}
	}
}

// The cuts are part of the format: other ones would make everybody send
// everything again.
func TestGoldenCuts(t *testing.T) {
	sizes := func(key [32]byte) (n []int) {
		for _, r := range cut(t, noise(3, 700<<10), Usual(key)) {
			n = append(n, r.Size)
		}
		return n
	}
	if got, want := sizes([32]byte{}), []int{50128, 73135, 112787, 82439, 50981, 67442, 51951, 40299, 81647, 65881, 40110}; !slices.Equal(got, want) {
		t.Errorf("with the zero key %#v", got)
	}
	if got, want := sizes([32]byte{1, 2, 3}), []int{67362, 93729, 70015, 79881, 65748, 46031, 30105, 70731, 123137, 70061}; !slices.Equal(got, want) {
		t.Errorf("with a key %#v", got)
	}
}

func TestCutReadError(t *testing.T) {
	broken := errors.New("the disk")
	_, err := Cut(io.MultiReader(bytes.NewReader(noise(1, 1<<20)), iotest.ErrReader(broken)), Usual([32]byte{}), nil)
	if !errors.Is(err, broken) {
		t.Error(err)
	}
}

func TestParams(t *testing.T) {
	for _, p := range []Params{
		{},
		{Min: 64, Normal: 64, Max: 128},
		{Min: 64, Normal: 100, Max: 200},
		{Min: 32, Normal: 64, Max: 128},
		{Min: 64, Normal: 128, Max: 128},
		{Min: 64, Normal: 128, Max: MaxSize + 1},
	} {
		if _, err := NewCutter(bytes.NewReader(nil), p); session.KindOf(err) != session.Invalid {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

// One byte inserted changes the chunks around it and no others.
func TestInsertedByte(t *testing.T) {
	data := noise(5, 16<<20)
	p := Usual([32]byte{9})
	old := cut(t, data, p)
	known := make(map[Sum]bool)
	for _, r := range old {
		known[r.Sum] = true
	}
	for _, at := range []int{0, 1 << 20, 8<<20 + 12345, len(data)} {
		edited := slices.Concat(data[:at], []byte{'x'}, data[at:])
		fresh := 0
		for _, r := range cut(t, edited, p) {
			if !known[r.Sum] {
				fresh += r.Size
			}
		}
		if fresh > 4*p.Max {
			t.Errorf("a byte inserted at %d makes %d bytes of new chunks", at, fresh)
		}
	}
}

func TestGoldenList(t *testing.T) {
	l := List{{Sum: SumOf([]byte("a")), Size: 1}, {Sum: SumOf([]byte("bb")), Size: 300}}
	a, b := SumOf([]byte("a")), SumOf([]byte("bb"))
	want := slices.Concat([]byte("tcl1\x02"), a[:], []byte{1}, b[:], []byte{0xac, 2})
	if got := l.Append(nil); !bytes.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if a.String() != "17762fddd969a453925d65717ac3eea21320b66b54342fde15128d6caf21215f" {
		t.Errorf("BLAKE3 of a is %v", a)
	}
}

func TestHostileLists(t *testing.T) {
	ref := slices.Concat(make([]byte, SumSize), []byte{1})
	for what, b := range map[string][]byte{
		"nothing":                   nil,
		"another format":            []byte("tcl2\x00"),
		"no chunk where one was":    []byte("tcl1\x01"),
		"a long number":             []byte("tcl1\x80\x00"),
		"half a number":             []byte("tcl1\x80"),
		"a chunk of no bytes":       slices.Concat([]byte("tcl1\x01"), make([]byte, SumSize), []byte{0}),
		"a huge chunk":              slices.Concat([]byte("tcl1\x01"), make([]byte, SumSize), []byte{0x81, 0x80, 0x80, 0x08}),
		"more than it says":         slices.Concat([]byte("tcl1\x01"), ref, ref),
		"fewer than it says":        slices.Concat([]byte("tcl1\x02"), ref),
		"four million and no bytes": []byte("tcl1\x80\x80\x80\x02"),
	} {
		if _, err := ParseList(b); session.KindOf(err) != session.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := ParseList([]byte("tcl1\x81\x80\x80\x02")); session.KindOf(err) != session.TooLarge {
		t.Error("too many: ", err)
	}
}

func lists() *rapid.Generator[List] {
	return rapid.Custom(func(t *rapid.T) List {
		var l List
		for _, n := range rapid.SliceOfN(rapid.IntRange(1, 12), 0, 40).Draw(t, "chunks") {
			l = append(l, Ref{Sum: Sum{byte(n)}, Size: n})
		}
		return l
	})
}

func TestListsAndDeltas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		old, new := lists().Draw(t, "old"), lists().Draw(t, "new")
		if l, err := ParseList(new.Append(nil)); err != nil || !slices.Equal(l, new) {
			t.Fatal("a list is read as ", l, err)
		}
		delta := Delta(old, new)
		got, err := Apply(old, delta)
		if err != nil || !slices.Equal(got, new) {
			t.Fatal("a delta makes ", got, err)
		}
		if len(old) > 0 {
			if _, err := Apply(old[1:], delta); session.KindOf(err) != session.Changed {
				t.Fatal("a delta against another list: ", err)
			}
		}
	})
}

func TestDeltaIsSmall(t *testing.T) {
	data := noise(5, 32<<20)
	p := Usual([32]byte{9})
	old := cut(t, data, p)
	new := cut(t, slices.Concat(data[:10<<20], []byte("x"), data[10<<20:]), p)
	if n := len(Delta(old, new)); n > 1000 {
		t.Errorf("%d bytes say what one byte has changed in a list of %d chunks", n, len(new))
	}
	if n, whole := len(Delta(nil, new)), len(new.Append(nil)); n > whole+100 {
		t.Errorf("a delta from nothing takes %d bytes, the list %d", n, whole)
	}
}

func TestHostileDeltas(t *testing.T) {
	old := List{{Sum{1}, 1}, {Sum{2}, 2}}
	name := old.Name()
	make := func(count byte, rest ...byte) []byte {
		return slices.Concat([]byte("tcd1"), name[:], name[:], []byte{count}, rest)
	}
	for what, b := range map[string][]byte{
		"nothing":                       nil,
		"a step of nothing":             make(2, 0, 0),
		"more than it says":             make(1, 4, 0),
		"beyond the old list":           make(2, 4, 1),
		"from far beyond":               make(2, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1),
		"a new chunk that doesn't come": make(2, 3),
		"something after the end":       make(2, 4, 0, 0),
		"too few":                       make(2, 2, 0),
	} {
		if _, err := Apply(old, b); session.KindOf(err) != session.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := Apply(old, make(2, 2, 1, 2, 0)); session.KindOf(err) != session.Integrity {
		t.Error("another list than promised: ", err)
	}
}

// A step costs two bytes and may name the whole old list: what comes of it is
// bounded by the count alone.
func TestDeltaBomb(t *testing.T) {
	var old List
	for i := range 1000 {
		old = append(old, Ref{Sum{byte(i), byte(i >> 8)}, 1})
	}
	name := old.Name()
	b := slices.Concat([]byte("tcd1"), name[:], name[:], []byte{0x81, 0x80, 0x80, 0x02})
	for range 10000 {
		b = append(b, 0xd0, 0x0f, 0)
	}
	if _, err := Apply(old, b); session.KindOf(err) != session.TooLarge {
		t.Error(err)
	}
}

func TestPack(t *testing.T) {
	p, err := NewPacker()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	text := bytes.Repeat([]byte("what compresses well "), 5000)
	for what, data := range map[string][]byte{"text": text, "noise": noise(1, 100<<10), "a byte": {7}, "zeros": make([]byte, MaxSize)} {
		pack := p.Pack(nil, data)
		if len(pack) > len(data)+1 {
			t.Errorf("%s: %d bytes are packed into %d", what, len(data), len(pack))
		}
		got, err := p.Unpack(SumOf(data), pack)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := p.Unpack(Sum{}, pack); session.KindOf(err) != session.Integrity {
			t.Errorf("%s under another name: %v", what, err)
		}
	}
	half := append(noise(2, 64<<10), text[:64<<10]...)
	if n := len(p.Pack(nil, half)); n > len(half)*5/8 {
		t.Errorf("half noise and half text of %d bytes are packed into %d", len(half), n)
	}
	for i := range uint64(200) {
		if b := noise(i, 128<<10); compressible(b) {
			t.Errorf("noise %d seems compressible", i)
		}
	}
	if n := len(p.Pack(nil, text)); n > len(text)/20 {
		t.Errorf("text of %d bytes is packed into %d", len(text), n)
	}
	bomb := p.encoder.EncodeAll(make([]byte, 64<<20), []byte{packZstd})
	for what, pack := range map[string][]byte{
		"nothing": nil, "an unknown kind": {9, 1}, "no frame": {packZstd, 1, 2, 3}, "a bomb": bomb, "no bytes": {packPlain},
	} {
		if _, err := p.Unpack(SumOf(nil), pack); session.KindOf(err) != session.Integrity {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestSumText(t *testing.T) {
	s := SumOf([]byte("a"))
	if got, err := ParseSum(s.String()); err != nil || got != s {
		t.Error(got, err)
	}
	for _, text := range []string{"", "17", "17762FDDD969A453925D65717AC3EEA21320B66B54342FDE15128D6CAF21215F", s.String() + "00"} {
		if _, err := ParseSum(text); session.KindOf(err) != session.Invalid {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzParseList(f *testing.F) {
	f.Add(List{{Sum{1}, 1}, {Sum{2}, 300}}.Append(nil))
	f.Add([]byte("tcl1\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ParseList(b)
		if err == nil && !bytes.Equal(l.Append(nil), b) {
			t.Error("a list has two encodings")
		}
	})
}

func FuzzApply(f *testing.F) {
	old := List{{Sum{1}, 1}, {Sum{2}, 2}, {Sum{3}, 3}}
	f.Add(Delta(old, old))
	f.Add(Delta(old, List{old[2], {Sum{9}, 9}, old[0], old[1]}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := Apply(old, b); err == nil {
			if again, err := Apply(old, Delta(old, l)); err != nil || !slices.Equal(again, l) {
				t.Error("a list that can't be made again: ", err)
			}
		}
	})
}

func FuzzUnpack(f *testing.F) {
	p, err := NewPacker()
	if err != nil {
		f.Fatal(err)
	}
	defer p.Close()
	f.Add(p.Pack(nil, []byte("some bytes")))
	f.Add(p.Pack(nil, make([]byte, 1000)))
	f.Fuzz(func(t *testing.T, pack []byte) {
		if _, err := p.Unpack(Sum{}, pack); session.KindOf(err) != session.Integrity {
			t.Error(err)
		}
	})
}

func BenchmarkCut(b *testing.B) {
	data := noise(1, 64<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Cut(bytes.NewReader(data), Usual([32]byte{}), nil); err != nil {
			b.Fatal(err)
		}
	}
}
