package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"tandem/session"
	"tandem/share/node"
	"tandem/share/terminal"
)

func newJoin(io stdio, f *flags) *cobra.Command {
	var record recordFlags
	cmd := &cobra.Command{
		Use:   "join CODE|LINK",
		Short: "Join a share with its code or link",
		Long: strings.TrimSpace(`
Join a share with its code or link. Shows who it reached and what they offer,
and opens their terminal if there is one; Enter ~ . leaves it. While it runs,
other verbs in other terminals use the same session.`),
		Example: `  tandem join 4821-wolf-paper-lunar
  tandem join 'https://tandem.example/j#…'`,
		Args: takes(1, 4),
		RunE: func(cmd *cobra.Command, args []string) error {
			recording, err := record.recording(io)
			if err != nil {
				return err
			}
			return runJoin(cmd.Context(), io, f, strings.Join(args, "-"), recording)
		},
	}
	record.addToGuest(cmd.Flags())
	f.addTerminal(cmd.Flags())
	return cmd
}

func runJoin(ctx context.Context, io stdio, f *flags, invite string, recording *terminal.Recording) error {
	if err := node.CheckInvite(invite); err != nil {
		return err
	}
	cfg, err := nodeConfig(io, f)
	if err != nil {
		return err
	}
	out := newEvents(io, f, newPrompt(io))
	met := false
	notices := make(chan string, 4) // for who looks at the terminal
	var attached atomic.Bool
	cfg.Events = func(e node.Event) {
		switch {
		case f.json:
			if e.Event == node.EventPath || e.Event == node.EventWaiting || e.Event == node.EventClock {
				out.print(e)
			}
		case complain(io, e):
		case e.Event == node.EventMet:
			met = true
			fmt.Fprintf(io.out, "Met the host.\n  fingerprint  %s\n  yours        %s\nWaiting to be let in…\n",
				wordGroups(e.Words), wordGroups(e.Own))
		case e.Event == node.EventJoined, e.Event == node.EventPath:
			if line := out.line(e); line != "" && e.Event == node.EventPath {
				if attached.Load() {
					select {
					case notices <- line:
					default: // there are enough already
					}
				} else {
					notice(io, line)
				}
			}
		}
	}
	b, err := node.Connect(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }() // whatever it served has been reported
	if !f.json {
		fmt.Fprintln(io.out, "Looking for the host…")
	}
	joined, err := b.Join(ctx, invite, f.servers)
	if session.KindOf(err) == session.Exists {
		// Both sides on one machine, under one home: join as somebody else.
		_ = b.Close()
		if b, err = node.StartGuest(ctx, cfg); err == nil {
			defer func() { _ = b.Close() }()
			joined, err = b.Join(ctx, invite, f.servers)
		}
	}
	if err != nil {
		return err
	}
	peer := node.Bound{Backend: b, Peer: joined.Peer.ID.String()}
	if f.json {
		out.print(node.Event{
			Event: node.EventJoined, Peer: &joined.Peer, Words: joined.Words, Offers: joined.Offers, Path: &joined.Path, Recorded: joined.Recorded,
		})
		ctx, cancel := untilEnd(ctx, io)
		defer cancel()
		err := stay(ctx, peer)
		if err != nil {
			_, why := session.Public(err)
			out.print(node.Event{Event: node.EventLeft, Peer: &joined.Peer, Reason: why})
		}
		return err
	}
	printJoined(io, joined, !met)
	right, ok := terminalRight(joined.Offers)
	if !ok {
		fmt.Fprintln(io.out, "Connected. Ctrl-C leaves.")
		return stay(ctx, peer)
	}
	fmt.Fprintln(io.out, "Opening the terminal. Enter ~ . leaves it.")
	attached.Store(true)
	err = attach(ctx, io, f, peer, terminal.Request{Right: right}, terminal.Options{Recording: recording, Notices: notices})
	linger(ctx, io, b)
	return err
}

// printJoined shows who was reached and what they offer.
func printJoined(io stdio, j node.Joined, fingerprint bool) {
	fmt.Fprintf(io.out, "Reached %s, %s.\n", j.Alias, describePath(j.Path))
	if fingerprint {
		fmt.Fprintf(io.out, "  fingerprint  %s\n", wordGroups(j.Words))
	}
	fmt.Fprintf(io.out, "  offers       %s\n", column(describeRights(j.Offers)))
	if j.Recorded != node.NotRecorded {
		fmt.Fprintln(io.out, "  recorded     the host records what happens in the terminal")
	}
	for _, r := range j.Offers {
		if strings.HasPrefix(r.Service, "folder/") {
			fmt.Fprintf(io.out, "  in another window   tandem ls %[1]s:%[2]s   tandem get %[1]s:%[2]s/FILE\n", j.Alias, session.Printable(r.Resource))
		}
	}
}

// stay returns when the person leaves, with nil, or when the session ends.
func stay(ctx context.Context, peer node.Bound) error {
	err := peer.Backend.Ended(ctx, peer.Peer)
	if ctx.Err() != nil {
		return nil
	}
	_, why := session.Public(err)
	return session.Errorf("join", session.KindOf(err), "the session has ended: %s", why)
}

// terminalRight is the most that is offered at a terminal.
func terminalRight(offers []node.Right) (terminal.Right, bool) {
	best, found := terminal.View, false
	for _, r := range offers {
		if r.Service != terminal.ServiceName || r.Resource != "" {
			continue
		}
		for _, a := range r.Actions {
			found = true
			if a == string(terminal.Control) {
				best = terminal.Control
			}
		}
	}
	return best, found
}

// untilEnd is ctx, ended as well when standard input ends.
func untilEnd(ctx context.Context, s stdio) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() { // a read of standard input can't be called back
		_, _ = io.Copy(io.Discard, s.in)
		cancel()
	}()
	return ctx, cancel
}

// notice tells a person something while a terminal of a peer's may be shown,
// or the output be a program's.
func notice(s stdio, text string) {
	if out, ok := s.out.(*os.File); ok && isTerminal(out) {
		fmt.Fprintf(out, "\r\n[tandem: %s]\r\n", session.Printable(text))
		return
	}
	fmt.Fprintf(s.err, "tandem: %s\n", session.Printable(text))
}

// attach connects this terminal to a peer's, and ends the program as the
// remote one ended.
func attach(ctx context.Context, s stdio, f *flags, peer node.Bound, request terminal.Request, options terminal.Options) error {
	out, ok := s.out.(*os.File)
	if !ok {
		return usagef("a terminal needs a standard output that is a file or terminal")
	}
	c, err := f.terminalConfig(s)
	if err != nil {
		return err
	}
	request.Inherit(s.env, isTerminal(out))
	if locale := terminal.ForeignLocale(s.env); locale != "" && isTerminal(out) {
		fmt.Fprintf(s.err, "Your locale %s is not UTF-8: characters beyond ASCII may look wrong. LANG=C.UTF-8 helps.\n", session.Printable(locale))
	}
	shown := false
	options.Predict, options.Clipboard, options.Words = c.Predict, c.Clipboard, node.Words
	options.Rescue = rescueFolder(s)
	options.Events = func(terminal.Event) { shown = true }
	if !isTerminal(out) { // there it would be taken for output
		options.Notice = func(text string) { notice(s, text) }
	}
	request.History = terminal.PersonHistory
	result, err := terminal.Run(ctx, peer.Open, request, terminal.TTY{In: s.in, Out: out}, options)
	if shown && isTerminal(out) && (err != nil || result.Detached || result.Reason != "") {
		fmt.Fprintln(s.err) // the cursor stays where the program has left it
	}
	if err != nil {
		return err
	}
	if text := result.Farewell(); text != "" {
		fmt.Fprintln(s.err, text)
	}
	if result.Code != 0 {
		return exitError(result.Code)
	}
	return nil
}
