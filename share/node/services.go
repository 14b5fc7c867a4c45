package node

import (
	"errors"
	"log/slog"
	"slices"

	"tandem/session"
	"tandem/share/command"
	"tandem/share/facts"
	"tandem/share/folder"
	"tandem/share/forward"
	"tandem/share/offers"
	"tandem/share/terminal"
)

// services are what this node can offer. A new service is one line here, and
// another in list.
type services struct {
	terminal *terminal.Service
	folder   *folder.Service
	forward  *forward.Service
	command  *command.Service
	facts    *facts.Service
	offers   *offers.Service
}

func newServices(
	dir string, subsystems map[string][]string, recording *terminal.Recording, grants forward.Grants,
	asked func(string, uint64, session.Peer), allowed func(session.PeerID) []offers.Offer, log *slog.Logger,
) *services {
	return &services{
		terminal: terminal.New(terminal.Config{Dir: dir, Asked: asked, Recording: recording, Logger: log}),
		folder:   folder.New(),
		forward:  forward.New(forward.Config{Grants: grants, Logger: log}),
		command:  command.New(command.Config{Dir: dir, Pinned: subsystems, Logger: log}),
		facts:    facts.New(),
		offers:   offers.New(allowed),
	}
}

func (s *services) list() []session.Service {
	return []session.Service{s.terminal, s.folder, s.forward, s.command, s.facts, s.offers}
}

// desk is what the device's own person finds in its other windows: the same,
// but its terminals are its own.
func (s *services) desk() []session.Service { return append(s.list(), s.terminal.Desk()) }

// revoke ends what a peer has started and may no more, given what it may still.
func (s *services) revoke(peer session.PeerID, left []Right) {
	if !slices.ContainsFunc(left, func(r Right) bool { return r.Service == terminal.ServiceName }) {
		s.terminal.EndOwned(peer)
	}
}

// Close ends whatever the services have started.
func (s *services) Close() error {
	return errors.Join(s.terminal.Close(), s.folder.Close(), s.forward.Close(), s.command.Close())
}
