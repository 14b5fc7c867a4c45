package session

import (
	"context"
	"encoding/json"
	"net"
)

// MaxHeader is the largest Header accepted from a peer, in bytes, encoded and
// in its frame.
const MaxHeader = 64 << 10

// A Session is one authenticated conversation with one peer. It outlives
// changes of address and path. When Done is closed, every stream has failed
// and Err says why.
type Session interface {
	// Peer is the verified identity at the other end.
	Peer() Peer
	// Open starts a request. It returns as soon as the request is on its way;
	// a rejection arrives as an *Error from the stream's Read or Write.
	Open(ctx context.Context, h Header) (Stream, error)
	// Path reports how the bytes travel at this moment.
	Path() Path
	// Done is closed when the session has ended.
	Done() <-chan struct{}
	// Err is nil until Done is closed, and then the reason.
	Err() error
	// Close ends the session and returns when its work has ended.
	Close() error
}

// A Stream is an ordered, reliable, credit-controlled byte stream with
// independent ends. After the peer's CloseWrite, Read returns io.EOF; after
// its Reset, both directions fail with the *Error the peer gave.
type Stream interface {
	net.Conn
	// CloseWrite ends our direction; the peer reads io.EOF after the last byte.
	CloseWrite() error
	// Reset abandons both directions at once. The kind and public text of
	// reason reach the peer.
	Reset(reason error) error
}

// Header says what a stream is for.
type Header struct {
	// Service is the name and version of the service, such as "folder/1".
	Service string `json:"service"`
	// Resource names one thing the service offers: a share, a terminal.
	// Empty means the service's only or default one.
	Resource string `json:"resource,omitempty"`
	// Action is what the opener wants to do to the resource: "view", "write".
	// Together with service and resource it is what a grant allows.
	Action string `json:"action,omitempty"`
	// Bulk says that the stream will carry much: where the peers can, they move
	// it beside the connection that carries the rest of the session.
	Bulk bool `json:"bulk,omitempty"`
	// Params are the service's own arguments.
	Params json.RawMessage `json:"params,omitempty"`
}

// An Offer is a stream that a peer has requested and nobody has accepted yet.
// Exactly one of Accept and Reject takes effect.
type Offer interface {
	Peer() Peer
	Header() Header
	Accept() (Stream, error)
	Reject(kind Kind, why string) error
}

// Outcome is what a service knows about the work it did for an offer.
type Outcome struct {
	// Exit is the exit code of the program that ran; nil if none has ended.
	Exit *int
	// Recording is the file that it was recorded in, or "".
	Recording string
}

// Note tells whoever keeps a record of an offer what came of it; a later Note
// replaces an earlier one. It does nothing if nobody does.
func Note(o Offer, outcome Outcome) {
	if keeper, ok := o.(interface{ Note(Outcome) }); ok {
		keeper.Note(outcome)
	}
}

// A Service is anything a peer can ask for.
type Service interface {
	// Name is the service's name and version.
	Name() string
	// Serve answers one offer and returns when the work is done. The context
	// ends when the session does or when the permission is revoked; the stream
	// has then been reset, and Serve must end whatever it started. An offer
	// that is neither accepted nor rejected when Serve returns is rejected.
	Serve(ctx context.Context, o Offer) error
}

// A Handler takes the offers of a session. It is called in a goroutine of its
// own for each offer.
type Handler func(ctx context.Context, o Offer)

// A Dialer finds the live Session for a peer, or makes one.
type Dialer interface {
	Dial(ctx context.Context, peer PeerID) (Session, error)
}

// Request is one thing a peer wants to do.
type Request struct {
	Peer     PeerID
	Service  string
	Resource string
	Action   string
}

// A Permit is a permission that was given and can be taken back.
type Permit struct {
	// Revoked is closed when the permission ends. A nil channel means it
	// lasts as long as the session.
	Revoked <-chan struct{}
}

// An Authorizer decides about a request before its service sees it. The zero
// answer is no: an error whose kind is Denied unless the request is granted.
type Authorizer interface {
	Allow(ctx context.Context, r Request) (Permit, error)
}

// A Signaler moves sealed, opaque envelopes between us and one peer for the
// duration of one conversation. Delivery is best effort: envelopes may be
// lost, repeated or reordered, and whoever carries them is not trusted.
type Signaler interface {
	Send(ctx context.Context, envelope []byte) error
	Receive(ctx context.Context) ([]byte, error)
}
