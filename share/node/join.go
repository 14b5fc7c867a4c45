package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"tandem/session"
	"tandem/session/host"
	"tandem/session/identity"
	"tandem/session/pairing"
	"tandem/signaling"
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
	defer n.complain(ctx)()
	met := func(id session.PeerID) {
		n.emit(Event{
			Event: EventMet, Peer: &session.Peer{ID: id}, Words: identity.Words(id), Own: identity.Words(n.device.ID()),
		})
	}
	var joined *host.Joined
	if ticket.Kind == pairing.Link {
		joined, err = n.joinByLink(ctx, ticket, met)
	} else {
		joined, err = n.joinByCode(ctx, ticket, met)
	}
	if session.KindOf(err) == session.NotFound {
		return Joined{}, nobodyWaits(ticket)
	}
	if err != nil {
		return Joined{}, n.aboutClocks(err)
	}
	return n.joined(joined), nil
}

// joinByLink looks for the host at one of the servers that the link names: at
// any other its number may be somebody else's.
func (n *Node) joinByLink(ctx context.Context, t *pairing.Ticket, met func(session.PeerID)) (*host.Joined, error) {
	looking, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	server, err := n.useOneOf(looking, t.Servers)
	if err != nil {
		return nil, err
	}
	return n.host.Join(ctx, t, host.Where{Server: server}, met)
}

// joinByCode looks for the host on the servers there are and, at the same time,
// on the local network. A number may be held by one host here and by another
// there, and only its words tell them apart. That costs an attempt: a host that
// turns out to be a stranger has spent one of its own invite's, and is not asked
// again; the next one is.
func (n *Node) joinByCode(ctx context.Context, t *pairing.Ticket, met func(session.PeerID)) (*host.Joined, error) {
	nearby := make(chan result, 1)
	looking, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	work.Go(func() {
		server, err := n.useNearby(looking, t.Nameplate)
		nearby <- result{server, err}
	})
	found, err := n.anyServer(ctx, nearby)
	if err != nil {
		return nil, err
	}
	joined, err := n.host.Join(ctx, t, host.Where{}, met)
	if session.KindOf(err) == session.NotFound { // nothing has been spent yet
		if found == nil {
			r := <-nearby
			found = &r
		}
		if found.err != nil {
			return nil, err
		}
		joined, err = n.host.Join(ctx, t, host.Where{Server: found.server}, met)
	}
	return n.joinElsewhere(ctx, t, joined, err, met)
}

// joinElsewhere goes on, after a join with a stranger, to whoever else has the
// same number.
func (n *Node) joinElsewhere(ctx context.Context, t *pairing.Ticket, joined *host.Joined, err error, met func(session.PeerID)) (*host.Joined, error) {
	var stranger *host.Stranger
	if !errors.As(err, &stranger) || session.KindOf(err) == session.Exists {
		return joined, err
	}
	first := errors.Unwrap(stranger)
	looked, not := []string{stranger.Server}, []string{stranger.Mailbox}
	for _, server := range n.post.connected() {
		if slices.Contains(looked, server) {
			continue
		}
		joined, err = n.host.Join(ctx, t, host.Where{Server: server, Not: not}, met)
		switch {
		case err == nil:
			return joined, nil
		case errors.As(err, &stranger):
			not = append(not, stranger.Mailbox)
		case session.KindOf(err) != session.NotFound && session.KindOf(err) != session.Unavailable && session.KindOf(err) != session.Timeout:
			return nil, err
		}
	}
	return nil, first
}

// result is what came of looking at the local network.
type result struct {
	server string
	err    error
}

// anyServer waits until a server is connected: one of those there are, or one on
// the local network, and then it says what was found there.
func (n *Node) anyServer(ctx context.Context, nearby <-chan result) (found *result, err error) {
	if len(n.post.servers()) == 0 {
		r := <-nearby
		return &r, r.err
	}
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	online := make(chan error, 1)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	work.Go(func() {
		_, err := n.post.online(ctx, "")
		online <- err
	})
	for online != nil || nearby != nil {
		select {
		case err = <-online:
			if err == nil {
				return found, nil
			}
			online = nil
		case r := <-nearby:
			if found = &r; r.err == nil {
				return found, nil
			}
			nearby = nil
		}
	}
	return found, err
}

// useNearby uses the server on the local network that holds a nameplate.
func (n *Node) useNearby(ctx context.Context, nameplate string) (string, error) {
	urls, err := n.lookAround(ctx, nameplate)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	return n.useOneOf(ctx, urls)
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
		Offers: j.Rights, Path: j.Session.Path(), Recorded: heard(j.Recorded),
	}
}

// useOneOf uses the first of several servers to answer: they may be addresses
// of one, where only one connection at a time can have the mailbox. Plain HTTP
// will do: whoever holds a link or is on the same network has chosen so, and a
// server is not trusted anyway.
func (n *Node) useOneOf(ctx context.Context, urls []string) (string, error) {
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
			_, err := signaling.Probe(probing, signaling.Config{AllowInsecure: true, TLS: n.post.trust}, url)
			answers <- answer{url, err}
		})
	}
	errs := []error{session.Errorf("connect", session.Unavailable, "no signaling server is known")}
	for range urls {
		a := <-answers
		if a.err == nil {
			server, err := signaling.ServerURL(a.url, true)
			if err != nil {
				return "", fromSignaling(err)
			}
			return server, n.post.use(true, server)
		}
		errs = append(errs, fromSignaling(a.err))
	}
	return "", errs[min(1, len(errs)-1)]
}

// lookAround asks the local network for the server that holds a nameplate.
func (n *Node) lookAround(ctx context.Context, nameplate string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, lanTimeout)
	defer cancel()
	urls, err := n.cfg.nearby(ctx, nameplate)
	if err != nil {
		return nil, &session.Error{
			Op: "join", Kind: session.NotFound, Text: "nobody on this network is waiting under " + nameplate, Err: err,
			Hint: "Compare the number. If the host uses a server, add --server; the link works as well.",
		}
	}
	return urls, nil
}
