package forward

import (
	"path/filepath"
	"strings"

	"tandem/session"
)

// Kind is which way a forward goes.
type Kind string

// The kinds, as ssh has them.
const (
	Local   Kind = "local"   // -L: listen here, connect from the peer
	Remote  Kind = "remote"  // -R: listen at the peer, connect from here
	Dynamic Kind = "dynamic" // -D: a SOCKS5 proxy here, connect from the peer
)

// Forward is one forward that a person wants.
type Forward struct {
	Kind   Kind    `json:"kind"`
	Listen Address `json:"listen"`
	Target Address `json:"target,omitzero"` // none of a Dynamic one
}

// String is the forward as Parse reads it.
func (f Forward) String() string {
	s := f.Listen.String()
	if f.Kind != Dynamic {
		s += ":" + f.Target.String()
	}
	return s
}

// Parse reads a forward as ssh's option of that kind has it: [BIND:]PORT or the
// path of a socket, and unless it is Dynamic a colon and HOST:PORT or the path
// of a socket. An IPv6 address is in brackets. Without BIND it listens on
// localhost, with an empty one or "*" on every address. A path of this device may
// be relative. The error has kind Invalid.
func Parse(kind Kind, text string) (Forward, error) {
	f := Forward{Kind: kind}
	fields, ok := splitFields(text)
	if !ok {
		return f, badForward(kind, text)
	}
	var err error
	if f.Listen, fields, err = parseListen(fields, kind != Dynamic, kind != Remote); err != nil {
		return f, badForward(kind, text)
	}
	switch {
	case kind == Dynamic && len(fields) == 0:
		return f, nil
	case kind != Dynamic && len(fields) == 1 && isPath(fields[0]):
		f.Target, err = socketAt(fields[0], kind == Remote)
	case kind != Dynamic && len(fields) == 2:
		var port uint16
		if port, err = parsePort(fields[1]); err == nil {
			f.Target = TCPAddress(fields[0], port)
			err = f.Target.check(false)
		}
	default:
		err = badForward(kind, text)
	}
	if err != nil {
		return f, badForward(kind, text)
	}
	return f, nil
}

// parseListen reads where to listen from the first fields.
func parseListen(fields []string, target, here bool) (a Address, rest []string, err error) {
	if isPath(fields[0]) {
		a, err = socketAt(fields[0], here)
		return a, fields[1:], err
	}
	// What follows decides: a port and a host and a port, or a path.
	bound := len(fields) == 2 && !target || len(fields) == 4 || len(fields) == 3 && isPath(fields[2])
	host := localhost
	if bound {
		if host = fields[0]; host == "" {
			host = everywhere
		}
		fields = fields[1:]
	}
	port, err := parsePort(fields[0])
	if err != nil {
		return a, nil, err
	}
	a = TCPAddress(host, port)
	return a, fields[1:], a.check(true)
}

func isPath(field string) bool { return strings.Contains(field, "/") }

// socketAt is the socket of a path, which may be relative only on this device.
func socketAt(path string, here bool) (Address, error) {
	if here {
		var err error
		if path, err = filepath.Abs(path); err != nil {
			return Address{}, err
		}
		path = filepath.ToSlash(path)
	}
	return UnixAddress(path), checkPath(path)
}

// splitFields splits at the colons outside brackets, and drops the brackets.
func splitFields(text string) (fields []string, ok bool) {
	for {
		var field string
		if inside, bracketed := strings.CutPrefix(text, "["); bracketed {
			if field, text, ok = strings.Cut(inside, "]"); !ok || text != "" && text[0] != ':' {
				return nil, false
			}
		} else if i := strings.IndexByte(text, ':'); i >= 0 {
			field, text = text[:i], text[i:]
		} else {
			field, text = text, ""
		}
		fields = append(fields, field)
		if text == "" {
			return fields, true
		}
		text = text[1:]
	}
}

func badForward(kind Kind, text string) error {
	e := session.Errorf("forward", session.Invalid, "%q can't be forwarded", session.Printable(text))
	switch kind {
	case Local:
		e.Hint = "-L takes [BIND:]PORT:HOST:PORT, such as 8080:localhost:80; either side may be the path of a socket."
	case Remote:
		e.Hint = "-R takes [BIND:]PORT:HOST:PORT, such as 9000:localhost:3000; either side may be the path of a socket."
	case Dynamic:
		e.Hint = "-D takes [BIND:]PORT, such as 1080."
	}
	return e
}
