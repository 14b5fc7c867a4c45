//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// stuck is when a script gives up on something that takes far less.
const stuck = 40 * time.Second

// conversation is a program that runs beside the script: on a pseudo-terminal,
// or on pipes.
type conversation struct {
	cmd    *exec.Cmd
	input  io.WriteCloser
	master *os.File    // nil without a pseudo-terminal
	before *term.State // of the pseudo-terminal
	done   chan struct{}

	// Set before done is closed.
	err   error
	after *term.State

	mu      sync.Mutex
	all     []byte // both outputs as they came
	out     []byte // standard output, or the terminal's
	errs    []byte
	seen    int           // how much of all the script has dealt with
	changed chan struct{} // closed and replaced at each change
}

// conversations are those of one script, by name.
type conversations struct {
	byName map[string]*conversation
	vars   []string // names of what programs find in their environment
}

type conversationsKey struct{}

func newConversations(env *testscript.Env) error {
	all := &conversations{
		byName: make(map[string]*conversation),
		vars:   []string{"TANDEM_HOME", "TANDEM_NAME", "TANDEM_RELAY_ONLY", "TANDEM_CA_FILE", "TANDEM_LOG", "NO_COLOR", "LANG"},
	}
	for _, v := range env.Vars {
		name, _, _ := strings.Cut(v, "=")
		all.vars = append(all.vars, name)
	}
	env.Values[conversationsKey{}] = all
	env.Defer(func() {
		for _, c := range all.byName {
			_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL) // the whole group, if it is still there
			<-c.done
		}
	})
	return nil
}

// conversationCommands are the commands of the scripts:
//
//	as NAME                    be NAME: with a TANDEM_HOME and a TANDEM_NAME of that name
//	exits CODE PROGRAM [ARG…]  run a program to its end, which must be this one
//	start NAME [-pty] PROGRAM [ARG…]
//	                           start a program beside the script
//	[!] see NAME REGEXP [VAR…] wait until what the program has printed since the last
//	                           see matches, and set the variables to the groups; with !,
//	                           it must not have matched when the program has ended
//	type NAME TEXT             type into it; TEXT may have Go's escapes
//	close NAME                 end its input
//	signal NAME SIGNAL         INT, TERM, KILL, STOP, CONT, HUP
//	ended NAME CODE            wait for its end; stdout and stderr then look at its output
//	jsonlines FILE             every line of the file, such as stdout, is a JSON object
//	fill FILE SIZE             make a file of so many bytes without a pattern
//	restored NAME              its terminal is, after its end, as it was before
//	resize NAME COLS ROWS      change the size of its terminal
//	connections COUNT PORT|PATH [TARGET]
//	                           use so many connections at once; see cmdConnections
//	opens COUNT PORT           use so many connections, a few at a time; see cmdOpens
func conversationCommands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"as": func(ts *testscript.TestScript, _ bool, args []string) {
			need(ts, args, 1, "as NAME")
			ts.Setenv("TANDEM_HOME", ts.MkAbs(ts.Getenv("WORK")+"/"+args[0]))
			ts.Setenv("TANDEM_NAME", args[0])
		},
		"exits": func(ts *testscript.TestScript, _ bool, args []string) {
			need(ts, args, 2, "exits CODE PROGRAM [ARG…]")
			code, err := exitStatus(ts.Exec(args[1], args[2:]...))
			ts.Check(err)
			if want := mustStatus(ts, args[0]); code != want {
				ts.Fatalf("exit code %d instead of %d", code, want)
			}
		},
		"start":       cmdStart,
		"see":         cmdSee,
		"connections": cmdConnections,
		"opens":       cmdOpens,
		"type": func(ts *testscript.TestScript, _ bool, args []string) {
			need(ts, args, 2, "type NAME TEXT")
			text, err := strconv.Unquote(`"` + strings.ReplaceAll(strings.Join(args[1:], " "), `"`, `\"`) + `"`)
			ts.Check(err)
			_, err = io.WriteString(find(ts, args[0]).input, text)
			ts.Check(err)
		},
		"close": func(ts *testscript.TestScript, _ bool, args []string) {
			need(ts, args, 1, "close NAME")
			ts.Check(find(ts, args[0]).input.Close())
		},
		"signal": func(ts *testscript.TestScript, _ bool, args []string) {
			need(ts, args, 2, "signal NAME SIGNAL")
			number := unix.SignalNum("SIG" + args[1])
			if number == 0 {
				ts.Fatalf("no signal %s", args[1])
			}
			ts.Check(find(ts, args[0]).cmd.Process.Signal(number))
		},
		"ended": cmdEnded,
		"restored": func(ts *testscript.TestScript, _ bool, args []string) {
			need(ts, args, 1, "restored NAME")
			c := find(ts, args[0])
			<-c.done
			if c.master == nil || !reflect.DeepEqual(c.before, c.after) {
				ts.Fatalf("the terminal of %s is not as it was: %+v, was %+v", args[0], c.after, c.before)
			}
		},
		"jsonlines": func(ts *testscript.TestScript, _ bool, args []string) {
			need(ts, args, 1, "jsonlines FILE")
			for line := range strings.Lines(ts.ReadFile(args[0])) {
				if err := json.Unmarshal([]byte(line), new(map[string]any)); err != nil {
					ts.Fatalf("%q: %v", line, err)
				}
			}
		},
		"fill": func(ts *testscript.TestScript, _ bool, args []string) {
			need(ts, args, 2, "fill FILE SIZE")
			content := make([]byte, mustStatus(ts, args[1]))
			_, _ = rand.NewChaCha8([32]byte{}).Read(content)
			ts.Check(os.WriteFile(ts.MkAbs(args[0]), content, 0o600))
		},
		"resize": func(ts *testscript.TestScript, _ bool, args []string) {
			need(ts, args, 3, "resize NAME COLS ROWS")
			size := &pty.Winsize{Cols: uint16(mustStatus(ts, args[1])), Rows: uint16(mustStatus(ts, args[2]))}
			ts.Check(pty.Setsize(find(ts, args[0]).master, size))
		},
	}
}

func need(ts *testscript.TestScript, args []string, n int, usage string) {
	if len(args) < n {
		ts.Fatalf("usage: %s", usage)
	}
}

func find(ts *testscript.TestScript, name string) *conversation {
	all := ts.Value(conversationsKey{}).(*conversations)
	c := all.byName[name]
	if c == nil {
		ts.Fatalf("nothing runs as %s, only %v", name, slices.Sorted(maps.Keys(all.byName)))
	}
	return c
}

func cmdStart(ts *testscript.TestScript, _ bool, args []string) {
	need(ts, args, 2, "start NAME [-pty] PROGRAM [ARG…]")
	all := ts.Value(conversationsKey{}).(*conversations)
	name, onTerminal := args[0], args[1] == "-pty"
	args = args[1:]
	if onTerminal {
		args = args[1:]
	}
	if old := all.byName[name]; old != nil {
		select {
		case <-old.done:
		default:
			ts.Fatalf("%s runs already", name)
		}
	}
	cmd := exec.Command(args[0], args[1:]...) // testscript.Main has made us the PATH
	cmd.Dir = ts.MkAbs(".")
	for _, name := range all.vars {
		if v := ts.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	c := &conversation{cmd: cmd, done: make(chan struct{}), changed: make(chan struct{})}
	if onTerminal {
		ts.Check(c.startOnTerminal())
	} else {
		ts.Check(c.startOnPipes())
	}
	all.byName[name] = c
}

func (c *conversation) startOnTerminal() error {
	master, slave, err := pty.Open()
	if err != nil {
		return err
	}
	if err := pty.Setsize(master, &pty.Winsize{Cols: 100, Rows: 30}); err != nil {
		return err
	}
	if c.before, err = term.GetState(int(slave.Fd())); err != nil {
		return err
	}
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = slave, slave, slave
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.cmd.Start(); err != nil {
		return err
	}
	c.input, c.master = master, master
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(recorder{c, &c.out}, master) // until the slave is closed
	}()
	go func() {
		defer close(c.done)
		c.err = c.cmd.Wait()
		c.after, _ = term.GetState(int(slave.Fd()))
		_ = slave.Close()
		<-read
		_ = master.Close()
	}()
	return nil
}

func (c *conversation) startOnPipes() (err error) {
	if c.input, err = c.cmd.StdinPipe(); err != nil {
		return err
	}
	c.cmd.Stdout, c.cmd.Stderr = recorder{c, &c.out}, recorder{c, &c.errs}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.cmd.WaitDelay = stuck // for those who hold its pipes
	if err := c.cmd.Start(); err != nil {
		return err
	}
	go func() {
		defer close(c.done)
		c.err = c.cmd.Wait()
	}()
	return nil
}

// recorder keeps what a conversation prints, in all and in one of out and errs.
type recorder struct {
	c  *conversation
	to *[]byte
}

func (r recorder) Write(p []byte) (int, error) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	r.c.all = append(r.c.all, p...)
	*r.to = append(*r.to, p...)
	close(r.c.changed)
	r.c.changed = make(chan struct{})
	return len(p), nil
}

func cmdSee(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, args, 2, "see NAME REGEXP [VAR…]")
	c := find(ts, args[0])
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	if neg {
		<-c.done
	}
	late := time.After(stuck)
	for {
		groups, rest, changed := c.match(pattern)
		switch {
		case groups != nil && neg:
			ts.Fatalf("%s printed what it must not: %q", args[0], groups[0])
		case groups != nil:
			for i, name := range args[2:] {
				ts.Setenv(name, string(groups[i+1]))
			}
			return
		case neg:
			return
		}
		select {
		case <-changed:
		case <-c.done:
			if groups, rest, _ = c.match(pattern); groups == nil {
				ts.Fatalf("%s has ended (%v) without printing %q; since the last see:\n%s", args[0], c.err, args[1], rest)
			}
		case <-late:
			ts.Fatalf("%s does not print %q; since the last see:\n%s", args[0], args[1], rest)
		}
	}
}

// match looks for pattern in what is new, and marks what it has found as old.
func (c *conversation) match(pattern *regexp.Regexp) (groups [][]byte, rest []byte, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rest = bytes.ReplaceAll(c.all[c.seen:], []byte("\r"), nil)
	at := pattern.FindSubmatchIndex(rest)
	if at == nil {
		return nil, rest, c.changed
	}
	// Carriage returns before the end of the match are old too.
	old := c.seen
	for n := 0; n < at[1]; old++ {
		if c.all[old] != '\r' {
			n++
		}
	}
	c.seen = old
	return pattern.FindSubmatch(rest), rest, c.changed
}

func cmdEnded(ts *testscript.TestScript, _ bool, args []string) {
	need(ts, args, 2, "ended NAME CODE")
	c := find(ts, args[0])
	select {
	case <-c.done:
	case <-time.After(stuck):
		_ = c.cmd.Process.Signal(syscall.SIGQUIT) // where does it hang?
		select {
		case <-c.done:
		case <-time.After(stuck / 10):
		}
		_, rest, _ := c.match(regexp.MustCompile(`$^never`))
		ts.Fatalf("%s does not end; since the last see:\n%s", args[0], rest)
	}
	_, _ = ts.Stdout().Write(bytes.ReplaceAll(c.out, []byte("\r"), nil))
	_, _ = ts.Stderr().Write(c.errs)
	code, err := exitStatus(c.err)
	if err != nil {
		code = 128 + int(c.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal())
	}
	if want := mustStatus(ts, args[1]); code != want {
		ts.Fatalf("%s ended with %d instead of %d", args[0], code, want)
	}
}
