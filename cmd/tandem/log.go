package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tandem/session"
	"tandem/share/node"
)

func newLog(io stdio, f *flags) *cobra.Command {
	var filter node.AuditFilter
	var since, head string
	var verify bool
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Show what peers asked of this device, and what they got",
		Long: strings.TrimSpace(`
Show what peers asked of this device, what they were allowed, and what came of
it. Each entry of the log holds a hash of the one before; --verify finds out
whether any was changed, removed or moved, and prints the log's head. Keep that
somewhere else: "--verify --head" shows later that the log still contains it.`),
		Example: `  tandem log --since 24h
  tandem log --peer bob --service terminal --follow
  tandem log --verify`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			home, err := node.FindHome(io.env)
			if err != nil {
				return err
			}
			switch {
			case head != "" && !verify:
				return usagef("--head needs --verify")
			case verify && (filter != node.AuditFilter{} || since != ""):
				return usagef("--verify looks at the whole log")
			case verify:
				return verifyLog(io, f, home, head)
			}
			if filter.Since, err = parseSince(since, time.Now()); err != nil {
				return err
			}
			return showLog(cmd.Context(), io, f, home, filter)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&filter.Peer, "peer", "", "only this peer: an alias, a name, or the beginning of an ID")
	fs.StringVar(&filter.Service, "service", "", "only this service, such as terminal, command, folder or forward")
	fs.StringVar(&since, "since", "", "only from then on: 24h, 2026-11-22, or 2026-11-22T13:00:00Z")
	fs.BoolVar(&filter.Follow, "follow", false, "wait for more, until Ctrl-C")
	fs.BoolVar(&verify, "verify", false, "find out whether the log is as it was written")
	fs.StringVar(&head, "head", "", "a head that --verify has printed before")
	return cmd
}

// parseSince reads a moment, or how long ago it was.
func parseSince(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(form, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("--since takes a duration such as 24h, a date or a time, not %q", s)
}

func showLog(ctx context.Context, io stdio, f *flags, home node.Home, filter node.AuditFilter) error {
	each := func(e node.AuditEntry) error {
		_, err := fmt.Fprintln(io.out, describeEntry(e))
		return err
	}
	if f.json {
		enc := json.NewEncoder(io.out)
		enc.SetEscapeHTML(false)
		each = func(e node.AuditEntry) error { return enc.Encode(e) }
	}
	shown := 0
	err := node.ReadAudit(ctx, home, filter, func(e node.AuditEntry) error { shown++; return each(e) }, func(bad error) {
		printError(io.err, advise(bad, session.Integrity, "`tandem log --verify` says more."))
	})
	switch {
	case filter.Follow && ctx.Err() != nil:
		return nil // Ctrl-C is how it ends
	case err == nil && shown == 0 && !f.json:
		_, err = fmt.Fprintln(io.out, "There is nothing in the log.")
	}
	return err
}

// describeEntry is an entry in a line for people.
func describeEntry(e node.AuditEntry) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %6d  %-8s", e.Time.Local().Format("2006-01-02 15:04:05"), e.Seq, e.Outcome)
	if !e.Peer.IsZero() {
		fmt.Fprintf(&b, "  %s", e.Peer.Short())
		if e.Name != "" {
			fmt.Fprintf(&b, " %q", e.Name)
		}
	}
	service, _, _ := strings.Cut(e.Service, "/")
	if what := strings.TrimSpace(strings.Join([]string{service, e.Resource, e.Action, e.Detail}, " ")); what != "" {
		fmt.Fprintf(&b, "  %s", strings.Join(strings.Fields(what), " "))
	}
	var came []string
	if e.Of > 0 {
		came = append(came, fmt.Sprintf("of %d", e.Of), fmt.Sprintf("sent %d bytes, received %d", e.Sent, e.Received))
	}
	if e.Exit != nil {
		came = append(came, fmt.Sprintf("exit %d", *e.Exit))
	}
	if e.Recording != "" {
		came = append(came, "recorded in "+e.Recording)
	}
	if e.Reason != "" {
		came = append(came, e.Reason)
	}
	if e.Count > 0 {
		came = append(came, fmt.Sprintf("%d more like it were left out before it", e.Count))
	}
	if len(came) > 0 {
		fmt.Fprintf(&b, ": %s", strings.Join(came, "; "))
	}
	return b.String()
}

func verifyLog(io stdio, f *flags, home node.Home, head string) error {
	report, err := node.VerifyAudit(home, head)
	if err != nil {
		return err
	}
	if f.json {
		err = printLines(io.out, []node.AuditReport{report})
	} else {
		printReport(io, report)
	}
	if err == nil && len(report.Problems) > 0 {
		return &session.Error{
			Op: "verify", Kind: session.Integrity, Text: "the log is not as it was written",
			Hint: "Whoever can write to tandem's state may have changed it; so may a failing disk.",
		}
	}
	return err
}

func printReport(io stdio, r node.AuditReport) {
	for _, p := range r.Problems {
		fmt.Fprintf(io.out, "WRONG  %s\n", session.Printable(p))
	}
	for _, n := range r.Notes {
		fmt.Fprintf(io.out, "note   %s\n", session.Printable(n))
	}
	if r.Entries == 0 {
		fmt.Fprintln(io.out, "There is nothing in the log.")
		return
	}
	fmt.Fprintf(io.out, "%d entries in %d files, from %s to %s\n", r.Entries, r.Files,
		r.First.Local().Format("2006-01-02 15:04:05"), r.Last.Local().Format("2006-01-02 15:04:05"))
	fmt.Fprintf(io.out, "head   %s\n", r.Head)
	if len(r.Problems) == 0 {
		fmt.Fprintln(io.out, "The chain is whole.")
	}
}
