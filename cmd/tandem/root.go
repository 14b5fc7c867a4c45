package main

import (
	"log/slog"
	"strings"

	"github.com/spf13/cobra"
)

// flags are what every verb understands.
type flags struct {
	servers []string
	json    bool
	log     string
}

// newRoot builds the command tree over io.
func newRoot(io stdio) *cobra.Command {
	f := &flags{}
	root := &cobra.Command{
		Use:   "tandem",
		Short: "Put your terminal, folders and ports next to a colleague's, peer to peer",
		Long: strings.TrimSpace(`
Put your terminal, folders and ports next to a colleague's, peer to peer.

  tandem share --terminal      prints a code and waits
  tandem join 4821-wolf-…      joins with it, from behind any NAT

Servers and relays only introduce the two of you: they can't read, change or
enter a session.`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	p := root.PersistentFlags()
	p.StringSliceVar(&f.servers, "server", nil, "signaling server to meet at, as a URL or host; may be repeated")
	p.BoolVar(&f.json, "json", false, "print one JSON object a line, for scripts")
	p.StringVar(&f.log, "log", "", "write a log to standard error: debug, info, warn or error")
	root.AddCommand(
		newShare(io, f), newJoin(io, f), newShell(io, f),
		newLs(io, f), newGet(io, f), newPut(io, f),
		newPeers(io, f), newWhy(io, f), newDoctor(io, f),
		newServer(io, f), newVersion(io, f),
	)
	return root
}

// isUsage recognises the errors that cobra and pflag make of a command line;
// they have no types of their own.
func isUsage(err error) bool {
	for _, prefix := range []string{"unknown ", "flag ", "invalid argument ", "accepts ", "requires ", "required flag", "bad flag", "if any flags"} {
		if strings.HasPrefix(err.Error(), prefix) {
			return true
		}
	}
	return false
}

// logger writes to standard error what --log or the configuration asks for,
// and nothing by default.
func logger(io stdio, level string) (*slog.Logger, error) {
	if level == "" {
		return slog.New(slog.DiscardHandler), nil
	}
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usagef("--log takes debug, info, warn or error, not %q", level)
	}
	return slog.New(slog.NewTextHandler(io.err, &slog.HandlerOptions{Level: l})), nil
}
