package sshd

import (
	"context"
	"io"
	"slices"
	"sync"

	"golang.org/x/crypto/ssh"

	"tandem/session"
	"tandem/share"
)

const maxVariables = 64

// failure is the status of a program that tandem could not run or has lost,
// as that of ssh itself is.
const failure = 255

// loginShell executes what a login would, and withShell the same for one
// command, which is $0. $SHELL is among the variables that programs get.
const (
	loginShell = `exec "${SHELL:-/bin/sh}" -l`
	withShell  = `exec "${SHELL:-/bin/sh}" -c "$0"`
)

// Payloads of the requests of a session (RFC 4254, section 6).
type (
	ptyRequest struct {
		Term          string
		Cols, Rows    uint32
		Width, Height uint32
		Modes         string
	}
	windowChange struct {
		Cols, Rows    uint32
		Width, Height uint32
	}
	envRequest   struct{ Name, Value string }
	textRequest  struct{ Text string }
	exitStatus   struct{ Status uint32 }
	exitByMurder struct {
		Signal  string
		Core    bool
		Message string
		Lang    string
	}
)

// exitSignals are the signals that an end can be told by.
var exitSignals = []string{"ABRT", "ALRM", "FPE", "HUP", "ILL", "INT", "KILL", "PIPE", "QUIT", "SEGV", "TERM", "USR1", "USR2"}

// conversation is one session channel.
type conversation struct {
	server  *server
	channel ssh.Channel
	work    sync.WaitGroup

	// What was asked for before the program was.
	env      map[string]string
	terminal *Terminal
	agent    *agent

	program Program // nil before it has been started
	running bool
}

// session serves one session channel: at most one program.
func (s *server) session(ctx context.Context, offered ssh.NewChannel) {
	channel, requests, err := offered.Accept()
	if err != nil {
		return // the client has gone
	}
	c := &conversation{server: s, channel: channel, env: make(map[string]string)}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for r := range requests {
		ok := c.request(ctx, r)
		if r.WantReply {
			_ = r.Reply(ok, nil) // or the client has gone
		}
		if c.program != nil && !c.running {
			c.running = true
			c.run() // its end must not overtake the reply
		}
	}
	cancel()
	if c.program != nil {
		_ = c.program.Close() // the client has left, or has been told of its end
	}
	if c.agent != nil {
		c.agent.close()
	}
	c.work.Wait()
}

// request does what the client asks for, and reports whether it did.
func (c *conversation) request(ctx context.Context, r *ssh.Request) bool {
	switch r.Type {
	case "pty-req":
		var p ptyRequest
		if ssh.Unmarshal(r.Payload, &p) != nil || c.program != nil {
			return false
		}
		c.terminal = &Terminal{Term: p.Term, Cols: p.Cols, Rows: p.Rows}
		return true
	case "env":
		var p envRequest
		if ssh.Unmarshal(r.Payload, &p) != nil || !share.PeerMaySet(p.Name, p.Value) || len(c.env) >= maxVariables || c.program != nil {
			return false
		}
		c.env[p.Name] = p.Value
		return true
	case "auth-agent-req@openssh.com":
		if c.program != nil || c.agent != nil {
			return false
		}
		c.agent = c.server.forwardAgent(ctx)
		return c.agent != nil
	case "shell":
		return c.start(ctx, Request{Argv: []string{"/bin/sh", "-c", loginShell}})
	case "exec":
		var p textRequest
		if ssh.Unmarshal(r.Payload, &p) != nil {
			return false
		}
		return c.start(ctx, Request{Argv: []string{"/bin/sh", "-c", withShell, p.Text}})
	case "subsystem":
		var p textRequest
		if ssh.Unmarshal(r.Payload, &p) != nil || p.Text != "sftp" {
			return false
		}
		return c.start(ctx, Request{Subsystem: p.Text})
	case "window-change":
		var p windowChange
		if ssh.Unmarshal(r.Payload, &p) != nil || c.program == nil || c.terminal == nil {
			return false
		}
		return c.program.Resize(p.Cols, p.Rows) == nil
	case "signal":
		var p textRequest
		if ssh.Unmarshal(r.Payload, &p) != nil || c.program == nil {
			return false
		}
		return c.program.Signal(p.Text) == nil
	}
	return false
}

// start starts the program. It succeeds even if the peer refuses: then the
// client reads why.
func (c *conversation) start(ctx context.Context, r Request) bool {
	if c.program != nil {
		return false
	}
	if r.Subsystem == "" {
		r.Env, r.Terminal = c.env, c.terminal
		if c.agent != nil {
			// Not a variable that peers may set; a program may.
			r.Argv = append([]string{"/usr/bin/env", "SSH_AUTH_SOCK=" + c.agent.path}, r.Argv...)
		}
	}
	p, err := c.server.remote.Start(ctx, r)
	if err != nil {
		p = refused{err}
	}
	c.program = p
	return true
}

// run passes on what the program reads and prints, and how it ends.
func (c *conversation) run() {
	p := c.program
	c.work.Go(func() {
		// Of an input that breaks off, the output tells better.
		if _, err := io.Copy(p, c.channel); err == nil {
			_ = p.CloseWrite()
		}
	})
	c.work.Go(func() {
		exit, err := p.Output(c.channel, c.channel.Stderr())
		c.end(exit, err)
	})
}

// end tells the client how the program ended. If the client has gone, there is
// nobody to tell.
func (c *conversation) end(exit Exit, err error) {
	if err != nil {
		_, text := session.Public(err)
		if text == "" {
			text = string(session.KindOf(err))
		}
		message := "tandem: " + session.Printable(text) + "\r\n"
		if hint := session.Hint(err); hint != "" {
			message += "        " + session.Printable(hint) + "\r\n"
		}
		_, _ = io.WriteString(c.channel.Stderr(), message)
		exit = Exit{Code: failure}
	}
	if slices.Contains(exitSignals, exit.Signal) {
		_, _ = c.channel.SendRequest("exit-signal", false, ssh.Marshal(exitByMurder{Signal: exit.Signal}))
	} else {
		_, _ = c.channel.SendRequest("exit-status", false, ssh.Marshal(exitStatus{uint32(exit.Code)}))
	}
	_ = c.channel.CloseWrite()
	_ = c.channel.Close()
}

// refused is a program that could not be started.
type refused struct{ err error }

func (r refused) Write([]byte) (int, error)           { return 0, r.err }
func (r refused) CloseWrite() error                   { return r.err }
func (r refused) Resize(_, _ uint32) error            { return r.err }
func (r refused) Signal(string) error                 { return r.err }
func (r refused) Output(_, _ io.Writer) (Exit, error) { return Exit{}, r.err }
func (r refused) Close() error                        { return nil }
