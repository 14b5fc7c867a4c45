package page

import (
	"context"
	"os"
	"path/filepath"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"tandem/session"
	"tandem/share/terminal"
)

// replay plays a recording in the whole terminal.
func replay(env Env, file string) tea.Cmd {
	play := func(ctx context.Context, tty terminal.TTY) error {
		f, err := os.Open(file)
		if err != nil {
			return &session.Error{Op: "replay", Kind: session.FileKind(err), Text: filepath.Base(file) + " can't be read", Err: err}
		}
		defer func() { _ = f.Close() }() // it was only read
		return terminal.Replay(ctx, f, tty, terminal.ReplayOptions{IdleLimit: 2 * time.Second})
	}
	exec := env.Run(func(ctx context.Context) tea.Msg {
		return Exec{Command: &onTerminal{run: func(tty terminal.TTY) error { return play(ctx, tty) }}, Done: func(err error) tea.Msg {
			if err != nil {
				return Fail{err}
			}
			return nil
		}}
	})
	return tea.Sequence(Send(Verb{"tandem replay --idle-limit 2s " + quoteArgument(file)}), exec)
}
