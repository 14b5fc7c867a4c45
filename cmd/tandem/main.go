// Command tandem puts your terminal, folders and ports next to a colleague's,
// peer to peer.
//
// This package parses the command line, wires packages together and maps
// errors to exit codes; each verb is one file. Exit codes:
//
//	0    done
//	1    it failed; the message says why
//	2    the command line or configuration is wrong
//	3    refused: by the person asked, as the code is used up or has expired, by
//	     a missing or revoked grant; or they have ended it
//	4    not found: no such peer, number, share or file
//	5    unreachable: the server, the relay or the peer, or no answer in time
//	6    authentication or verification failed
//	130  interrupted
//
// Ctrl-C is how a share, a server and a join without a terminal end: they exit
// with 0, unless a question was left without an answer. `tandem shell`, and
// `tandem join` with a terminal, exit as the remote shell did, and shell with 255 for a
// failure of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	goio "io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/charmbracelet/fang"

	"tandem/session"
	"tandem/share/node"
	"tandem/share/terminal"
	"tandem/tui/quiet"
)

// stdio is what a verb reads, writes and looks up; tests give their own.
type stdio struct {
	in  *os.File
	out goio.Writer
	err goio.Writer
	env func(string) string
}

func main() {
	quiet.Restore()
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, stop) // a second Ctrl-C doesn't wait for anything
	// pion/ice v4.4.2 gives its TURN client the default logger, whatever it is
	// told, and that writes into people's terminals.
	_ = os.Setenv("PION_LOG_DISABLE", "turnc") // fails only for names that are none
	code := run(ctx, os.Args[1:], stdio{in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Getenv})
	stop()
	os.Exit(code)
}

// rescueFolder is where a tandem that uses a terminal leaves word of how it was,
// in case it is killed.
func rescueFolder(io stdio) string {
	home, err := node.FindHome(io.env)
	if err != nil {
		return "" // the verb will say so
	}
	return filepath.Join(home.State, "run")
}

func run(ctx context.Context, args []string, io stdio) int {
	if isTerminal(io.in) && terminal.Rescue(rescueFolder(io), io.in) {
		fmt.Fprintln(io.err, "tandem: a tandem that was killed had left this terminal in its own modes; it is as before now.")
	}
	root := newRoot(io)
	root.SetArgs(args)
	root.SetIn(io.in)
	root.SetOut(io.out)
	root.SetErr(io.err)
	outcome := outcomeOf(root)
	// fang gets to see no error of ours: it would ask the terminal for its colours first.
	silent := func(goio.Writer, fang.Styles, error) {}
	err := fang.Execute(ctx, root, fang.WithVersion(version()), fang.WithErrorHandler(silent))
	outcome.misused(root, err)
	err = outcome.err
	code := exitCode(ctx, err)
	switch {
	case err == nil || errors.As(err, new(exitError)):
	case code == exitInterrupted:
		printError(io.err, advise(session.Errorf("", session.Canceled, "interrupted"), session.Canceled, session.Hint(err)))
	default:
		printError(io.err, err)
	}
	return code
}
