package main

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flags are what every verb understands.
type flags struct {
	servers []string
	json    bool
	log     string
	// Only of verbs that open a terminal.
	predict   string
	clipboard bool
	// Only of the terminal UI.
	plain bool
}

// addTerminal is for verbs that open a terminal.
func (f *flags) addTerminal(fs *pflag.FlagSet) {
	fs.BoolVar(&f.clipboard, "clipboard", false, "let programs there write to your clipboard; they can never read it")
	fs.StringVar(&f.predict, "predict", "", "show keys before their echo, underlined: auto (on slow links), always or never")
}

// newRoot builds the command tree over io.
func newRoot(io stdio) *cobra.Command {
	f := &flags{}
	root := &cobra.Command{
		Use:   "tandem",
		Short: "Put your terminal, folders and ports next to a colleague's, peer to peer",
		Long: strings.TrimSpace(`
Put your terminal, folders and ports next to a colleague's, peer to peer.

  tandem                       opens the terminal UI
  tandem share --terminal      prints a code and waits
  tandem join 4821-wolf-…      joins with it, from behind any NAT

Servers and relays only introduce the two of you: they can't read, change or
enter a session.`),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			err := usageError{error: fmt.Errorf("there is no verb %q", args[0])}
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				err.hint = fmt.Sprintf("Is it `tandem %s`?", strings.Join(near, "` or `tandem "))
			}
			return err
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !seated(io) {
				return cmd.Help()
			}
			return runTUI(cmd.Context(), io, f)
		},
		SuggestionsMinimumDistance: 2,
	}
	p := root.PersistentFlags()
	p.StringSliceVar(&f.servers, "server", nil, "signaling server to meet at, as a URL or host; may be repeated")
	p.BoolVar(&f.json, "json", false, "print one JSON object a line, for scripts")
	p.StringVar(&f.log, "log", "", "write a log to standard error: debug, info, warn or error")
	root.AddCommand(
		newShare(io, f), newJoin(io, f), newShell(io, f), newShells(io, f), newExec(io, f), newInfo(io, f), newForward(io, f),
		newShares(io, f), newLs(io, f), newOpen(io, f), newGet(io, f), newPut(io, f), newMkdir(io, f), newMv(io, f), newRm(io, f), newWatch(io, f), newMount(io, f),
		newProxy(io, f), newSSHConfig(io, f), newSSHSubsystem(io),
		newReplay(io, f), newLog(io, f), newPeers(io, f), newWhy(io, f), newDoctor(io, f),
		newServer(io, f), newVersion(io, f), newTUI(io, f),
	)
	f.addPlain(root)
	unwrap(root)
	return root
}

// unwrap joins the lines of each paragraph of the long descriptions, which are
// wrapped anew where they are shown. Paragraphs that are indented stay.
func unwrap(cmd *cobra.Command) {
	paragraphs := strings.Split(strings.TrimSpace(cmd.Long), "\n\n")
	for i, p := range paragraphs {
		if !strings.HasPrefix(p, " ") {
			paragraphs[i] = strings.ReplaceAll(p, "\n", " ")
		}
	}
	cmd.Long = strings.Join(paragraphs, "\n\n")
	for _, sub := range cmd.Commands() {
		unwrap(sub)
	}
}

// takes checks the number of arguments, and says what they are by the usage line.
func takes(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		_, form, _ := strings.Cut(cmd.Use, " ")
		switch {
		case len(args) < least:
			return usagef("`%s` needs %s", cmd.CommandPath(), form)
		case len(args) > most && most == 0:
			return usagef("`%s` takes no arguments, and %q is one", cmd.CommandPath(), args[0])
		case len(args) > most:
			return usagef("`%s` takes %s; %q is too much", cmd.CommandPath(), form, args[most])
		}
		return nil
	}
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
