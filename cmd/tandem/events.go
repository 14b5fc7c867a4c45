package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"tandem/session"
	"tandem/share/node"
)

// events prints what happens: a JSON object a line, or a line for people.
type events struct {
	prompt *prompt // of the same terminal
	json   *json.Encoder
	mu     sync.Mutex
	last   string // line for people
	paths  map[session.PeerID]session.Path
}

func newEvents(io stdio, f *flags, p *prompt) *events {
	e := &events{prompt: p, paths: make(map[session.PeerID]session.Path)}
	if f.json {
		e.json = json.NewEncoder(io.out)
		e.json.SetEscapeHTML(false) // links have ampersands
	}
	return e
}

func (e *events) print(ev node.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.json != nil {
		if ev.Time.IsZero() {
			ev.Time = time.Now()
		}
		// A reader that has gone away is noticed by the signal, not here.
		_ = e.json.Encode(ev)
		return
	}
	if line := e.line(ev); line != "" {
		e.prompt.print(time.Now().Format("15:04:05") + "  " + line)
	}
}

// line is what to tell people, or "" for nothing: not every change is news.
func (e *events) line(ev node.Event) string {
	line := describeEvent(ev)
	switch ev.Event {
	case node.EventOpened:
		if line == e.last {
			return "" // one copy is many streams
		}
	case node.EventJoined, node.EventPath:
		before := e.paths[ev.Peer.ID]
		e.paths[ev.Peer.ID] = *ev.Path
		gap := ev.Path.Changes != before.Changes && ev.Path.LastGap >= noticeable
		if ev.Event == node.EventPath && ev.Path.Kind == before.Kind && !gap {
			return ""
		}
	}
	if line != "" {
		e.last = line
	}
	return line
}

// noticeable is how long a connection may stand still without a word about it.
const noticeable = 300 * time.Millisecond

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
		if ev.Reason == "" {
			return fmt.Sprintf("%s was not let in.", who)
		}
		return fmt.Sprintf("%s was not let in: %s.", who, ev.Reason)
	case node.EventFailed:
		return fmt.Sprintf("An attempt with a wrong code failed; %d left.", ev.Left)
	case node.EventSpent:
		return fmt.Sprintf("The code works no more: %s.", ev.Reason)
	case node.EventJoined:
		return fmt.Sprintf("%s is here (%s).", who, describePath(*ev.Path))
	case node.EventPath:
		if ev.Path.Kind != session.NoPath && ev.Path.LastGap >= noticeable {
			return fmt.Sprintf("%s: %s; nothing had arrived for %s.", who, describePath(*ev.Path), ev.Path.LastGap.Round(10*time.Millisecond))
		}
		return fmt.Sprintf("%s: %s.", who, describePath(*ev.Path))
	case node.EventMissed:
		return fmt.Sprintf("%s was let in, but did not connect: %s.", who, ev.Reason)
	case node.EventLeft:
		return fmt.Sprintf("%s has left.", who)
	case node.EventOpened:
		return fmt.Sprintf("%s: %s, %s.", who, ev.What, doing(ev.Action))
	case node.EventClosed:
		if strings.HasPrefix(ev.What, "terminal") { // other things end by themselves
			return fmt.Sprintf("%s: %s, left.", who, ev.What)
		}
	case node.EventDenied:
		return fmt.Sprintf("%s was refused: %s, %s. Nothing grants it.", who, ev.What, doing(ev.Action))
	case node.EventUnlogged:
		return fmt.Sprintf("%s was refused: %s, %s. %s.", who, ev.What, doing(ev.Action), ev.Reason)
	case node.EventUnrecorded:
		return fmt.Sprintf("The recording %s has ended: %s.", session.Printable(ev.Recording), ev.Reason)
	case node.EventAsks:
		return fmt.Sprintf("%s (%s) asks to type at %s: `tandem shells --let-type %[3]s/%[4]d` allows it.",
			who, strings.Join(ev.Words[:min(3, len(ev.Words))], " "), ev.What, ev.Viewer)
	case node.EventEnded:
		return "The share has ended, and everything it granted."
	}
	return ""
}

// doing says what an action is, for people.
func doing(action string) string {
	switch action {
	case "view":
		return "watching"
	case "control":
		return "watching and typing"
	case "read":
		return "reading"
	case "write":
		return "changing"
	}
	return action
}
