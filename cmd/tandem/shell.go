package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"tandem/session"
	"tandem/share/node"
	"tandem/share/terminal"
)

// shellFailure is the exit code of a shell verb that failed by itself.
const shellFailure = 255

func newShell(io stdio, f *flags) *cobra.Command {
	var view bool
	var record recordFlags
	cmd := &cobra.Command{
		Use:   "shell PEER[:NAME] [-- PROGRAM [ARGUMENT…]]",
		Short: "Open a peer's terminal, or run a program there",
		Long: `Open a peer's terminal, the one called main or another by its name, which is
made if it is not there yet; or run a program in a terminal of its own there.
The peer "." is a share of your own that runs in another window. Terminals go on
when you leave; "tandem shells" lists them. Exits as the program did, and with
255 for a failure of tandem's own.`,
		Example: `  tandem shell alice
  tandem shell alice:build
  tandem shell alice -- uptime`,
		Args: func(cmd *cobra.Command, args []string) error {
			if n := cmd.ArgsLenAtDash(); len(args) == 0 || n == 0 || n < 0 && len(args) > 1 || n > 1 {
				return usagef("give one peer, and a program only after --")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			recording, err := record.recording(io)
			if err != nil {
				return err
			}
			err = withBackend(cmd.Context(), io, f, func(ctx context.Context, b node.Backend) error {
				peer, name, _ := strings.Cut(args[0], ":")
				if err := needsRunning(b, peer, "tandem shell ."); err != nil {
					return err
				}
				request := terminal.Request{Params: terminal.Params{Argv: args[1:]}}
				if view {
					request.Right = terminal.View
				}
				at := node.Bound{Backend: b, Peer: peer}
				if peer == node.Own {
					request.Name = name
					return attach(ctx, io, f, at, request, terminal.Options{Recording: recording})
				}
				news, stop := pathNews(ctx, b, peer)
				defer stop()
				options := terminal.Options{Recording: recording, Notices: news}
				request.Named = name
				err := attach(ctx, io, f, at, request, options)
				if name != "" && session.KindOf(err) == session.Denied {
					// It may be the one terminal that we were granted.
					request.Name, request.Named = name, ""
					if granted := attach(ctx, io, f, at, request, options); session.KindOf(granted) != session.Denied {
						return granted
					}
				}
				return err
			})
			var exit exitError
			var usage usageError
			if err != nil && !errors.As(err, &exit) && !errors.As(err, &usage) && session.KindOf(err) != session.Canceled {
				printError(io.err, err)
				return exitError(shellFailure)
			}
			return err
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&view, "view", false, "only watch")
	record.addToGuest(fs)
	f.addTerminal(fs)
	return cmd
}
