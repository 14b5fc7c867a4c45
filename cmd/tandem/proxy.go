package main

import (
	"context"
	"errors"
	"fmt"
	goio "io"
	"os"
	"strings"
	"sync"

	"github.com/pkg/sftp"
	"github.com/spf13/cobra"

	"tandem/session"
	"tandem/share/node"
	"tandem/share/sshd"
)

// sshSuffix is what ssh calls peers by, behind their names.
const sshSuffix = ".tandem"

func newProxy(io stdio, f *flags) *cobra.Command {
	return &cobra.Command{
		Use:   "proxy PEER",
		Short: "Be the SSH server of a peer, for ssh's ProxyCommand",
		Long: strings.TrimSpace(`
Speak SSH with ssh, scp, sftp, rsync, git or an editor over standard input and
output, as their ProxyCommand. Programs, files and ports are the peer's, under
the rights that it has granted; it needs no SSH server, no keys and no
passwords. PEER may end in .tandem.

What is not there: X11, and mosh, which needs UDP ("tandem shell" outlives a
lost connection by itself). A peer on Windows forwards ports, but runs no
programs yet, so neither a shell nor scp, sftp, rsync or git.

"tandem ssh-config --install" sets ssh up for it, without questions about host
keys: then "ssh PEER.tandem" suffices.`),
		Example: `  ssh -o ProxyCommand='tandem proxy %h' alice
  # after tandem ssh-config --install
  ssh alice.tandem`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runProxy(cmd.Context(), io, f, strings.TrimSuffix(args[0], sshSuffix))
		},
	}
}

func runProxy(ctx context.Context, io stdio, f *flags, peer string) error {
	cfg, err := nodeConfig(io, f)
	if err != nil {
		return err
	}
	key, err := node.SSHKey(cfg.Home)
	if err != nil {
		return err
	}
	return withBackend(ctx, io, f, func(ctx context.Context, b node.Backend) error {
		if peer != node.Own {
			// Nobody tells better than tandem why a peer can't be reached.
			if _, err := b.Why(ctx, peer); err != nil {
				return err
			}
		}
		var telling sync.Mutex
		notice := func(text string) {
			telling.Lock()
			defer telling.Unlock()
			fmt.Fprintf(io.err, "tandem: %s\r\n", text) // the terminal may be raw
		}
		return node.Bound{Backend: b, Peer: peer}.ServeSSH(ctx, newPipes(io), key, notice)
	})
}

// pipes are standard input and output as one connection.
type pipes struct {
	in   goio.Reader
	out  goio.Writer
	once sync.Once
}

func newPipes(io stdio) *pipes { return &pipes{in: io.in, out: io.out} }

func (p *pipes) Read(b []byte) (int, error) { return p.in.Read(b) }

func (p *pipes) Write(b []byte) (int, error) { return p.out.Write(b) }

// Close ends the output, which makes the client end the input; a read of
// standard input can't be called back.
func (p *pipes) Close() (err error) {
	p.once.Do(func() {
		if c, ok := p.out.(goio.Closer); ok {
			err = c.Close()
		}
	})
	return err
}

// sshSubsystems are programs that this one runs for guests who may run any:
// what ssh, scp and sftp need at the peer besides a shell.
func sshSubsystems() map[string][]string {
	self, err := os.Executable()
	if err != nil {
		return nil
	}
	return map[string][]string{"sftp": {self, "ssh-subsystem", "sftp"}, "agent": {self, "ssh-subsystem", "agent"}}
}

func newSSHSubsystem(io stdio) *cobra.Command {
	return &cobra.Command{
		Use:    "ssh-subsystem NAME",
		Hidden: true,
		Short:  "Serve sftp or a forwarded key agent over standard input and output",
		Args:   takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case "sftp":
				s, err := sftp.NewServer(newPipes(io))
				if err != nil {
					return err
				}
				if err := s.Serve(); err != nil && !errors.Is(err, goio.EOF) {
					return &session.Error{Op: "sftp", Kind: session.Invalid, Err: err}
				}
				return nil
			case "agent":
				return sshd.ServeAgent(cmd.Context(), io.in, io.out)
			}
			return usagef("there is no subsystem %q", args[0])
		},
	}
}
