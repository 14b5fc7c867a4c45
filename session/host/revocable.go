package host

import (
	"sync"

	"tandem/session"
)

// revocableOffer remembers the stream that a service accepts, so that
// revocation can reset it from outside, whatever the service is doing.
type revocableOffer struct {
	session.Offer

	mu      sync.Mutex
	stream  session.Stream
	revoked error
}

func (o *revocableOffer) Accept() (session.Stream, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.revoked != nil {
		return nil, o.revoked
	}
	stream, err := o.Offer.Accept()
	o.stream = stream
	return stream, err
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
