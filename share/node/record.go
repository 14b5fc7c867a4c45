package node

import (
	"cmp"

	"tandem/session"
	"tandem/share/terminal"
)

// recording is how the terminals here are recorded, or nil.
func (n *Node) recording() *terminal.Recording {
	if n.cfg.Recording == nil {
		return nil
	}
	r := *n.cfg.Recording
	r.Path = cmp.Or(r.Path, n.cfg.Home.Recordings())
	r.Failed = func(path string, err error) {
		_, why := session.Public(err)
		n.emit(Event{Event: EventUnrecorded, Recording: path, Reason: why})
	}
	return &r
}

// recording is the file that the terminal everybody shares is recorded in.
func (s *services) recording() string {
	for _, t := range s.terminal.Terminals() {
		if t.Name == terminal.DefaultName && t.Exit == nil {
			return t.Recording
		}
	}
	return ""
}
