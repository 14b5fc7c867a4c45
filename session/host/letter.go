package host

import (
	"context"
	"crypto/rand"
	"encoding/json"

	"tandem/session"
	"tandem/session/identity"
)

// MaxLetter is the longest letter sent or read, in bytes. It fits a signaling
// server's limit on messages after base64.
const MaxLetter = 44 << 10

// The first byte of a letter.
const (
	letterPairing = 'P'
	letterSealed  = 'S'
)

// A Letter is what a Post delivered.
type Letter struct {
	Server string // which server it came through; answers go back the same way
	From   string // the sender's mailbox
	Body   []byte
}

// Post carries letters between mailboxes.
type Post interface {
	// Send delivers body to a mailbox through server, or through any server
	// if it is empty. It fails with NotFound if nobody has that mailbox now.
	Send(ctx context.Context, server, to string, body []byte) error
	Receive(ctx context.Context) (Letter, error)
}

// convID names one conversation: chosen by whoever begins it.
type convID [16]byte

func newConvID() (id convID) {
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	return id
}

// sealedLetter is the plaintext of an 'S' letter.
type sealedLetter struct {
	Conv []byte         `json:"conv"`
	From session.PeerID `json:"from"`
	New  bool           `json:"new,omitempty"`
	Body []byte         `json:"body"`
}

func encodeSealed(to identity.Contact, l sealedLetter) ([]byte, error) {
	plain, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	sealed, err := to.Seal(plain)
	if err != nil {
		return nil, err
	}
	return append([]byte{letterSealed}, sealed...), nil
}

func decodeSealed(device *identity.Device, body []byte) (l sealedLetter, id convID, err error) {
	plain, err := device.Open(body[1:])
	if err != nil {
		return l, id, err
	}
	if err := json.Unmarshal(plain, &l); err != nil {
		return l, id, session.Errorf("letter", session.Invalid, "not a sealed letter")
	}
	if len(l.Conv) != len(id) || l.From.IsZero() || len(l.Body) == 0 {
		return l, id, session.Errorf("letter", session.Invalid, "a sealed letter lacks a field")
	}
	return l, convID(l.Conv), nil
}

func encodePairing(message []byte) []byte { return append([]byte{letterPairing}, message...) }
