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
