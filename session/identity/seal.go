package identity

import (
	"crypto/ecdh"
	"crypto/hpke"
	"slices"

	"tandem/session"
)

const (
	// MaxSealed is the largest sealed message, in bytes.
	MaxSealed = 64 << 10
	// SealOverhead is by how much a sealed message is longer than its content.
	SealOverhead = 32 + 16

	sealInfo = "tandem/seal/1"
	opSeal   = "seal"

	maxMailbox = 128
	maxServers = 8
	maxServer  = 256
)

// Contact is how to reach a peer and how to seal for it. It comes from the
// peer itself, over an authenticated channel.
type Contact struct {
	// Mailbox is the peer's mailbox on signaling servers.
	Mailbox string `json:"mailbox,omitempty"`
	// SealKey is the peer's X25519 public key, 32 bytes.
	SealKey []byte `json:"seal_key,omitempty"`
	// Servers are the signaling servers the peer registers with.
	Servers []string `json:"servers,omitempty"`
}

// IsZero reports whether c says nothing.
func (c Contact) IsZero() bool { return c.Mailbox == "" && len(c.SealKey) == 0 && len(c.Servers) == 0 }

// Equal reports whether c and o say the same.
func (c Contact) Equal(o Contact) bool {
	return c.Mailbox == o.Mailbox && slices.Equal(c.SealKey, o.SealKey) && slices.Equal(c.Servers, o.Servers)
}

// Check reports what is wrong with a contact that a peer sent: anything over
// its limit (mailbox 128 bytes, eight servers of 256 bytes), or characters that
// are not fit to show.
func (c Contact) Check() error {
	ok := len(c.Mailbox) <= maxMailbox && session.Printable(c.Mailbox) == c.Mailbox &&
		(len(c.SealKey) == 0 || len(c.SealKey) == 32) && len(c.Servers) <= maxServers
	for _, s := range c.Servers {
		ok = ok && s != "" && len(s) <= maxServer && session.Printable(s) == s
	}
	if !ok {
		return &session.Error{Op: "contact", Kind: session.Invalid, Text: "the peer's contact details are malformed"}
	}
	return nil
}

// Seal encrypts message, at most MaxSealed-SealOverhead bytes, so that only the
// peer whose contact this is can read it.
func (c Contact) Seal(message []byte) ([]byte, error) {
	if len(message) > MaxSealed-SealOverhead {
		return nil, session.Errorf(opSeal, session.TooLarge, "a sealed message holds %d bytes at most", MaxSealed-SealOverhead)
	}
	key, err := hpke.DHKEM(ecdh.X25519()).NewPublicKey(c.SealKey)
	if err != nil {
		return nil, session.Errorf(opSeal, session.Invalid, "the peer's sealing key is malformed")
	}
	sealed, err := hpke.Seal(key, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), []byte(sealInfo), message)
	if err != nil {
		return nil, session.Errorf(opSeal, session.Invalid, "the peer's sealing key is unusable")
	}
	return sealed, nil
}

// Open decrypts what was sealed for this device. Anybody may have sealed it.
func (d *Device) Open(sealed []byte) ([]byte, error) {
	if len(sealed) > MaxSealed {
		return nil, session.Errorf("open", session.TooLarge, "a sealed message has %d bytes at most", MaxSealed)
	}
	message, err := hpke.Open(d.seal, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), []byte(sealInfo), sealed)
	if err != nil {
		return nil, session.Errorf("open", session.Integrity, "the message was not sealed for this device")
	}
	return message, nil
}
