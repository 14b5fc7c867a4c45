package chunk

import (
	"encoding/hex"

	"github.com/zeebo/blake3"

	"tandem/session"
)

// SumSize is the length of a Sum in bytes.
const SumSize = 32

// MaxSize is the largest size of any chunk, in bytes.
const MaxSize = 16 << 20

// Sum is a chunk's name: the BLAKE3 hash of its bytes.
type Sum [SumSize]byte

// SumOf names data.
func SumOf(data []byte) Sum { return blake3.Sum256(data) }

// String is the sum as 64 hex digits.
func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// ParseSum reads what String wrote. The error's kind is Invalid.
func ParseSum(text string) (s Sum, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != SumSize || hex.EncodeToString(b) != text {
		return s, session.Errorf("chunk", session.Invalid, "not a chunk's name")
	}
	return Sum(b), nil
}

// MarshalText writes what String does.
func (s Sum) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Sum) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSum(string(text))
	return err
}
