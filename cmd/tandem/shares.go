package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tandem/session"
	"tandem/share/folder"
	"tandem/share/node"
)

func newShares(io stdio, f *flags) *cobra.Command {
	return &cobra.Command{
		Use:   "shares PEER",
		Short: "List what a peer shares with this device",
		Long: strings.TrimSpace(`
List what a peer shares with this device at this moment: its folders, terminals,
ports and programs, and what you may do with each.`),
		Example: "  tandem shares alice",
		Args:    takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			peer := args[0]
			if peer == node.Own {
				return usagef("name a peer: what you share yourself is in the window of `tandem share`")
			}
			return withBackend(cmd.Context(), io, f, func(ctx context.Context, b node.Backend) error {
				rights, err := node.Offers(ctx, b, peer)
				if err != nil {
					return advise(err, session.Denied, "They share nothing with this device at this moment: ask for a new code.")
				}
				if f.json {
					return printLines(io.out, rights)
				}
				return printShares(io, peer, rights)
			})
		},
	}
}

// printShares shows each right, and the verb that uses it.
func printShares(io stdio, peer string, rights []node.Right) error {
	for _, r := range rights {
		for _, text := range describeRights([]node.Right{r}) {
			if text == "nothing" { // says nothing beside the others
				continue
			}
			if use := useOf(peer, r); use != "" {
				text = fmt.Sprintf("%-40s  %s", text, use)
			}
			if _, err := fmt.Fprintln(io.out, text); err != nil {
				return err
			}
		}
	}
	return nil
}

// useOf is a verb that uses a right.
func useOf(peer string, r node.Right) string {
	service, _, _ := strings.Cut(r.Service, "/")
	switch {
	case service == "terminal":
		return "tandem shell " + peer
	case r.Service == folder.Name:
		return "tandem ls " + peer + ":" + session.Printable(r.Resource)
	case service == "command" && r.Resource != "":
		return "tandem exec " + peer + ":" + session.Printable(r.Resource)
	case service == "command":
		return "tandem exec " + peer + " -- PROGRAM"
	case service == "facts":
		return "tandem info " + peer
	}
	return ""
}
