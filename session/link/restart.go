package link

import (
	"context"
	"time"
)

// replace gets a new path under way: the offerer begins one, the answerer asks
// for it. Both keep the present path until the new one works.
func (r *roamer) replace(ctx context.Context, now time.Time, why string, planned bool) {
	if r.conn.role == answerer {
		if now.Sub(r.lastRequest) < requestPause {
			return
		}
		r.wanted = ""
		r.lastRequest = now
		r.requests++
		r.conn.log.Debug("asking for a new path", "why", why)
		request := envelope{Step: stepRequest, Generation: r.requests}
		if why == pathSilent {
			request.Silent = r.current.generation + 1
		}
		r.sendRestart(makeRestart(r.conn.config.Identity, &r.conn.transcript, answerer, request))
		return
	}
	if now.Sub(r.lastBegin) < restartPause {
		return
	}
	r.wanted = ""
	r.conn.log.Debug("making a new path", "why", why)
	if err := r.begin(ctx, now, planned, false); err != nil {
		r.conn.log.Debug("no new path", "error", err)
		r.wanted = why // the network may come back
	}
}

// begin makes the next generation and offers it.
func (r *roamer) begin(ctx context.Context, now time.Time, planned, directOnly bool) error {
	if r.next != nil {
		r.retire(r.next, 0)
		r.next = nil
	}
	r.lastBegin = now
	a, err := r.attempt(ctx, r.generation+1, directOnly)
	if err != nil {
		return err
	}
	r.generation++
	r.setNext(a, now, planned)
	r.offered = makeRestart(r.conn.config.Identity, &r.conn.transcript, offerer, envelope{
		Step: stepOffer, Generation: a.generation, DirectOnly: directOnly,
		Ufrag: a.ufrag, Password: a.password, Candidates: a.firstLocal(ctx),
	})
	r.sendRestart(r.offered)
	r.lastOffer = now
	r.resendDelay = restartFirst
	r.resendAt = now.Add(r.resendDelay)
	return nil
}

func (r *roamer) attempt(ctx context.Context, generation uint32, directOnly bool) (*attempt, error) {
	config := r.conn.config
	return newAttempt(attemptConfig{
		generation: generation, directOnly: directOnly || config.directOnly, relayOnly: config.RelayOnly,
		relays: config.relays(ctx, r.conn.log), network: config.network, observed: config.observed(),
		relayTLS: config.RelayTLS, log: r.conn.log,
	})
}

func (r *roamer) setNext(a *attempt, now time.Time, planned bool) {
	limit := attemptLimit
	if a.directOnly {
		limit = directLimit
	}
	r.next, r.planned, r.nextLimit = a, planned, now.Add(limit)
}

// sendRestart sends on the trunk, and on the Signaler as well unless the trunk
// surely works: a search for something better should not bother the server.
func (r *roamer) sendRestart(e envelope) {
	r.tell(e)
	if r.planned && r.up && e.Step != stepRequest {
		return
	}
	if err := r.conn.out.put(e); err != nil {
		r.conn.log.Debug("restart not sent", "error", err)
	}
}

func (r *roamer) receiveRestart(ctx context.Context, e *envelope) {
	other := r.conn.role.other()
	if r.conn.role == offerer && !r.started {
		return
	}
	if err := verifyRestart(e, &r.conn.transcript, other); err != nil {
		r.conn.log.Debug("restart refused", "error", err)
		return
	}
	switch e.Step {
	case stepRequest:
		if e.Generation <= r.requests {
			return
		}
		r.requests = e.Generation
		next := r.next
		switch {
		case e.Silent != 0 && e.Silent <= r.current.generation:
			return // that path has been replaced since
		case next == nil || next.directOnly:
		case next.conn.Load() == nil:
			// An offer is on its way to the peer, or was lost while the peer had
			// no connection to a server. It has one now.
			if now := time.Now(); now.Sub(r.lastOffer) > offerPause {
				r.offerAgain(now)
			}
			return
		case e.Silent != 0:
			return // the peer has agreed to the next one since
		}
		r.wanted = "the peer asked for it"
	case stepOffer:
		r.answerRestart(ctx, e)
	case stepAnswer:
		if r.next == nil || e.Generation != r.next.generation || r.next.conn.Load() != nil {
			return
		}
		if err := r.next.start(true, e.Ufrag, e.Password, r.conn.carrier.receive); err != nil {
			r.conn.log.Debug("restart failed", "error", err)
			return
		}
		r.next.addRemote(e.Candidates, r.conn.log)
	}
}

func (r *roamer) answerRestart(ctx context.Context, e *envelope) {
	if e.Generation == r.generation && r.generation > 0 {
		for _, a := range []*attempt{r.current, r.next} {
			if a != nil && a.generation == e.Generation {
				a.addRemote(e.Candidates, r.conn.log)
				r.answered.Candidates = a.known()
			}
		}
		r.sendRestart(r.answered) // the same offer again: our answer was lost
		return
	}
	if e.Generation <= r.generation || e.DirectOnly && r.conn.config.RelayOnly {
		return
	}
	a, err := r.attempt(ctx, e.Generation, e.DirectOnly)
	if err != nil {
		r.conn.log.Debug("no new path", "error", err)
		return
	}
	if err := a.start(false, e.Ufrag, e.Password, r.conn.carrier.receive); err != nil {
		a.close()
		return
	}
	a.addRemote(e.Candidates, r.conn.log)
	if r.early.Generation == e.Generation {
		a.addRemote(r.early.Candidates, r.conn.log)
	}
	r.early = envelope{}
	if r.next != nil {
		r.retire(r.next, 0)
	}
	r.generation = e.Generation
	r.wanted = ""
	r.setNext(a, time.Now(), e.DirectOnly)
	r.answered = makeRestart(r.conn.config.Identity, &r.conn.transcript, answerer, envelope{
		Step: stepAnswer, Generation: a.generation, DirectOnly: e.DirectOnly,
		Ufrag: a.ufrag, Password: a.password, Candidates: a.firstLocal(ctx),
	})
	r.sendRestart(r.answered)
}
