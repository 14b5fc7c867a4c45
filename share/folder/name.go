package folder

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"tandem/session"
	"tandem/share"
)

const (
	// reserved is how our own names begin, at the top of a share and elsewhere.
	reserved = ".tandem-"
	// partialDir is where unfinished files lie.
	partialDir = ".tandem-partial"

	maxName = 255
	maxPath = 4096
)

// checkPath refuses paths that are not plainly inside a share, on any
// platform; "" is the share itself.
func checkPath(path string) error {
	if path == "" {
		return nil
	}
	if len(path) > maxPath {
		return session.Errorf("folder", session.Invalid, "path of %d bytes", len(path))
	}
	for name := range strings.SplitSeq(path, "/") {
		if err := checkName(name); err != nil {
			return err
		}
	}
	return nil
}

// checkName refuses names that mean something else than a plain file on some
// platform that a share may be copied to.
func checkName(name string) error {
	if why := badName(name); why != "" {
		if len(name) > maxName {
			name = name[:maxName]
		}
		return session.Errorf("folder", session.Invalid, "name %q %s", session.Printable(name), why)
	}
	return nil
}

func badName(name string) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > maxName:
		return "is longer than 255 bytes"
	case name == "." || name == "..":
		return "is not a file's"
	case !utf8.ValidString(name):
		return "is not UTF-8"
	case strings.ContainsAny(name, `/\:`):
		return `contains "/", "\" or ":"`
	case strings.ContainsFunc(name, unicode.IsControl):
		return "contains a control character"
	case strings.HasSuffix(name, ".") || strings.HasSuffix(name, " "):
		return "ends in a dot or a space"
	case deviceName(name):
		return "is a device on Windows"
	case strings.HasPrefix(share.FoldName(name), reserved):
		return "is reserved"
	}
	return ""
}

// deviceName reports whether Windows takes name for a device, whatever follows
// its first dot.
func deviceName(name string) bool {
	base, _, _ := strings.Cut(name, ".")
	base = strings.ToUpper(strings.TrimRight(base, " "))
	switch base {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	for _, port := range []string{"COM", "LPT"} {
		if digit, ok := strings.CutPrefix(base, port); ok {
			switch digit {
			case "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "¹", "²", "³":
				return true
			}
		}
	}
	return false
}

// join puts two paths together; either may be "".
func join(dir, name string) string {
	if dir == "" || name == "" {
		return dir + name
	}
	return dir + "/" + name
}

// split is the directory and the last name of path.
func split(path string) (dir, name string) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}

// within reports whether path is below dir.
func within(path, dir string) bool { return strings.HasPrefix(path, dir+"/") }
