package main

import (
	"context"
	"errors"

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
		Use:   "shell PEER [-- PROGRAM [ARGUMENT…]]",
		Short: "Open a peer's terminal, or run a program there",
		Long: `Open a peer's terminal, or run a program in a terminal of its own there. The
peer "." is a share of your own that runs in another window. Exits as the
program did, and with 255 for a failure of tandem's own.`,
		Example: `  tandem shell alice
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
				if _, running := b.(*node.Client); args[0] == node.Own && !running {
					return &session.Error{
						Op: "shell", Kind: session.NotFound, Text: "no tandem of yours is running here",
						Hint: "`tandem share --terminal` shares a terminal; `tandem shell .` then shows it in another window.",
					}
				}
				request := terminal.Request{Params: terminal.Params{Argv: args[1:]}}
				if view {
					request.Right = terminal.View
				}
				return attach(ctx, io, f, node.Bound{Backend: b, Peer: args[0]}, request, recording)
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
	f.addPredict(fs)
	return cmd
}
