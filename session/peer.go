package session

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base32"
	"fmt"
	"strings"
)

// PeerID names a device: its Ed25519 public key (RFC 8032). It is written as
// 52 characters of lower-case base32 without padding (RFC 4648, section 6).
type PeerID [ed25519.PublicKeySize]byte

var idEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// ParsePeerID reads what String wrote.
func ParsePeerID(s string) (PeerID, error) {
	var id PeerID
	raw, err := idEncoding.DecodeString(strings.ToUpper(s))
	if err != nil || len(raw) != len(id) {
		return PeerID{}, &Error{Op: "parse peer", Kind: Invalid, Text: fmt.Sprintf("%q is not a peer ID", Printable(s))}
	}
	copy(id[:], raw)
	// Four bits of the last character carry nothing; one ID has one spelling.
	if id.String() != strings.ToLower(s) {
		return PeerID{}, &Error{Op: "parse peer", Kind: Invalid, Text: fmt.Sprintf("%q is not a peer ID", Printable(s))}
	}
	return id, nil
}

func (id PeerID) String() string { return strings.ToLower(idEncoding.EncodeToString(id[:])) }

// Short is the first eight characters, for logs and lists. It identifies
// nothing by itself.
func (id PeerID) Short() string { return id.String()[:8] }

// IsZero reports whether id names nobody.
func (id PeerID) IsZero() bool { return id == PeerID{} }

// Compare orders IDs by their bytes.
func (id PeerID) Compare(other PeerID) int { return bytes.Compare(id[:], other[:]) }

// Verify reports whether sig is id's signature of message.
func (id PeerID) Verify(message, sig []byte) bool {
	return len(sig) == ed25519.SignatureSize && ed25519.Verify(id[:], message, sig)
}

// MarshalText writes the ID as String does.
func (id PeerID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *PeerID) UnmarshalText(text []byte) error {
	parsed, err := ParsePeerID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// Peer is a device as we know it.
type Peer struct {
	ID PeerID `json:"id"`
	// Name is what the peer calls itself, passed through Printable. It proves
	// nothing.
	Name string `json:"name,omitempty"`
}

func (p Peer) String() string {
	if p.Name == "" {
		return p.ID.Short()
	}
	return p.Name
}
