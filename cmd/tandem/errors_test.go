package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"tandem/session"
)

func TestErrorsForPeople(t *testing.T) {
	refused := fmt.Errorf("dial: %w", &fs.PathError{Op: "connect", Path: "/run/x", Err: syscall.ECONNREFUSED})
	for _, test := range []struct {
		err  error
		code int
		text string
	}{
		{errors.New("odd"), exitFailed, "tandem: odd\n"},
		{usagef("no such thing"), exitUsage, "tandem: no such thing\n"},
		{usageError{errors.New("no"), "try `x`"}, exitUsage, "tandem: no\n        Try `x`\n"},
		{&session.Error{Op: "put", Kind: session.NoSpace, Err: syscall.ENOSPC}, exitFailed, "tandem: put: no space left on device\n"},
		{
			&session.Error{Op: "ask", Kind: session.Unavailable, Text: "it isn't there", Err: refused}, exitUnreachable,
			"tandem: it isn't there: connect /run/x: connection refused\n",
		},
		{&session.Error{Op: "connect", Kind: session.Integrity, Text: "not who it says", Err: refused}, exitUnverified, "tandem: not who it says\n"},
		{
			&session.Error{Kind: session.Exists, Hint: "--force", Err: session.Errorf("put", session.Exists, "x is there")}, exitFailed,
			"tandem: x is there\n        --force\n",
		},
		{
			errors.Join(session.Errorf("a", session.Denied, "no"), session.Errorf("b", session.Denied, "no"), errors.New("and\nno")), exitRefused,
			"tandem: no; and\uFFFDno\n",
		},
		{session.Errorf("a", session.Expired, "\x1b]0;owned\a"), exitNotFound, "tandem: \uFFFD]0;owned\uFFFD\n"},
		{context.DeadlineExceeded, exitUnreachable, "tandem: no answer in time\n"},
		{session.Errorf("a", session.Canceled, "they left"), exitRefused, "tandem: they left\n"},
		{exitError(42), 42, "tandem: exit code 42\n"},
	} {
		var out strings.Builder
		printError(&out, test.err)
		if out.String() != test.text {
			t.Errorf("%v is shown as %q, want %q", test.err, out.String(), test.text)
		}
		if code := exitCode(t.Context(), test.err); code != test.code {
			t.Errorf("%v exits with %d, want %d", test.err, code, test.code)
		}
	}
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	if code := exitCode(interrupted, fmt.Errorf("x: %w", context.Canceled)); code != exitInterrupted {
		t.Errorf("an interruption exits with %d", code)
	}
	if code := exitCode(interrupted, session.Errorf("a", session.NotFound, "no")); code != exitNotFound {
		t.Errorf("a failure before an interruption exits with %d", code)
	}
}
