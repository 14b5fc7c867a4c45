package link

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"tandem/session"
)

// The limits on what a peer, or whoever carries its envelopes, may send.
const (
	// MaxEnvelope is the longest envelope, in bytes.
	MaxEnvelope = 24 << 10
	// maxSDP is the longest session description, in bytes.
	maxSDP = 16 << 10
	// maxCandidates is how many candidates one generation of ICE may have.
	maxCandidates = 48
	// maxCandidate is the longest candidate line, in bytes.
	maxCandidate = 512

	version   = 1
	nonceSize = 32
)

// The types of envelope.
const (
	typeOffer      = "offer"
	typeAnswer     = "answer"
	typeRefuse     = "refuse"
	typeCandidates = "candidates"
	typeRestart    = "restart"
	typeConfirm    = "confirm"
	typeReady      = "ready"
	typePing       = "ping"
	typePong       = "pong"
	typeFacts      = "facts"
	typeLane       = "lane"
	typeTCP        = "tcp"
	typeBye        = "bye"
)

// envelope is every message of the link protocol, on the Signaler and on
// channel 0. Which fields a type has is in the package comment; check enforces
// it.
type envelope struct {
	Version int    `json:"v"`
	Type    string `json:"t"`

	// offer, answer
	From    *session.PeerID `json:"from,omitempty"`
	To      *session.PeerID `json:"to,omitempty"`
	Nonce   []byte          `json:"nonce,omitempty"`
	Expires int64           `json:"expires,omitempty"`
	SDP     string          `json:"sdp,omitempty"`
	Sig     []byte          `json:"sig,omitempty"`

	// candidates, restart
	Generation uint32   `json:"gen,omitempty"`
	Candidates []string `json:"cand,omitempty"`
	Step       string   `json:"step,omitempty"`
	Silent     uint32   `json:"silent,omitempty"`
	DirectOnly bool     `json:"direct,omitempty"`
	Ufrag      string   `json:"ufrag,omitempty"`
	Password   string   `json:"pwd,omitempty"`

	// refuse, bye
	Kind string `json:"kind,omitempty"`
	Text string `json:"text,omitempty"`

	// ping, pong
	Number uint64 `json:"n,omitempty"`

	// confirm
	Copies bool `json:"copies,omitempty"`
	Lanes  bool `json:"lanes,omitempty"`
	TCP    bool `json:"tcp,omitempty"`

	// lane, with Number
	Lane json.RawMessage `json:"lane,omitempty"`

	// tcp, with Number and Step
	Port  uint16 `json:"port,omitempty"`
	Print []byte `json:"print,omitempty"`

	// facts
	STUNFailed bool `json:"stun_failed,omitempty"`
}

// marshal encodes e and panics only on a bug: every field can be encoded.
func (e envelope) marshal() ([]byte, error) {
	e.Version = version
	b, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	if len(b) > MaxEnvelope {
		return nil, session.Errorf("link", session.TooLarge, "an envelope of %d bytes is over the limit of %d", len(b), MaxEnvelope)
	}
	return b, nil
}

// parseEnvelope decodes and checks one envelope. Unknown fields are ignored.
func parseEnvelope(b []byte) (envelope, error) {
	var e envelope
	if len(b) > MaxEnvelope {
		return e, malformed("%d bytes", len(b))
	}
	if err := json.Unmarshal(b, &e); err != nil {
		return envelope{}, malformed("not JSON of the right shape")
	}
	if e.Version != version {
		return envelope{}, session.Errorf("link", session.Unsupported, "the peer speaks version %d of the link protocol, this is version %d", e.Version, version)
	}
	if err := e.check(); err != nil {
		return envelope{}, err
	}
	return e, nil
}

func (e *envelope) check() error {
	switch e.Type {
	case typeOffer:
		if e.From == nil || e.To == nil || e.From.IsZero() || e.To.IsZero() {
			return malformed("offer without identities")
		}
		if e.Expires <= 0 {
			return malformed("offer without expiry")
		}
		return e.checkDescription()
	case typeAnswer:
		return e.checkDescription()
	case typeRefuse:
		if len(e.Sig) == 0 || len(e.Kind) > 64 || len(e.Text) > session.MaxErrorText {
			return malformed("refuse")
		}
	case typeCandidates:
		return checkCandidates(e.Candidates)
	case typeRestart:
		switch e.Step {
		case stepOffer, stepAnswer:
			if !validCredential(e.Ufrag, 4) || !validCredential(e.Password, 22) {
				return malformed("restart without credentials")
			}
		case stepRequest:
		default:
			return malformed("restart step %q", session.Printable(e.Step))
		}
		if len(e.Sig) == 0 {
			return malformed("restart without signature")
		}
		return checkCandidates(e.Candidates)
	case typeConfirm:
		if len(e.Sig) == 0 {
			return malformed("confirm without signature")
		}
	case typeBye:
		if len(e.Kind) > 64 || len(e.Text) > session.MaxErrorText {
			return malformed("bye")
		}
	case typeLane:
		if e.Number == 0 || len(e.Lane) == 0 {
			return malformed("lane")
		}
	case typeTCP:
		return e.checkTCP()
	case typeReady, typePing, typePong, typeFacts:
	default:
		return malformed("type %q", session.Printable(truncate(e.Type, 32)))
	}
	return nil
}

func (e *envelope) checkDescription() error {
	if len(e.Nonce) != nonceSize || len(e.Sig) == 0 || e.SDP == "" || len(e.SDP) > maxSDP {
		return malformed("%s with a missing or wrong field", e.Type)
	}
	return nil
}

func (e *envelope) checkTCP() error {
	switch e.Step {
	case stepAsk:
		return nil
	case stepOffer, stepAnswer, stepTurn:
		if e.Number == 0 || len(e.Print) != sha256.Size || (e.Port == 0) != (e.Step == stepAnswer) {
			return malformed("tcp with a missing or wrong field")
		}
		return nil
	}
	return malformed("tcp step %q", session.Printable(truncate(e.Step, 32)))
}

func checkCandidates(lines []string) error {
	if len(lines) > maxCandidates {
		return malformed("%d candidates", len(lines))
	}
	for _, line := range lines {
		if len(line) > maxCandidate {
			return malformed("a candidate of %d bytes", len(line))
		}
	}
	return nil
}

// validCredential reports whether s can be an ICE user fragment or password:
// at least minimum and at most 256 of the characters RFC 8445, section 5.3,
// allows.
func validCredential(s string, minimum int) bool {
	if len(s) < minimum || len(s) > 256 {
		return false
	}
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '+', r == '/':
		default:
			return false
		}
	}
	return true
}

func truncate(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

func malformed(format string, args ...any) error {
	return session.Errorf("link", session.Invalid, "malformed envelope: %s", fmt.Sprintf(format, args...))
}
