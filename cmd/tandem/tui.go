package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"tandem/share/node"
	"tandem/share/terminal"
	"tandem/tui"
	"tandem/tui/page"
	"tandem/tui/theme"
)

// newTUI is what `tandem` does without a verb, by a name that can be looked for.
func newTUI(io stdio, f *flags) *cobra.Command {
	cmd := &cobra.Command{
		Use:    "tui",
		Short:  "Open the terminal UI, as tandem does without a verb",
		Hidden: true,
		Args:   takes(0, 0),
		RunE:   func(cmd *cobra.Command, _ []string) error { return runTUI(cmd.Context(), io, f) },
	}
	f.addPlain(cmd)
	return cmd
}

// addPlain is for the terminal UI.
func (f *flags) addPlain(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.plain, "plain", false, "open the terminal UI as lines of text, for screen readers")
}

// seated reports whether a person sits at a terminal that reads and shows.
func seated(io stdio) bool {
	out, ok := io.out.(*os.File)
	return ok && isTerminal(out) && isTerminal(io.in)
}

func runTUI(ctx context.Context, io stdio, f *flags) error {
	out, ok := io.out.(*os.File)
	if !ok || !seated(io) {
		return usagef("the terminal UI needs a terminal; `tandem --help` lists the verbs")
	}
	cfg, err := nodeConfig(io, f)
	if err != nil {
		return err
	}
	c, err := f.terminalConfig(io)
	if err != nil {
		return err
	}
	look, err := f.look(io, c)
	if err != nil {
		return err
	}
	cfg.Events, cfg.Term = nil, io.env("TERM") // what happens is on the screen
	if file, ok := io.err.(*os.File); ok && isTerminal(file) {
		cfg.Log = slog.New(slog.DiscardHandler) // it would write over it
	}
	b, err := connect(ctx, io, cfg)
	if err != nil {
		return err
	}
	dir, err := os.Getwd()
	if err != nil {
		dir = "" // it is gone: pages begin elsewhere
	}
	err = tui.Run(ctx, tui.Config{
		Backend: b, Theme: look, Keys: theme.DefaultKeys(), In: io.in, Out: out,
		Ends:   func() bool { return endsWith(b) },
		Doctor: func(ctx context.Context, each func(page.Finding)) error { return examineFor(ctx, cfg, each) },
		Seat: page.Seat{Getenv: io.env, Dir: dir, Attach: terminal.Options{
			Predict: c.Predict, Clipboard: c.Clipboard, Words: node.Words, Rescue: rescueFolder(io),
		}},
	})
	linger(ctx, io, b)
	return errors.Join(err, b.Close())
}

// examineFor is the doctor as the terminal UI knows it.
func examineFor(ctx context.Context, cfg node.Config, each func(page.Finding)) error {
	_, err := examine(ctx, cfg, func(f finding) error {
		each(page.Finding{
			Check: f.Check, Subject: f.Subject, OK: f.OK, Took: time.Duration(f.Millis * float64(time.Millisecond)), Found: f.Found, Advice: f.Advice,
		})
		return ctx.Err()
	})
	return err
}

// slow is how long the running node may take to answer before a person is told
// what is waited for.
const slow = time.Second

// connect is node.Connect, saying so if it takes long.
func connect(ctx context.Context, io stdio, cfg node.Config) (node.Backend, error) {
	timer := time.AfterFunc(slow, func() { notice(io, "waiting for the tandem that runs here to answer") })
	defer timer.Stop()
	return node.Connect(ctx, cfg)
}

// endsWith reports whether the node ends with this program: it is its own, from the
// beginning or since the one before has ended.
func endsWith(b node.Backend) bool {
	own, ok := b.(interface{ Hosts() bool })
	return ok && own.Hosts()
}

// look is how the terminal UI looks here.
func (f *flags) look(io stdio, c config) (theme.Options, error) {
	switch c.Theme {
	case "", theme.Auto, theme.Dark, theme.Light, theme.None:
	default:
		return theme.Options{}, usagef("theme is auto, dark, light or none, not %q", c.Theme)
	}
	o := theme.Detect(c.Theme, io.env)
	o.Plain = o.Plain || f.plain
	return o, nil
}
