package sshd

import (
	"context"
	"io"
	"net"
)

// Remote is the peer. Its methods may be called by several goroutines. A
// request that the peer refuses may fail at once, or later, with what is read
// first.
type Remote interface {
	// Start starts a program.
	Start(ctx context.Context, r Request) (Program, error)
	// Connect makes a connection from the peer to an address: network "tcp"
	// with HOST:PORT, or "unix" with a path. It returns when there is one.
	Connect(ctx context.Context, network, address string) (Conn, error)
	// Listen listens at the peer; port 0 is any free one, host "*" every
	// address. It returns when it does. Each connection that comes is joined to
	// one that dial makes.
	Listen(ctx context.Context, network, address string, dial Dial) (Listener, error)
}

// Request is a program to start: Argv, or a subsystem.
type Request struct {
	Argv      []string
	Subsystem string
	// Env holds variables that share.PeerMaySet admits.
	Env map[string]string
	// Terminal, if not nil, is the one to make for the program.
	Terminal *Terminal
}

// Terminal is what a program's terminal is like.
type Terminal struct {
	// Term is the value of TERM.
	Term string
	// Cols and Rows are its size in cells; 0 is unknown.
	Cols, Rows uint32
}

// Program is a program that runs at the peer. Write gives it input, and
// CloseWrite ends that. Output is called once; the other methods may be called
// meanwhile.
type Program interface {
	io.Writer
	CloseWrite() error
	// Resize tells the size of its terminal.
	Resize(cols, rows uint32) error
	// Signal sends a signal, named without SIG.
	Signal(name string) error
	// Output passes on what the program prints, and says how it ended.
	Output(stdout, stderr io.Writer) (Exit, error)
	// Close ends the program, if it has not ended.
	Close() error
}

// Exit is how a program ended.
type Exit struct {
	Code   int    // 0 to 255
	Signal string // the name of the signal it died by, without SIG, if so
}

// Conn is a connection at the peer.
type Conn interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// Dial makes a connection to the client. It has CloseWrite.
type Dial func(ctx context.Context) (net.Conn, error)

// Listener is a listener at the peer.
type Listener interface {
	// Address is where it listens in fact.
	Address() string
	// Close ends it and its connections, and returns when they have ended.
	Close() error
}
