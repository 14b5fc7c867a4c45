package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tandem/session"
	"tandem/share/node"
)

func newPeers(io stdio, f *flags) *cobra.Command {
	return &cobra.Command{
		Use:   "peers",
		Short: "List the peers this device knows, and how it reaches them",
		Args:  takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withBackend(cmd.Context(), io, f, func(ctx context.Context, b node.Backend) error {
				peers, err := b.Peers(ctx)
				if err != nil {
					return err
				}
				if f.json {
					return printLines(io.out, peers)
				}
				if len(peers) == 0 {
					_, err := fmt.Fprintln(io.out, "No peers yet. `tandem share` invites one, `tandem join CODE` meets one.")
					return err
				}
				w := tabwriter.NewWriter(io.out, 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "PEER\tID\tPATH\tFINGERPRINT")
				for _, p := range peers {
					path := "not connected"
					if p.Connected {
						path = describePath(p.Path)
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", p.Alias, p.Peer.ID.Short(), path, strings.Join(p.Words, " "))
				}
				return w.Flush()
			})
		},
	}
}

// printLines prints each item as one JSON object a line.
func printLines[T any](w io.Writer, items []T) error {
	enc := json.NewEncoder(w)
	for _, item := range items {
		if err := enc.Encode(item); err != nil {
			return err
		}
	}
	return nil
}

// describePath says in a few words how bytes travel.
func describePath(p session.Path) string {
	if p.Kind == session.NoPath {
		return "looking for a path"
	}
	s := string(p.Kind)
	if p.Remote.Protocol != "" {
		s += " over " + p.Remote.Protocol
	}
	if p.RTT > 0 {
		s += ", " + roundTrip(p.RTT)
	}
	return s
}

// roundTrip prints a round trip to the precision that means something.
func roundTrip(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
}
