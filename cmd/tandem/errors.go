package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"tandem/session"
)

// The exit codes of the package comment.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitRefused     = 3
	exitNotFound    = 4
	exitUnreachable = 5 // also what the doctor says when nothing works
	exitUnverified  = 6
	exitInterrupted = 130
)

// exitError ends the program with a remote program's exit code, in silence.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// usageError is a command line that can't be meant.
type usageError struct {
	error
	hint string
}

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error {
	return usageError{error: fmt.Errorf(format, args...)}
}

// outcome is how a command line went.
type outcome struct{ err error }

// outcomeOf makes root leave its errors in the outcome. A usageError is made of
// whatever fails before a verb begins: cobra and pflag find it in the command
// line, and their errors have no types.
func outcomeOf(root *cobra.Command) *outcome {
	o := &outcome{}
	o.collect(root)
	return o
}

func (o *outcome) collect(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			o.misused(cmd, check(cmd, args))
			return nil
		}
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		o.misused(cmd, err)
		return nil
	})
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if o.err == nil {
				o.err = run(cmd, args)
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		o.collect(sub)
	}
}

// misused takes an error in the use of cmd, if there is one.
func (o *outcome) misused(cmd *cobra.Command, err error) {
	var usage usageError
	switch {
	case err == nil || o.err != nil:
	case errors.As(err, &usage) && usage.hint != "":
		o.err = err
	default:
		o.err = usageError{err, fmt.Sprintf("`%s --help` shows how it is meant.", cmd.CommandPath())}
	}
}

func exitCode(ctx context.Context, err error) int {
	var exit exitError
	var usage usageError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &exit):
		return int(exit)
	case errors.As(err, &usage):
		return exitUsage
	case ctx.Err() != nil && session.KindOf(err) == session.Canceled:
		return exitInterrupted
	}
	switch session.KindOf(err) {
	case session.Denied, session.Revoked, session.Canceled: // the last by the other side
		return exitRefused
	case session.NotFound, session.Expired:
		return exitNotFound
	case session.Unavailable, session.Timeout:
		return exitUnreachable
	case session.Integrity:
		return exitUnverified
	case session.Invalid:
		return exitUsage
	}
	return exitFailed
}

// printError says what happened in one line and what to do next in another.
func printError(w io.Writer, err error) {
	text, hint := describeError(err), session.Hint(err)
	var usage usageError
	if errors.As(err, &usage) && hint == "" {
		hint = usage.hint
	}
	fmt.Fprintf(w, "tandem: %s\n", session.Printable(text))
	if hint != "" {
		fmt.Fprintf(w, "        %s\n", session.Printable(sentence(hint)))
	}
}

// advise adds what to do next to an error of one kind that came without.
func advise(err error, kind session.Kind, hint string) error {
	if err == nil || session.KindOf(err) != kind || session.Hint(err) != "" {
		return err
	}
	return &session.Error{Kind: kind, Err: err, Hint: hint}
}

// describeError is the outermost text that is meant for people and, where that
// helps, the innermost cause: what lies between them is for the log.
func describeError(err error) string {
	var se *session.Error
	several, ok := err.(interface{ Unwrap() []error }) // what errors.Join made, outermost
	switch {
	case ok:
		var parts []string
		for _, e := range several.Unwrap() {
			if s := describeError(e); !slices.Contains(parts, s) {
				parts = append(parts, s)
			}
		}
		return strings.Join(parts, "; ")
	case errors.Is(err, context.DeadlineExceeded) && !errors.As(err, &se):
		return "no answer in time"
	case !errors.As(err, &se) || se.Text == "" && se.Err == nil:
		return err.Error()
	case se.Text == "" && errors.As(se.Err, new(*session.Error)):
		return describeError(se.Err)
	case se.Text == "":
		return se.Error() // what was tried says what it is about
	}
	switch se.Kind {
	case session.Unavailable, session.Timeout, session.NoSpace, session.Internal, "":
		// How it failed may say what to do.
		if cause := rootCause(se.Err); !strings.Contains(se.Text, cause) {
			return se.Text + ": " + cause
		}
	}
	return se.Text
}

// rootCause describes the cause of causes, with the file's name if it is about one.
func rootCause(err error) string {
	for ; err != nil; err = errors.Unwrap(err) {
		switch err.(type) { //nolint:errorlint // one step at a time
		case *fs.PathError, *os.LinkError, *session.Error:
			return describeError(err)
		}
		if errors.Unwrap(err) == nil {
			return describeError(err)
		}
	}
	return ""
}

// sentence begins with a capital, unless it begins with something to be typed.
func sentence(s string) string {
	first, size := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(first)) + s[size:]
}
