package node

import (
	"context"
	"errors"
	"time"

	"tandem/session"
	"tandem/session/grant"
	"tandem/session/identity"
)

// Backend is a running node as verbs and the terminal UI see it: the Node in
// this process, or a Client of one in another.
type Backend interface {
	// Open starts a request to a known peer, dialling it if needed. peer is
	// an alias, a peer ID or a unique beginning of one; Own is the node itself.
	Open(ctx context.Context, peer string, h session.Header) (session.Stream, error)
	// Join pairs by a code or link and connects. Servers are asked for a code
	// besides the configured ones and the local network.
	Join(ctx context.Context, invite string, servers []string) (Joined, error)
	// Peers lists the known peers.
	Peers(ctx context.Context) ([]PeerStatus, error)
	// Why reports the path to one peer, dialling it if needed.
	Why(ctx context.Context, peer string) (PeerStatus, error)
	// Ended waits until the session with a peer is over, and says why it ended.
	Ended(ctx context.Context, peer string) error

	// Self is this device.
	Self(ctx context.Context) (Self, error)
	// Events is a channel of what happens from now on. It is closed when ctx ends
	// or the node does; until then it has to be read. A reader that is slow finds
	// an EventLost where events are missing.
	Events(ctx context.Context) (<-chan Event, error)

	// StartShare makes an invite. The share lasts until EndShare, or as long as
	// the node.
	StartShare(ctx context.Context, s Share) (ShareStatus, error)
	// Shares lists the shares of this node that have not ended, the oldest first.
	Shares(ctx context.Context) ([]ShareStatus, error)
	// EndShare ends a share and everything that it granted, and returns when it
	// has ended.
	EndShare(ctx context.Context, id string) error

	// Requests lists who waits for an answer, the longest first.
	Requests(ctx context.Context) ([]Request, error)
	// Answer answers a request, and returns when that has taken effect. Of several
	// answers the first counts; for the others it fails with NotFound.
	Answer(ctx context.Context, request string, a Answer) error

	// Dismiss takes back everything that a peer was granted, and ends its session.
	Dismiss(ctx context.Context, peer string) error
	// Forget dismisses a peer, and forgets that it was ever known.
	Forget(ctx context.Context, peer string) error
	// Rename gives a peer another alias, which no other must have.
	Rename(ctx context.Context, peer, alias string) error

	// Activity returns entries of the audit log, the newest first, fit to be
	// shown. There are no more when it returns none.
	Activity(ctx context.Context, q ActivityQuery) ([]AuditEntry, error)

	Close() error
}

var (
	_ Backend = (*Node)(nil)
	_ Backend = (*Client)(nil)
	_ Backend = (*caller)(nil)
)

// Right is what a peer may do; see package grant.
type Right = grant.Right

// Joined is what a join found.
type Joined struct {
	Peer   session.Peer `json:"peer"`
	Alias  string       `json:"alias"`
	Words  []string     `json:"words"`
	Offers []Right      `json:"offers"`
	Path   session.Path `json:"path"`
	// Recorded is whether the host says that it records the terminal.
	Recorded Recorded `json:"recorded,omitempty"`
}

// PeerStatus is a known peer and the path to it.
type PeerStatus struct {
	Peer      session.Peer `json:"peer"`
	Alias     string       `json:"alias"`
	Words     []string     `json:"words"`
	Connected bool         `json:"connected"`
	Path      session.Path `json:"path"`
	// Candidates are the addresses that were tried for the path. Only Why tells.
	Candidates *session.Candidates `json:"candidates,omitempty"`
	// Lanes carry the bulk data at the moment. Only Why tells.
	Lanes []session.Lane `json:"lanes,omitempty"`
}

// Words is the fingerprint of a peer: what its person and we compare.
func Words(peer session.PeerID) []string { return identity.Words(peer) }

// Bound opens streams to one peer of a backend.
type Bound struct {
	Backend Backend
	Peer    string
}

// Open starts a request to the peer.
func (b Bound) Open(ctx context.Context, h session.Header) (session.Stream, error) {
	return b.Backend.Open(ctx, b.Peer, h)
}

// turnover is how long Connect waits for a node that is beginning or ending:
// it has the home's lock, and its socket isn't there.
const turnover = 10 * time.Second

// Connect is the node that runs under cfg.Home, or a new one in this process
// if none does.
func Connect(ctx context.Context, cfg Config) (Backend, error) {
	b, err := callOrStart(ctx, cfg)
	if c, ok := b.(*caller); ok {
		return newClient(cfg, c), nil
	}
	return b, err
}

// callOrStart is a caller of the node that runs, or a Node.
func callOrStart(ctx context.Context, cfg Config) (Backend, error) {
	deadline := time.Now().Add(turnover)
	for {
		c, err := connect(ctx, cfg.Home)
		if err == nil {
			return c, nil
		}
		n, err := Start(ctx, cfg)
		if err == nil {
			return n, nil
		}
		if !errors.Is(err, errRunning) {
			return nil, err
		}
		if time.Now().After(deadline) {
			return nil, &session.Error{
				Op: "find the running node", Kind: session.Unavailable, Err: err,
				Hint: "It doesn't answer. Is another tandem ending, stopped or hanging?",
			}
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
