package terminal

import (
	"regexp"
	"sort"
	"strings"
)

// defaultTerm is what a new terminal's TERM is unless its maker says.
const defaultTerm = "xterm-256color"

// hostEnv are the variables of the host's own environment that programs get.
var hostEnv = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TZ", "LANG", "LANGUAGE",
	"XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME",
	"SystemRoot", "TMPDIR",
}

var (
	termPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+._-]{0,63}$`)
	// localePattern leaves no room for a path: some C libraries open files
	// that a locale's name leads to.
	localePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9@._-]{0,63}$`)
	namePattern   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// steers reports whether a variable tells the dynamic linker or the Go
// run-time what to load or do. Such never reach a child, whoever asks.
func steers(name string) bool {
	upper := strings.ToUpper(name)
	return strings.HasPrefix(upper, "LD_") || strings.HasPrefix(upper, "DYLD_") || strings.HasPrefix(upper, "GO") ||
		upper == "LOCPATH" || upper == "GCONV_PATH" || upper == "NLSPATH" || strings.HasPrefix(upper, "MALLOC_") ||
		upper == "GLIBC_TUNABLES" || upper == "BASH_ENV" || upper == "ENV" || upper == "IFS"
}

// fromViewer reports whether a viewer may set the variable to the value.
func fromViewer(name, value string) bool {
	switch {
	case name == "LANG", name == "COLORTERM", name == "NO_COLOR", strings.HasPrefix(name, "LC_") && namePattern.MatchString(name):
		return localePattern.MatchString(value)
	}
	return false
}

// environment puts together a child's variables: the allow-listed ones of own
// (the host's, as os.Environ gives them), then what the host's configuration
// adds, then what the viewer may choose, then ours.
func environment(own, configured []string, viewer map[string]string, term, name string) []string {
	host := make(map[string]string)
	for _, pair := range own {
		if key, value, ok := strings.Cut(pair, "="); ok && key != "" {
			host[key] = value
		}
	}
	env := make(map[string]string)
	pass := func(key string) {
		if value, ok := host[key]; ok {
			env[key] = value
		}
	}
	for _, key := range hostEnv {
		pass(key)
	}
	for key := range host {
		if strings.HasPrefix(key, "LC_") {
			pass(key)
		}
	}
	for _, entry := range configured {
		if key, value, ok := strings.Cut(entry, "="); ok {
			env[key] = value
		} else {
			pass(entry)
		}
	}
	for key, value := range viewer {
		if fromViewer(key, value) {
			env[key] = value
		}
	}
	env["TERM"] = defaultTerm
	if termPattern.MatchString(term) {
		env["TERM"] = term
	}
	// So that a tandem started in here can tell that it is in a shared terminal.
	env["TANDEM_TERMINAL"] = name

	list := make([]string, 0, len(env))
	for key, value := range env {
		if namePattern.MatchString(key) && !steers(key) && !strings.ContainsRune(value, 0) {
			list = append(list, key+"="+value)
		}
	}
	sort.Strings(list)
	return list
}
