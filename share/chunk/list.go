package chunk

import (
	"encoding/binary"

	"tandem/session"
)

// MaxRefs is how many chunks a list can have: 256 GiB of usual ones.
const MaxRefs = 1 << 22

const (
	listMagic = "tcl1"
	// minRef is the least that a chunk takes in an encoding, in bytes.
	minRef = SumSize + 1
)

// List is the chunks of one file, in order.
type List []Ref

// Size is the length of the file, in bytes.
func (l List) Size() (n int64) {
	for _, r := range l {
		n += int64(r.Size)
	}
	return n
}

// Name is the hash of the list's encoding.
func (l List) Name() Sum { return SumOf(l.Append(nil)) }

// Append appends the list's encoding to b.
func (l List) Append(b []byte) []byte {
	b = append(b, listMagic...)
	b = binary.AppendUvarint(b, uint64(len(l)))
	for _, r := range l {
		b = appendRef(b, r)
	}
	return b
}

// ParseList reads a list's encoding. The error's kind is Invalid, or TooLarge
// for more than MaxRefs.
func ParseList(b []byte) (List, error) {
	d := decoder{rest: b}
	d.magic(listMagic)
	n := d.count()
	if d.err == nil && n > len(d.rest)/minRef {
		d.fail("a list that is cut short")
	}
	if d.err != nil {
		return nil, d.err
	}
	list := make(List, 0, n)
	for range n {
		list = append(list, d.ref())
	}
	d.end()
	if d.err != nil {
		return nil, d.err
	}
	return list, nil
}

func appendRef(b []byte, r Ref) []byte {
	b = append(b, r.Sum[:]...)
	return binary.AppendUvarint(b, uint64(r.Size))
}

// decoder reads encodings. After the first error it returns zeros.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) fail(text string) {
	if d.err == nil {
		d.err = session.Errorf("chunk", session.Invalid, "%s", text)
		d.rest = nil
	}
}

func (d *decoder) magic(want string) {
	if len(d.rest) < len(want) || string(d.rest[:len(want)]) != want {
		d.fail("no " + want)
		return
	}
	d.rest = d.rest[len(want):]
}

// uvarint reads a number in its shortest form: each list has one encoding, or
// its name would not be its own.
func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 || n > 1 && d.rest[n-1] == 0 {
		d.fail("a broken number")
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) count() int {
	n := d.uvarint()
	if n > MaxRefs {
		d.fail("")
		d.err = session.Errorf("chunk", session.TooLarge, "a list of %d chunks, over %d", n, MaxRefs)
		return 0
	}
	return int(n)
}

func (d *decoder) sum() (s Sum) {
	if len(d.rest) < SumSize {
		d.fail("a name that is cut short")
		return s
	}
	copy(s[:], d.rest)
	d.rest = d.rest[SumSize:]
	return s
}

func (d *decoder) ref() Ref {
	s, size := d.sum(), d.uvarint()
	if d.err == nil && (size == 0 || size > MaxSize) {
		d.fail("a chunk of an impossible size")
	}
	return Ref{Sum: s, Size: int(size)}
}

func (d *decoder) end() {
	if d.err == nil && len(d.rest) > 0 {
		d.fail("something after the end")
	}
}
