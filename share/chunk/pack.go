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

// worthTrying is the least compressibility, by klauspost/compress's estimate
// from 0 to 1, at which zstd is tried at all.
const worthTrying = 0.02

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
	if compress.Estimate(data) >= worthTrying {
		b = p.encoder.EncodeAll(data, append(b, packZstd))
		if len(b)-start <= len(data)-len(data)/16 {
			return b
		}
	}
	return append(append(b[:start], packPlain), data...)
}

// Unpack returns the chunk of that name that pack holds. What it returns may be
// a part of pack. The error's kind is Integrity.
func (p *Packer) Unpack(name Sum, pack []byte) ([]byte, error) {
	if len(pack) == 0 {
		return nil, damaged(name)
	}
	data := pack[1:]
	switch pack[0] {
	case packPlain:
	case packZstd:
		var err error
		if data, err = p.decoder.DecodeAll(data, nil); err != nil {
			return nil, damaged(name)
		}
	default:
		return nil, damaged(name)
	}
	if len(data) == 0 || len(data) > MaxSize || SumOf(data) != name {
		return nil, damaged(name)
	}
	return data, nil
}

// Close frees what the Packer holds.
func (p *Packer) Close() {
	p.decoder.Close()
	_ = p.encoder.Close() // it has no stream to finish
}

func damaged(name Sum) error {
	return session.Errorf("chunk", session.Integrity, "chunk %s is damaged", name.String()[:12])
}
