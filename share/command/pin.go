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

// Pin lets peers with a right to resource name run exactly argv. It fails with
// Exists if the name stands for another command already, and with Invalid or
// NotFound for a name or a program that can't be meant.
func (s *Service) Pin(name string, argv []string) error {
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
	if old, ok := s.pinned[name]; ok && !slices.Equal(old, argv) {
		return session.Errorf("pin", session.Exists, "%s is the name of another command already", name)
	}
	s.pinned[name] = argv
	return nil
}
