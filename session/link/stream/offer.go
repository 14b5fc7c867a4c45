package stream

import (
	"context"
	"encoding/json"
	"sync"

	"tandem/session"
)

// Offer is a stream that the peer has opened and nobody has accepted yet. What
// the peer sends meanwhile is kept, within the initial credit.
type Offer struct {
	peer   session.Peer
	header session.Header
	stream *Stream

	once sync.Once
}

var _ session.Offer = (*Offer)(nil)

// Receive reads the header from ch, on which the peer opens a stream. The
// offer owns ch; after an error, or when ctx ends first, ch has been closed.
func Receive(ctx context.Context, ch Channel, opts Options) (*Offer, error) {
	stop := context.AfterFunc(ctx, func() { _ = ch.Close() }) // ends ReadMessage
	buf := make([]byte, MaxMessage)
	n, err := ch.ReadMessage(buf)
	if !stop() {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		_ = ch.Close() // it has failed already
		return nil, lost(err)
	}
	s := newStream(ch, opts)
	go s.run()
	h, err := parseHeader(buf[:n])
	if err != nil {
		_ = s.Reset(err)
		return nil, err
	}
	return &Offer{peer: opts.Peer, header: h, stream: s}, nil
}

func parseHeader(msg []byte) (session.Header, error) {
	f, err := parse(msg)
	if err != nil {
		return session.Header{}, err
	}
	if f.kind != typeHeader {
		return session.Header{}, violation("first frame is not a header")
	}
	var h session.Header
	if err := json.Unmarshal(f.data, &h); err != nil {
		return session.Header{}, violation("header is not valid JSON")
	}
	return h, nil
}

// Peer is who opened the stream.
func (o *Offer) Peer() session.Peer { return o.peer }

// Header says what it is for.
func (o *Offer) Header() session.Header { return o.header }

// Stream is the stream underneath, for whoever runs the session: to wait for
// Done, to Fail it with the session or to Reset it on revocation.
func (o *Offer) Stream() *Stream { return o.stream }

// Accept returns the stream, or why it has failed meanwhile. A second call, or
// one after Reject, is an error.
func (o *Offer) Accept() (session.Stream, error) {
	err := error(session.Errorf("accept", session.Invalid, "the offer has been answered"))
	o.once.Do(func() { err = o.stream.failure() })
	if err != nil {
		return nil, err
	}
	return o.stream, nil
}

// Reject refuses the offer; the peer's reads and writes fail with kind and
// why. After Accept or Reject it does nothing.
func (o *Offer) Reject(kind session.Kind, why string) error {
	o.once.Do(func() {
		_ = o.stream.Reset(&session.Error{Op: "reject", Kind: kind, Text: why}) // returns nil
	})
	return nil
}

func (s *Stream) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
