package node

import (
	"cmp"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"tandem/session"
	"tandem/session/host"
	"tandem/share/command"
	"tandem/share/forward"
	"tandem/share/terminal"
)

// pathPoll is how often a session's path is compared with the one last
// reported.
const pathPoll = time.Second

// sessionBegan reports a session's life: its beginning, each change of path,
// its end.
func (n *Node) sessionBegan(s session.Session) {
	peer, path := s.Peer(), s.Path()
	if entry, known, err := n.book.Get(peer.ID); known && err == nil && peer.Name == "" {
		peer.Name = entry.Name // a first meeting: the link is older than the entry
	}
	n.shares.came(peer.ID)
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
				n.settleWishes()
				if !n.host.Connected(peer.ID) {
					n.shares.left(peer.ID, false)
				}
				n.emit(Event{Event: EventLeft, Peer: &peer, Reason: why})
				return
			}
		}
	})
}

// observeOwn takes note of what our own person does with a terminal: it may have
// answered somebody's wish to type.
func (n *Node) observeOwn(a host.Activity) {
	if a.Header.Action == terminal.Manage && a.Phase == host.Ended {
		n.settleWishes()
	}
}

// observe reports what a peer does with an offer.
func (n *Node) observe(a host.Activity) {
	e := Event{Peer: &a.Peer, Action: a.Header.Action}
	service, _, _ := strings.Cut(a.Header.Service, "/")
	e.What = strings.TrimSpace(service + " " + a.Header.Resource)
	switch a.Header.Service {
	case forward.ServiceName:
		e.What = "forward " + cmp.Or(forward.Requested(a.Header), "connection")
	case command.ServiceName:
		e.What = strings.TrimSpace("command " + cmp.Or(command.Requested(a.Header), a.Header.Resource))
	}
	if a.Err != nil {
		_, e.Reason = session.Public(a.Err)
	}
	switch a.Phase {
	case host.Begun:
		e.Event = EventOpened
	case host.Ended:
		e.Event = EventClosed
		if session.KindOf(a.Err) == session.Denied { // by the service itself, which looks closer
			e.Event = EventDenied
		}
	case host.Unrecorded:
		e.Event, e.Reason = EventUnlogged, a.Err.Error()
	case host.Denied:
		e.Event = EventDenied
	}
	if unreported, ok := n.requests.allow(a.Peer.ID, e.Event); ok {
		e.Unreported = unreported
		n.emit(e)
	}
}

// Each peer's requests are reported at these rates; more are counted.
const (
	deniedRate, deniedBurst   = 1, 20
	requestRate, requestBurst = 20, 200
)

// requests keeps a peer from flooding whoever listens to events.
type requests struct {
	mu    sync.Mutex
	peers map[requestKey]*requestLimit // known peers only, so as many as the book holds
}

type requestKey struct {
	peer  session.PeerID
	event string
}

type requestLimit struct {
	limit      *rate.Limiter
	unreported int
}

func newRequests() *requests { return &requests{peers: make(map[requestKey]*requestLimit)} }

// allow reports whether one more event of this kind may be reported, and how
// many were not since the last.
func (r *requests) allow(peer session.PeerID, event string) (unreported int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := requestKey{peer, event}
	l := r.peers[key]
	if l == nil {
		l = &requestLimit{limit: rate.NewLimiter(requestRate, requestBurst)}
		if event == EventDenied || event == EventAsks {
			l.limit = rate.NewLimiter(deniedRate, deniedBurst)
		}
		r.peers[key] = l
	}
	if !l.limit.Allow() {
		l.unreported++
		return 0, false
	}
	unreported, l.unreported = l.unreported, 0
	return unreported, true
}
