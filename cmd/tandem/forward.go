package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tandem/session"
	"tandem/share/forward"
	"tandem/share/node"
)

// repeatAfter is when a failure is told again that has not changed.
const repeatAfter = 10 * time.Second

func newForward(io stdio, f *flags) *cobra.Command {
	var open bool
	specs := make(map[forward.Kind]*[]string)
	cmd := &cobra.Command{
		Use:   "forward PEER",
		Short: "Connect ports of this machine with those a peer reaches, as ssh does",
		Long: strings.TrimSpace(`
Connect ports of this machine with those that a peer reaches, and the other way
round, as ssh -L, -R and -D do. Either end may be the path of a socket. It
lasts until Ctrl-C and outlives interruptions of the session.

The peer allows it with "tandem share --forward TARGET" and, for -R,
"--forward-listen ADDRESS". Names are looked up by the peer.`),
		Example: `  # http://localhost:8080 is alice's web server
  tandem forward alice -L 8080:localhost:80
  # alice's port 9000 is this machine's 3000
  tandem forward alice -R 9000:localhost:3000
  # a SOCKS5 proxy into alice's network
  tandem forward alice -D 1080`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			plan := forward.Plan{Open: open}
			for _, kind := range []forward.Kind{forward.Local, forward.Remote, forward.Dynamic} {
				for _, text := range *specs[kind] {
					one, err := forward.Parse(kind, text)
					if err != nil {
						return err
					}
					plan.Forwards = append(plan.Forwards, one)
				}
			}
			if len(plan.Forwards) == 0 {
				return usagef("give -L, -R or -D, such as -L 8080:localhost:80")
			}
			return withBackend(cmd.Context(), io, f, func(ctx context.Context, b node.Backend) error {
				return runForward(ctx, io, f, node.Bound{Backend: b, Peer: args[0]}, plan)
			})
		},
	}
	fs := cmd.Flags()
	flag := func(kind forward.Kind, letter, usage string) {
		specs[kind] = fs.StringArrayP(string(kind), letter, nil, usage)
	}
	flag(forward.Local, "L", "[BIND:]PORT:HOST:PORT: listen here, connect from the peer; may be repeated")
	flag(forward.Remote, "R", "[BIND:]PORT:HOST:PORT: listen at the peer, connect from here; may be repeated")
	flag(forward.Dynamic, "D", "[BIND:]PORT: a SOCKS5 proxy here, connecting from the peer; may be repeated")
	fs.BoolVar(&open, "open", false, "let -D listen where others reach it, who then use the peer's network")
	return cmd
}

func runForward(ctx context.Context, io stdio, f *flags, peer node.Bound, plan forward.Plan) error {
	p := &forwardPrinter{
		io: io, json: f.json, peer: session.PrintableName(peer.Peer), at: make(map[forward.Forward]forward.Address), told: make(map[string]time.Time),
	}
	plan.Events = p.print
	totals, err := forward.Run(ctx, peer, plan)
	p.finish(totals, err)
	return err
}

// forwardPrinter shows what happens to forwards.
type forwardPrinter struct {
	io   stdio
	json bool
	peer string
	at   map[forward.Forward]forward.Address // where each listens in fact
	told map[string]time.Time                // failures, and when
}

// forwardEvent is a line of --json.
type forwardEvent struct {
	Event    string       `json:"event"`
	Kind     forward.Kind `json:"kind,omitempty"`
	Peer     string       `json:"peer"`
	Listen   string       `json:"listen,omitempty"`
	Target   string       `json:"target,omitempty"`
	From     string       `json:"from,omitempty"`
	Sent     uint64       `json:"sent,omitempty"`
	Received uint64       `json:"received,omitempty"`
	Reason   string       `json:"reason,omitempty"`
	Error    string       `json:"error,omitempty"`
	Hint     string       `json:"hint,omitempty"`
}

func (p *forwardPrinter) print(e forward.Event) {
	if e.Event == forward.Ready {
		p.at[e.Forward] = e.Address
	}
	if p.json {
		p.encode(e)
		return
	}
	switch e.Event {
	case forward.Ready:
		fmt.Fprintln(p.io.out, p.route(e))
	case forward.Lost:
		p.fail(e, "lost, and tried again: ")
	case forward.Failed:
		p.fail(e, "")
	}
}

func (p *forwardPrinter) encode(e forward.Event) {
	line := forwardEvent{
		Event: e.Event, Kind: e.Forward.Kind, Peer: p.peer, Listen: p.at[e.Forward].String(),
		Target: cmp.Or(e.Target, e.Forward.Target).String(), Sent: e.Sent, Received: e.Received,
	}
	if e.Event != forward.Ready {
		line.From = e.Address.String()
	}
	if e.Err != nil {
		line.Reason, line.Error, line.Hint = string(forward.ReasonOf(e.Err)), session.Printable(e.Err.Error()), session.Hint(e.Err)
	}
	// A reader that has gone away is noticed by the signal, not here.
	_ = json.NewEncoder(p.io.out).Encode(line)
}

// route shows the way of a forward, or of one connection: from where it listens
// past who connects.
func (p *forwardPrinter) route(e forward.Event) string {
	at, target := p.at[e.Forward].String(), cmp.Or(e.Target, e.Forward.Target).String()
	route := fmt.Sprintf("%s → %s → %s", at, p.peer, target)
	switch {
	case e.Forward.Kind == forward.Remote:
		route = fmt.Sprintf("%s at %s → here → %s", at, p.peer, target)
	case target == "":
		route = fmt.Sprintf("%s → %s  (SOCKS5)", at, p.peer)
	}
	return session.Printable(route)
}

// fail tells of a failure, and what to do about it, unless it has just been
// told: a browser tries again and again.
func (p *forwardPrinter) fail(e forward.Event, what string) {
	line := fmt.Sprintf("%s: %s%s", p.route(e), what, session.Printable(e.Err.Error()))
	if at, ok := p.told[line]; ok && time.Since(at) < repeatAfter {
		return
	}
	if len(p.told) > 1000 { // a proxy's targets are without number
		clear(p.told)
	}
	_, before := p.told[line]
	p.told[line] = time.Now()
	fmt.Fprintln(p.io.err, line)
	if hint := session.Hint(e.Err); hint != "" && !before {
		fmt.Fprintf(p.io.err, "  %s\n", session.Printable(hint))
	}
}

// finish tells how much there was.
func (p *forwardPrinter) finish(t forward.Totals, err error) {
	switch {
	case p.json && err == nil:
		line := struct {
			Event string `json:"event"`
			forward.Totals
		}{"done", t}
		_ = json.NewEncoder(p.io.out).Encode(line)
	case !p.json && t.Connections+t.Failed > 0:
		fmt.Fprintf(p.io.err, "%d connections, %s sent, %s received", t.Connections, byteCount(t.Sent), byteCount(t.Received))
		if t.Failed > 0 {
			fmt.Fprintf(p.io.err, "; %d failed", t.Failed)
		}
		fmt.Fprintln(p.io.err)
	}
}
