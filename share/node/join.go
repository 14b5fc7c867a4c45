package node

import (
	"context"
	"sync"
	"time"

	"tandem/session"
	"tandem/session/host"
	"tandem/session/identity"
	"tandem/session/pairing"
	"tandem/signaling"
	"tandem/signaling/lan"
)

// lanTimeout is how long the local network may take to answer for a nameplate.
const lanTimeout = 2 * time.Second

// CheckInvite reports what is wrong with a code or link as it was typed,
// before anything is tried.
func CheckInvite(invite string) error {
	_, err := parseInvite(invite)
	return err
}

func parseInvite(invite string) (*pairing.Ticket, error) {
	ticket, err := pairing.Parse(invite)
	if err == nil && !signaling.ValidNumber(ticket.Nameplate) {
		err = &session.Error{
			Op: "join", Kind: session.Invalid, Text: "a code begins with a number of three to six digits",
			Hint: "A code looks like 4821-wolf-paper-lunar.",
		}
	}
	return ticket, err
}

// Join pairs by a code or link, connects, and keeps the session. The error's
// kind is Exists if this device made the invite itself.
func (n *Node) Join(ctx context.Context, invite string, servers []string) (Joined, error) {
	ticket, err := parseInvite(invite)
	if err != nil {
		return Joined{}, err
	}
	if n.host.Owns(ticket) || ticket.Host == n.device.ID() {
		return Joined{}, &session.Error{
			Op: "join", Kind: session.Exists, Text: "this invite was made by this device",
			Hint: "Join from another device; to try both sides on one machine, give one of them another TANDEM_HOME.",
		}
	}
	if err := n.post.use(n.cfg.Insecure, servers...); err != nil {
		return Joined{}, err
	}
	if err := n.meet(ctx, ticket); err != nil {
		return Joined{}, err
	}
	met := func(id session.PeerID) {
		n.emit(Event{
			Event: EventMet, Peer: &session.Peer{ID: id}, Words: identity.Words(id), Own: identity.Words(n.device.ID()),
		})
	}
	joined, err := n.host.Join(ctx, ticket, met)
	if session.KindOf(err) == session.NotFound && ticket.Kind == pairing.Code {
		// No server of ours knows the number, so nothing has been spent yet.
		urls, lookErr := n.lookAround(ctx, ticket.Nameplate)
		if lookErr != nil {
			return Joined{}, nobodyWaits(ticket)
		}
		if err := n.useOneOf(ctx, urls); err != nil {
			return Joined{}, err
		}
		joined, err = n.host.Join(ctx, ticket, met)
	}
	if session.KindOf(err) == session.NotFound {
		return Joined{}, nobodyWaits(ticket)
	}
	if err != nil {
		return Joined{}, err
	}
	return n.joined(joined), nil
}

func nobodyWaits(t *pairing.Ticket) error {
	return &session.Error{
		Op: "join", Kind: session.NotFound, Text: "nobody is waiting under " + t.Nameplate,
		Hint: "Compare the number. If it is right, the share is over: ask for a new code.",
	}
}

func (n *Node) joined(j *host.Joined) Joined {
	return Joined{
		Peer: session.Peer{ID: j.Entry.ID, Name: j.Entry.Name}, Alias: j.Entry.Alias, Words: identity.Words(j.Entry.ID),
		Offers: j.Rights, Path: j.Session.Path(),
	}
}

// meet makes sure that a server is connected: one that the link names, or for
// a code one that was configured, or else one on the local network.
func (n *Node) meet(ctx context.Context, t *pairing.Ticket) error {
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	switch {
	case t.Kind == pairing.Link:
		if err := n.useOneOf(ctx, t.Servers); err != nil {
			return err
		}
	case len(n.post.servers()) == 0:
		urls, err := n.lookAround(ctx, t.Nameplate)
		if err != nil {
			return err
		}
		if err := n.useOneOf(ctx, urls); err != nil {
			return err
		}
	}
	_, err := n.post.online(ctx)
	return err
}

// useOneOf uses the first of several servers to answer: they may be addresses
// of one, where only one connection at a time can have the mailbox. Plain HTTP
// will do: whoever holds a link or is on the same network has chosen so, and a
// server is not trusted anyway.
func (n *Node) useOneOf(ctx context.Context, urls []string) error {
	probing, cancel := context.WithCancel(ctx)
	type answer struct {
		url string
		err error
	}
	answers := make(chan answer, len(urls))
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	for _, url := range urls {
		asking.Go(func() {
			_, err := signaling.Probe(probing, signaling.Config{AllowInsecure: true}, url)
			answers <- answer{url, err}
		})
	}
	errs := []error{session.Errorf("connect", session.Unavailable, "no signaling server is known")}
	for range urls {
		a := <-answers
		if a.err == nil {
			return n.post.use(true, a.url)
		}
		errs = append(errs, fromSignaling(a.err))
	}
	return errs[min(1, len(errs)-1)]
}

// lookAround asks the local network for the server that holds a nameplate.
func (n *Node) lookAround(ctx context.Context, nameplate string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, lanTimeout)
	defer cancel()
	urls, err := lan.Find(ctx, nameplate)
	if err != nil {
		return nil, &session.Error{
			Op: "join", Kind: session.NotFound, Text: "nobody on this network is waiting under " + nameplate, Err: err,
			Hint: "Compare the number. If the host uses a server, add --server; the link works as well.",
		}
	}
	return urls, nil
}
