package signaling

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The kinds of error. They cross the wire and are never renamed; a kind a
// reader does not know is taken for KindInternal.
const (
	KindInternal    = "internal"    // a fault of the one who reports it
	KindInvalid     = "invalid"     // the message or configuration makes no sense
	KindDenied      = "denied"      // not allowed: a wrong signature, a refused host
	KindNotFound    = "not-found"   // nobody has this mailbox open, or this nameplate
	KindExists      = "exists"      // the mailbox or nameplate is held by another
	KindReplaced    = "replaced"    // a newer connection has the mailbox
	KindTooLarge    = "too-large"   // over a limit on size
	KindBusy        = "busy"        // over a limit on rate or number; later may work
	KindUnavailable = "unavailable" // the server can't be reached, or is going away
	KindTimeout     = "timeout"     // no answer in time
	KindCanceled    = "canceled"    // the caller gave up, or the client was closed
	KindUnsupported = "unsupported" // another version, or not a tandem server
	KindIntegrity   = "integrity"   // TLS could not verify the server
)

// MaxText is the longest text of an error accepted from the other side, in bytes.
const MaxText = 512

// Error is an operation that failed.
type Error struct {
	Op   string // what we were doing, such as "send"
	Kind string // one of the constants above
	Text string // what happened, for people
	Hint string // what to do next, for people; may be empty
	Err  error  // the cause; may be nil
}

func (e *Error) Error() string {
	s := e.Text
	if s == "" {
		s = e.Kind
	}
	if e.Err != nil && !strings.Contains(s, e.Err.Error()) {
		s += ": " + e.Err.Error()
	}
	if e.Op != "" {
		s = e.Op + ": " + s
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf finds the kind of err, KindInternal if it has none and "" for nil.
func KindOf(err error) string {
	if err == nil {
		return ""
	}
	var se *Error
	if errors.As(err, &se) && se.Kind != "" {
		return se.Kind
	}
	return KindInternal
}

// known maps what the other side calls a kind to one of ours.
func knownKind(kind string) string {
	switch kind {
	case KindInvalid, KindDenied, KindNotFound, KindExists, KindReplaced, KindTooLarge, KindBusy,
		KindUnavailable, KindTimeout, KindCanceled, KindUnsupported, KindIntegrity:
		return kind
	}
	return KindInternal
}

// printable makes a server's text fit for a terminal and a log: controls, format characters
// and invalid UTF-8 become U+FFFD, and it is cut to MaxText bytes.
func printable(s string) string {
	if len(s) > MaxText {
		s = s[:MaxText]
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	for len(s) > MaxText {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}
