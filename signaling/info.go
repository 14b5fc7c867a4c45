package signaling

// ServiceName is how a signaling server names itself at /v1/info.
const ServiceName = "tandem-signaling"

// Info is what GET /v1/info answers.
type Info struct {
	Service    string   `json:"service"` // ServiceName
	Version    int      `json:"version"`
	MinVersion int      `json:"min_version"`
	Time       int64    `json:"time"` // the server's clock, milliseconds since 1970 UTC
	STUN       []string `json:"stun,omitempty"`
	Relays     []string `json:"relays,omitempty"` // URLs without credentials
}
