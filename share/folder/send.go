package folder

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/zeebo/blake3"

	"tandem/session"
	"tandem/share/chunk"
)

// pieceSize is how much of a file goes into one item where the receiver has
// nothing to compare with.
const pieceSize = 128 << 10

// sender writes the content of files as items, one after the other.
type sender struct {
	w      *bufio.Writer
	packer *chunk.Packer

	hash *blake3.Hasher // of the file up to here
	// moved, if set, is told of every item: how many bytes of content it
	// stands for, how many of those travel, and its size.
	moved func(content, sent, wire int64)
	// stop, if set, is why to send no more.
	stop func() error

	total   int64 // content sent
	pending item  // copied or zero bytes that may grow

	recent recent // what has been sent
	plain  bool   // nothing of that is referred to

	buf, piece []byte
	whole      []byte // a small file
}

// begin begins a file, of which hash has what is not to be sent.
func (s *sender) begin(hash *blake3.Hasher, moved func(content, sent, wire int64), stop func() error) {
	s.hash, s.moved, s.stop = hash, moved, stop
	s.total, s.pending, s.plain = 0, item{}, false
}

// file sends the bytes of f from offset up to size. Chunks that the receiver
// has by its offer are copied there.
func (s *sender) file(f *os.File, offset, size int64, had offer) error {
	var known *index
	var cutter *chunk.Cutter
	if len(had.list) > 0 {
		var err error
		if cutter, err = chunk.NewCutter(bytes.NewReader(nil), had.params()); err != nil {
			return err
		}
		known = newIndex(had.list)
	}
	for offset < size {
		if err := s.stopped(); err != nil {
			return err
		}
		end, hole := segment(f, offset, size)
		r := io.NewSectionReader(f, offset, end-offset)
		before := s.total
		var err error
		switch {
		case hole:
			err = s.zeros(end - offset)
		case known != nil:
			cutter.Reset(r)
			err = s.chunks(cutter, known)
		default:
			err = s.pieces(r)
		}
		if err != nil {
			return err
		}
		if s.total-before < end-offset {
			return io.ErrUnexpectedEOF // it has shrunk
		}
		offset = end
	}
	return s.flush()
}

// pieces sends all that r has.
func (s *sender) pieces(r io.Reader) error {
	if s.piece == nil {
		s.piece = make([]byte, pieceSize)
	}
	for {
		if err := s.stopped(); err != nil {
			return err
		}
		n, err := io.ReadFull(r, s.piece)
		if n > 0 {
			if err := s.data(chunk.Sum{}, s.piece[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// chunks sends what the cutter finds, as far as the receiver does not have it.
func (s *sender) chunks(c *chunk.Cutter, known *index) error {
	for {
		if err := s.stopped(); err != nil {
			return err
		}
		ref, data, err := c.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if at, ok := known.find(ref); ok {
			_, _ = s.hash.Write(data) // a hash takes everything
			err = s.run(item{kind: itemCopy, offset: at, length: int64(ref.Size)})
		} else {
			err = s.data(ref.Sum, data)
		}
		if err != nil {
			return err
		}
	}
}

// data sends p, whose name is sum if that is not zero.
func (s *sender) data(sum chunk.Sum, p []byte) error {
	return hashBeside(s.hash, p, func() error { return s.bytes(sum, p) })
}

// besideLeast is the least that is worth a goroutine, in bytes.
const besideLeast = 16 << 10

// hashBeside hashes p while do works on it.
func hashBeside(h *blake3.Hasher, p []byte, do func() error) error {
	if len(p) < besideLeast {
		_, _ = h.Write(p) // a hash takes everything
		return do()
	}
	var hashing sync.WaitGroup
	defer hashing.Wait()
	hashing.Go(func() { _, _ = h.Write(p) })
	return do()
}

// small sends the whole file of d that was listed as e, or that there is none.
func (s *sender) small(d *directory, e Entry) error {
	if err := s.stopped(); err != nil {
		return err
	}
	if s.whole == nil {
		s.whole = make([]byte, smallFile)
	}
	data, err := d.read(e, s.whole)
	if err != nil {
		if e.Size == 0 {
			return nil // as good as listed
		}
		s.buf = item{kind: itemNone}.append(s.buf[:0])
		return writeUnit(s.w, s.buf)
	}
	for piece := range slices.Chunk(data, pieceSize) {
		if err := s.bytes(chunk.Sum{}, piece); err != nil {
			return err
		}
	}
	return s.flush()
}

// bytes sends p as an item, without a part in the hash of the file.
func (s *sender) bytes(sum chunk.Sum, p []byte) error {
	if allZero(p) {
		return s.run(item{kind: itemZeros, length: int64(len(p))})
	}
	if err := s.flush(); err != nil {
		return err
	}
	if sum == (chunk.Sum{}) {
		sum = chunk.SumOf(p)
	}
	if !s.plain && s.recent.has(sum) {
		s.buf = item{kind: itemAgain, sum: sum}.append(s.buf[:0])
		s.count(int64(len(p)), 0, int64(len(s.buf)))
		return writeUnit(s.w, s.buf)
	}
	s.recent.add(sum, spot{size: len(p)})
	s.buf = append(append(s.buf[:0], itemData), sum[:]...)
	s.buf = s.packer.Pack(s.buf, p)
	if err := writeUnit(s.w, s.buf); err != nil {
		return err
	}
	s.count(int64(len(p)), int64(len(p)), int64(len(s.buf)))
	return nil
}

// zeros sends n bytes of a hole.
func (s *sender) zeros(n int64) error {
	if err := hashZeros(s.hash, n, s.stop); err != nil {
		return err
	}
	return s.run(item{kind: itemZeros, length: n})
}

// run sends bytes that do not travel, together with those before where they
// follow each other.
func (s *sender) run(i item) error {
	p := &s.pending
	if p.kind == i.kind && (i.kind == itemZeros || p.offset+p.length == i.offset) {
		p.length += i.length
	} else {
		if err := s.flush(); err != nil {
			return err
		}
		s.pending = i
	}
	s.count(i.length, 0, 0)
	return nil
}

func (s *sender) flush() error {
	if s.pending.kind == 0 {
		return nil
	}
	s.buf = s.pending.append(s.buf[:0])
	s.pending = item{}
	s.count(0, 0, int64(len(s.buf)))
	return writeUnit(s.w, s.buf)
}

func (s *sender) count(content, sent, wire int64) {
	s.total += content
	if s.moved != nil {
		s.moved(content, sent, wire+unitSize)
	}
}

func (s *sender) stopped() error {
	if s.stop == nil {
		return nil
	}
	return s.stop()
}

// allZero reports whether p holds nothing but zeros.
func allZero(p []byte) bool {
	return len(p) == 0 || p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1])
}

// hashZeros hashes n zeros.
func hashZeros(h io.Writer, n int64, stop func() error) error {
	none := make([]byte, min(n, 1<<20))
	for n > 0 {
		if stop != nil {
			if err := stop(); err != nil {
				return err
			}
		}
		some := none[:min(n, int64(len(none)))]
		if _, err := h.Write(some); err != nil {
			return err
		}
		n -= int64(len(some))
	}
	return nil
}

// offer is what a receiver has of a file: the chunks of its old version.
type offer struct {
	list   chunk.List
	later  *chunk.List // what list will be once it has come
	normal int         // size of a chunk
	key    chunk.Sum   // they are cut with
}

// newOffer is an offer without chunks yet of a file of size bytes. The key is
// a new one, so that what passes by gives no sizes of known chunks away.
func newOffer(size int64) offer {
	o := offer{normal: minNormal, key: newKey()}
	for o.normal < maxNormal && size/int64(o.normal) > maxOffered/2 {
		o.normal *= 2
	}
	return o
}

// params are how the chunks of an offer are cut.
func (o offer) params() chunk.Params {
	return chunk.Params{Min: o.normal / 4, Normal: o.normal, Max: o.normal * 4, Key: o.key}
}

// index finds chunks of an offer.
type index struct {
	list  chunk.List
	at    []int64
	first map[chunk.Sum]int
	next  int // the one after the last that was found
}

func newIndex(list chunk.List) *index {
	x := &index{list: list, at: make([]int64, len(list)), first: make(map[chunk.Sum]int, len(list))}
	at := int64(0)
	for i, ref := range list {
		x.at[i] = at
		at += int64(ref.Size)
		if _, double := x.first[ref.Sum]; !double {
			x.first[ref.Sum] = i
		}
	}
	return x
}

// find is where ref lies in the old version.
func (x *index) find(ref chunk.Ref) (int64, bool) {
	i := x.next // runs cost less
	if i >= len(x.list) || x.list[i] != ref {
		var ok bool
		if i, ok = x.first[ref.Sum]; !ok || x.list[i] != ref {
			return 0, false
		}
	}
	x.next = i + 1
	return x.at[i], true
}

// writeList writes an offer's list as blocks.
func writeList(w *bufio.Writer, list chunk.List) error {
	for raw := list.Append(nil); len(raw) > 0; {
		n := min(len(raw), blockSize)
		if err := writeUnit(w, raw[:n]); err != nil {
			return err
		}
		raw = raw[n:]
	}
	return nil
}

// readList reads the blocks of a list. An empty body is an empty list.
func readList(b *body) (chunk.List, error) {
	var raw []byte
	for {
		block, err := b.block()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if len(raw)+len(block) > maxListSize {
			return nil, session.Errorf("folder", session.TooLarge, "a list of more than %d bytes", maxListSize)
		}
		raw = append(raw, block...)
	}
	if len(raw) == 0 {
		return nil, nil
	}
	list, err := chunk.ParseList(raw)
	if err != nil {
		return nil, err
	}
	if len(list) > maxOffered {
		return nil, session.Errorf("folder", session.TooLarge, "a list of %d chunks, over %d", len(list), maxOffered)
	}
	return list, nil
}

// survey lists the chunks of the file at path by the params of o, at most
// maxOffered, and hashes all of it.
func (t *tree) survey(ctx context.Context, path string, o *offer) (chunk.Sum, Entry, error) {
	f, e, err := t.open(path)
	if err != nil {
		return chunk.Sum{}, Entry{}, err
	}
	defer f.Close()
	h := blake3.New()
	r := io.TeeReader(io.LimitReader(f, e.Size), h)
	cutter, err := chunk.NewCutter(r, o.params())
	if err != nil {
		return chunk.Sum{}, Entry{}, err
	}
	o.list = nil
	for total := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return chunk.Sum{}, Entry{}, err
		}
		ref, _, err := cutter.Next()
		if errors.Is(err, io.EOF) {
			if total < e.Size {
				return chunk.Sum{}, Entry{}, changed(path)
			}
			return sum(h), e, t.unchanged(f, path, e)
		}
		if err != nil {
			return chunk.Sum{}, Entry{}, fileError("read", path, err)
		}
		total += int64(ref.Size)
		if len(o.list) < maxOffered {
			o.list = append(o.list, ref)
		}
	}
}
