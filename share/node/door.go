package node

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"tandem/session"
	"tandem/session/audit"
	"tandem/session/host"
	"tandem/session/identity"
	"tandem/share/terminal"
)

// newName names a share or a request. No two nodes use the same: an answer that
// comes too late must not reach somebody else.
func newName() string { return strings.ToLower(rand.Text()[:12]) }

// door is where people wait for an answer.
type door = register[*waiting]

// waiting is a request, and how its answer is heard.
type waiting struct {
	Request
	// Not of wishes to type:
	answer chan Answer // has room for the one answer
	done   chan error  // has room for what came of it
}

func (w *waiting) named() string { return w.ID }

// Requests lists who waits for an answer, the longest first.
func (n *Node) Requests(ctx context.Context) ([]Request, error) {
	n.settleWishes()
	all := n.door.all()
	requests := make([]Request, len(all))
	for i, w := range all {
		requests[i] = w.Request
		requests[i].Path = n.pathTo(w.Guest.Peer.ID)
	}
	beside := askBeside(ctx, n, func(ctx context.Context, c *caller) ([]Request, error) { return c.Requests(ctx) })
	requests = append(requests, beside...)
	slices.SortStableFunc(requests, func(a, b Request) int { return a.Since.Compare(b.Since) })
	return requests, nil
}

// Answer answers a request, and returns when that has taken effect. Of several
// answers the first counts; for the others it fails with NotFound.
func (n *Node) Answer(ctx context.Context, request string, a Answer) error {
	w, ok := n.door.find(request)
	if !ok {
		if c := n.requestBeside(ctx, request); c != nil {
			return c.Answer(ctx, request, a)
		}
		return errSettled()
	}
	rights, err := narrow(w.Guest.Offers, a)
	if err != nil {
		return err
	}
	a.Rights = rights
	if _, ok := n.door.take(request); !ok {
		return errSettled()
	}
	n.emit(Event{Event: EventSettled, Request: w.ID, Share: w.Share})
	if w.Kind == RequestType {
		return n.answerWish(ctx, w, a)
	}
	w.answer <- a
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func errSettled() error {
	return &session.Error{
		Op: "answer", Kind: session.NotFound, Text: "nobody waits for this answer any more",
		Hint: "It was given elsewhere, or they have left.",
	}
}

// narrow are the rights that an answer gives, of those that were offered.
func narrow(offered []Right, a Answer) ([]Right, error) {
	if !a.Allow || a.Rights == nil {
		return offered, nil
	}
	for _, r := range a.Rights {
		ok := slices.ContainsFunc(offered, func(o Right) bool {
			return o.Service == r.Service && o.Resource == r.Resource && len(r.Actions) > 0 &&
				!slices.ContainsFunc(r.Actions, func(action string) bool { return !slices.Contains(o.Actions, action) })
		})
		if !ok {
			return nil, session.Errorf("answer", session.Invalid, "%s is not part of what was offered", session.Printable(listRights([]Right{r})))
		}
	}
	if len(a.Rights) == 0 {
		return nil, session.Errorf("answer", session.Invalid, "a guest who may do nothing is one to refuse")
	}
	return a.Rights, nil
}

// admit waits for the answer about a guest, and grants what it allows.
func (n *Node) admit(ctx context.Context, peer session.Peer, s *running) ([]Right, error) {
	guest := Guest{Peer: peer, Words: identity.Words(peer.ID), Offers: s.shared.Offers}
	var rights []Right
	var err error
	if s.share.Always {
		n.emit(Event{Event: EventRequest, Share: s.id, Peer: &peer, Words: guest.Words, Offers: guest.Offers})
		rights, err = n.welcome(peer, s, Answer{Allow: true, Rights: guest.Offers})
	} else {
		rights, err = n.ask(ctx, guest, s)
	}
	if err != nil {
		_, why := session.Public(err)
		if err := n.record(audit.Refused, peer, "", why); err != nil {
			n.cfg.Log.Error("audit", "error", err)
		}
		n.emit(Event{Event: EventRefused, Share: s.id, Peer: &peer, Reason: why})
		return nil, err
	}
	n.emit(Event{Event: EventApproved, Share: s.id, Peer: &peer, Offers: rights})
	return rights, nil
}

// ask lets a guest wait at the door.
func (n *Node) ask(ctx context.Context, guest Guest, s *running) ([]Right, error) {
	w := &waiting{
		Request: Request{ID: newName(), Kind: RequestJoin, Share: s.id, Guest: guest, Recorded: s.setup.recorded, Since: time.Now()},
		answer:  make(chan Answer, 1), done: make(chan error, 1),
	}
	n.door.add(w)
	n.emit(Event{
		Event: EventRequest, Request: w.ID, Share: s.id, Peer: &guest.Peer, Words: guest.Words, Offers: guest.Offers, Recorded: w.Recorded,
	})
	a, err := n.awaitAnswer(ctx, w)
	if err != nil {
		w.done <- errSettled()
		return nil, err
	}
	rights, err := n.welcome(guest.Peer, s, a)
	w.done <- err
	if !a.Allow {
		err = refusal("approve", a)
	}
	return rights, err
}

// awaitAnswer waits for the answer to a request, or until ctx ends.
func (n *Node) awaitAnswer(ctx context.Context, w *waiting) (a Answer, err error) {
	select {
	case a = <-w.answer:
	case <-ctx.Done():
		if n.settle(w) {
			return a, context.Cause(ctx)
		}
		a = <-w.answer // just now
	}
	if ctx.Err() != nil {
		return a, context.Cause(ctx)
	}
	return a, nil
}

// refusal is what a guest hears of a no.
func refusal(op string, a Answer) error {
	why := cmp.Or(session.Printable(a.Reason), "the host said no")
	return session.Errorf(op, session.Denied, "%s", why[:min(len(why), session.MaxErrorText)])
}

// welcome records that a guest is let in, and grants what the answer says.
func (n *Node) welcome(peer session.Peer, s *running, a Answer) ([]Right, error) {
	if !a.Allow {
		return nil, nil
	}
	// What can't be recorded is not granted.
	if err := n.record(audit.Approved, peer, "", listRights(a.Rights)); err != nil {
		return nil, host.ErrUnrecorded(err)
	}
	return a.Rights, n.shares.give(n, s, peer, a)
}

// asked reports that a viewer of a terminal would like to type.
func (n *Node) asked(name string, viewer uint64, peer session.Peer) {
	n.settleWishes()
	for _, w := range n.door.all() { // an older wish of the same viewer has been answered at the terminal
		if w.Kind == RequestType && w.Terminal == name && w.Viewer == viewer {
			n.settle(w)
		}
	}
	w := &waiting{Request: Request{
		ID: newName(), Kind: RequestType, Terminal: name, Viewer: viewer, Since: time.Now(),
		Guest: Guest{Peer: peer, Words: identity.Words(peer.ID)},
	}}
	n.door.add(w)
	if unreported, ok := n.requests.allow(peer.ID, EventAsks); ok {
		n.emit(Event{
			Event: EventAsks, Request: w.ID, Peer: &peer, Words: w.Guest.Words, What: name, Viewer: viewer, Unreported: unreported,
		})
	}
}

// settleWishes drops the wishes to type of viewers who have left, or been
// answered at the terminal.
func (n *Node) settleWishes() {
	type seat struct {
		terminal string
		viewer   uint64
	}
	all := n.door.all()
	if !slices.ContainsFunc(all, func(w *waiting) bool { return w.Kind == RequestType }) {
		return
	}
	asks := make(map[seat]bool)
	for _, t := range n.services.terminal.Terminals() {
		for _, v := range t.Viewers {
			asks[seat{t.Name, v.Viewer}] = asks[seat{t.Name, v.Viewer}] || t.Exit == nil && v.Asks != 0
		}
	}
	for _, w := range all {
		if w.Kind == RequestType && !asks[seat{w.Terminal, w.Viewer}] {
			n.settle(w)
		}
	}
}

// settle takes away a request that nobody needs to answer, and reports whether
// it was still there.
func (n *Node) settle(w *waiting) bool {
	_, ok := n.door.take(w.ID)
	if ok {
		n.emit(Event{Event: EventSettled, Request: w.ID, Share: w.Share})
	}
	return ok
}

// answerWish lets a viewer type, until it leaves, or not.
func (n *Node) answerWish(ctx context.Context, w *waiting, a Answer) error {
	right := terminal.View
	if a.Allow {
		right = terminal.Control
	}
	open := Bound{n, Own}.Open
	_, err := terminal.Change(ctx, open, w.Terminal, terminal.Do{What: terminal.DoRight, Viewer: w.Viewer, Right: right})
	if session.KindOf(err) == session.NotFound {
		return errSettled()
	}
	if err != nil {
		return fmt.Errorf("answer %s: %w", w.Guest.Peer, err)
	}
	return nil
}

// pathTo is how a peer is connected now.
func (n *Node) pathTo(peer session.PeerID) session.Path {
	if s := n.host.Session(peer); s != nil {
		return s.Path()
	}
	return session.Path{Kind: session.NoPath}
}
