package node

import (
	"context"
	"encoding/json"
	"slices"

	"tandem/session"
	"tandem/session/link/stream"
)

// The control socket's service and its actions. Each connection is one stream
// of package stream in its form for byte streams, with this header; see the
// package comment.
const (
	controlService = "node/1"

	actionOpen     = "open"
	actionDial     = "dial"
	actionJoin     = "join"
	actionPeers    = "peers"
	actionWhy      = "why"
	actionEnded    = "ended"
	actionSelf     = "self"
	actionEvents   = "events"
	actionShare    = "share"
	actionShares   = "shares"
	actionEndShare = "end-share"
	actionRequests = "requests"
	actionAnswer   = "answer"
	actionDismiss  = "dismiss"
	actionForget   = "forget"
	actionRename   = "rename"
	actionActivity = "activity"
)

// maxControl bounds one JSON reply on the control socket, in bytes, and peersAtOnce
// the peers in one: a book has hundreds of thousands.
const (
	maxControl  = 32 << 20
	peersAtOnce = 1000
)

// The parameters of the actions.
type (
	openParams struct {
		Peer   string         `json:"peer"`
		Header session.Header `json:"header"`
	}
	peerParams struct {
		Peer string `json:"peer"`
	}
	joinParams struct {
		Invite  string   `json:"invite"`
		Servers []string `json:"servers,omitempty"`
	}
	shareParams struct {
		Share string `json:"share"`
	}
	answerParams struct {
		Request string `json:"request"`
		Answer
	}
	renameParams struct {
		Peer  string `json:"peer"`
		Alias string `json:"alias"`
	}
	nothing struct{}
	// listedPeer is a PeerStatus as it is listed: what the caller can tell by itself is
	// left out.
	listedPeer struct {
		Peer  session.Peer  `json:"peer"`
		Alias string        `json:"alias"`
		Path  *session.Path `json:"path,omitempty"` // nil: not connected
	}
)

func listed(p PeerStatus) listedPeer {
	l := listedPeer{Peer: p.Peer, Alias: p.Alias}
	if p.Connected {
		l.Path = &p.Path
	}
	return l
}

func (l listedPeer) status() PeerStatus {
	p := PeerStatus{Peer: l.Peer, Alias: l.Alias, Words: Words(l.Peer.ID), Path: session.Path{Kind: session.NoPath}}
	if l.Path != nil {
		p.Connected, p.Path = true, *l.Path
	}
	return p
}

// answer is the reply to every action but open.
type answer struct {
	Error  *localError     `json:"error,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

// localError is an error as it crosses the control socket: between two
// processes of one person nothing is held back.
type localError struct {
	Kind session.Kind `json:"kind"`
	Text string       `json:"text"`
	Hint string       `json:"hint,omitempty"`
}

// handle does what one caller asks for.
func (c *control) handle(ctx context.Context, o *stream.Offer) error {
	h, n := o.Header(), c.node
	if h.Service != controlService {
		return session.Errorf("control", session.Unsupported, "the running node doesn't know %s; is it another version?", h.Service)
	}
	switch h.Action {
	case actionOpen:
		return c.open(ctx, o)
	case actionEvents:
		return c.events(ctx, o)
	case actionDial:
		return reply(o, func(p peerParams) (nothing, error) {
			if p.Peer == Own {
				return nothing{}, nil
			}
			_, err := n.dial(ctx, p.Peer)
			return nothing{}, err
		})
	case actionJoin:
		return reply(o, func(p joinParams) (Joined, error) { return n.Join(ctx, p.Invite, p.Servers) })
	case actionPeers:
		return c.peers(ctx, o)
	case actionWhy:
		return reply(o, func(p peerParams) (PeerStatus, error) { return n.Why(ctx, p.Peer) })
	case actionEnded:
		return reply(o, func(p peerParams) (nothing, error) { return nothing{}, n.Ended(ctx, p.Peer) })
	case actionSelf:
		return reply(o, func(nothing) (Self, error) { return n.Self(ctx) })
	case actionShare:
		return reply(o, func(p Share) (ShareStatus, error) { return n.StartShare(ctx, p) })
	case actionShares:
		return reply(o, func(nothing) ([]ShareStatus, error) { return n.Shares(ctx) })
	case actionEndShare:
		return reply(o, func(p shareParams) (nothing, error) { return nothing{}, n.EndShare(ctx, p.Share) })
	case actionRequests:
		return reply(o, func(nothing) ([]Request, error) { return n.Requests(ctx) })
	case actionAnswer:
		return reply(o, func(p answerParams) (nothing, error) { return nothing{}, n.Answer(ctx, p.Request, p.Answer) })
	case actionDismiss:
		return reply(o, func(p peerParams) (nothing, error) { return nothing{}, n.Dismiss(ctx, p.Peer) })
	case actionForget:
		return reply(o, func(p peerParams) (nothing, error) { return nothing{}, n.Forget(ctx, p.Peer) })
	case actionRename:
		return reply(o, func(p renameParams) (nothing, error) { return nothing{}, n.Rename(ctx, p.Peer, p.Alias) })
	case actionActivity:
		return reply(o, func(p ActivityQuery) ([]AuditEntry, error) { return n.Activity(ctx, p) })
	}
	return session.Errorf("control", session.Unsupported, "the running node doesn't know %q; is it another version?", h.Action)
}

// parameters reads the params of a header into p; there may be none.
func parameters(h session.Header, p any) error {
	if len(h.Params) > 0 && json.Unmarshal(h.Params, p) != nil {
		return session.Errorf("control", session.Invalid, "bad parameters")
	}
	return nil
}

// reply answers an offer with what came of it.
func reply[P, R any](o *stream.Offer, do func(P) (R, error)) error {
	var params P
	if err := parameters(o.Header(), &params); err != nil {
		return err
	}
	a := answerOf(do(params))
	s, err := o.Accept()
	if err != nil {
		return err
	}
	if err := json.NewEncoder(s).Encode(a); err != nil {
		_ = s.Reset(err)
		return err
	}
	return s.Close()
}

func answerOf(result any, err error) (a answer) {
	if err == nil {
		a.Result, err = json.Marshal(result)
	}
	if err != nil {
		a = answer{Error: &localError{Kind: session.KindOf(err), Text: err.Error(), Hint: session.Hint(err)}}
	}
	return a
}

// peers lists the known peers in several replies, the last one empty.
func (c *control) peers(ctx context.Context, o *stream.Offer) error {
	peers, failed := c.node.Peers(ctx)
	s, err := o.Accept()
	if err != nil {
		return err
	}
	enc := json.NewEncoder(s)
	if failed != nil {
		err = enc.Encode(answerOf(nil, failed))
	} else {
		batch := make([]listedPeer, 0, peersAtOnce)
		for some := range slices.Chunk(peers, peersAtOnce) {
			batch = batch[:0]
			for _, p := range some {
				batch = append(batch, listed(p))
			}
			if err = enc.Encode(answerOf(batch, nil)); err != nil {
				break
			}
		}
		if err == nil {
			err = enc.Encode(answerOf([]listedPeer{}, nil))
		}
	}
	if err != nil {
		_ = s.Reset(err)
		return err
	}
	return s.Close()
}

// open joins a caller's stream to one to a peer.
func (c *control) open(ctx context.Context, o *stream.Offer) error {
	var p openParams
	if err := parameters(o.Header(), &p); err != nil {
		return err
	}
	remote, err := c.node.Open(ctx, p.Peer, p.Header)
	if err != nil {
		return err
	}
	local, err := o.Accept()
	if err != nil {
		_ = remote.Reset(err)
		return err
	}
	c.begin()
	defer c.end()
	splice(local, remote)
	return nil
}

// events sends a caller what happens, until it goes away.
func (c *control) events(ctx context.Context, o *stream.Offer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := c.node.Events(ctx)
	if err != nil {
		return err
	}
	s, err := o.Accept()
	if err != nil {
		return err
	}
	enc := json.NewEncoder(s)
	err = enc.Encode(nothing{}) // from here on
	for e := range events {
		if err == nil {
			err = enc.Encode(e)
		}
		if err != nil {
			cancel() // and take what is still there
		}
	}
	return s.Close()
}
