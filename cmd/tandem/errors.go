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

// markUsage sees to it that what fails before a verb begins is a usageError:
// cobra and pflag find it in the command line, and their errors have no types.
// The function it returns does that to the error of the whole.
func markUsage(root *cobra.Command) func(error) error {
	var begun bool
	last := root // of the commands that cobra got to
	var mark func(*cobra.Command)
	mark = func(cmd *cobra.Command) {
		if run := cmd.RunE; run != nil {
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				begun = true
				return run(cmd, args)
			}
		}
		if check := cmd.Args; check != nil {
			cmd.Args = func(cmd *cobra.Command, args []string) error {
				last = cmd
				return check(cmd, args)
			}
		}
		cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
			last = cmd
			return err
		})
		for _, sub := range cmd.Commands() {
			mark(sub)
		}
	}
	mark(root)
	return func(err error) error {
		var usage usageError
		if err == nil || begun || errors.As(err, &usage) && usage.hint != "" {
			return err
		}
		return usageError{err, fmt.Sprintf("`%s --help` shows how it is meant.", last.CommandPath())}
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
	case session.Denied, session.Revoked:
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

// describeError is the outermost text that is meant for people and the
// innermost cause: what lies between them is for the log.
func describeError(err error) string {
	var se *session.Error
	several, ok := err.(interface{ Unwrap() []error }) //nolint:errorlint // what errors.Join made, outermost
	switch {
	case ok:
		var parts []string
		for _, e := range several.Unwrap() {
			if s := describeError(e); !slices.Contains(parts, s) {
				parts = append(parts, s)
			}
		}
		return strings.Join(parts, "; ")
	case !errors.As(err, &se) || se.Text == "" && se.Err == nil:
		return err.Error()
	case se.Text == "" && errors.As(se.Err, new(*session.Error)):
		return describeError(se.Err)
	case se.Text == "":
		return se.Error() // what was tried says what it is about
	}
	if cause := rootCause(se.Err); !strings.Contains(se.Text, cause) {
		return se.Text + ": " + cause
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
