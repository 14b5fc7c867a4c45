package main

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"tandem/share/node"
)

// events prints what happens: a JSON object a line, or a line for people.
type events struct {
	io   stdio
	json bool
	mu   sync.Mutex
}

func newEvents(io stdio, json bool) *events { return &events{io: io, json: json} }

func (e *events) print(ev node.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.json {
		if ev.Time.IsZero() {
			ev.Time = time.Now()
		}
		// A reader that has gone away is noticed by the signal, not here.
		_ = json.NewEncoder(e.io.out).Encode(ev)
		return
	}
	if line := describeEvent(ev); line != "" {
		fmt.Fprintf(e.io.out, "%s  %s\n", time.Now().Format("15:04:05"), line)
	}
}

// describeEvent is the line for people, or "" where another part of the
// program shows it.
func describeEvent(ev node.Event) string {
	who := "Somebody"
	if ev.Peer != nil {
		who = ev.Peer.String()
	}
	switch ev.Event {
	case node.EventApproved:
		return fmt.Sprintf("%s may come in.", who)
	case node.EventRefused:
		return fmt.Sprintf("%s was not let in: %s.", who, ev.Reason)
	case node.EventFailed:
		return fmt.Sprintf("An attempt with a wrong code failed; %d left.", ev.Left)
	case node.EventSpent:
		return fmt.Sprintf("The invite can't be used any more: %s.", ev.Reason)
	case node.EventJoined:
		return fmt.Sprintf("%s is here (%s).", who, describePath(*ev.Path))
	case node.EventPath:
		return fmt.Sprintf("%s: %s.", who, describePath(*ev.Path))
	case node.EventLeft:
		return fmt.Sprintf("%s has left.", who)
	case node.EventOpened:
		return fmt.Sprintf("%s: %s %s begins.", who, ev.What, ev.Action)
	case node.EventClosed:
		return fmt.Sprintf("%s: %s %s ends.", who, ev.What, ev.Action)
	case node.EventDenied:
		return fmt.Sprintf("%s was refused %s %s: %s.", who, ev.What, ev.Action, ev.Reason)
	case node.EventEnded:
		return "The share has ended, and everything it granted."
	}
	return ""
}
