package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"tandem/session"
	"tandem/share/node"
)

// nodeConfig is what every verb that needs a node starts from.
func nodeConfig(io stdio, f *flags) (node.Config, error) {
	home, err := node.FindHome(io.env)
	if err != nil {
		return node.Config{}, err
	}
	c, err := readConfig(io, home, f)
	if err != nil {
		return node.Config{}, err
	}
	log, err := logger(io, c.Log)
	if err != nil {
		return node.Config{}, err
	}
	roots, err := c.roots()
	if err != nil {
		return node.Config{}, err
	}
	return node.Config{
		Roots: roots,
		Home:  home, Name: c.Name, Servers: c.Servers, Insecure: c.Insecure, RelayOnly: c.RelayOnly, Log: log,
		Subsystems: sshSubsystems(), Version: version(), Events: func(e node.Event) { complain(io, e) },
	}, nil
}

// complain tells on standard error what the person in front waits for, or
// should mend, if that is what the event is about.
func complain(io stdio, e node.Event) bool {
	if e.Event != node.EventWaiting && e.Event != node.EventClock {
		return false
	}
	end := "\n"
	if file, ok := io.err.(*os.File); ok && isTerminal(file) {
		end = "\r\n" // a peer's terminal may be shown
	}
	fmt.Fprintf(io.err, "tandem: %s%s", session.Printable(e.Reason), end)
	return true
}

// withBackend runs use with the node that runs under this home, or with one
// of its own that lasts as long, and longer if other verbs use it by then: what
// they run would end with it.
func withBackend(ctx context.Context, io stdio, f *flags, use func(context.Context, node.Backend) error) error {
	cfg, err := nodeConfig(io, f)
	if err != nil {
		return err
	}
	b, err := node.Connect(ctx, cfg)
	if err != nil {
		return err
	}
	err = use(ctx, b)
	linger(ctx, io, b)
	return errors.Join(err, b.Close())
}

// linger waits for the other verbs that use a node of ours, which is about to
// be closed, unless ctx has ended.
func linger(ctx context.Context, io stdio, b node.Backend) {
	own, ok := b.(interface {
		Linger(ctx context.Context, waiting func())
	})
	if !ok || ctx.Err() != nil {
		return
	}
	own.Linger(ctx, func() {
		fmt.Fprintln(io.err, "tandem: other tandem commands go on through this one; it waits for them, and Ctrl-C ends them.")
	})
}
