package main

import (
	"context"
	"errors"
	"fmt"
	goio "io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tandem/session"
	"tandem/share/command"
	"tandem/share/node"
	"tandem/share/terminal"
)

// execFailure is the exit code of an exec that failed by itself.
const execFailure = 255

// execFlags are what exec understands.
type execFlags struct {
	all      bool
	group    bool
	noInput  bool
	parallel int
	timeout  time.Duration
	cwd      string
	env      []string
}

func newExec(io stdio, f *flags) *cobra.Command {
	var x execFlags
	cmd := &cobra.Command{
		Use:   "exec PEER… -- PROGRAM [ARGUMENT…]",
		Short: "Run a program on one or more peers",
		Long: strings.TrimSpace(`
Run a program on one or more peers, without a terminal: standard input, output
and error stay apart, and arguments arrive as they are, through no shell. The
exit code is the program's, 128+n if signal n ended it, 127 if it is missing,
and 255 for a failure of tandem's own. PEER:NAME runs the command that the peer
has pinned under that name.

With several peers, or --all, it runs on all at once: every line begins with its
peer's name, nobody gets standard input, a table at the end says how it went, and
the exit code is the worst.

Ctrl-C interrupts the program; a second one leaves, which ends it.`),
		Example: `  tandem exec alice -- uptime
  tar c src | tandem exec alice -- tar x -C /tmp
  tandem exec web1 web2 -- systemctl is-active nginx`,
		Args: func(cmd *cobra.Command, args []string) error {
			_, _, err := x.parse(args, cmd.ArgsLenAtDash())
			return err
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			peers, request, err := x.parse(args, cmd.ArgsLenAtDash())
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			err = withBackend(ctx, io, f, func(ctx context.Context, b node.Backend) error {
				peers, err := choosePeers(ctx, b, peers, x.all)
				if err != nil {
					return err
				}
				// Ctrl-C is for the program, so it doesn't end this context.
				ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
				defer cancel()
				r := &remote{io: io, backend: b, request: request, flags: x, json: f.json, running: make(map[*command.Client]struct{})}
				stop := r.watchSignals(cancel)
				defer stop()
				if len(peers) == 1 && !x.all && !f.json {
					return r.single(ctx, peers[0])
				}
				return r.several(ctx, peers)
			})
			var exit exitError
			var usage usageError
			switch {
			case err == nil, errors.As(err, &exit), errors.As(err, &usage):
				return err
			case ctx.Err() != nil && session.KindOf(err) == session.Canceled:
				return err
			}
			printError(io.err, err)
			return exitError(execFailure)
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&x.all, "all", false, "run on every connected peer")
	fs.BoolVar(&x.group, "group", false, "print each peer's output in one piece")
	fs.BoolVarP(&x.noInput, "no-input", "n", false, "give the program no standard input")
	fs.IntVar(&x.parallel, "parallel", 16, "run on so many peers at once")
	fs.DurationVar(&x.timeout, "timeout", 0, "end the program after this long, such as 30s or 5m")
	fs.StringVar(&x.cwd, "cwd", "", "folder of the peer's to start in")
	fs.StringArrayVar(&x.env, "env", nil, "set a variable, as NAME=VALUE, if the peer lets you; may be repeated")
	return cmd
}

// parse splits the command line into peers and what they are asked for.
func (x *execFlags) parse(args []string, dash int) (peers []string, r command.Request, err error) {
	peers = args
	if dash >= 0 {
		peers, r.Argv = args[:dash], args[dash:]
	}
	for _, p := range peers {
		_, pinned, ok := strings.Cut(p, ":")
		switch {
		case ok && len(r.Argv) > 0:
			return nil, r, usagef("%s is a pinned command, which takes no program", p)
		case ok && len(peers) > 1:
			return nil, r, usagef("a pinned command runs on one peer at a time")
		case ok:
			r.Pinned = pinned
		}
	}
	switch {
	case x.all == (len(peers) > 0):
		return nil, r, usagef("give peers, or --all")
	case len(r.Argv) == 0 && r.Pinned == "":
		return nil, r, usagef("give the program after --")
	case x.parallel < 1 || x.parallel > maxParallel:
		return nil, r, usagef("--parallel takes 1 to %d", maxParallel)
	case x.timeout < 0:
		return nil, r, usagef("--timeout takes a length of time")
	}
	r.Dir, r.Timeout = x.cwd, x.timeout
	for _, pair := range x.env {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, r, usagef("--env takes NAME=VALUE, not %q", pair)
		}
		if r.Env == nil {
			r.Env = make(map[string]string)
		}
		r.Env[name] = value
	}
	if _, err := r.Header(); err != nil {
		return nil, r, usageError{error: err}
	}
	return peers, r, nil
}

// remote runs one request on peers.
type remote struct {
	io      stdio
	backend node.Backend
	request command.Request
	flags   execFlags
	json    bool

	mu          sync.Mutex
	running     map[*command.Client]struct{}
	interrupted bool
	signals     sync.WaitGroup // those on their way
}

// signalNames are those that are passed on.
var signalNames = map[os.Signal]string{os.Interrupt: "INT", syscall.SIGTERM: "TERM", syscall.SIGHUP: "HUP"}

// watchSignals gives the first signal to the programs that run, and lets the
// second, or one that finds none, cancel everything. stop ends it.
func (r *remote) watchSignals(cancel context.CancelFunc) (stop func()) {
	signals := make(chan os.Signal, 2)
	for s := range signalNames {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case s := <-signals:
				if !r.interrupt(signalNames[s]) {
					cancel()
				}
			case <-over:
				return
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(over)
		<-done
		r.signals.Wait() // nobody takes long: no program runs any more, and their streams are closed
	}
}

func (r *remote) interrupt(name string) (passed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.interrupted || len(r.running) == 0 {
		return false
	}
	r.interrupted = true // peers that wait for their turn don't get one
	for c := range r.running {
		// A stream's buffer takes it; one that is dead reports that to Wait.
		r.signals.Go(func() { _ = c.Signal(name) })
	}
	return true
}

// started notes a program that signals are for, unless it comes too late.
func (r *remote) started(c *command.Client) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.interrupted {
		return false
	}
	r.running[c] = struct{}{}
	return true
}

func (r *remote) ended(c *command.Client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.running, c)
}

// timeoutGrace is how long after the timeout a peer may take to say so.
const timeoutGrace = 10 * time.Second

// run runs the request on one peer to its end.
func (r *remote) run(ctx context.Context, peer string, input goio.Reader, out, err goio.Writer) (command.Exit, error) {
	if r.request.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.request.Timeout+timeoutGrace)
		defer cancel()
	}
	peer, _, _ = strings.Cut(peer, ":")
	c, failed := command.Start(ctx, node.Bound{Backend: r.backend, Peer: peer}, r.request)
	if failed != nil {
		return command.Exit{}, failed
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	if !r.started(c) {
		_ = c.Close()
		return command.Exit{}, context.Canceled
	}
	defer r.ended(c)
	if input == nil {
		_ = c.End() // Wait reports a dead stream
	} else {
		go func() { // a read of standard input can't be called back
			_, _ = goio.Copy(c, input)
			_ = c.End()
		}()
	}
	exit, failed := c.Wait(out, err)
	if failed != nil && ctx.Err() != nil {
		failed = ctx.Err()
	}
	return exit, advise(failed, session.Unavailable,
		fmt.Sprintf("If it ran, it is ended there. In `tandem shell %s -- PROGRAM` it would go on when the connection is back.", peer))
}

// single passes everything through as it is; what a terminal would obey is kept
// from it.
func (r *remote) single(ctx context.Context, peer string) error {
	var input goio.Reader
	if !r.flags.noInput && r.io.in != nil {
		input = r.io.in
	}
	out, endOut := guarded(r.io.out)
	errs, endErr := guarded(r.io.err)
	exit, err := r.run(ctx, peer, input, out, errs)
	if err := errors.Join(err, endOut(), endErr()); err != nil {
		return err
	}
	if exit.Reason != "" {
		fmt.Fprintf(r.io.err, "tandem: %s has ended the program: %s\n", session.Printable(peer), exit.Reason)
	}
	if exit.Code != 0 {
		return exitError(exit.Code)
	}
	return nil
}

// guarded filters what goes to a terminal. end leaves the terminal as it was.
func guarded(w goio.Writer) (_ goio.Writer, end func() error) {
	if f, ok := w.(*os.File); !ok || !isTerminal(f) {
		return w, func() error { return nil }
	}
	g := &guard{w: w}
	return g, func() error {
		_, err := w.Write(append(g.filter.Flush(nil), g.filter.Undo()...))
		return err
	}
}

type guard struct {
	w      goio.Writer
	filter terminal.Filter
	buf    []byte
}

func (g *guard) Write(p []byte) (int, error) {
	g.buf = g.filter.Append(g.buf[:0], p)
	if _, err := g.w.Write(g.buf); err != nil {
		return 0, err
	}
	return len(p), nil
}

// execLine is what --json prints: a line of output, or how it ended.
type execLine struct {
	Event   string  `json:"event"` // "output" or "exit"
	Peer    string  `json:"peer"`
	Stream  string  `json:"stream,omitempty"` // "stdout" or "stderr"
	Line    *string `json:"line,omitempty"`
	Code    *int    `json:"code,omitempty"`
	Signal  string  `json:"signal,omitempty"`
	Reason  string  `json:"reason,omitempty"`
	Error   string  `json:"error,omitempty"`
	Seconds float64 `json:"seconds,omitempty"`
}

// peerExit is how it went on one peer.
type peerExit struct {
	exit command.Exit
	err  error
	took time.Duration
}

// code is the exit code, with tandem's own failures as 255.
func (e peerExit) code() int {
	if e.err != nil {
		return execFailure
	}
	return e.exit.Code
}

func (r *remote) several(ctx context.Context, peers []string) error {
	width := 0
	for _, p := range peers {
		width = max(width, len(p))
	}
	out, errs := &locked{w: r.io.out}, &locked{w: r.io.err}
	var turn sync.Mutex
	var input goio.Reader
	if len(peers) == 1 && !r.flags.all && !r.flags.noInput && r.io.in != nil {
		input = r.io.in
	}
	exits := make([]peerExit, len(peers))
	each(peers, r.flags.parallel, func(i int, peer string) {
		name := session.Printable(peer)
		o, e, end := r.writers(name, width, out, errs, &turn)
		begun := time.Now()
		exit, err := r.run(ctx, peer, input, o, e)
		exits[i] = peerExit{exit, errors.Join(err, end()), time.Since(begun)}
		if r.json {
			exits[i].err = errors.Join(exits[i].err, out.encode(exits[i].line(name)))
		}
	})
	worst := 0
	for _, e := range exits {
		worst = max(worst, e.code())
	}
	if !r.json {
		if err := printExits(r.io.err, peers, exits); err != nil {
			return err
		}
	}
	if worst != 0 {
		return exitError(worst)
	}
	return nil
}

// writers are where one peer's output goes; end finishes it.
func (r *remote) writers(name string, width int, out, errs *locked, turn *sync.Mutex) (o, e goio.Writer, end func() error) {
	if r.flags.group && !r.json {
		g := &group{turn: turn, begin: func() error {
			_, err := fmt.Fprintf(errs, "--- %s ---\n", name)
			return err
		}}
		lo := &lines{emit: func(line string) error { return printLine(g.writer(out), r.io.out, "", line) }}
		le := &lines{emit: func(line string) error { return printLine(g.writer(errs), r.io.err, "", line) }}
		return lo, le, func() error { return errors.Join(lo.Close(), le.Close(), g.Close()) }
	}
	lo := &lines{emit: func(line string) error { return r.emit(out, out, r.io.out, name, "stdout", width, line) }}
	le := &lines{emit: func(line string) error { return r.emit(out, errs, r.io.err, name, "stderr", width, line) }}
	return lo, le, func() error { return errors.Join(lo.Close(), le.Close()) }
}

func (r *remote) emit(json, to *locked, shown goio.Writer, name, stream string, width int, line string) error {
	if r.json {
		line = strings.ToValidUTF8(line, "\uFFFD")
		return json.encode(execLine{Event: "output", Peer: name, Stream: stream, Line: &line})
	}
	return printLine(to, shown, fmt.Sprintf("%-*s | ", width, name), line)
}

// printLine prints a line of a peer's, made fit to show where a person looks.
func printLine(to, shown goio.Writer, prefix, line string) error {
	if f, ok := shown.(*os.File); ok && isTerminal(f) {
		line = printableLine(line)
	}
	_, err := goio.WriteString(to, prefix+line+"\n")
	return err
}

func (e peerExit) line(name string) execLine {
	code := e.code()
	l := execLine{Event: "exit", Peer: name, Code: &code, Signal: e.exit.Signal, Reason: e.exit.Reason, Seconds: e.took.Seconds()}
	if e.err != nil {
		l.Error = session.Printable(describeError(e.err))
	}
	return l
}

func printExits(w goio.Writer, peers []string, exits []peerExit) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PEER\tEXIT\tTIME\t")
	for i, e := range exits {
		note := e.exit.Signal
		switch {
		case e.err != nil:
			note = session.Printable(describeError(e.err))
		case e.exit.Reason != "":
			note = e.exit.Reason
		}
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\n", session.Printable(peers[i]), e.code(), e.took.Round(time.Millisecond), note)
	}
	return table.Flush()
}
