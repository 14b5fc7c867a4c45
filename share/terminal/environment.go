package terminal

import (
	"regexp"

	shared "tandem/share"
)

// defaultTerm is what a new terminal's TERM is unless its maker says.
const defaultTerm = "xterm-256color"

var termPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+._-]{0,63}$`)

// environment puts together a child's variables: the allow-listed ones of own
// (the host's, as os.Environ gives them), then what the host's configuration
// adds, then what the viewer may choose, then ours.
func environment(own, configured []string, viewer map[string]string, term, name string) []string {
	given := make(map[string]string)
	for key, value := range viewer {
		if shared.PeerMaySet(key, value) {
			given[key] = value
		}
	}
	given["TERM"] = defaultTerm
	if termPattern.MatchString(term) {
		given["TERM"] = term
	}
	// So that a tandem started in here can tell that it is in a shared terminal.
	given["TANDEM_TERMINAL"] = name
	return shared.Environment(own, configured, given)
}
