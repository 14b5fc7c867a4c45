package folder

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/session"
	"tandem/share/chunk"
)

func TestGoldenItems(t *testing.T) {
	sum := chunk.SumOf([]byte("abc"))
	for want, i := range map[string]item{
		"01" + sum.String() + "00616263": {kind: itemData, sum: sum, pack: []byte("\x00abc")},
		"02ac0201":                       {kind: itemCopy, offset: 300, length: 1},
		"02008002":                       {kind: itemCopy, length: 256},
		"04" + sum.String():              {kind: itemAgain, sum: sum},
		"05":                             {kind: itemNone},
		"0380808002":                     {kind: itemZeros, length: 4 << 20},
	} {
		raw := i.append(nil)
		if got := hex.EncodeToString(raw); got != want {
			t.Errorf("wrote %s, want %s", got, want)
		}
		again, err := parseItem(raw)
		if err != nil || again.kind != i.kind || again.sum != i.sum || !bytes.Equal(again.pack, i.pack) || again.offset != i.offset || again.length != i.length {
			t.Errorf("%s became %+v, %v", want, again, err)
		}
	}
}

func TestBrokenItems(t *testing.T) {
	for _, in := range []string{
		"", "00", "04", "04" + strings.Repeat("00", 31), "04" + strings.Repeat("00", 33), "0500", "06", "ff01", "01", "01" + strings.Repeat("00", 32), "02", "0201", "020100", "0300", "0380", "038000", "030100",
		"03818080808080808001", "0201ffffffffffffffffff01", "02ffffffffffffffff7f01",
	} {
		raw, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		if i, err := parseItem(raw); session.KindOf(err) != session.Invalid {
			t.Errorf("%s: %+v, %v", in, i, err)
		}
	}
}

func FuzzItem(f *testing.F) {
	f.Add([]byte(data("abc")))
	f.Add(item{kind: itemCopy, offset: 300, length: 1}.append(nil))
	f.Add(item{kind: itemZeros, length: 1 << 20}.append(nil))
	f.Fuzz(func(t *testing.T, in []byte) {
		i, err := parseItem(in)
		if err != nil {
			return
		}
		if i.offset < 0 || i.offset > maxFile || i.length < 0 || i.length > maxFile {
			t.Fatalf("accepted %+v", i)
		}
		if out := i.append(nil); !bytes.Equal(out, in) {
			t.Fatalf("%x became %x", in, out)
		}
	})
}

func FuzzList(f *testing.F) {
	list := chunk.List{{Sum: chunk.Sum{1}, Size: 70_000}}
	f.Add([]byte(unit(string(list.Append(nil))) + unit("") + unit("{}")))
	f.Add([]byte(unit("") + unit("{}")))
	f.Fuzz(func(t *testing.T, in []byte) {
		list, err := readList(&body{r: bytes.NewReader(in)})
		if err != nil {
			return
		}
		if len(list) > maxOffered || list.Size() < 0 {
			t.Fatalf("accepted %d chunks of %d bytes", len(list), list.Size())
		}
		x := newIndex(list)
		for _, ref := range list {
			if at, ok := x.find(ref); !ok || at < 0 || at+int64(ref.Size) > list.Size() {
				t.Fatalf("%v is at %d, %v", ref, at, ok)
			}
		}
	})
}

// TestOffersStaySmall shows that what is held and sent for an old version does
// not grow with it.
func TestOffersStaySmall(t *testing.T) {
	for _, size := range []int64{0, 1, 1 << 20, 1 << 30, 4 << 30, 1 << 40, maxFile} {
		o := newOffer(size)
		if err := o.params().Check(); err != nil || o.normal*4 > maxChunk {
			t.Errorf("%d bytes: chunks of %d, %v", size, o.normal, err)
		}
		req := request{Op: opCheck, List: true}
		req.cut(o)
		if err := req.check(); err != nil || req.offer().key != o.key {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	if size := newOffer(100 << 20).normal; size != 64<<10 {
		t.Errorf("chunks of %d for 100 MiB", size)
	}
	long := make(chunk.List, maxOffered+1)
	for i := range long {
		long[i].Size = 1
	}
	raw := long.Append(nil)
	var in []byte
	for len(raw) > 0 {
		n := min(len(raw), 60_000)
		in = append(in, unit(string(raw[:n]))...)
		raw = raw[n:]
	}
	if _, err := readList(&body{r: bytes.NewReader(append(in, 0, 0, 0, 0))}); session.KindOf(err) != session.TooLarge {
		t.Errorf("a list that is too long: %v", err)
	}
}

// TestSegments finds the holes of a file, where the file system has any.
func TestSegments(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 8 << 20
	for _, at := range []int64{1 << 20, 5 << 20} {
		if _, err := f.WriteAt([]byte(strings.Repeat("x", 64<<10)), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, size)
	if _, err := f.ReadAt(raw, 0); err != nil {
		t.Fatal(err)
	}
	for at := int64(0); at < size; {
		end, hole := segment(f, at, size)
		if end <= at || end > size {
			t.Fatalf("from %d to %d", at, end)
		}
		if hole && !allZero(raw[at:end]) {
			t.Errorf("data from %d to %d taken for a hole", at, end)
		}
		at = end
	}
}
