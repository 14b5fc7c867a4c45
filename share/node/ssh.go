package node

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"

	"tandem/session"
	"tandem/session/identity"
	"tandem/share/command"
	"tandem/share/forward"
	"tandem/share/sshd"
	"tandem/share/terminal"
)

// SSHKey is the host key that this device's SSH clients know it by, made of
// its identity, which is made on first use. It stands for this device to its
// own person and for nobody to anybody else.
func SSHKey(home Home) (ssh.Signer, error) {
	device, err := identity.Open(filepath.Join(home.State, "identity"))
	if err != nil {
		return nil, err
	}
	key, err := device.SSHKey()
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return nil, &session.Error{Op: "ssh", Kind: session.Internal, Err: err}
	}
	return signer, nil
}

// ServeSSH speaks SSH with the client at the other end of rw, whose programs,
// files and ports are the peer's; see package sshd.
func (b Bound) ServeSSH(ctx context.Context, rw io.ReadWriteCloser, key ssh.Signer, notice func(string)) error {
	return sshd.Serve(ctx, rw, remote{b}, sshd.Config{HostKey: key, Notice: notice})
}

// remote is a peer for package sshd.
type remote struct{ Bound }

// Start implements sshd.Remote.
func (r remote) Start(ctx context.Context, q sshd.Request) (sshd.Program, error) {
	if q.Terminal != nil {
		return r.startTerminal(ctx, q)
	}
	c, err := command.Start(ctx, r, command.Request{Pinned: q.Subsystem, Argv: q.Argv, Env: q.Env})
	if err != nil {
		return nil, err
	}
	return program{c, r.Peer}, nil
}

// lost says what a program without a peer comes to, if that is why there is err.
func lost(err error, peer string) error {
	if session.KindOf(err) != session.Unavailable || session.Hint(err) != "" {
		return err
	}
	_, text := session.Public(err)
	return &session.Error{
		Op: "ssh", Kind: session.Unavailable, Text: text, Err: err,
		Hint: "If it ran, it is ended there. In `tandem shell " + peer + "` it would go on when the connection is back.",
	}
}

func (r remote) startTerminal(ctx context.Context, q sshd.Request) (sshd.Program, error) {
	request := terminal.Request{Right: terminal.Control, Params: terminal.Params{
		Size: cells(q.Terminal.Cols, q.Terminal.Rows), Term: q.Terminal.Term, Env: q.Env, Argv: q.Argv, Hangup: true,
	}}
	h, err := request.Header()
	if err != nil {
		return nil, err
	}
	stream, err := r.Open(ctx, h)
	if err != nil {
		return nil, err
	}
	return onTerminal{terminal.NewClient(stream), r.Peer}, nil
}

// cells is a size that terminals can have; none if it is unknown.
func cells(cols, rows uint32) terminal.Size {
	if cols == 0 || rows == 0 {
		return terminal.Size{}
	}
	return terminal.Size{Cols: uint16(min(cols, terminal.MaxSize)), Rows: uint16(min(rows, terminal.MaxSize))}
}

// Connect implements sshd.Remote.
func (r remote) Connect(ctx context.Context, network, address string) (sshd.Conn, error) {
	st, _, err := forward.Dial(ctx, r, forward.Address{Network: network, Address: address})
	return st, err
}

// Listen implements sshd.Remote.
func (r remote) Listen(ctx context.Context, network, address string, dial sshd.Dial) (sshd.Listener, error) {
	ctx, cancel := context.WithCancel(ctx)
	l := &listener{cancel: cancel, done: make(chan struct{})}
	ready := make(chan string, 1)
	plan := forward.Plan{
		Forwards: []forward.Forward{{Kind: forward.Remote, Listen: forward.Address{Network: network, Address: address}}},
		Dialer:   dialer(dial),
		Events: func(e forward.Event) {
			if e.Event == forward.Ready {
				select {
				case ready <- e.Address.Address:
				default: // listening again
				}
			}
		},
	}
	go func() {
		defer close(l.done)
		_, l.err = forward.Run(ctx, r, plan)
	}()
	select {
	case l.address = <-ready:
		return l, nil
	case <-l.done:
		cancel()
		if l.err == nil {
			l.err = context.Cause(ctx)
		}
		return nil, l.err
	}
}

// dialer makes connections to the SSH client, whatever they are for.
type dialer sshd.Dial

func (d dialer) DialContext(ctx context.Context, _, _ string) (net.Conn, error) { return d(ctx) }

// listener is a forward that listens at the peer.
type listener struct {
	address string
	cancel  context.CancelFunc
	done    chan struct{}
	err     error
}

func (l *listener) Address() string { return l.address }

func (l *listener) Close() error {
	l.cancel()
	<-l.done
	return l.err
}

// program is one without a terminal.
type program struct {
	*command.Client

	peer string
}

func (p program) CloseWrite() error           { return p.End() }
func (p program) Resize(uint32, uint32) error { return errors.ErrUnsupported }

func (p program) Output(stdout, stderr io.Writer) (sshd.Exit, error) {
	exit, err := p.Wait(stdout, stderr)
	return sshd.Exit{Code: exit.Code, Signal: strings.TrimPrefix(exit.Signal, "SIG")}, lost(err, p.peer)
}

// onTerminal is one on a terminal of its own.
type onTerminal struct {
	client *terminal.Client
	peer   string
}

func (p onTerminal) Write(b []byte) (int, error) {
	if err := p.client.Input(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (p onTerminal) CloseWrite() error { return p.client.End() }

func (p onTerminal) Resize(cols, rows uint32) error { return p.client.Resize(cells(cols, rows)) }

// Signal types what a terminal takes for the signal, or hangs up.
func (p onTerminal) Signal(name string) error {
	switch name {
	case "INT":
		return p.client.Input([]byte{0x03})
	case "QUIT":
		return p.client.Input([]byte{0x1c})
	case "TSTP":
		return p.client.Input([]byte{0x1a})
	case "HUP", "TERM", "KILL":
		return p.client.Close()
	}
	return errors.ErrUnsupported
}

func (p onTerminal) Close() error { return p.client.Close() }

// Output passes on what is fit for a person's terminal, whatever the host is
// up to; see terminal.Filter.
func (p onTerminal) Output(stdout, _ io.Writer) (sshd.Exit, error) {
	filter := terminal.Filter{Answer: true} // no other viewer's terminal can
	var shown []byte
	for {
		event, err := p.client.Next()
		if err != nil {
			return sshd.Exit{}, lost(err, p.peer)
		}
		switch e := event.(type) {
		case terminal.Output:
			shown = filter.Append(shown[:0], e.Data)
			if _, err := stdout.Write(shown); err != nil {
				return sshd.Exit{}, err
			}
		case terminal.Exit:
			_, err := stdout.Write(filter.Flush(nil))
			_ = p.client.Close() // nothing follows
			return sshd.Exit{Code: e.Code, Signal: strings.TrimPrefix(e.Signal, "SIG")}, err
		}
		_ = p.client.Ack(p.client.Offset()) // of a broken stream, Next tells
	}
}
