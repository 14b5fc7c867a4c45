package host

import (
	"sync"
	"sync/atomic"

	"tandem/session"
)

// revocableOffer remembers the stream that a service accepts, so that
// revocation can reset it from outside, whatever the service is doing, and
// what is to be said about it afterwards.
type revocableOffer struct {
	session.Offer

	sent, received atomic.Uint64 // bytes of the stream

	mu      sync.Mutex
	stream  session.Stream
	revoked error
	outcome session.Outcome
}

func (o *revocableOffer) Accept() (session.Stream, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.revoked != nil {
		return nil, o.revoked
	}
	stream, err := o.Offer.Accept()
	if err != nil {
		return nil, err
	}
	o.stream = counted{stream, o}
	return o.stream, nil
}

// Note keeps what the service says for the audit log.
func (o *revocableOffer) Note(outcome session.Outcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.outcome = outcome
}

func (o *revocableOffer) noted() session.Outcome {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.outcome
}

// counted counts what passes through a stream.
type counted struct {
	session.Stream
	offer *revocableOffer
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Stream.Read(p)
	c.offer.received.Add(uint64(n))
	return n, err
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.Stream.Write(p)
	c.offer.sent.Add(uint64(n))
	return n, err
}

func (o *revocableOffer) revoke(reason error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.revoked = reason
	if o.stream != nil {
		// The peer learns the reason; a stream that has ended already does not care.
		_ = o.stream.Reset(reason)
		return
	}
	_ = o.Reject(session.Public(reason))
}
