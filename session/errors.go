package session

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
)

// Kind says what sort of thing went wrong. It crosses the wire as its string.
type Kind string

// The kinds. An unknown kind from a peer is read as Internal.
const (
	Internal    Kind = "internal"    // a fault of ours; the log has more
	Invalid     Kind = "invalid"     // the request itself is wrong
	Denied      Kind = "denied"      // nothing grants this
	Revoked     Kind = "revoked"     // it was granted and has been taken back
	NotFound    Kind = "not-found"   // no such peer, code, file, service
	Exists      Kind = "exists"      // it is already there
	Expired     Kind = "expired"     // a code, grant or credential ran out
	Integrity   Kind = "integrity"   // authentication or verification failed
	TooLarge    Kind = "too-large"   // over a limit on size
	Busy        Kind = "busy"        // over a limit on rate or number; later may work
	Unavailable Kind = "unavailable" // a peer or server can't be reached
	Timeout     Kind = "timeout"     // no answer in time
	Canceled    Kind = "canceled"    // someone chose to stop
	Unsupported Kind = "unsupported" // this version or platform can't
	Changed     Kind = "changed"     // it changed while it was being used
	NoSpace     Kind = "no-space"    // the disk or quota is full
)

// Known reports whether k is one of the kinds above.
func (k Kind) Known() bool {
	switch k {
	case Internal, Invalid, Denied, Revoked, NotFound, Exists, Expired, Integrity, TooLarge, Busy,
		Unavailable, Timeout, Canceled, Unsupported, Changed, NoSpace:
		return true
	}
	return false
}

// MaxErrorText is the longest public text accepted from a peer, in bytes.
const MaxErrorText = 1024

// Error is an operation that failed.
type Error struct {
	// Op is what we were doing, such as "join" or "put". It stays at home.
	Op string
	// Kind crosses the wire.
	Kind Kind
	// Text is a sentence fragment for people, without secrets: it crosses the
	// wire. It may be empty.
	Text string
	// Hint is what the person in front of us can do next. It stays at home.
	Hint string
	// Err is the cause. It stays at home.
	Err error
}

func (e *Error) Error() string {
	s := e.Text
	if s == "" && e.Err == nil {
		s = string(e.Kind)
	}
	// Errorf has put the cause's words into the text already.
	if e.Err != nil && !strings.Contains(s, e.Err.Error()) {
		if s != "" {
			s += ": "
		}
		s += e.Err.Error()
	}
	if e.Op != "" {
		s = e.Op + ": " + s
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error whose text is formatted. An operand wrapped with %w
// becomes the cause as well; its words become part of the text, which crosses
// the wire, so only wrap what a peer may read.
func Errorf(op string, kind Kind, format string, args ...any) *Error {
	wrapped := fmt.Errorf(format, args...)
	return &Error{Op: op, Kind: kind, Text: wrapped.Error(), Err: errors.Unwrap(wrapped)}
}

// KindOf finds the kind of err: that of the outermost Error that has one, or
// Canceled and Timeout for the context's errors, or Internal.
func KindOf(err error) Kind {
	var se *Error
	for e := err; errors.As(e, &se); e = se.Err {
		if se.Kind != "" {
			return se.Kind
		}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	case errors.Is(err, context.Canceled):
		return Canceled
	}
	return Internal
}

// FileKind is the kind of a failed operation on a file.
func FileKind(err error) Kind {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return NotFound
	case errors.Is(err, fs.ErrExist):
		return Exists
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return Denied
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return NoSpace
	}
	return Internal
}

// Public is what of err may cross the wire.
func Public(err error) (Kind, string) {
	kind := KindOf(err)
	var se *Error
	if errors.As(err, &se) {
		return kind, se.Text
	}
	return kind, ""
}

// FromWire makes an Error of what a peer sent: an unknown kind becomes
// Internal, and the text is cut to MaxErrorText and passed through Printable.
func FromWire(op, kind, text string) *Error {
	k := Kind(kind)
	if !k.Known() {
		k = Internal
	}
	if len(text) > MaxErrorText {
		text = text[:MaxErrorText]
	}
	return &Error{Op: op, Kind: k, Text: Printable(text)}
}

// Hint is what the person can do next about err, or "".
func Hint(err error) string {
	var se *Error
	for errors.As(err, &se) {
		if se.Hint != "" {
			return se.Hint
		}
		err = se.Err
	}
	return ""
}
