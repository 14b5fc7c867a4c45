package link

import (
	"context"
	"log/slog"
	"time"

	"github.com/pion/datachannel"

	"tandem/session"
)

func channelConfig(negotiated bool, log *slog.Logger) *datachannel.Config {
	return &datachannel.Config{
		ChannelType: datachannel.ChannelTypeReliable, Priority: datachannel.ChannelPriorityNormal,
		Negotiated: negotiated, LoggerFactory: pionLog{log},
	}
}

// readControl serves channel 0 after S3, until the connection ends.
func (c *conn) readControl(ctx context.Context) {
	for {
		e, err := c.readEnvelope()
		if err != nil {
			c.fail(err)
			return
		}
		switch e.Type {
		case typePing:
			if err := c.send(envelope{Type: typePong, Number: e.Number}); err != nil {
				c.fail(err)
				return
			}
		case typeBye:
			text := session.Printable(e.Text)
			if text == "" {
				text = "the peer closed the session"
			}
			c.fail(&session.Error{Op: "link", Kind: session.FromWire("link", e.Kind, "").Kind, Text: text})
			return
		case typeLane, typeTCP:
			if c.config.onLane == nil {
				c.fail(malformed("a lane of a lane"))
				return
			}
			c.config.onLane(e)
		case typePong, typeFacts, typeRestart, typeCandidates:
			c.roam.deliver(ctx, e, true)
		default:
			c.fail(malformed("%s on channel 0 after the beginning", e.Type))
			return
		}
	}
}

const (
	pingActive = time.Second     // while there are streams
	pingIdle   = 5 * time.Second // otherwise
	pingLost   = 10 * time.Second
)

// pinger measures the round trip over channel 0. It belongs to the roamer's
// goroutine.
type pinger struct {
	number  uint64
	sent    time.Time
	waiting bool
	rtt     time.Duration
}

// due says whether it is time for the next ping; most bounds the time between
// two that are answered.
func (p *pinger) due(now time.Time, active bool, most time.Duration) bool {
	interval := pingIdle
	if active {
		interval = pingActive
	}
	interval = min(interval, most)
	if p.waiting {
		interval = pingLost
	}
	return now.Sub(p.sent) >= interval
}

func (p *pinger) next(now time.Time) envelope {
	p.number++
	p.sent, p.waiting = now, true
	return envelope{Type: typePing, Number: p.number}
}

func (p *pinger) pong(number uint64, now time.Time) bool {
	if !p.waiting || number != p.number {
		return false
	}
	p.waiting = false
	p.rtt = now.Sub(p.sent)
	return true
}
