package signaling

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
)

// Version is the protocol this package speaks, MinVersion the oldest.
const (
	Version    = 1
	MinVersion = 1
)

// Sizes both sides keep to.
const (
	// MaxFrame bounds a message's JSON text, in bytes.
	MaxFrame = 64 << 10
	// MaxBody bounds the body of send and message, in bytes before base64, so
	// that the message around it stays within MaxFrame.
	MaxBody = 47 << 10
	// NonceSize is the size of a welcome's nonce, in bytes.
	NonceSize = 32
	// MaxWatches bounds the mailboxes of one watch.
	MaxWatches = 256
	// MaxRelays bounds the relays of one answer, and the URLs of each.
	MaxRelays = 8
	// MaxRelayTTL bounds how long credentials are believed to last, in seconds.
	MaxRelayTTL = 24 * 60 * 60

	maxID     = 1<<53 - 1
	maxString = 512 // any other string
)

// The types of message. The package comment says who sends them and when.
const (
	TypeWelcome   = "welcome"
	TypeClaim     = "claim"
	TypeClaimed   = "claimed"
	TypeSend      = "send"
	TypeSent      = "sent"
	TypeMessage   = "message"
	TypeNameplate = "nameplate"
	TypeRelease   = "release"
	TypeReleased  = "released"
	TypeWatch     = "watch"
	TypeWatching  = "watching"
	TypePresence  = "presence"
	TypeRelay     = "relay"
	TypeRelays    = "relays"
	TypePing      = "ping"
	TypePong      = "pong"
	TypeDraining  = "draining"
	TypeError     = "error"
)

// Message is any message of the protocol. Which fields a type has is said in
// the package comment.
type Message struct {
	Type string `json:"type"`
	ID   uint64 `json:"id,omitempty"`

	Version    int     `json:"version,omitempty"`
	MinVersion int     `json:"min_version,omitempty"`
	Nonce      []byte  `json:"nonce,omitempty"`
	Host       string  `json:"host,omitempty"`
	Observed   string  `json:"observed,omitempty"`
	Time       int64   `json:"time,omitempty"`
	Limits     *Limits `json:"limits,omitempty"`

	Key       []byte `json:"key,omitempty"`
	Signature []byte `json:"signature,omitempty"`
	Yield     bool   `json:"yield,omitempty"`

	To   string `json:"to,omitempty"`
	From string `json:"from,omitempty"`
	Body []byte `json:"body,omitempty"`

	Number    string   `json:"number,omitempty"`
	Mailbox   string   `json:"mailbox,omitempty"`
	Mailboxes []string `json:"mailboxes,omitempty"`
	Online    []string `json:"online,omitempty"`
	Offline   []string `json:"offline,omitempty"`

	Relays  []Relay `json:"relays,omitempty"`
	AfterMS int64   `json:"after_ms,omitempty"`

	Kind string `json:"kind,omitempty"`
	Text string `json:"text,omitempty"`
}

// Limits is what a server tells its clients to keep to.
type Limits struct {
	Frame      int   `json:"frame"`
	Nameplates int   `json:"nameplates"`
	Watches    int   `json:"watches"`
	IdleMS     int64 `json:"idle_ms"`
}

// Relay is a TURN server (RFC 8656) and credentials for it.
type Relay struct {
	URLs     []string `json:"urls"` // RFC 7065 and RFC 7064: "turn:192.0.2.1:3478?transport=udp"
	Username string   `json:"username,omitempty"`
	Password string   `json:"password,omitempty"`
	TTL      int      `json:"ttl,omitempty"` // seconds the credentials last; 0 means they do not end
}

// Encode writes a message as JSON.
func Encode(m Message) ([]byte, error) {
	data, err := json.Marshal(m)
	if err == nil && len(data) > MaxFrame {
		err = &Error{Op: "encode", Kind: KindTooLarge, Text: fmt.Sprintf("a %s of %d bytes", m.Type, len(data))}
	}
	return data, err
}

// Decode reads a message and checks it by itself: every field its type needs
// is there and none is over its limit. Whether the message makes sense at this moment, and
// from this side, is for the caller to judge. A message of unknown type is
// returned with nothing but its type and id.
func Decode(data []byte) (Message, error) {
	if len(data) > MaxFrame {
		return Message{}, &Error{Op: "decode", Kind: KindTooLarge, Text: fmt.Sprintf("a message of %d bytes", len(data))}
	}
	var m Message
	if err := json.Unmarshal(data, &m); err != nil {
		return Message{}, &Error{Op: "decode", Kind: KindInvalid, Text: "not a JSON message", Err: err}
	}
	known, why := m.check()
	if why != "" {
		return Message{}, &Error{Op: "decode", Kind: KindInvalid, Text: printable(m.Type) + ": " + why}
	}
	if !known {
		return Message{Type: m.Type, ID: m.ID}, nil
	}
	return m, nil
}

// check reports whether the type is known, and what is wrong with the message.
func (m *Message) check() (known bool, why string) {
	if m.ID > maxID {
		return true, "id is not below 2^53"
	}
	for _, s := range []string{m.Type, m.Host, m.Observed, m.To, m.From, m.Number, m.Mailbox, m.Kind, m.Text} {
		if len(s) > maxString {
			return true, "a field is too long"
		}
	}
	if len(m.Body) > MaxBody {
		return true, fmt.Sprintf("the body is over %d bytes", MaxBody)
	}
	for _, list := range [][]string{m.Mailboxes, m.Online, m.Offline} {
		if len(list) > MaxWatches {
			return true, fmt.Sprintf("more than %d mailboxes", MaxWatches)
		}
		for _, mailbox := range list {
			if !ValidMailbox(mailbox) {
				return true, "not a mailbox"
			}
		}
	}
	switch m.Type {
	case "":
		return true, "the type is missing"
	case TypeWelcome:
		if m.Version < 1 || m.MinVersion < 1 || m.MinVersion > m.Version {
			return true, "the versions make no sense"
		}
		// Another version may have other fields; whoever reads it finds out.
		if m.MinVersion <= Version && m.Version >= MinVersion && len(m.Nonce) != NonceSize {
			return true, fmt.Sprintf("the nonce is not %d bytes", NonceSize)
		}
	case TypeClaim:
		if len(m.Key) != ed25519.PublicKeySize || len(m.Signature) != ed25519.SignatureSize {
			return true, "key or signature have the wrong size"
		}
	case TypeSend:
		if _, isPlate := PlateNumber(m.To); !isPlate && !ValidMailbox(m.To) {
			return true, "to is neither a mailbox nor a nameplate"
		}
	case TypeMessage:
		if !ValidMailbox(m.From) {
			return true, "from is not a mailbox"
		}
	case TypeNameplate:
		if m.Number != "" && !ValidNumber(m.Number) {
			return true, "not a nameplate's number"
		}
	case TypeRelease, TypeReleased:
		if !ValidNumber(m.Number) {
			return true, "not a nameplate's number"
		}
	case TypeClaimed:
		if !ValidMailbox(m.Mailbox) {
			return true, "not a mailbox"
		}
	case TypeRelays:
		return true, checkRelays(m.Relays)
	case TypeDraining:
		if m.AfterMS < 0 || m.AfterMS > 24*60*60*1000 {
			return true, "after_ms is not within a day"
		}
	case TypeSent, TypeWatch, TypeWatching, TypePresence, TypeRelay, TypePing, TypePong, TypeError:
	default:
		return false, ""
	}
	return true, ""
}

func checkRelays(relays []Relay) (why string) {
	if len(relays) > MaxRelays {
		return fmt.Sprintf("more than %d relays", MaxRelays)
	}
	for _, r := range relays {
		switch {
		case len(r.URLs) == 0 || len(r.URLs) > MaxRelays:
			return fmt.Sprintf("a relay has from 1 to %d URLs", MaxRelays)
		case len(r.Username) > maxString || len(r.Password) > maxString:
			return "credentials are too long"
		case r.TTL < 0 || r.TTL > MaxRelayTTL:
			return "a relay's ttl is not within a day"
		}
		for _, u := range r.URLs {
			scheme, _, _ := strings.Cut(u, ":")
			if len(u) > maxString || scheme != "turn" && scheme != "turns" && scheme != "stun" && scheme != "stuns" {
				return "not a relay's URL"
			}
		}
	}
	return ""
}

// claimContext is the domain of signatures and of mailbox names.
const claimContext = "tandem/mailbox/1"

// mailboxLen is the length of a mailbox's name, in characters.
const mailboxLen = 32

var mailboxEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// MailboxOf names key's mailbox.
func MailboxOf(key ed25519.PublicKey) string {
	h := sha256.New()
	h.Write([]byte(claimContext))
	h.Write(key)
	return strings.ToLower(mailboxEncoding.EncodeToString(h.Sum(nil)))[:mailboxLen]
}

// ValidMailbox reports whether s is spelled as a mailbox's name.
func ValidMailbox(s string) bool {
	if len(s) != mailboxLen {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// CanonicalHost is the form of a URL's authority that a claim signs: lower-case,
// without port 80 or 443.
func CanonicalHost(host string) string {
	host = strings.ToLower(host)
	for _, port := range []string{":80", ":443"} {
		if name, ok := strings.CutSuffix(host, port); ok && (!strings.Contains(name, ":") || strings.HasSuffix(name, "]")) {
			return name
		}
	}
	return host
}

// ClaimBytes is what a claim signs: the context, the server's nonce and the
// host the client wanted to reach, each behind its length.
func ClaimBytes(nonce []byte, host string) []byte {
	var out []byte
	for _, part := range [][]byte{[]byte(claimContext), nonce, []byte(host)} {
		out = binary.BigEndian.AppendUint16(out, uint16(len(part)))
		out = append(out, part...)
	}
	return out
}

// platePrefix marks addresses that are nameplates.
const platePrefix = "nameplate/"

// PlateAddress is the address of a nameplate, for Send.
func PlateAddress(number string) string { return platePrefix + number }

// PlateNumber takes the number out of a nameplate's address.
func PlateNumber(address string) (number string, ok bool) {
	number, ok = strings.CutPrefix(address, platePrefix)
	return number, ok && ValidNumber(number)
}

// MinDigits and MaxDigits bound the length of a nameplate's number.
const (
	MinDigits = 3
	MaxDigits = 6
)

// ValidNumber reports whether s is spelled as a nameplate's number.
func ValidNumber(s string) bool {
	if len(s) < MinDigits || len(s) > MaxDigits || s[0] == '0' {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
