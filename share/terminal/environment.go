package terminal

import (
	"regexp"
	"strings"

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

// foreignLocale is the locale that a program with these variables runs in, if
// its characters are not UTF-8 (POSIX, Base Definitions 8.2).
func foreignLocale(env []string) string {
	for _, name := range []string{"LC_ALL=", "LC_CTYPE=", "LANG="} {
		for _, pair := range env {
			if locale, ok := strings.CutPrefix(pair, name); ok && locale != "" {
				if UTF8(locale) {
					return ""
				}
				return locale
			}
		}
	}
	return "C"
}

// UTF8 reports whether a locale's name says that its characters are UTF-8.
func UTF8(locale string) bool {
	upper := strings.ToUpper(locale)
	return strings.Contains(upper, "UTF-8") || strings.Contains(upper, "UTF8")
}
