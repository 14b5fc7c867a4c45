package main

import (
	"cmp"
	"context"
	"fmt"
	goio "io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tandem/session"
	"tandem/share/facts"
	"tandem/share/node"
)

// infoTimeout is how long one peer may take to answer.
const infoTimeout = 30 * time.Second

func newInfo(io stdio, f *flags) *cobra.Command {
	var all, watch bool
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "info PEER…",
		Short: "Show how peers' machines are doing",
		Long: strings.TrimSpace(`
Show how peers' machines are doing: system, load, memory, disks, addresses, who
is logged in, the busiest processes, and whether a reboot is pending. Several
peers share one table.`),
		Example: "  tandem info alice\n  tandem info --all --watch",
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case all == (len(args) > 0):
				return usagef("give peers, or --all")
			case every < time.Second:
				return usagef("--every takes 1s or more")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBackend(cmd.Context(), io, f, func(ctx context.Context, b node.Backend) error {
				peers, err := choosePeers(ctx, b, args, all)
				if err != nil {
					return err
				}
				if !watch {
					return showInfo(ctx, io, f, b, peers, false)
				}
				for {
					// What fails now may work next time; the table says it.
					if err := showInfo(ctx, io, f, b, peers, true); ctx.Err() != nil {
						return ctx.Err()
					} else if err != nil && len(peers) == 1 {
						return err
					}
					select {
					case <-time.After(every):
					case <-ctx.Done():
						return ctx.Err()
					}
				}
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "show every connected peer")
	cmd.Flags().BoolVar(&watch, "watch", false, "show it again and again, until Ctrl-C")
	cmd.Flags().DurationVar(&every, "every", 2*time.Second, "how often --watch asks")
	return cmd
}

// told is what one peer answered.
type told struct {
	Peer  string       `json:"peer"`
	Facts *facts.Facts `json:"facts,omitempty"`
	Error string       `json:"error,omitempty"`
	err   error
}

// showInfo asks the peers once. Its error is that of the first that failed.
func showInfo(ctx context.Context, io stdio, f *flags, b node.Backend, peers []string, watch bool) error {
	answers := make([]told, len(peers))
	each(peers, 16, func(i int, peer string) {
		ctx, cancel := context.WithTimeout(ctx, infoTimeout)
		defer cancel()
		got, err := facts.Ask(ctx, node.Bound{Backend: b, Peer: peer})
		answers[i] = told{Peer: session.Printable(peer), Facts: &got, err: err}
		if err != nil {
			answers[i].Facts, answers[i].Error = nil, session.Printable(describeError(err))
		}
	})
	var failed error
	for _, a := range answers {
		if failed == nil {
			failed = a.err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var shown strings.Builder
	switch {
	case f.json:
		if err := printLines(io.out, answers); err != nil {
			return err
		}
		return failed
	case len(peers) == 1 && failed != nil:
		return failed
	case len(peers) == 1:
		printFacts(&shown, answers[0].Peer, answers[0].Facts)
	default:
		printFactTable(&shown, answers)
	}
	if file, ok := io.out.(*os.File); watch && ok && isTerminal(file) {
		fmt.Fprint(io.out, "\x1b[H\x1b[2J")
	}
	if _, err := goio.WriteString(io.out, shown.String()); err != nil {
		return err
	}
	return failed
}

// printFacts shows everything about one machine.
func printFacts(w goio.Writer, peer string, f *facts.Facts) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(label, format string, args ...any) {
		fmt.Fprintf(table, "%s\t%s\n", label, fmt.Sprintf(format, args...))
	}
	line("peer", "%s (%s)", peer, cmp.Or(f.Hostname, "?"))
	line("system", "%s, kernel %s, %s", describeSystem(f.OS), cmp.Or(f.OS.Kernel, "unknown"), f.OS.Arch)
	line("up", "%s", known(f, "os", uptime(f.Uptime)))
	line("load", "%s; %s", known(f, "load", fmt.Sprintf("%.2f %.2f %.2f", f.Load[0], f.Load[1], f.Load[2])),
		known(f, "cpu", fmt.Sprintf("%.1f of %d cores busy", f.CPU.Busy, f.CPU.Cores)))
	line("memory", "%s", known(f, "memory", fmt.Sprintf("%s of %s available", byteCount(f.Memory.Available), byteCount(f.Memory.Total))))
	if f.Memory.SwapTotal > 0 {
		line("swap", "%s of %s used", byteCount(f.Memory.SwapUsed), byteCount(f.Memory.SwapTotal))
	}
	for i, d := range f.Disks {
		line(first(i, "disks"), "%s: %s of %s free (%s)", d.Mount, byteCount(d.Free), byteCount(d.Total), d.Type)
	}
	for i, a := range f.Addresses {
		line(first(i, "addresses"), "%s on %s", a.Address, a.Interface)
	}
	for i, u := range f.Users {
		from := ""
		if u.From != "" {
			from = " from " + u.From
		}
		line(first(i, "users"), "%s on %s%s since %s", u.Name, u.Terminal, from, u.Since.Local().Format(time.DateTime))
	}
	for i, p := range f.Processes.Top[:min(len(f.Processes.Top), 8)] {
		line(first(i, "busiest"), "%s (%d, %s): %.0f %% of a core, %s", p.Name, p.PID, p.User, 100*p.CPU, byteCount(p.Memory))
	}
	line("processes", "%s", known(f, "processes", strconv.Itoa(f.Processes.Count)))
	line("reboot", "%s", describeReboot(f))
	if len(f.Unknown) > 0 {
		line("unknown", "%s", strings.Join(f.Unknown, ", "))
	}
	_ = table.Flush() // to memory
}

// first labels the first line of a list only.
func first(i int, label string) string {
	if i > 0 {
		return ""
	}
	return label
}

// printFactTable shows one line for each machine.
func printFactTable(w goio.Writer, answers []told) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PEER\tSYSTEM\tKERNEL\tUP\tLOAD\tCORES BUSY\tMEMORY FREE\tDISK FREE\tUSERS\tREBOOT")
	var failures []string
	for _, a := range answers {
		if a.Facts == nil {
			fmt.Fprintf(table, "%s\t–\t\t\t\t\t\t\t\t\n", a.Peer)
			failures = append(failures, a.Peer+": "+a.Error)
			continue
		}
		f := a.Facts
		fmt.Fprintln(table, strings.Join([]string{
			a.Peer, describeSystem(f.OS), cmp.Or(f.OS.Kernel, "?"), known(f, "os", uptime(f.Uptime)),
			known(f, "load", fmt.Sprintf("%.2f", f.Load[0])), known(f, "cpu", fmt.Sprintf("%.1f of %d", f.CPU.Busy, f.CPU.Cores)),
			percent(f.Memory.Available, f.Memory.Total), fullest(f.Disks),
			known(f, "users", strconv.Itoa(len(f.Users))), pending(f),
		}, "\t"))
	}
	_ = table.Flush() // to memory
	for _, line := range failures {
		fmt.Fprintln(w, line)
	}
}

func describeSystem(o facts.OS) string {
	if o.Platform == "" {
		return o.Name
	}
	return strings.TrimSpace(o.Platform + " " + o.Version)
}

// percent is part of a whole in per cent.
func percent(part, whole uint64) string {
	if whole == 0 {
		return "?"
	}
	return fmt.Sprintf("%.0f %%", 100*float64(part)/float64(whole))
}

// fullest is the disk with the smallest share free.
func fullest(disks []facts.Disk) string {
	least, shown := 2.0, "?"
	for _, d := range disks {
		if d.Total == 0 {
			continue
		}
		if free := float64(d.Free) / float64(d.Total); free < least {
			least, shown = free, percent(d.Free, d.Total)+" of "+d.Mount
		}
	}
	return shown
}

// known is the text for a fact, unless the host couldn't find that out.
func known(f *facts.Facts, fact, text string) string {
	if slices.Contains(f.Unknown, fact) {
		return "?"
	}
	return text
}

func pending(f *facts.Facts) string {
	if f.Reboot.Pending {
		return "pending"
	}
	return known(f, "reboot", "no")
}

func describeReboot(f *facts.Facts) string {
	if !f.Reboot.Pending {
		return known(f, "reboot", "not pending")
	}
	return strings.TrimSuffix("pending: "+strings.Join(f.Reboot.Why, "; "), ": ")
}

// uptime prints seconds as days, or hours and minutes.
func uptime(seconds uint64) string {
	minutes := seconds / 60
	if days := minutes / 60 / 24; days > 0 {
		return fmt.Sprintf("%d d %d h", days, minutes/60%24)
	}
	return fmt.Sprintf("%d h %d min", minutes/60, minutes%60)
}
