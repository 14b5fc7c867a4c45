package node

import (
	"strings"
	"time"

	"tandem/session"
	"tandem/session/host"
)

// pathPoll is how often a session's path is compared with the one last
// reported.
const pathPoll = time.Second

// sessionBegan reports a session's life: its beginning, each change of path,
// its end.
func (n *Node) sessionBegan(s session.Session) {
	peer, path := s.Peer(), s.Path()
	n.emit(Event{Event: EventJoined, Peer: &peer, Path: &path})
	n.work.Go(func() {
		ticker := time.NewTicker(pathPoll)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				now := s.Path()
				if now.Kind != path.Kind || now.Remote != path.Remote || now.Changes != path.Changes {
					path = now
					n.emit(Event{Event: EventPath, Peer: &peer, Path: &now})
				}
			case <-s.Done():
				_, why := session.Public(s.Err())
				n.emit(Event{Event: EventLeft, Peer: &peer, Reason: why})
				return
			}
		}
	})
}

// observe reports what a peer does with an offer.
func (n *Node) observe(a host.Activity) {
	e := Event{Peer: &a.Peer, Action: session.Printable(a.Header.Action)}
	service, _, _ := strings.Cut(a.Header.Service, "/")
	e.What = strings.TrimSpace(session.Printable(service + " " + a.Header.Resource))
	if a.Err != nil {
		_, e.Reason = session.Public(a.Err)
	}
	switch a.Phase {
	case host.Begun:
		e.Event = EventOpened
	case host.Ended:
		e.Event = EventClosed
	case host.Denied:
		e.Event = EventDenied
	}
	n.emit(e)
}
