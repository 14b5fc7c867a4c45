package chunk

import (
	"errors"
	"io"
	"math/bits"

	chunkers "github.com/PlakarKorp/go-cdc-chunkers"
	_ "github.com/PlakarKorp/go-cdc-chunkers/chunkers/fastcdc" // the algorithm

	"tandem/session"
)

// algorithm is FastCDC as published. What the library calls "fastcdc" ignores
// the normal size.
const algorithm = "fastcdc-v1.0.0"

// Params says how files are cut. They are pinned for as long as lists are to be
// compared.
type Params struct {
	Min, Normal, Max int      // sizes of a chunk in bytes; Normal is a power of two
	Key              [32]byte // the folder's; zero is a key like any other
}

// Usual are the sizes for files of all kinds, with a folder's key.
func Usual(key [32]byte) Params {
	return Params{Min: 16 << 10, Normal: 64 << 10, Max: 256 << 10, Key: key}
}

// Check reports sizes that can't be used, as Invalid.
func (p Params) Check() error {
	if p.Min < 64 || p.Normal <= p.Min || p.Max <= p.Normal || p.Max > MaxSize || bits.OnesCount(uint(p.Normal)) != 1 {
		return session.Errorf("chunk", session.Invalid, "files can't be cut into chunks of %d, %d, %d bytes", p.Min, p.Normal, p.Max)
	}
	return nil
}

// Ref is one chunk of a list.
type Ref struct {
	Sum  Sum
	Size int // in bytes, 1 to MaxSize
}

// Cutter cuts what it reads. It takes twice Params.Max of memory, however much
// it reads.
type Cutter struct {
	chunker *chunkers.Chunker
	over    bool
}

// NewCutter begins to cut r.
func NewCutter(r io.Reader, p Params) (*Cutter, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	chunker, err := chunkers.NewChunker(algorithm, r, &chunkers.ChunkerOpts{
		MinSize: p.Min, NormalSize: p.Normal, MaxSize: p.Max, Key: p.Key[:],
	})
	if err != nil {
		return nil, session.Errorf("chunk", session.Internal, "cut: %w", err)
	}
	return &Cutter{chunker: chunker}, nil
}

// Reset begins to cut r instead, in the same memory.
func (c *Cutter) Reset(r io.Reader) {
	c.over = false
	c.chunker.Reset(r)
}

// Next returns the next chunk and its bytes, which are good until the next
// call; at the end, io.EOF; and what reading failed with, if it did.
func (c *Cutter) Next() (Ref, []byte, error) {
	if c.over {
		return Ref{}, nil, io.EOF
	}
	data, err := c.chunker.Next()
	switch {
	case errors.Is(err, io.EOF):
		c.over = true // the last chunk may come with it
	case err != nil:
		return Ref{}, nil, err
	}
	if len(data) == 0 {
		c.over = true
		return Ref{}, nil, io.EOF
	}
	return Ref{Sum: SumOf(data), Size: len(data)}, data, nil
}

// Cut lists the chunks of r. Each, if not nil, gets them on the way.
func Cut(r io.Reader, p Params, each func(Ref, []byte) error) (List, error) {
	c, err := NewCutter(r, p)
	if err != nil {
		return nil, err
	}
	var list List
	for {
		ref, data, err := c.Next()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		if len(list) == MaxRefs {
			return nil, session.Errorf("chunk", session.TooLarge, "a file of more than %d chunks", MaxRefs)
		}
		list = append(list, ref)
		if each != nil {
			if err := each(ref, data); err != nil {
				return nil, err
			}
		}
	}
}
