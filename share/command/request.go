package command

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"tandem/session"
	"tandem/share"
)

// ServiceName is the service's name and version.
const ServiceName = "command/1"

// Run is the service's only action.
const Run = "run"

const (
	maxArgs     = 1024
	maxArgBytes = 48 << 10
	maxDir      = 4096
	maxEnv      = 64
	maxEnvBytes = 16 << 10
)

// Request is what a peer asks for.
type Request struct {
	// Pinned is the name of a command that the host has pinned; empty runs
	// Argv.
	Pinned string
	Argv   []string
	// Dir is where to start; relative to the host's choice, which is also the
	// default.
	Dir string
	// Env is added to the variables that the host gives.
	Env map[string]string
	// Timeout is how long the program may take, in whole milliseconds; 0 is
	// forever.
	Timeout time.Duration
}

// params are the parameters of a request, as the package comment has them.
type params struct {
	Argv    []string          `json:"argv,omitempty"`
	Dir     string            `json:"dir,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
	Timeout int64             `json:"timeout,omitempty"` // ms
}

// Header is the header that opens the request's stream.
func (r Request) Header() (session.Header, error) {
	for _, text := range append([]string{r.Dir}, r.Argv...) {
		if !utf8.ValidString(text) { // JSON would change it
			return session.Header{}, session.Errorf("run", session.Invalid, "%q is not UTF-8, and can't be sent", text)
		}
	}
	for name, value := range r.Env {
		if !utf8.ValidString(name + value) {
			return session.Header{}, session.Errorf("run", session.Invalid, "the variable %q is not UTF-8, and can't be sent", name)
		}
	}
	ms := (r.Timeout + time.Millisecond - 1) / time.Millisecond
	raw, err := json.Marshal(params{Argv: r.Argv, Dir: r.Dir, Env: r.Env, Timeout: int64(ms)})
	if err != nil {
		return session.Header{}, err
	}
	h := session.Header{Service: ServiceName, Resource: r.Pinned, Action: Run, Params: raw}
	_, err = parse(h)
	return h, err
}

// parse reads a request. Everything that can be wrong with it by itself is
// found here.
func parse(h session.Header) (Request, error) {
	invalid := func(format string, args ...any) (Request, error) {
		return Request{}, session.Errorf("run", session.Invalid, format, args...)
	}
	if h.Action != Run {
		return invalid("the action is %q, not run", session.PrintableName(h.Action))
	}
	var p params
	if len(h.Params) > 0 {
		if err := json.Unmarshal(h.Params, &p); err != nil {
			return invalid("the parameters can't be read")
		}
	}
	switch total, nul := size(p.Argv); {
	case h.Resource != "" && (p.Argv != nil || p.Dir != ""):
		return invalid("a pinned command takes no arguments and no folder")
	case h.Resource == "" && (len(p.Argv) == 0 || p.Argv[0] == ""):
		return invalid("there is no program to run")
	case len(p.Argv) > maxArgs || total > maxArgBytes:
		return invalid("%d arguments of %d bytes in all; at most %d of %d bytes fit", len(p.Argv), total, maxArgs, maxArgBytes)
	case nul, strings.ContainsRune(p.Dir, 0):
		return invalid("an argument holds a NUL")
	case len(p.Dir) > maxDir:
		return invalid("the folder's name has %d bytes", len(p.Dir))
	case p.Timeout < 0 || p.Timeout > math.MaxInt32:
		return invalid("a timeout of %d ms", p.Timeout)
	}
	total := 0
	for name, value := range p.Env {
		total += len(name) + len(value)
	}
	if len(p.Env) > maxEnv || total > maxEnvBytes {
		return invalid("%d variables of %d bytes in all", len(p.Env), total)
	}
	return Request{
		Pinned: h.Resource, Argv: p.Argv, Dir: p.Dir, Env: p.Env, Timeout: time.Duration(p.Timeout) * time.Millisecond,
	}, nil
}

// maxShown is how much of a command line is shown, in bytes.
const maxShown = 120

// Requested says what a request is to run, for those who watch the host; empty
// if it makes no sense.
func Requested(h session.Header) string {
	r, err := parse(h)
	switch {
	case err != nil:
		return ""
	case r.Pinned != "":
		return r.Pinned
	}
	var line strings.Builder
	for i, word := range r.Argv {
		if i > 0 {
			line.WriteByte(' ')
		}
		if word == "" || strings.ContainsAny(word, " \t\r\n\"'\\") {
			word = strconv.Quote(word)
		}
		line.WriteString(word)
		if line.Len() > maxShown {
			return session.Printable(strings.ToValidUTF8(line.String()[:maxShown], "")) + "…"
		}
	}
	return session.Printable(line.String())
}

func size(argv []string) (total int, nul bool) {
	for _, arg := range argv {
		total += len(arg)
		nul = nul || strings.ContainsRune(arg, 0)
	}
	return total, nul
}

// launch says what to start.
type launch struct {
	argv []string
	dir  string
	env  []string
}

// What can be the matter with a program itself.
var (
	errMissing       = errors.New("command not found")
	errNotExecutable = errors.New("can't be executed")
)

// mayPass reports whether a peer may set the variable: if every peer may
// everywhere, or the configuration lists it.
func (c *Config) mayPass(name, value string) bool {
	if share.PeerMaySet(name, value) {
		return true
	}
	if !share.Passes(name, value) {
		return false
	}
	for _, listed := range c.AcceptEnv {
		if listed == name {
			return true
		}
	}
	return false
}
