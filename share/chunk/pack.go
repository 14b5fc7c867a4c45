package chunk

import (
	"github.com/klauspost/compress"
	"github.com/klauspost/compress/zstd"

	"tandem/session"
)

// What a pack begins with.
const (
	packPlain = 0
	packZstd  = 1
)

const (
	// worthTrying is the least compressibility, by klauspost/compress's estimate
	// from 0 to 1, at which zstd is tried at all: noise is seldom estimated higher.
	worthTrying = 0.06
	// The estimate is made of sampleCount pieces of samplePart bytes: it takes as long
	// as two hashes of what it looks at.
	sampleCount = 8
	samplePart  = 2 << 10
)

// Packer packs and unpacks chunks. It can be used by several goroutines at
// once.
type Packer struct {
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

// NewPacker makes a Packer. It has no goroutines of its own.
func NewPacker() (*Packer, error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(2), zstd.WithEncoderLevel(zstd.SpeedDefault),
		zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false)) // the name is the better check
	if err != nil {
		return nil, session.Errorf("pack", session.Internal, "%w", err)
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(MaxSize),
		zstd.WithDecoderMaxWindow(MaxSize))
	if err != nil {
		return nil, session.Errorf("pack", session.Internal, "%w", err)
	}
	return &Packer{encoder, decoder}, nil
}

// Pack appends the pack of data to b.
func (p *Packer) Pack(b, data []byte) []byte {
	start := len(b)
	if compressible(data) {
		b = p.encoder.EncodeAll(data, append(b, packZstd))
		if len(b)-start <= len(data)-len(data)/16 {
			return b
		}
	}
	return append(append(b[:start], packPlain), data...)
}

// compressible guesses whether zstd would make much less of data.
func compressible(data []byte) bool {
	if len(data) <= sampleCount*samplePart {
		return compress.Estimate(data) >= worthTrying
	}
	var sample [sampleCount * samplePart]byte
	for i := range sampleCount {
		copy(sample[i*samplePart:], data[i*(len(data)/sampleCount):][:samplePart])
	}
	return compress.Estimate(sample[:]) >= worthTrying
}

// Unpack returns the chunk of that name that pack holds. What it returns may be
// a part of pack. The error's kind is Integrity.
func (p *Packer) Unpack(name Sum, pack []byte) ([]byte, error) {
	data, err := p.Content(pack)
	if err != nil || SumOf(data) != name {
		return nil, damaged(name)
	}
	return data, nil
}

// Content returns the bytes that pack holds, which may be a part of it, for whoever has
// another way to find out whether they are right. The error's kind is Integrity.
func (p *Packer) Content(pack []byte) ([]byte, error) {
	if len(pack) == 0 {
		return nil, errPack
	}
	data := pack[1:]
	switch pack[0] {
	case packPlain:
	case packZstd:
		var err error
		if data, err = p.decoder.DecodeAll(data, nil); err != nil {
			return nil, errPack
		}
	default:
		return nil, errPack
	}
	if len(data) == 0 || len(data) > MaxSize {
		return nil, errPack
	}
	return data, nil
}

// errPack says that a pack holds nothing.
var errPack = session.Errorf("unpack", session.Integrity, "the pack is damaged")

// Close frees what the Packer holds.
func (p *Packer) Close() {
	p.decoder.Close()
	_ = p.encoder.Close() // it has no stream to finish
}

func damaged(name Sum) error {
	return session.Errorf("chunk", session.Integrity, "chunk %s is damaged", name.String()[:12])
}
