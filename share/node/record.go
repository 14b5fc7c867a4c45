package node

import (
	"cmp"
	"slices"

	"tandem/session"
	"tandem/share/terminal"
)

// Recorded is whether what happens in the terminal of a share is recorded.
type Recorded string

// How a terminal is recorded.
const (
	NotRecorded Recorded = ""
	// RecordedMaybe goes on without a recording if that can't be written.
	RecordedMaybe Recorded = "on"
	// RecordedOrNothing ends with its recording.
	RecordedOrNothing Recorded = "required"
)

// strength orders the kinds of recording: a stronger one is good enough for whoever
// asked for a weaker one.
func (r Recorded) strength() int {
	return slices.Index([]Recorded{NotRecorded, RecordedMaybe, RecordedOrNothing}, r)
}

// heard is what a peer says, which may be a later version's word for some recording.
func heard(recorded string) Recorded {
	if r := Recorded(recorded); r.strength() >= 0 {
		return r
	}
	return RecordedMaybe
}

// recorded is what a recording amounts to.
func recorded(r *terminal.Recording) Recorded {
	switch {
	case r == nil:
		return NotRecorded
	case r.Required:
		return RecordedOrNothing
	}
	return RecordedMaybe
}

// recordingOf is how a share's terminal is to be recorded: as the share says, and not
// less than the node was told to record everything.
func (n *Node) recordingOf(s Share) *terminal.Recording {
	if s.Record.strength() <= recorded(n.cfg.Recording).strength() {
		return n.recording(n.cfg.Recording)
	}
	var own terminal.Recording
	if n.cfg.Recording != nil {
		own = *n.cfg.Recording
	}
	own.Required = s.Record == RecordedOrNothing
	return n.recording(&own)
}

// recording completes how terminals here are recorded.
func (n *Node) recording(how *terminal.Recording) *terminal.Recording {
	if how == nil {
		return nil
	}
	r := *how
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
