package share

import (
	"regexp"
	"slices"
	"strings"
)

// hostEnv are the variables of the host's own environment that programs get.
var hostEnv = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TZ", "LANG", "LANGUAGE",
	"XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME",
	"SystemRoot", "TMPDIR",
}

var (
	// localePattern leaves no room for a path: some C libraries open files
	// that a locale's name leads to.
	localePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9@._-]{0,63}$`)
	namePattern   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// steers reports whether a variable tells the dynamic linker, the C library,
// the Go run-time or a shell what to load or do. Such never reach a child,
// whoever asks.
func steers(name string) bool {
	upper := strings.ToUpper(name)
	return strings.HasPrefix(upper, "LD_") || strings.HasPrefix(upper, "DYLD_") || strings.HasPrefix(upper, "GO") ||
		upper == "LOCPATH" || upper == "GCONV_PATH" || upper == "NLSPATH" || strings.HasPrefix(upper, "MALLOC_") ||
		upper == "GLIBC_TUNABLES" || upper == "BASH_ENV" || upper == "ENV" || upper == "IFS"
}

// Passes reports whether a variable may reach a child at all.
func Passes(name, value string) bool {
	return namePattern.MatchString(name) && !steers(name) && !strings.ContainsRune(value, 0)
}

// PeerMaySet reports whether a peer may set the variable to the value, whatever
// it runs: LANG, LC_*, COLORTERM and NO_COLOR, to something like a locale's
// name.
func PeerMaySet(name, value string) bool {
	switch {
	case name == "LANG", name == "COLORTERM", name == "NO_COLOR", strings.HasPrefix(name, "LC_") && namePattern.MatchString(name):
		return localePattern.MatchString(value)
	}
	return false
}

// Environment puts together the variables of a program that runs for a peer,
// each as NAME=value, sorted: the allow-listed ones of own (the host's, as
// os.Environ gives them), then what the host's configuration adds ("NAME"
// passes the host's own on, "NAME=value" sets one), then those given, which the
// caller has checked. Whatever does not pass Passes is left out.
func Environment(own, configured []string, given map[string]string) []string {
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
	for key, value := range given {
		env[key] = value
	}
	list := make([]string, 0, len(env))
	for key, value := range env {
		if Passes(key, value) {
			list = append(list, key+"="+value)
		}
	}
	slices.Sort(list)
	return list
}
