package node

import (
	"context"
	"maps"
	"slices"

	"tandem/share/command"
	"tandem/share/facts"
	"tandem/share/folder"
	"tandem/share/terminal"
)

// setup is what a share has set up, and how to take it down.
type setup struct {
	rights   []Right
	recorded Recorded // what happens in its terminal
	takeDown []func() // the last one first
}

func (up *setup) later(f func()) { up.takeDown = append(up.takeDown, f) }

func (up *setup) undo() {
	for _, f := range slices.Backward(up.takeDown) {
		f()
	}
}

// offer sets up what s shares, a share of that ID, and names the rights to it.
func (n *Node) offer(id string, s Share) (_ *setup, err error) {
	up := new(setup)
	defer func() {
		if err != nil {
			up.undo()
		}
	}()
	if s.Terminal {
		// The terminal is the host's, not its first guest's: it is there for
		// guests who may only watch, and outlives any of them.
		kept, release, err := n.services.shareTerminal(s.Command, s.dir(), n.cfg.Term, n.recordingOf(s))
		if err != nil {
			return nil, err
		}
		up.later(release)
		up.recorded = kept
		actions := []string{"view", "control"}
		if s.ViewOnly {
			actions = actions[:1]
		}
		up.rights = append(up.rights, Right{Service: terminal.ServiceName, Actions: actions})
	}
	var ask func(context.Context, folder.Push) error
	if s.AskWrites {
		ask = func(ctx context.Context, p folder.Push) error { return n.pushed(ctx, id, p) }
	}
	for _, f := range s.Folders {
		right, err := n.services.offerFolder(f, ask)
		if err != nil {
			return nil, err
		}
		up.later(func() { _ = n.services.folder.Remove(right.Resource) }) // only its reading ends
		up.rights = append(up.rights, right)
	}
	if s.Terminal && !s.ViewOnly && len(s.Command) == 0 {
		// Whoever may type into a shell can look around, and run any program; but
		// no recording has what runs beside a terminal.
		up.rights = append(up.rights, Right{Service: facts.ServiceName, Actions: []string{facts.Read}})
		if up.recorded != RecordedOrNothing {
			up.rights = append(up.rights, Right{Service: command.ServiceName, Actions: []string{command.Run}})
			for _, name := range slices.Sorted(maps.Keys(n.cfg.Subsystems)) {
				up.rights = append(up.rights, Right{Service: command.ServiceName, Resource: name, Actions: []string{command.Run}})
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Commands)) {
		if err := n.services.pin(name, s.dir(), s.Commands[name]); err != nil {
			return nil, err
		}
		up.later(func() { n.services.unpin(name) })
		up.rights = append(up.rights, Right{Service: command.ServiceName, Resource: name, Actions: []string{command.Run}})
	}
	forwards, err := forwardRights(s.Forward, s.ForwardListen)
	if err != nil {
		return nil, err
	}
	up.rights = append(up.rights, forwards...)
	return up, nil
}
