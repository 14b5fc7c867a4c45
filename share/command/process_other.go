//go:build !linux && !darwin

package command

import (
	"os"
	"time"

	"tandem/session"
)

// process would be a program with three pipes. Here nothing would end all that
// it has started.
type process struct{ in, out, err *os.File }

func startProcess(launch) (*process, error) {
	return nil, session.Errorf("run", session.Unsupported, "tandem can't run programs for peers on this system yet; it can run them on others")
}

func (p *process) wait() Exit        { return Exit{} }
func (p *process) signal(signalName) {}
func (p *process) end()              {}
func (p *process) close()            {}
func linger(*os.File, time.Duration) {}

func waiting(*os.File, []byte) int { return 0 }
