package folder

import (
	"encoding/binary"

	"tandem/share/chunk"
)

// The kinds of items; see the package comment.
const (
	itemData  = 1
	itemCopy  = 2
	itemZeros = 3
	itemAgain = 4
	itemNone  = 5
)

const (
	// maxFile is the largest file that is sent or received, in bytes: zeros
	// cost nothing on the wire, and time to verify.
	maxFile = 1 << 44
	// maxChunk is the largest chunk that fits a block with what is around it.
	maxChunk = 1 << 20
	// itemOverhead is what an item may take beside its chunk.
	itemOverhead = 64
)

// item is some bytes of a file, in order.
type item struct {
	kind byte
	// sum and pack are those of data; sum is also that of what came before.
	sum  chunk.Sum
	pack []byte
	// offset is where in the receiver's old file copied bytes begin.
	offset int64
	// length is how many bytes are copied or zero.
	length int64
}

func (i item) append(b []byte) []byte {
	b = append(b, i.kind)
	switch i.kind {
	case itemData:
		b = append(b, i.sum[:]...)
		return append(b, i.pack...)
	case itemAgain:
		return append(b, i.sum[:]...)
	case itemNone:
		return b
	case itemCopy:
		b = binary.AppendUvarint(b, uint64(i.offset))
	}
	return binary.AppendUvarint(b, uint64(i.length))
}

// parseItem reads what append wrote. The pack is a part of b.
func parseItem(b []byte) (item, error) {
	if len(b) == 0 {
		return item{}, violation("an empty item")
	}
	i := item{kind: b[0]}
	b = b[1:]
	number := func() int64 {
		v, n := binary.Uvarint(b)
		if n <= 0 || n > 1 && b[n-1] == 0 || v > maxFile {
			b = nil
			return -1
		}
		b = b[n:]
		return int64(v)
	}
	switch i.kind {
	case itemData:
		if len(b) <= len(i.sum) {
			return item{}, violation("an item that is cut short")
		}
		copy(i.sum[:], b)
		i.pack = b[len(i.sum):]
		return i, nil
	case itemAgain:
		if len(b) != len(i.sum) {
			return item{}, violation("a broken item")
		}
		copy(i.sum[:], b)
		return i, nil
	case itemNone:
		if len(b) > 0 {
			return item{}, violation("a broken item")
		}
		return i, nil
	case itemCopy:
		i.offset = number()
	case itemZeros:
	default:
		return item{}, violation("an item of kind %d", i.kind)
	}
	i.length = number()
	if i.offset < 0 || i.length <= 0 || len(b) > 0 {
		return item{}, violation("a broken item")
	}
	return i, nil
}
