package forward

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"

	"tandem/session"
)

// Reason says why there is no connection or listener, for programs.
type Reason string

// The reasons. An unknown one from a peer is as good as none.
const (
	NotGranted  Reason = "not-granted"  // nothing grants the address
	Refused     Reason = "refused"      // nothing listens there
	Unreachable Reason = "unreachable"  // no way leads there
	TimedOut    Reason = "timed-out"    // no answer
	NoSuchName  Reason = "no-such-name" // the name has no address
	NoSocket    Reason = "no-socket"    // the path has no socket
	InUse       Reason = "in-use"       // something else listens there
	NoPrivilege Reason = "no-privilege" // the system doesn't let the host
)

// reasonError carries a Reason behind an error's words.
type reasonError Reason

func (reasonError) Error() string { return "" }

// because is the cause of an error with a known reason, or nil.
func because(r Reason) error {
	switch r {
	case NotGranted, Refused, Unreachable, TimedOut, NoSuchName, NoSocket, InUse, NoPrivilege:
		return reasonError(r)
	}
	return nil
}

// ReasonOf is the reason of an error of this package, or "".
func ReasonOf(err error) Reason {
	var r reasonError
	if errors.As(err, &r) {
		return Reason(r)
	}
	if session.KindOf(err) == session.Denied {
		return NotGranted // by the dispatcher, who doesn't know reasons
	}
	return ""
}

// notGranted is what a guest hears whose targets don't admit an address. It
// doesn't tell what is there.
func notGranted(action string, a Address) error {
	text := fmt.Sprintf("you have not been granted to connect to %s", a)
	switch {
	case a.IsZero():
		text = "you have not been granted to connect to anything"
	case action == Listen:
		text = fmt.Sprintf("you have not been granted to listen on %s", a)
	}
	return &session.Error{Op: action, Kind: session.Denied, Text: text, Err: reasonError(NotGranted)}
}

// failed is err, from the system, in words that a peer may hear: about the
// address as the peer gave it.
func failed(action string, a Address, err error) error {
	var own *session.Error
	var dns *net.DNSError
	fail := func(kind session.Kind, reason Reason, format string) error {
		e := &session.Error{Op: action, Kind: kind, Text: fmt.Sprintf(format, a)}
		if reason != "" {
			e.Err = reasonError(reason)
		}
		return e
	}
	var timeout net.Error
	switch {
	case errors.As(err, &own):
		return err
	case errors.As(err, &dns) && dns.IsNotFound:
		return fail(session.NotFound, NoSuchName, "the name in %s has no address")
	case errors.As(err, &dns):
		return fail(session.Unavailable, NoSuchName, "the name in %s can't be looked up now")
	case is(err, errRefused):
		return fail(session.Unavailable, Refused, "%s refuses connections: nothing listens there")
	case is(err, errInUse):
		return fail(session.Exists, InUse, "%s is in use already")
	case is(err, errUnreachable), is(err, errNotAvailable):
		return fail(session.Unavailable, Unreachable, "%s can't be reached")
	case errors.Is(err, fs.ErrNotExist):
		return fail(session.NotFound, NoSocket, "%s is not there")
	case errors.Is(err, fs.ErrPermission):
		return fail(session.Unavailable, NoPrivilege, "%s is not open to this user")
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return fail(session.Busy, "", "too many files are open to reach %s or anything else")
	case errors.Is(err, context.Canceled):
		return &session.Error{Op: action, Kind: session.Canceled, Text: "ended", Err: err}
	case errors.As(err, &timeout) && timeout.Timeout():
		return fail(session.Timeout, TimedOut, "%s does not answer")
	}
	return fail(session.Unavailable, "", "%s can't be used")
}

func is(err error, codes []syscall.Errno) bool {
	for _, code := range codes {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// hinted is an error from the host with what its person can do about it.
func hinted(action string, a Address, err error) error {
	var e *session.Error
	if !errors.As(err, &e) || e.Hint != "" {
		return err
	}
	hint := ""
	switch ReasonOf(err) {
	case NotGranted:
		flag, example := "--forward", a.String()
		if action == Listen {
			flag = "--forward-listen"
		}
		switch {
		case a.IsZero():
			example = "localhost:80"
		case a.Network == Unix:
			example = "unix:" + example
		}
		hint = fmt.Sprintf("The host allows it with: tandem share %s %s. Sharing a terminal alone does not.", flag, example)
	case Refused:
		hint = "Is the service running there, on that address and port?"
	case NoSuchName:
		hint = "Names are looked up at the host. Compare the spelling, or give an address."
	case InUse:
		hint = "Choose another port, or 0 for any free one."
	case NoPrivilege:
		hint = "Ports below 1024 often need a privileged user; sockets have an owner."
	}
	if hint == "" {
		return err
	}
	with := *e
	with.Hint = hint
	return &with
}
