package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tandem/session"
	"tandem/share/node"
)

func newWhy(io stdio, f *flags) *cobra.Command {
	return &cobra.Command{
		Use:     "why PEER",
		Short:   "Say over which path a peer is reached, and why not directly",
		Example: "  tandem why alice",
		Args:    takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBackend(cmd.Context(), io, f, func(ctx context.Context, b node.Backend) error {
				p, err := b.Why(ctx, args[0])
				if err != nil {
					return err
				}
				if f.json {
					return json.NewEncoder(io.out).Encode(p)
				}
				return printWhy(io, p)
			})
		},
	}
}

// silentAfter is how long nothing may come from a peer before that is told: one that
// is there is heard every few seconds.
const silentAfter = 5 * time.Second

func printWhy(io stdio, p node.PeerStatus) error {
	path := p.Path
	var err error
	line := func(label, format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintf(io.out, "%-10s %s\n", label, fmt.Sprintf(format, args...))
		}
	}
	line("peer", "%s (%s)", p.Alias, p.Peer.ID.Short())
	switch path.Kind {
	case session.Direct:
		line("path", "direct: no relay carries any of it")
	case session.Relayed:
		line("path", "relayed: a relay carries it, still encrypted end to end")
	default:
		line("path", "none at this moment; tandem keeps looking")
	}
	if path.Kind != session.NoPath {
		line("from", "%s", describeEndpoint(path.Local))
		line("to", "%s", describeEndpoint(path.Remote))
		line("since", "%s", path.Since.Local().Format(time.DateTime))
	}
	if quiet := time.Since(path.Heard); !path.Heard.IsZero() && quiet >= silentAfter {
		line("heard", "nothing for %s", quiet.Round(time.Second))
	}
	if path.RTT > 0 {
		line("round trip", "%s", roundTrip(path.RTT))
	}
	line("carried", "%s sent, %s received", byteCount(path.Sent), byteCount(path.Received))
	if path.Changes > 0 {
		line("changes", "%d; at the last one nothing arrived for %s", path.Changes, path.LastGap.Round(time.Millisecond))
	}
	if path.WhyNotDirect != "" {
		line("not direct", "%s", path.WhyNotDirect)
	}
	for i, l := range p.Lanes {
		line(onlyFirst(i, "lanes"), "%s", describeLane(l))
	}
	if c := p.Candidates; c != nil {
		for i, e := range c.Local {
			line(onlyFirst(i, "here"), "%s", describeEndpoint(e))
		}
		for i, e := range c.Remote {
			line(onlyFirst(i, "there"), "%s", describeEndpoint(e))
		}
		for i, pair := range c.Pairs {
			line(onlyFirst(i, "tried"), "%s to %s: %s", pair.Local.Addr, pair.Remote.Addr, describePair(pair))
		}
	}
	return err
}

// describeLane says what a lane is, and what it has carried.
func describeLane(l session.Lane) string {
	text := fmt.Sprintf("%s to %s, %s sent, %s received", l.Kind, l.Remote.Addr, byteCount(l.Sent), byteCount(l.Received))
	if l.RTT > 0 {
		text += ", " + roundTrip(l.RTT)
	}
	return text
}

// onlyFirst labels the first line of several.
func onlyFirst(i int, label string) string {
	if i > 0 {
		return ""
	}
	return label
}

// describePair says how two addresses fared.
func describePair(p session.Pair) string {
	switch {
	case p.State == session.PairWaiting:
		return "not tried yet"
	case p.State == session.PairFailed || p.State == session.PairTrying && p.Answers == 0:
		return fmt.Sprintf("no answer to %s", counted(int(min(p.Checks, 1e6)), "check"))
	case p.InUse:
		return "in use, " + roundTrip(p.RTT)
	}
	return "answered, " + roundTrip(p.RTT)
}

// describeEndpoint names one end of a path in words rather than in ICE's.
func describeEndpoint(e session.Endpoint) string {
	kind := map[string]string{
		"host": "this network's own address", "srflx": "a NAT's outside address",
		"prflx": "a NAT's outside address, seen by the other side", "relay": "an address of the relay",
	}[e.Type]
	return fmt.Sprintf("%s %s, %s", e.Protocol, e.Addr, kind)
}

// byteCount prints n bytes with a decimal unit.
func byteCount(n uint64) string {
	const unit = 1000
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, prefix := float64(n)/unit, 0
	for value >= unit && prefix < 5 {
		value /= unit
		prefix++
	}
	return fmt.Sprintf("%.1f %cB", value, "kMGTPE"[prefix])
}
