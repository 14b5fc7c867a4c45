package session

import (
	"net/netip"
	"time"
)

// PathKind says whether bytes pass through a relay.
type PathKind string

// The kinds of path.
const (
	NoPath  PathKind = "none"    // not connected at this moment
	Direct  PathKind = "direct"  // peer to peer
	Relayed PathKind = "relayed" // through a TURN relay on either side
)

// Endpoint is one end of the chosen candidate pair (RFC 8445).
type Endpoint struct {
	// Type is "host", "srflx", "prflx" or "relay".
	Type string `json:"type"`
	// Protocol is "udp" or "tcp"; for a relayed end, how we reach the relay:
	// "udp", "tcp" or "tls".
	Protocol string         `json:"protocol"`
	Addr     netip.AddrPort `json:"addr"`
}

// Path is how a session's bytes travel.
type Path struct {
	Kind   PathKind  `json:"kind"`
	Local  Endpoint  `json:"local"`
	Remote Endpoint  `json:"remote"`
	Since  time.Time `json:"since"`
	// RTT is the last measured round trip; 0 if not measured yet.
	RTT time.Duration `json:"rtt"`
	// Heard is when something of the peer's last arrived. A peer that is there is heard
	// every few seconds, whether or not streams are used.
	Heard time.Time `json:"heard,omitzero"`
	// Sent and Received count payload bytes over the whole session.
	Sent     uint64 `json:"sent"`
	Received uint64 `json:"received"`
	// Changes counts how often the path has changed since the session began;
	// LastGap is how long nothing arrived at the last change.
	Changes int           `json:"changes"`
	LastGap time.Duration `json:"last_gap"`
	// WhyNotDirect is a sentence for people; empty on a direct path.
	WhyNotDirect string `json:"why_not_direct,omitempty"`
}

// PairState is how far the checks of a pair of addresses have come (RFC 8445,
// section 6.1.2.6).
type PairState string

// The states of a pair.
const (
	PairWaiting   PairState = "waiting"     // not tried yet
	PairTrying    PairState = "in-progress" // tried; no answer so far
	PairFailed    PairState = "failed"      // tried in vain
	PairSucceeded PairState = "succeeded"   // it has answered
)

// MaxPairs is how many pairs Candidates lists at most.
const MaxPairs = 64

// Candidates are the addresses that both sides have for the present path, and how
// each pair of them fared. They are not kept with Path because they are many and
// take longer to collect.
type Candidates struct {
	// Local and Remote are those of either side, at most 48 and the preferred ones
	// first. Remote ones that no local address could reach are in no pair.
	Local  []Endpoint `json:"local"`
	Remote []Endpoint `json:"remote"`
	// Pairs are at most MaxPairs: the one in use first, then those that have
	// answered, the fastest first, then those that are still tried and those that
	// have failed.
	Pairs []Pair `json:"pairs"`
}

// Pair is an address of ours with one of the peer's.
type Pair struct {
	Local  Endpoint  `json:"local"`
	Remote Endpoint  `json:"remote"`
	State  PairState `json:"state"`
	// InUse marks the pair that carries the session.
	InUse bool `json:"in_use,omitempty"`
	// RTT is the last round trip of a check; 0 if none was answered.
	RTT time.Duration `json:"rtt,omitempty"`
	// Checks and Answers count what was sent and what came back (STUN requests and
	// responses), keepalives included.
	Checks  uint64 `json:"checks"`
	Answers uint64 `json:"answers"`
}

// A Candidater is a Session that knows which addresses were tried for its path.
type Candidater interface {
	Candidates() Candidates
}
