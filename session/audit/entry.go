package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"tandem/session"
)

// Outcome is what happened; see the package comment.
type Outcome string

// The outcomes.
const (
	Invited  Outcome = "invited"
	Approved Outcome = "approved"
	Refused  Outcome = "refused"
	Allowed  Outcome = "allowed"
	Denied   Outcome = "denied"
	Ended    Outcome = "ended"
	Failed   Outcome = "failed"
	Revoked  Outcome = "revoked"
	Repaired Outcome = "repaired"
	Lost     Outcome = "lost"
)

// Entry is one line of the log. Seq, Time and Prev are the log's to fill in.
type Entry struct {
	Seq       uint64         `json:"seq"`
	Time      time.Time      `json:"time"`
	Outcome   Outcome        `json:"outcome"`
	Peer      session.PeerID `json:"peer,omitzero"`
	Name      string         `json:"name,omitempty"`
	Service   string         `json:"service,omitempty"`
	Resource  string         `json:"resource,omitempty"`
	Action    string         `json:"action,omitempty"`
	Detail    string         `json:"detail,omitempty"`
	Of        uint64         `json:"of,omitempty"`
	Sent      uint64         `json:"sent,omitempty"`
	Received  uint64         `json:"received,omitempty"`
	Exit      *int           `json:"exit,omitempty"`
	Recording string         `json:"recording,omitempty"`
	Reason    string         `json:"reason,omitempty"`
	Count     int            `json:"count,omitempty"`
	Prev      Hash           `json:"prev"`
}

// Hash is the SHA-256 of a line.
type Hash [sha256.Size]byte

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText writes the hash as String does.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (h *Hash) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil || len(raw) != len(h) || strings.ToLower(string(text)) != string(text) {
		return errors.New("not a hash")
	}
	copy(h[:], raw)
	return nil
}

// hashOf hashes a line without its line feed.
func hashOf(line []byte) Hash { return sha256.Sum256(line) }

// The longest texts in an entry, in bytes; what is longer is cut. A text grows
// sixfold at most where it is escaped, so that every entry fits a line.
const (
	maxLine = 32 << 10
	maxName = 64
	maxText = 512
	maxPath = 1 << 10
)

// encode makes the line of an entry, without the line feed.
func encode(e Entry) ([]byte, error) {
	e.Time = e.Time.UTC().Truncate(time.Millisecond)
	for text, limit := range map[*string]int{
		&e.Name: maxName, &e.Service: maxName, &e.Action: maxName, &e.Resource: maxText, &e.Detail: maxText, &e.Reason: maxText, &e.Recording: maxPath,
	} {
		*text = cut(*text, limit)
	}
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(line.Bytes(), []byte("\n")), nil
}

// cut keeps a text within bounds. What is not UTF-8 the encoder replaces.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

var errEntry = errors.New("not an entry")

// decode reads a line without its line feed.
func decode(line []byte) (Entry, error) {
	var e Entry
	if len(line) >= maxLine || json.Unmarshal(line, &e) != nil || e.Seq == 0 || e.Outcome == "" {
		return Entry{}, errEntry
	}
	return e, nil
}

// Printable is the entry with what a peer may have worded made fit to be shown.
func (e Entry) Printable() Entry {
	e.Name = session.PrintableName(e.Name)
	e.Outcome = Outcome(session.Printable(string(e.Outcome)))
	for _, text := range []*string{&e.Service, &e.Resource, &e.Action, &e.Detail, &e.Recording, &e.Reason} {
		*text = session.Printable(*text)
	}
	return e
}
