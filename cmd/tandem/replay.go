package main

import (
	"context"
	"fmt"
	goio "io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tandem/session"
	"tandem/share/terminal"
)

func newReplay(io stdio, f *flags) *cobra.Command {
	var opts terminal.ReplayOptions
	var info bool
	cmd := &cobra.Command{
		Use:   "replay FILE",
		Short: "Play the recording of a terminal",
		Long: strings.TrimSpace(`
Play the recording of a terminal: one of tandem's, or any asciicast file, plain
or compressed by gzip; "-" is standard input. What it shows is filtered as a
peer's terminal is. If standard output is no terminal it gets the bytes that the
recorded program printed, at once.

  space          pause
  .              show the next output, and pause
  left, right    5 seconds back or forth
  up, down       faster, slower
  0 … 9          go to so many tenths
  m              go to the next marker
  q, Ctrl-C      leave`),
		Example: `  tandem replay ~/.local/state/tandem/recordings/2026-11-22-130216-main.cast
  tandem replay --speed 4 --idle-limit 1s session.cast`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case opts.Speed <= 0:
				return usagef("--speed takes a number above 0, such as 2 or 0.5")
			case opts.IdleLimit < 0 || opts.Start < 0:
				return usagef("--idle-limit and --start take a time such as 2s")
			}
			return runReplay(cmd.Context(), io, f, args[0], info, opts)
		},
	}
	fs := cmd.Flags()
	fs.Float64Var(&opts.Speed, "speed", 1, "how many times faster than it was")
	fs.DurationVar(&opts.IdleLimit, "idle-limit", 0, "let no pause last longer than this")
	fs.DurationVar(&opts.Start, "start", 0, "begin here, such as 1m30s")
	fs.BoolVar(&info, "info", false, "show what the recording is about instead")
	return cmd
}

func runReplay(ctx context.Context, io stdio, f *flags, name string, info bool, opts terminal.ReplayOptions) error {
	recording, keys := io.in, io.in
	if name == "-" {
		// Keys come from the terminal itself, if there is one.
		tty, err := os.Open("/dev/tty")
		if err != nil {
			if tty, err = os.Open(os.DevNull); err != nil {
				return err
			}
		}
		defer func() { _ = tty.Close() }()
		keys = tty
	} else {
		file, err := os.Open(name)
		if err != nil {
			return &session.Error{Op: "replay", Kind: session.FileKind(err), Err: err}
		}
		defer func() { _ = file.Close() }()
		recording = file
	}
	if info || f.json {
		summary, err := terminal.Summarize(recording)
		if err != nil {
			return err
		}
		if f.json {
			return printLines(io.out, []terminal.Summary{summary})
		}
		printSummary(io.out, summary)
		return nil
	}
	out, ok := io.out.(*os.File)
	if !ok {
		return usagef("a replay needs a standard output that is a file or terminal")
	}
	err := terminal.Replay(ctx, recording, terminal.TTY{In: keys, Out: out}, opts)
	if err == nil && isTerminal(out) {
		fmt.Fprintln(io.err) // the cursor stays where the recording has left it
	}
	return err
}

func printSummary(w goio.Writer, s terminal.Summary) {
	fmt.Fprintf(w, "  format       asciicast v%d\n", s.Version)
	if s.Title != "" {
		fmt.Fprintf(w, "  title        %s\n", s.Title)
	}
	if !s.Began.IsZero() {
		fmt.Fprintf(w, "  began        %s\n", s.Began.Local().Format("2006-01-02 15:04:05"))
	}
	fmt.Fprintf(w, "  duration     %s\n", s.Duration.Round(time.Millisecond))
	fmt.Fprintf(w, "  size         %d by %d cells\n", s.Cols, s.Rows)
	fmt.Fprintf(w, "  output       %d bytes\n", s.Output)
	if s.Input > 0 {
		fmt.Fprintf(w, "  input        %d bytes\n", s.Input)
	}
	for _, m := range s.Markers {
		fmt.Fprintf(w, "  marker       %8.3f s  %s\n", m.Seconds, m.Text)
	}
	if s.TornOff {
		fmt.Fprintln(w, "  The recording breaks off in the middle of a line.")
	}
}
