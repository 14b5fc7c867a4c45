package sessiontest

import (
	"context"

	"tandem/session"
)

// Serve makes a Handler that gives each offer to the service it names and
// rejects other names as NotFound.
func Serve(services ...session.Service) session.Handler { return Guarded(nil, services...) }

// Guarded is Serve with a decision ahead of every request; a nil Authorizer
// allows everything. Revocation resets the stream and ends the context, with the
// kind Revoked as its cause, as the real host does.
func Guarded(auth session.Authorizer, services ...session.Service) session.Handler {
	return func(ctx context.Context, o session.Offer) {
		h := o.Header()
		for _, service := range services {
			if service.Name() == h.Service {
				answer(ctx, auth, service, o)
				return
			}
		}
		_ = o.Reject(session.NotFound, "no service "+h.Service) // the stream reports it
	}
}

func answer(ctx context.Context, auth session.Authorizer, service session.Service, o session.Offer) {
	h := o.Header()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	guarded := &offer{Offer: o, accepted: make(chan session.Stream, 1)}
	if auth != nil {
		permit, err := auth.Allow(ctx, session.Request{Peer: o.Peer().ID, Service: h.Service, Resource: h.Resource, Action: h.Action})
		if err != nil {
			kind, text := session.Public(err)
			_ = o.Reject(kind, text) // the stream reports it
			return
		}
		watched := make(chan struct{})
		defer func() { cancel(nil); <-watched }()
		go func() {
			defer close(watched)
			select {
			case <-ctx.Done():
			case <-permit.Revoked:
				revoked := session.Errorf("serve", session.Revoked, "permission was withdrawn")
				cancel(revoked)
				_ = o.Reject(session.Revoked, revoked.Text)
				select {
				case st := <-guarded.accepted:
					_ = st.Reset(revoked)
				default:
				}
			}
		}()
	}
	if err := service.Serve(ctx, guarded); err != nil {
		kind, text := session.Public(err)
		_ = o.Reject(kind, text) // nothing if it was accepted
	}
}

// offer remembers the stream that was accepted.
type offer struct {
	session.Offer
	accepted chan session.Stream
}

func (o *offer) Accept() (session.Stream, error) {
	st, err := o.Offer.Accept()
	if err == nil {
		o.accepted <- st
	}
	return st, err
}
