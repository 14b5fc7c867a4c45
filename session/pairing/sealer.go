package pairing

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha512"
	"encoding/binary"
	"sync"

	"tandem/session"
)

const (
	labelHostBox  = "tandem/pair/1 host to guest"
	labelGuestBox = "tandem/pair/1 guest to host"
	boxKeySize    = 32
	boxWindow     = 64
	maxBoxes      = 1 << 32
)

// Sealer is one end of the channel that an exchange leaves behind: whole
// messages of type more, for what belongs to the exchange but comes later.
// Each end may be used by several goroutines.
type Sealer struct {
	attempt Attempt
	send    cipher.AEAD
	receive cipher.AEAD

	mu     sync.Mutex // guards what follows
	next   uint64     // number of our next box
	newest uint64     // one more than the highest number opened
	seen   uint64     // bit n: newest-1-n has been opened
}

// Seal makes a message that only the other end can open.
// The error's kind is TooLarge for more than MaxPayload bytes.
func (s *Sealer) Seal(payload []byte) ([]byte, error) {
	if len(payload) > MaxPayload {
		return nil, errPayload()
	}
	return s.box(header(typeMore, s.attempt), nil, payload)
}

// Open opens what the other end's Seal made. The error's kind is Integrity for
// anything else, and for a message that has been opened before.
func (s *Sealer) Open(message []byte) ([]byte, error) {
	t, attempt, body, err := split(message)
	if err != nil {
		return nil, err
	}
	if t != typeMore || attempt != s.attempt {
		return nil, errMalformed()
	}
	return s.unbox(message[:headerSize], body)
}

// newSealer derives the boxes' keys from a finished exchange.
func newSealer(a Attempt, sid, isk []byte, host bool) (*Sealer, error) {
	keys := make([]cipher.AEAD, 2)
	for n, label := range []string{labelHostBox, labelGuestBox} {
		key, err := hkdf.Key(sha512.New, isk, sid, label, boxKeySize)
		if err != nil {
			return nil, err
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		if keys[n], err = cipher.NewGCM(block); err != nil {
			return nil, err
		}
	}
	if host {
		return &Sealer{attempt: a, send: keys[0], receive: keys[1]}, nil
	}
	return &Sealer{attempt: a, send: keys[1], receive: keys[0]}, nil
}

// box appends a box to prefix, the message so far, which begins with head.
func (s *Sealer) box(head, prefix, content []byte) ([]byte, error) {
	s.mu.Lock()
	seq := s.next
	s.next++
	s.mu.Unlock()
	if seq >= maxBoxes {
		return nil, session.Errorf(opPair, session.Expired, "too many messages for one exchange")
	}
	nonce := make([]byte, s.send.NonceSize())
	binary.BigEndian.PutUint64(nonce[4:], seq)
	out := append(append(append([]byte{}, head...), prefix...), nonce[4:]...)
	return s.send.Seal(out, nonce, content, head), nil
}

// unbox opens a box whose message begins with head, once.
func (s *Sealer) unbox(head, box []byte) ([]byte, error) {
	if len(box) < boxOverhead {
		return nil, errMalformed()
	}
	seq := binary.BigEndian.Uint64(box)
	if seq >= maxBoxes {
		return nil, errMalformed()
	}
	nonce := make([]byte, s.receive.NonceSize())
	copy(nonce[4:], box[:8])
	content, err := s.receive.Open(nil, nonce, box[8:], head)
	if err != nil {
		return nil, session.Errorf(opPair, session.Integrity, "a message was changed on its way")
	}
	if !s.first(seq) {
		return nil, session.Errorf(opPair, session.Integrity, "a message came twice or far too late")
	}
	return content, nil
}

// first records a number and reports whether it is new and not too old to tell
// (RFC 4303, section 3.4.3).
func (s *Sealer) first(seq uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq >= s.newest {
		// A shift by 64 or more leaves nothing, as it should.
		s.seen = s.seen<<(seq-s.newest+1) | 1
		s.newest = seq + 1
		return true
	}
	age := s.newest - 1 - seq
	if age >= boxWindow || s.seen>>age&1 == 1 {
		return false
	}
	s.seen |= 1 << age
	return true
}

func errPayload() error {
	return session.Errorf(opPair, session.TooLarge, "a pairing message carries %d bytes at most", MaxPayload)
}
