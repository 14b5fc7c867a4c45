//go:build !linux && !darwin

package terminal

import "tandem/session"

// process would be a program on a pseudo-terminal.
type process struct{ master noMaster }

type noMaster struct{}

type launch struct {
	argv  []string
	login bool
	dir   string
	env   []string
	size  Size
}

func startProcess(launch) (*process, error) {
	return nil, session.Errorf("start terminal", session.Unsupported, "tandem can't share terminals on this system yet; it can attach to those of others")
}

func loginShell() string { return "" }

func (p *process) wait() Exit         { return Exit{} }
func (p *process) resize(Size) error  { return nil }
func (p *process) kill()              {}
func (p *process) leaderGone()        {}
func (p *process) foreground() string { return "" }
func (p *process) pending([]byte) int { return 0 }

func (noMaster) Read([]byte) (int, error)    { return 0, nil }
func (noMaster) Write(b []byte) (int, error) { return len(b), nil }
func (noMaster) Close() error                { return nil }
