// Command tandem puts your terminal, folders and ports next to a colleague's,
// peer to peer.
//
// This package parses the command line, wires packages together and maps
// errors to exit codes; each verb is one file. Exit codes:
//
//	0    done
//	1    it failed; the message says why
//	2    the command line or configuration is wrong
//	3    refused: by the person asked, by a missing or revoked grant
//	4    not found: no such peer, code, share or file
//	5    unreachable: the server, the relay or the peer, or no answer in time
//	6    authentication or verification failed
//	130  interrupted
//
// `tandem shell` exits as the remote shell did, and with 255 for a failure of
// its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/charmbracelet/fang"

	"tandem/session"
)

// stdio is what a verb reads, writes and looks up; tests give their own.
type stdio struct {
	in  *os.File
	out io.Writer
	err io.Writer
	env func(string) string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code := run(ctx, os.Args[1:], stdio{in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Getenv})
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, io stdio) int {
	root := newRoot(io)
	root.SetArgs(args)
	root.SetIn(io.in)
	root.SetOut(io.out)
	root.SetErr(io.err)
	err := fang.Execute(ctx, root, fang.WithVersion(version()), fang.WithErrorHandler(printError))
	var exit exitError
	if errors.As(err, &exit) {
		return int(exit)
	}
	return exitCode(ctx, err)
}

// exitUnreachable is also what the doctor says when nothing works.
const exitUnreachable = 5

// exitError ends the program with a remote program's exit code, in silence.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// usageError is a command line that can't be meant.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func exitCode(ctx context.Context, err error) int {
	var usage usageError
	var failed *session.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		return 2
	case ctx.Err() != nil && (errors.Is(err, context.Canceled) || session.KindOf(err) == session.Canceled):
		return 130
	case !errors.As(err, &failed) && !errors.Is(err, context.DeadlineExceeded):
		if isUsage(err) {
			return 2
		}
		return 1
	}
	switch session.KindOf(err) {
	case session.Denied, session.Revoked:
		return 3
	case session.NotFound, session.Expired:
		return 4
	case session.Unavailable, session.Timeout:
		return exitUnreachable
	case session.Integrity:
		return 6
	case session.Invalid:
		return 2
	}
	return 1
}

// printError says what happened in one line and what to do next in another.
func printError(w io.Writer, _ fang.Styles, err error) {
	var exit exitError
	if errors.As(err, &exit) {
		return
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(w, "tandem: interrupted")
		return
	}
	fmt.Fprintf(w, "tandem: %s\n", session.Printable(err.Error()))
	if hint := session.Hint(err); hint != "" {
		fmt.Fprintf(w, "        %s\n", session.Printable(hint))
	}
}
