package session

import "time"

// LaneKind is what carries a lane.
type LaneKind string

// The kinds of lane.
const (
	PacketLane LaneKind = "packets" // datagrams on a path of their own
	TCPLane    LaneKind = "tcp"     // a TCP connection, where that is short and clean
)

// Lane is one of the connections that carry a session's bulk data beside its other
// streams. They come and go with that data.
type Lane struct {
	Kind   LaneKind  `json:"kind"`
	Local  Endpoint  `json:"local"`
	Remote Endpoint  `json:"remote"`
	Since  time.Time `json:"since"`
	// RTT is the last measured round trip; 0 if not measured.
	RTT time.Duration `json:"rtt,omitempty"`
	// Sent and Received count bytes of bulk data with their framing, what was sent
	// again included.
	Sent     uint64 `json:"sent"`
	Received uint64 `json:"received"`
}

// A Laner is a Session that knows its lanes, in the order they came.
type Laner interface {
	Lanes() []Lane
}
