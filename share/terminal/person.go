package terminal

import (
	"fmt"

	"tandem/session"
)

// PersonHistory is how much of what was printed before is shown to a person who
// comes to a running terminal, in lines.
const PersonHistory = 500

// Inherit fills in what a new terminal takes over from the one that a person
// sits at, by its environment: its kind and its locale. shows says that it is
// a terminal at all.
func (p *Params) Inherit(env func(string) string, shows bool) {
	p.Term = "dumb"
	if shows {
		p.Term = env("TERM")
	}
	p.Env = make(map[string]string)
	for _, name := range []string{"LANG", "LC_ALL", "LC_CTYPE", "COLORTERM", "NO_COLOR"} {
		if v := env(name); v != "" {
			p.Env[name] = v
		}
	}
}

// ForeignLocale is the locale of a person's terminal if it is set to one whose
// characters are not UTF-8 (POSIX, Base Definitions 8.2: the first that is set
// and not empty counts).
func ForeignLocale(env func(string) string) string {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := env(name); v != "" {
			if UTF8(v) {
				return ""
			}
			return v
		}
	}
	return "" // a terminal whose locale nobody has set may be any
}

// Farewell is what to tell a person about how an attachment without an error
// ended; "" if the program's own end says it all.
func (r Result) Farewell() string {
	switch {
	case r.Detached:
		return "Left the terminal; it goes on without you."
	case r.Reason != "":
		return fmt.Sprintf("The terminal has ended: %s.", session.Printable(r.Reason))
	}
	return ""
}
