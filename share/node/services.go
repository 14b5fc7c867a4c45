package node

import (
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tandem/session"
	"tandem/share/command"
	"tandem/share/facts"
	"tandem/share/folder"
	"tandem/share/forward"
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
}

func newServices(
	dir string, subsystems map[string][]string, recording *terminal.Recording, grants forward.Grants,
	asked func(string, uint64, session.Peer), log *slog.Logger,
) *services {
	return &services{
		terminal: terminal.New(terminal.Config{Dir: dir, Asked: asked, Recording: recording, Logger: log}),
		folder:   folder.New(),
		forward:  forward.New(forward.Config{Grants: grants, Logger: log}),
		command:  command.New(command.Config{Dir: dir, Pinned: subsystems, Logger: log}),
		facts:    facts.New(),
	}
}

func (s *services) list() []session.Service {
	return []session.Service{s.terminal, s.folder, s.forward, s.command, s.facts}
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

// addFolder shares dir under its last element, made fit to type, or under a
// numbered one if that is taken.
func (s *services) addFolder(dir string, write, executables bool) (string, error) {
	base := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" :/\\\t", r) {
			return '-'
		}
		return r
	}, session.PrintableName(filepath.Base(dir)))
	if strings.Trim(base, ".-") == "" {
		base = "files"
	}
	name := base
	for n := 2; ; n++ {
		err := s.folder.Add(folder.Share{Name: name, Dir: dir, ReadOnly: !write, Executables: executables})
		if session.KindOf(err) != session.Exists {
			return name, err
		}
		name = base + "-" + strconv.Itoa(n)
	}
}
