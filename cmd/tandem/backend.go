package main

import (
	"context"
	"errors"

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
	return node.Config{
		Home: home, Name: c.Name, Servers: c.Servers, Insecure: c.Insecure, RelayOnly: c.RelayOnly, Log: log,
		Subsystems: sshSubsystems(),
	}, nil
}

// withBackend runs use with the node that runs under this home, or with one
// of its own that lasts as long.
func withBackend(ctx context.Context, io stdio, f *flags, use func(context.Context, node.Backend) error) error {
	cfg, err := nodeConfig(io, f)
	if err != nil {
		return err
	}
	b, err := node.Connect(ctx, cfg)
	if err != nil {
		return err
	}
	return errors.Join(use(ctx, b), b.Close())
}
