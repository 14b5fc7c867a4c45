package server

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"tandem/signaling"
	"tandem/signaling/bus"
)

// Config says how a Server works. Its zero value is usable.
type Config struct {
	// Hosts are the names (with a port unless it is the scheme's default) under
	// which clients reach the server. Requests for others are refused: this
	// keeps another server, which some client also uses, from passing that client's
	// claim on to us. Empty means any, unless OwnAddresses is set.
	Hosts []string
	// OwnAddresses accepts also the address at which the request has arrived,
	// and localhost where that is a loopback address: what a server on a LAN
	// is known by.
	OwnAddresses bool
	// TrustedProxies are the networks whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// Relays makes relay credentials for a client, who is known by its mailbox.
	// Nil means that there are no relays. It is called from several goroutines.
	Relays func(ctx context.Context, mailbox string) ([]signaling.Relay, error)
	// STUN and RelayURLs are what /v1/info shows, so that a client can
	// examine its network without a connection.
	STUN, RelayURLs []string
	// Bus joins several servers; nil means a bus of its own. A bus that was
	// given is not closed by the server.
	Bus bus.Bus
	// Limits are the limits; zero fields take the defaults.
	Limits Limits
	// Metrics receives the server's collectors; nil means a registry of its own.
	// /metrics serves it.
	Metrics *prometheus.Registry
	// PublicMetrics lets anybody read /metrics. Otherwise only requests from
	// loopback addresses are answered.
	PublicMetrics bool
	// Logger receives what an operator wants to know; nil means nobody.
	Logger *slog.Logger
}

// A Rate is a token bucket: so many a second, and so many at once.
type Rate struct {
	PerSecond float64
	Burst     int
}

func (r Rate) limit() rate.Limit { return rate.Limit(r.PerSecond) }

// Limits are what clients may use. An "IP" is an IPv4 address or an IPv6 /64.
type Limits struct {
	Clients      int  // connections in all; 200,000
	ClientsPerIP int  // 1,024
	Connects     Rate // new connections of an IP; 20/s, 200 at once

	// Messages are counted as one and another one for each 4 KiB.
	Messages      Rate // of a mailbox; 20/s, 200 at once
	MessagesPerIP Rate // 200/s, 2,000 at once
	// Plates is how often an IP may ask for a nameplate: 1/s, 30 at once.
	Plates Rate
	// Guesses is how often an IP may write to a nameplate that nobody holds:
	// one in 6 s, 20 at once.
	Guesses Rate
	// Relays is how often an IP may ask for relay credentials: 2/s, 60 at once.
	Relays Rate

	Nameplates int // of a mailbox; 4
	Watches    int // of a mailbox; signaling.MaxWatches
	AllWatches int // in all; 1,000,000
	Queue      int // messages waiting for one client; 32
	// QueuedBytes bounds what waits for all clients together: 64 MiB.
	QueuedBytes int64

	WriteTimeout time.Duration // a client that takes nothing for so long is closed; 2 s
	ClaimTimeout time.Duration // from connecting to claiming a mailbox; 10 s
	ReadTimeout  time.Duration // from a message's first byte to its last; 10 s
	PingAfter    time.Duration // a client silent for so long is pinged; 25 s
	IdleTimeout  time.Duration // a client silent for so long is closed; 75 s
	// NameplateGrace is how long a nameplate outlives its mailbox's connection: 30 s.
	NameplateGrace time.Duration
	// DrainSpread is over how long a draining server spreads its clients'
	// departure: 5 s.
	DrainSpread time.Duration
}

func (l Limits) withDefaults() Limits {
	set(&l.Clients, 200_000)
	set(&l.ClientsPerIP, 1024)
	set(&l.Connects, Rate{20, 200})
	set(&l.Messages, Rate{20, 200})
	set(&l.MessagesPerIP, Rate{200, 2000})
	set(&l.Plates, Rate{1, 30})
	set(&l.Guesses, Rate{1.0 / 6, 20})
	set(&l.Relays, Rate{2, 60})
	set(&l.Nameplates, 4)
	set(&l.Watches, signaling.MaxWatches)
	set(&l.AllWatches, 1_000_000)
	set(&l.Queue, 32)
	set(&l.QueuedBytes, 64<<20)
	set(&l.WriteTimeout, 2*time.Second)
	set(&l.ClaimTimeout, 10*time.Second)
	set(&l.ReadTimeout, 10*time.Second)
	set(&l.PingAfter, 25*time.Second)
	set(&l.IdleTimeout, 75*time.Second)
	set(&l.NameplateGrace, 30*time.Second)
	set(&l.DrainSpread, 5*time.Second)
	return l
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
