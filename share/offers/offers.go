package offers

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"tandem/session"
)

// ServiceName is the service's name and version.
const ServiceName = "offers/1"

// Read is the service's only action.
const Read = "read"

// The limits of an answer; see the package comment.
const (
	MaxReply   = 1 << 20
	MaxOffers  = 1024
	MaxActions = 64
	maxText    = 512
)

// Offer is one resource of one service and what may be done to it.
type Offer struct {
	Service  string   `json:"service"`
	Resource string   `json:"resource,omitempty"`
	Actions  []string `json:"actions"`
}

type answer struct {
	Offers []Offer `json:"offers"`
}

// Service is the host's half of offers/1: a session.Service.
type Service struct {
	offers func(session.PeerID) []Offer
}

// New makes a service that tells each peer what offers says of it.
func New(offers func(session.PeerID) []Offer) *Service { return &Service{offers} }

// Name is ServiceName.
func (s *Service) Name() string { return ServiceName }

// Serve answers one question.
func (s *Service) Serve(_ context.Context, o session.Offer) error {
	h := o.Header()
	if h.Action != Read || h.Resource != "" {
		return session.Errorf("offers", session.Invalid, "there is only %q to do, to no resource", Read)
	}
	reply, err := json.Marshal(answer{s.offers(o.Peer().ID)})
	if err != nil || len(reply) > MaxReply {
		return session.Errorf("offers", session.Internal, "%d bytes of offers", len(reply))
	}
	stream, err := o.Accept()
	if err != nil {
		return err
	}
	_, err = stream.Write(reply)
	return errors.Join(err, stream.Close())
}

// Opener opens streams to the peer that is asked; a session.Session is one.
type Opener interface {
	Open(ctx context.Context, h session.Header) (session.Stream, error)
}

// Ask asks a peer what we may do there. The error's kind is Denied if that is
// nothing.
func Ask(ctx context.Context, peer Opener) ([]Offer, error) {
	stream, err := peer.Open(ctx, session.Header{Service: ServiceName, Action: Read})
	if err != nil {
		return nil, err
	}
	defer func() { _ = stream.Close() }() // only read
	stop := context.AfterFunc(ctx, func() { _ = stream.Reset(ctx.Err()) })
	defer stop()
	raw, err := io.ReadAll(io.LimitReader(stream, MaxReply+1))
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, err
	case len(raw) > MaxReply:
		return nil, session.Errorf("offers", session.TooLarge, "the peer's answer has no end")
	}
	return decode(raw)
}

func decode(raw []byte) ([]Offer, error) {
	var a answer
	if err := json.Unmarshal(raw, &a); err != nil {
		return nil, session.Errorf("offers", session.Invalid, "the peer's answer is not valid JSON")
	}
	ok := len(a.Offers) <= MaxOffers
	for _, o := range a.Offers {
		ok = ok && len(o.Actions) <= MaxActions && fit(o.Service) && fit(o.Resource)
		for _, action := range o.Actions {
			ok = ok && fit(action)
		}
	}
	if !ok {
		return nil, session.Errorf("offers", session.Invalid, "what the peer offers makes no sense")
	}
	return a.Offers, nil
}

func fit(text string) bool { return len(text) <= maxText && session.Printable(text) == text }
