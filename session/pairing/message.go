package pairing

import (
	"crypto/ed25519"
	"crypto/sha512"
	"fmt"

	"tandem/session"
)

const (
	version = 1

	// MaxMessage is the largest pairing message, in bytes.
	MaxMessage = 16 << 10
	// MaxPayload is the largest offer, answer or further content, in bytes.
	MaxPayload = MaxMessage - headerSize - sha512.Size - boxOverhead - ed25519.SignatureSize

	headerSize  = 2 + attemptSize
	attemptSize = 16
	nonceSize   = 32
	shareSize   = 32
	tagSize     = sha512.Size
	boxOverhead = 8 + 16
)

// Attempt names one attempt at an invite. It is not secret.
type Attempt [attemptSize]byte

func (a Attempt) String() string { return fmt.Sprintf("%x", a[:4]) }

type messageType byte

const (
	typeKnock messageType = 1 + iota
	typeHello
	typeM1
	typeM2
	typeM3
	typeM4
	typeRefuse
	typeDecline
	typeMore
)

// Kind is the form of an invite that a guest holds.
type Kind byte

// The kinds of invite, as they are sent.
const (
	Code Kind = 1
	Link Kind = 2
)

func (k Kind) String() string {
	switch k {
	case Code:
		return "code"
	case Link:
		return "link"
	}
	return "unknown"
}

// The bodies of the messages that have more than one field.
type (
	m1 struct {
		nonceH, nonceG [nonceSize]byte
		share          [shareSize]byte
		id             session.PeerID
		kind           Kind
		nameplate      string
	}
	m2 struct {
		share [shareSize]byte
		id    session.PeerID
		tag   [tagSize]byte
		box   []byte
	}
	m3 struct {
		tag [tagSize]byte
		box []byte
	}
)

func header(t messageType, a Attempt) []byte {
	return append([]byte{version, byte(t)}, a[:]...)
}

// AttemptOf is the attempt that a message says it belongs to.
func AttemptOf(message []byte) (Attempt, error) {
	_, a, _, err := split(message)
	return a, err
}

// split checks a message's first bytes and size. The error's kind is
// Unsupported for another version, and the attempt is valid then too.
func split(message []byte) (t messageType, a Attempt, body []byte, err error) {
	if len(message) > MaxMessage {
		return 0, a, nil, session.Errorf(opPair, session.TooLarge, "a pairing message is too long")
	}
	if len(message) < headerSize {
		return 0, a, nil, errMalformed()
	}
	t, a, body = messageType(message[1]), Attempt(message[2:headerSize]), message[headerSize:]
	if message[0] != version && t != typeRefuse {
		return t, a, nil, &session.Error{
			Op: opPair, Kind: session.Unsupported,
			Text: fmt.Sprintf("the other side speaks version %d of pairing, we speak %d", message[0], version),
			Hint: "install the same version of tandem on both sides",
		}
	}
	return t, a, body, nil
}

func errMalformed() error {
	return session.Errorf(opPair, session.Invalid, "a pairing message is malformed")
}

// reader takes a body apart; once it has run out, it stays bad.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n int) []byte {
	if r.bad || len(r.rest) < n {
		r.bad = true
		return make([]byte, n) // n is a field's fixed size or one byte's worth
	}
	out := r.rest[:n]
	r.rest = r.rest[n:]
	return out
}

func (r *reader) text() string { return string(r.take(int(r.take(1)[0]))) }

func (r *reader) box() []byte {
	box := r.rest
	r.bad, r.rest = r.bad || len(box) < boxOverhead, nil
	return box
}

func (r *reader) end() error {
	if r.bad || len(r.rest) > 0 {
		return errMalformed()
	}
	return nil
}

func appendText(b []byte, s string) []byte { return append(append(b, byte(len(s))), s...) }

func appendKnock(b []byte, nameplate string) []byte { return appendText(b, nameplate) }

func parseKnock(body []byte) (nameplate string, err error) {
	r := reader{rest: body}
	nameplate = r.text()
	if !validNameplate(nameplate) {
		r.bad = true
	}
	return nameplate, r.end()
}

func parseHello(body []byte) (nonce [nonceSize]byte, err error) {
	r := reader{rest: body}
	nonce = [nonceSize]byte(r.take(nonceSize))
	return nonce, r.end()
}

func (m *m1) append(b []byte) []byte {
	b = append(b, m.nonceH[:]...)
	b = append(b, m.nonceG[:]...)
	b = append(b, m.share[:]...)
	b = append(b, m.id[:]...)
	b = append(b, byte(m.kind))
	return appendText(b, m.nameplate)
}

func parseM1(body []byte) (m m1, err error) {
	r := reader{rest: body}
	m.nonceH = [nonceSize]byte(r.take(nonceSize))
	m.nonceG = [nonceSize]byte(r.take(nonceSize))
	m.share = [shareSize]byte(r.take(shareSize))
	m.id = session.PeerID(r.take(len(m.id)))
	m.kind = Kind(r.take(1)[0])
	m.nameplate = r.text()
	if m.kind != Code && m.kind != Link || !validNameplate(m.nameplate) {
		r.bad = true
	}
	return m, r.end()
}

func (m *m2) append(b []byte) []byte {
	b = append(b, m.share[:]...)
	b = append(b, m.id[:]...)
	b = append(b, m.tag[:]...)
	return append(b, m.box...)
}

func parseM2(body []byte) (m m2, err error) {
	r := reader{rest: body}
	m.share = [shareSize]byte(r.take(shareSize))
	m.id = session.PeerID(r.take(len(m.id)))
	m.tag = [tagSize]byte(r.take(tagSize))
	m.box = r.box()
	return m, r.end()
}

func (m *m3) append(b []byte) []byte { return append(append(b, m.tag[:]...), m.box...) }

func parseM3(body []byte) (m m3, err error) {
	r := reader{rest: body}
	m.tag = [tagSize]byte(r.take(tagSize))
	m.box = r.box()
	return m, r.end()
}

// parseKind reads a refusal. A kind that we do not know becomes Internal.
func parseKind(body []byte) (session.Kind, error) {
	r := reader{rest: body}
	kind := r.text()
	return session.FromWire(opPair, kind, "").Kind, r.end()
}

// appendReason and parseReason are the content of a decline.
func appendReason(b []byte, reason error) []byte {
	kind, text := session.Public(reason)
	if len(text) > session.MaxErrorText {
		text = text[:session.MaxErrorText]
	}
	return append(appendText(b, string(kind)), text...)
}

func parseReason(content []byte) (*session.Error, error) {
	r := reader{rest: content}
	kind := r.text()
	if r.bad || len(r.rest) > session.MaxErrorText {
		return nil, errMalformed()
	}
	return session.FromWire(opPair, kind, string(r.rest)), nil
}
