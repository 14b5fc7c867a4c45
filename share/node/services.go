package node

import (
	"errors"
	"log/slog"
	"slices"
	"sync"

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

	mu      sync.Mutex          // held while what shares have in common changes
	users   int                 // shares that have the terminal
	program []string            // that it runs; nil: a shell
	common  *terminal.Recording // of terminals that no share asked to record
	kept    Recorded            // how the terminal is recorded that shares have
	pins    map[string]int      // shares that have pinned a command, by its name
}

func newServices(
	subsystems map[string][]string, recording *terminal.Recording, grants forward.Grants,
	asked func(string, uint64, session.Peer), allowed func(session.PeerID) []offers.Offer, log *slog.Logger,
) *services {
	return &services{
		terminal: terminal.New(terminal.Config{Asked: asked, Recording: recording, Logger: log}),
		folder:   folder.New(),
		forward:  forward.New(forward.Config{Grants: grants, Logger: log}),
		command:  command.New(command.Config{Pinned: subsystems, Logger: log}),
		facts:    facts.New(),
		offers:   offers.New(allowed),
		common:   recording,
		pins:     make(map[string]int),
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

// shareTerminal starts the terminal that all shares have in common, in dir, or
// lets one more have it. The last to release it ends it. It says how the terminal
// is recorded: by whatever the first share asked for, if that is enough.
func (s *services) shareTerminal(program []string, dir, term string, recording *terminal.Recording) (_ Recorded, release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.users > 0 && recorded(recording).strength() > s.kept.strength():
		return "", nil, &session.Error{
			Op: "share", Kind: session.Exists, Text: "a terminal that isn't recorded like that is shared already",
			Hint: "End that share; or run `tandem share` in another window, which has a terminal of its own.",
		}
	case s.users > 0 && !slices.Equal(program, s.program):
		return "", nil, &session.Error{
			Op: "share", Kind: session.Exists, Text: "a terminal with another program is shared already",
			Hint: "End that share; or run `tandem share` in another window, which has a terminal of its own.",
		}
	case s.users == 0 && len(program) > 0:
		if err := s.terminal.Pin(program); err != nil {
			return "", nil, err
		}
	}
	if s.users == 0 {
		s.beginIn(dir)
		s.terminal.Record(recording)
	}
	p := terminal.Params{Size: terminal.Size{Cols: 80, Rows: 24}, Term: term}
	err = s.terminal.Start("", p)
	if session.KindOf(err) == session.Exists && s.users == 0 && (recording != nil && recording.Required || recording != nil && s.recording() == "") {
		err = &session.Error{
			Op: "share", Kind: session.Busy, Text: "a terminal is open here already that isn't recorded like that",
			Hint: "Leave it, and share then.",
		}
	}
	if err != nil && session.KindOf(err) != session.Exists { // one that lives will do
		if s.users == 0 {
			s.freeTerminal()
		}
		return "", nil, err
	}
	if s.users == 0 {
		s.kept = recorded(recording)
	}
	if s.recording() == "" {
		s.kept = NotRecorded // it can't be written
	}
	s.users++
	s.program = program
	return s.kept, s.releaseTerminal, nil
}

func (s *services) releaseTerminal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users > 0 {
		return
	}
	_ = s.terminal.End("") // it may have ended
	s.freeTerminal()
}

// freeTerminal forgets what a share has chosen for the terminals.
func (s *services) freeTerminal() {
	s.terminal.Unpin()
	s.terminal.Record(s.common)
	s.beginIn("")
}

// beginIn has programs begin in a folder, or in the user's own.
func (s *services) beginIn(dir string) {
	s.terminal.BeginIn(dir)
	s.command.BeginIn(dir)
}

// pin lets a share have a command, which begins in dir.
func (s *services) pin(name, dir string, argv []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.command.Pin(name, dir, argv); err != nil {
		return err
	}
	s.pins[name]++
	return nil
}

func (s *services) unpin(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pins[name]--; s.pins[name] == 0 {
		delete(s.pins, name)
		s.command.Unpin(name)
	}
}
