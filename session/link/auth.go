package link

import (
	"crypto/sha256"
	"encoding/binary"

	"tandem/session"
)

// Identity signs for this device.
type Identity interface {
	ID() session.PeerID
	Sign(message []byte) []byte
}

// The first field of everything that is signed.
const (
	labelOffer   = "tandem/sess/1 offer"
	labelAnswer  = "tandem/sess/1 answer"
	labelConfirm = "tandem/sess/1 confirm"
	labelRefuse  = "tandem/sess/1 refuse"
	labelRestart = "tandem/sess/1 restart"
)

// role is which side of the conversation a peer is. Its text is signed.
type role string

const (
	offerer  role = "offerer"
	answerer role = "answerer"
)

func (r role) other() role {
	if r == offerer {
		return answerer
	}
	return offerer
}

// transcript is what both sides agree on: everything their signatures cover.
// The answerer's half is zero until there is an answer.
type transcript struct {
	kind     string
	context  [sha256.Size]byte
	offerer  session.PeerID
	answerer session.PeerID
	expires  int64

	offerNonce  []byte
	offerSDP    [sha256.Size]byte
	answerNonce []byte
	answerSDP   [sha256.Size]byte

	offerPrint  fingerprint
	answerPrint fingerprint
}

// id is the identity of the peer in role r.
func (t *transcript) id(r role) session.PeerID {
	if r == offerer {
		return t.offerer
	}
	return t.answerer
}

// print is the certificate fingerprint of the peer in role r.
func (t *transcript) print(r role) fingerprint {
	if r == offerer {
		return t.offerPrint
	}
	return t.answerPrint
}

// signed joins a label and fields, each preceded by its length as a big-endian
// uint32, so that no two lists of fields give the same bytes.
func signed(label string, fields ...[]byte) []byte {
	size := 4 + len(label)
	for _, f := range fields {
		size += 4 + len(f)
	}
	b := make([]byte, 0, size)
	b = binary.BigEndian.AppendUint32(b, uint32(len(label)))
	b = append(b, label...)
	for _, f := range fields {
		b = binary.BigEndian.AppendUint32(b, uint32(len(f)))
		b = append(b, f...)
	}
	return b
}

func uint64Field(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

// offer is what S1 signs.
func (t *transcript) offer() []byte {
	return signed(labelOffer, []byte(t.kind), t.context[:], t.offerer[:], t.answerer[:],
		uint64Field(uint64(t.expires)), t.offerNonce, t.offerSDP[:])
}

// answer is what S2 signs: all of S1, and the answerer's half.
func (t *transcript) answer() []byte {
	return signed(labelAnswer, []byte(t.kind), t.context[:], t.offerer[:], t.answerer[:],
		uint64Field(uint64(t.expires)), t.offerNonce, t.offerSDP[:], t.answerNonce, t.answerSDP[:])
}

// confirm is what S3 signs inside the connection, on behalf of role r.
func (t *transcript) confirm(r role) []byte {
	return signed(labelConfirm, []byte(t.kind), t.context[:], []byte(r), t.offerer[:], t.answerer[:],
		t.offerNonce, t.answerNonce, t.offerPrint[:], t.answerPrint[:])
}

// refuse is what the answerer signs instead of S2.
func (t *transcript) refuse(kind, text string) []byte {
	return signed(labelRefuse, []byte(t.kind), t.context[:], t.offerer[:], t.answerer[:],
		t.offerNonce, t.offerSDP[:], []byte(kind), []byte(text))
}

// restart is what a restart envelope from role r signs.
func (t *transcript) restart(r role, e *envelope) []byte {
	direct := byte(0)
	if e.DirectOnly {
		direct = 1
	}
	return signed(labelRestart, []byte(t.kind), []byte(r), t.offerer[:], t.answerer[:], t.offerNonce, t.answerNonce,
		[]byte(e.Step), uint64Field(uint64(e.Generation)), []byte{direct}, []byte(e.Ufrag), []byte(e.Password))
}

func refused(format string, args ...any) *session.Error {
	return session.Errorf("link", session.Integrity, format, args...)
}
