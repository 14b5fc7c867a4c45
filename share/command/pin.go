package command

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"

	"tandem/session"
)

// pinnedName is what a command can be pinned under: what needs no quotes, and no
// colon, which ends the peer's name before it.
var pinnedName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// pinned is a command that peers can run by a name.
type pinned struct {
	argv []string
	dir  string // where it starts; empty: where other programs do
}

// Pin lets peers with a right to resource name run exactly argv, started in dir
// unless that is empty. It fails with Exists if the name stands for another
// command already, and with Invalid or NotFound for a name or a program that
// can't be meant.
func (s *Service) Pin(name, dir string, argv []string) error {
	if !pinnedName.MatchString(name) {
		return session.Errorf("pin", session.Invalid, "%q can't be the name of a command: letters, digits, dots and hyphens can", session.PrintableName(name))
	}
	r := Request{Argv: argv}
	if _, err := r.Header(); err != nil {
		return err
	}
	if _, err := exec.LookPath(argv[0]); err != nil {
		return session.Errorf("pin", session.NotFound, "there is no program %s here", session.Printable(argv[0]))
	}
	argv = slices.Clone(argv)
	if filepath.Base(argv[0]) != argv[0] { // it is looked for where we are, not where it starts
		path, err := filepath.Abs(argv[0])
		if err != nil {
			return &session.Error{Op: "pin", Kind: session.Invalid, Err: err}
		}
		argv[0] = path
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.pinned[name]; ok && (!slices.Equal(old.argv, argv) || old.dir != dir) {
		return session.Errorf("pin", session.Exists, "%s is the name of another command already", name)
	}
	s.pinned[name] = pinned{argv, dir}
	return nil
}

// Unpin takes back what Pin has added. What runs goes on.
func (s *Service) Unpin(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pinned, name)
	if argv, ok := s.config.Pinned[name]; ok {
		s.pinned[name] = pinned{argv: argv}
	}
}

// BeginIn has programs that are started from now on start in dir; empty means in
// Config.Dir.
func (s *Service) BeginIn(dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dir = dir
}
