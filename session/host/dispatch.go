package host

import (
	"context"
	"log/slog"

	"tandem/session"
	"tandem/session/grant"
)

// Dispatcher hands each offer to the service it names, after the authorizer
// has said yes, and ends the service's work when the permission ends.
type Dispatcher struct {
	services   map[string]session.Service
	authorizer session.Authorizer
	observe    func(Activity)
	record     *record // nil if none is kept
	log        *slog.Logger
}

// DispatcherConfig is what a Dispatcher works with.
type DispatcherConfig struct {
	Authorizer session.Authorizer
	// Services are each known by its Name; of two with the same, the later counts.
	Services []session.Service
	// Observe is told, from several goroutines, what becomes of each offer; nil
	// tells nobody.
	Observe func(Activity)
	// Audit records each offer before it is served, and what came of it. An offer
	// that can't be recorded is refused. nil keeps no record.
	Audit Audit
	// Detail says what exactly a request asks for, for the record; nil has no more
	// to say than the header's names do.
	Detail func(session.Header) string
	Log    *slog.Logger
}

// Phase is how far an offer has come.
type Phase string

// The phases: an offer is denied, can't be recorded, or begins and ends.
const (
	Denied     Phase = "denied"
	Unrecorded Phase = "unrecorded"
	Begun      Phase = "begun"
	Ended      Phase = "ended"
)

// Activity is what a peer did with an offer.
type Activity struct {
	Phase  Phase
	Peer   session.Peer
	Header session.Header
	Err    error // why it was denied or ended; nil for a good end
}

// The longest names in a request, in bytes. No right can have longer ones.
const (
	maxService  = 64
	maxResource = 512
	maxAction   = 64
	// maxRights and maxActions bound what an approval lists.
	maxRights = 256
	// maxRecorded is the longest word for how things are recorded.
	maxRecorded = 32
	maxActions  = 64
)

// checkHeader refuses names that nothing can be called, before anybody has to
// look at them.
func checkHeader(h session.Header) error {
	if len(h.Service) > maxService || len(h.Resource) > maxResource || len(h.Action) > maxAction {
		return session.Errorf("dispatch", session.Invalid, "a name is too long")
	}
	return nil
}

// checkRights refuses rights that a host can't mean, or that are not fit to be
// shown.
func checkRights(rights []grant.Right) error {
	ok := len(rights) <= maxRights
	for _, r := range rights {
		ok = ok && checkHeader(session.Header{Service: r.Service, Resource: r.Resource}) == nil && len(r.Actions) <= maxActions
		for _, text := range append([]string{r.Service, r.Resource}, r.Actions...) {
			ok = ok && len(text) <= maxResource && session.Printable(text) == text
		}
	}
	if !ok {
		return session.Errorf("join", session.Invalid, "what the host offers makes no sense")
	}
	return nil
}

// NewDispatcher makes a Dispatcher.
func NewDispatcher(cfg DispatcherConfig) *Dispatcher {
	d := &Dispatcher{
		services: make(map[string]session.Service), authorizer: cfg.Authorizer, observe: cfg.Observe, log: cfg.Log,
	}
	for _, s := range cfg.Services {
		d.services[s.Name()] = s
	}
	if d.observe == nil {
		d.observe = func(Activity) {}
	}
	if cfg.Audit != nil {
		d.record = &record{audit: cfg.Audit, detail: cfg.Detail, denied: make(map[session.PeerID]*deniedPeer)}
	}
	return d
}

// Handle is a session.Handler: it returns when the offer's work is done.
func (d *Dispatcher) Handle(ctx context.Context, o session.Offer) {
	h := o.Header()
	if err := checkHeader(h); err != nil {
		d.deny(d.log, o, err)
		return
	}
	log := d.log.With("peer", o.Peer().ID.Short(), "service", session.Printable(h.Service),
		"resource", session.Printable(h.Resource), "action", session.Printable(h.Action))
	permit, err := d.authorizer.Allow(ctx, session.Request{
		Peer: o.Peer().ID, Service: h.Service, Resource: h.Resource, Action: h.Action,
	})
	if err != nil {
		log.Info("refused", "reason", err)
		d.observe(Activity{Denied, o.Peer(), h, err})
		d.deny(log, o, err)
		return
	}
	service, ok := d.services[h.Service]
	if !ok {
		d.deny(log, o, session.Errorf("dispatch", session.Unsupported, "%s is not offered here", session.Printable(h.Service)))
		return
	}
	entry, err := d.record.allow(o)
	if err != nil {
		log.Error("refused", "reason", err)
		d.observe(Activity{Unrecorded, o.Peer(), h, err})
		d.reject(log, o, err)
		return
	}

	ctx, cancel := context.WithCancelCause(ctx)
	revocable := &revocableOffer{Offer: o}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-permit.Revoked:
			revoked := session.Errorf("dispatch", session.Revoked, "the host has ended the share, or taken the permission back")
			log.Info("revoked")
			cancel(revoked)
			revocable.revoke(revoked)
		case <-ctx.Done():
		}
	}()
	log.Info("begun")
	d.observe(Activity{Begun, o.Peer(), h, nil})
	err = service.Serve(ctx, revocable)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	cancel(nil)
	<-watched
	log.Info("ended", "reason", err)
	if err := d.record.end(entry, revocable, err); err != nil {
		log.Error("audit", "error", err) // it has been done; nothing more will be
	}
	d.observe(Activity{Ended, o.Peer(), h, err})
	if err != nil {
		d.reject(log, o, err) // no effect once accepted
	}
}

// deny rejects an offer that is not granted, and records it: at best, for there
// is nothing to be refused any more.
func (d *Dispatcher) deny(log *slog.Logger, o session.Offer, why error) {
	if err := d.record.deny(o, why); err != nil {
		log.Error("audit", "error", err)
	}
	d.reject(log, o, why)
}

func (d *Dispatcher) reject(log *slog.Logger, o session.Offer, err error) {
	kind, why := session.Public(err)
	if err := o.Reject(kind, why); err != nil {
		log.Debug("reject", "error", err)
	}
}
