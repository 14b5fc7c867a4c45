package facts

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"tandem/session"
)

// ServiceName is the service's name and version.
const ServiceName = "facts/1"

// Read is the service's only action.
const Read = "read"

// fresh is how long an answer serves for further questions.
const fresh = time.Second

// Service is the host's half of facts/1: a session.Service.
type Service struct {
	gather func(context.Context) (Facts, error)

	turn  chan struct{} // holds one token: whoever takes it may gather
	reply []byte        // the newest; guarded by turn
	at    time.Time
}

// New makes a service that tells about this machine.
func New() *Service { return newService(gather) }

func newService(gather func(context.Context) (Facts, error)) *Service {
	s := &Service{gather: gather, turn: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	return s
}

// Name is ServiceName.
func (s *Service) Name() string { return ServiceName }

// Serve answers one question.
func (s *Service) Serve(ctx context.Context, offer session.Offer) error {
	h := offer.Header()
	if h.Action != Read || h.Resource != "" {
		return session.Errorf("facts", session.Invalid, "there is only %q to do, to no resource", Read)
	}
	reply, err := s.answer(ctx)
	if err != nil {
		return err
	}
	stream, err := offer.Accept()
	if err != nil {
		return err
	}
	_, err = stream.Write(reply)
	return errors.Join(err, stream.Close())
}

func (s *Service) answer(ctx context.Context) ([]byte, error) {
	select {
	case <-s.turn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { s.turn <- struct{}{} }()
	if s.reply != nil && time.Since(s.at) < fresh {
		return s.reply, nil
	}
	f, err := s.gather(ctx)
	if err != nil {
		return nil, &session.Error{Op: "facts", Err: err}
	}
	f.tidy()
	reply, err := json.Marshal(f)
	if err != nil || len(reply) > MaxReply {
		return nil, session.Errorf("facts", session.Internal, "%d bytes of facts", len(reply))
	}
	s.reply, s.at = reply, time.Now()
	return reply, nil
}

// Opener opens streams to the peer that is asked; a session.Session is one.
type Opener interface {
	Open(ctx context.Context, h session.Header) (session.Stream, error)
}

// Ask asks a peer for its facts. They are the peer's word, made fit to show.
func Ask(ctx context.Context, peer Opener) (Facts, error) {
	stream, err := peer.Open(ctx, session.Header{Service: ServiceName, Action: Read})
	if err != nil {
		return Facts{}, err
	}
	defer func() { _ = stream.Close() }() // only read
	stop := context.AfterFunc(ctx, func() { _ = stream.Reset(ctx.Err()) })
	defer stop()
	raw, err := io.ReadAll(io.LimitReader(stream, MaxReply+1))
	switch {
	case ctx.Err() != nil:
		return Facts{}, ctx.Err()
	case err != nil:
		return Facts{}, err
	case len(raw) > MaxReply:
		return Facts{}, session.Errorf("facts", session.TooLarge, "the peer's answer has no end")
	}
	return decode(raw)
}

func decode(raw []byte) (Facts, error) {
	var f Facts
	if err := json.Unmarshal(raw, &f); err != nil {
		return Facts{}, session.Errorf("facts", session.Invalid, "the peer's answer can't be read: %w", err)
	}
	f.tidy()
	return f, nil
}
